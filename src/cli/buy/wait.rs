//! Waiting for credits: a look at the account now and then, ever less often.
//!
//! What tells them is what the account was ever given, credits left and used together: a top-up of the daemon, meanwhile,
//! turns some of the ones into the others.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::app;
use crate::config::Config;
use crate::control::message::{AccountReport, CheckoutReport, Refusal, RefusalKind};
use crate::control::{Operation, Report};
use crate::datadir::Home;
use crate::supervisor::Signals as _;

use super::super::exit::{Exit, Failure};
use super::super::operate::mismatch;
use super::super::output::Output;

const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Until credits of the package's model have come; those that came, by model.
pub(super) async fn for_credits(
    checkout: &CheckoutReport,
    minutes: u32,
    output: Output,
    home: &Home,
    config: &Config,
) -> Result<BTreeMap<String, i64>, Failure> {
    let mut signals = crate::cli::serve::signals()?;
    let spinner = output.spinner(format!(
        "waiting for {} credits for {}; Ctrl-C stops waiting and loses nothing",
        checkout.package.credits, checkout.package.model
    ));
    let watching = watch_account(checkout, minutes, home, config);
    let result = tokio::select! {
        result = watching => result,
        signal = signals.next() => Err(Failure::new(signal.into(), "stopped waiting for the credits").advise(
            "nothing is lost: what you paid for comes to your account all the same; `llmtor account` shows it",
        )),
    };
    spinner.finish_and_clear();
    result
}

async fn watch_account(
    checkout: &CheckoutReport,
    minutes: u32,
    home: &Home,
    config: &Config,
) -> Result<BTreeMap<String, i64>, Failure> {
    let deadline = Instant::now() + Duration::from_secs(u64::from(minutes) * 60);
    let mut pause = FIRST_PAUSE;
    let mut trouble: Option<String> = None;
    loop {
        if Instant::now() + pause > deadline {
            let so_far = trouble.map_or_else(String::new, |what| format!(" (the last look failed: {what})"));
            return Err(Failure::new(
                Exit::Failed,
                format!("no credits have come within {minutes} minutes{so_far}"),
            )
            .advise(
                "if you paid, nothing is lost: they come when the payment provider has told the backend, and `llmtor account` \
                 shows them; if you did not, run `llmtor buy` again",
            ));
        }
        tokio::time::sleep(pause).await;
        pause = longer(pause);
        let (progress, _) = watch::channel(None);
        trouble = match app::perform(home, config, Operation::Account, progress).await {
            Ok(Report::Account(now)) => {
                let granted = granted(&checkout.before, &now);
                if granted.contains_key(&checkout.package.model) {
                    return Ok(granted);
                }
                None
            }
            Ok(_) => return Err(mismatch()),
            Err(error) => Some(passing(error.refusal())?),
        };
    }
}

/// What may be over by the next look; the rest ends the waiting.
fn passing(refusal: Refusal) -> Result<String, Failure> {
    match refusal.kind {
        RefusalKind::Unreachable | RefusalKind::Busy | RefusalKind::Failed => Ok(refusal.message),
        _ => Err(refusal.into()),
    }
}

fn longer(pause: Duration) -> Duration {
    pause.mul_f64(1.4).min(LONGEST_PAUSE)
}

/// What an account was given between two looks.
fn granted(before: &AccountReport, now: &AccountReport) -> BTreeMap<String, i64> {
    let ever = |account: &AccountReport, model: &str| {
        let of = |counts: &BTreeMap<String, i64>| counts.get(model).copied().unwrap_or(0);
        of(&account.credits).saturating_add(of(&account.used))
    };
    let models = now.credits.keys().chain(now.used.keys());
    let gain = |model: &String| (model.clone(), ever(now, model).saturating_sub(ever(before, model)));
    models.map(gain).filter(|(_, gain)| *gain > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(credits: &[(&str, i64)], used: &[(&str, i64)]) -> AccountReport {
        let map = |pairs: &[(&str, i64)]| pairs.iter().map(|(model, n)| ((*model).to_owned(), *n)).collect();
        AccountReport {
            backend: String::new(),
            name: String::new(),
            email: String::new(),
            credits: map(credits),
            used: map(used),
        }
    }

    #[test]
    fn a_top_up_while_waiting_neither_hides_credits_nor_looks_like_some() {
        let before = account(&[("m", 10)], &[("m", 5)]);
        assert!(granted(&before, &account(&[("m", 3)], &[("m", 12)])).is_empty());
        let after = granted(&before, &account(&[("m", 3), ("n", 1)], &[("m", 112)]));
        assert_eq!(after, [("m".to_owned(), 100), ("n".to_owned(), 1)].into());
    }

    #[test]
    fn looks_become_rarer() {
        let pauses: Vec<_> =
            std::iter::successors(Some(FIRST_PAUSE), |pause| Some(longer(*pause))).take(12).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses[11], LONGEST_PAUSE);
        assert!(pauses[..7].iter().sum::<Duration>() < Duration::from_secs(60));
    }
}
