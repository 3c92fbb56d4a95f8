//! The books of one run, and whether they balance: see the table in [`super`].

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::client;
use super::stage::{HOME, Stage};
use crate::support::chaos::Hash;
use crate::support::house::MODEL;

/// What a run must come to.
#[derive(Default)]
pub struct Expected {
    /// Every prompt that was answered, by its canary, and how often it was asked upstream.
    pub asked: BTreeMap<String, RangeInclusive<usize>>,
    /// Credits that cannot but be lost.
    pub lost: u64,
    /// Tokens whose doubt is past its term: back in the stock, marked, and spent for all that the backend knows.
    pub maybe_spent: u64,
}

/// The books.
pub struct Books {
    issued: u64,
    redeemed: HashSet<Hash>,
    available: u64,
    maturing: u64,
    reserved: u64,
    presented: u64,
    in_doubt: u64,
    refused: u64,
    blinded: u64,
    spent: u64,
    lost: u64,
    asked: BTreeMap<String, usize>,
    sent: usize,
}

impl Books {
    /// Closes the run: what is left over is spent in peace, the daemon is gone, the backend is stopped. Panics, with all
    /// books, unless they balance.
    pub fn balance(mut stage: Stage, mut expected: Expected) -> Self {
        stage.chaos.rage(None);
        let daemon = stage.serve("", &[]);
        finish_pending(&stage);
        let left = held(&stage, "available") - expected.maybe_spent;
        for number in 0..left {
            let canary = format!("left over {number}");
            let reply = client::post(daemon.at, &daemon.key, 0, &client::prompt(&canary)).unwrap();
            assert_eq!(reply.texts(), Some(vec![client::echo(&canary)]), "7: a token that was left over");
            expected.asked.insert(canary, 1..=1);
        }
        let mut daemon = daemon.program;
        assert!(daemon.stop().success());
        assert!(stage.house.backend.stop().success());

        let books = Self::read(&stage);
        let twice: Vec<usize> =
            stage.chaos.presented().values().map(HashSet::len).filter(|prompts| *prompts > 1).collect();
        assert!(
            twice.len() as u64 <= expected.maybe_spent,
            "5: {} tokens were sent with several prompts\n{books}",
            twice.len()
        );
        let tokens = books.available + books.maturing + books.in_doubt + books.refused + books.spent;
        assert_eq!(books.issued, tokens + books.lost, "1: issued is what became of it\n{books}");
        assert_eq!(books.lost, expected.lost, "1: what is lost is known\n{books}");
        assert_eq!(books.reserved + books.presented + books.blinded, 0, "1: nothing is under way\n{books}");
        let redeemed = books.redeemed.len() as u64;
        assert!(books.spent <= redeemed, "2: more is taken for spent than was\n{books}");
        let spent_at_most = books.spent + books.in_doubt + expected.maybe_spent;
        assert!(redeemed <= spent_at_most, "2: something spent is taken for good\n{books}");
        assert_eq!(
            books.asked.values().sum::<usize>() as u64,
            redeemed,
            "3: asked for each token once\n{books}"
        );
        for (canary, times) in &expected.asked {
            let found = books.asked.get(canary).copied().unwrap_or(0);
            assert!(times.contains(&found), "4: asked {found} times, and not {times:?}: {canary}\n{books}");
        }
        assert_eq!(books.asked.len(), expected.asked.len(), "4: nothing else was asked\n{books}");
        let sent: HashSet<Hash> = stage.chaos.presented().into_keys().collect();
        assert!(books.redeemed.is_subset(&sent), "5: the proxy saw every token that was spent\n{books}");
        books
    }

    fn read(stage: &Stage) -> Self {
        let backend = |file: &str| {
            let path = stage.house.room().join("backend").join(file);
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
        };
        let issued: i64 = backend("ledger.db")
            .query_row("SELECT sum(used) FROM credits WHERE model = ?", [MODEL], |row| row.get(0))
            .unwrap();
        let spent = backend("spent.db");
        let mut rows = spent.prepare("SELECT sha256 FROM spent").unwrap();
        let redeemed = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let mut asked = BTreeMap::new();
        for shown in stage.provider.shown() {
            *asked.entry(shown.messages().pop().unwrap().1).or_default() += 1;
        }
        let held = |state| held(stage, state);
        Self {
            issued: issued.unsigned_abs(),
            redeemed,
            available: held("available"),
            maturing: held("maturing"),
            reserved: held("reserved"),
            presented: held("presented"),
            in_doubt: held("in_doubt"),
            refused: held("refused"),
            blinded: held("blinded"),
            spent: held("spent"),
            lost: lost(stage),
            asked,
            sent: stage.chaos.presented().len(),
        }
    }
}

/// Waits for the daemon to finish what was begun, which it does by itself after a start.
fn finish_pending(stage: &Stage) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while held(stage, "blinded") > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
    }
}

/// How many tokens the client has in `state`.
pub fn held(stage: &Stage, state: &str) -> u64 {
    stage.house.report(HOME, &["tokens"])["models"][MODEL][state].as_u64().unwrap()
}

/// How many credits the client says are lost.
pub fn lost(stage: &Stage) -> u64 {
    let report = stage.house.report(HOME, &["tokens"]);
    report["losses"].as_array().unwrap().iter().map(|loss| loss["credits"].as_u64().unwrap()).sum()
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "issued {} = available {} + maturing {} + in doubt {} + refused {} + spent {} + lost {} (reserved {}, presented {}, \
             blinded {}); redeemed {}; asked upstream {} times for {} prompts; {} tokens were sent",
            self.issued,
            self.available,
            self.maturing,
            self.in_doubt,
            self.refused,
            self.spent,
            self.lost,
            self.reserved,
            self.presented,
            self.blinded,
            self.redeemed.len(),
            self.asked.values().sum::<usize>(),
            self.asked.len(),
            self.sent,
        )
    }
}
