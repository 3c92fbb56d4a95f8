//! The linking game: can the backend tell whose pseudonym it is, from when and how much an account is issued?
//!
//! A hundred people play for a month under a simulated clock, by the official client's rules, by this project's, and by these
//! with one ingredient or another changed. An adversary with the backend's full logs names the account of each pseudonym and of
//! each single redemption. What comes out is in docs/linking-game.md, which this program's output is pasted into:
//!
//! ```sh
//! cargo run --release --example linking_game -- --plot docs/linking-game.svg
//! ```
//!
//! Everything is drawn from `--seed` (1): the same command prints the same numbers.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::similar_names,
    reason = "statistics over small counts, printed"
)]

mod linking_game {
    pub(crate) mod adversary;
    pub(crate) mod contest;
    pub(crate) mod population;
    pub(crate) mod report;
    #[cfg(test)]
    mod tests;
    pub(crate) mod world;
}

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use linking_game::contest::{self, Contest, Result};
use linking_game::report;

const HELP: &str =
    "linking_game [--people N] [--days N] [--games N] [--seed N] [--only TEXT] [--plot FILE.svg]";

fn main() -> ExitCode {
    let mut scale = contest::Scale::default();
    let mut plot = None;
    let mut only = String::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let Some(value) = arguments.next() else {
            eprintln!("{HELP}");
            return ExitCode::FAILURE;
        };
        let number = value.parse::<u32>().ok().filter(|number| *number > 0);
        match (name.as_str(), number) {
            ("--people", Some(people)) => scale.people = people as usize,
            ("--days", Some(days)) => scale.days = i64::from(days),
            ("--games", Some(games)) => scale.games = u64::from(games),
            ("--seed", Some(seed)) => scale.seed = u64::from(seed),
            ("--plot", _) => plot = Some(value),
            ("--only", _) => only = value,
            _ => {
                eprintln!("{HELP}");
                return ExitCode::FAILURE;
            }
        }
    }
    let mut contests = contest::all(scale);
    contests.retain(|contest| contest.to_string().contains(&only));
    let results = play(&contests);
    println!("{}", report::tables(&results));
    if let Some(path) = plot
        && let Err(error) = std::fs::write(&path, report::plot(&results))
    {
        eprintln!("{path}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Plays on every core; the order is that of `contests`, and so are the numbers.
fn play(contests: &[Contest]) -> Vec<Result> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((at, contest)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, contests.get(at)?)))
                {
                    let result = contest.play();
                    eprintln!("{}", report::line(&result));
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}
