//! The books of one run, and whether they balance: see the table in [`super`].

use std::collections::{BTreeMap, HashMap, HashSet};
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
#[derive(Clone, Default)]
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
    sent: HashMap<Hash, HashSet<Hash>>,
}

impl Books {
    /// Closes the run: what is left over is spent in peace, the daemon is gone, the backend is stopped. Panics, with all
    /// books, unless they balance.
    pub fn balance(mut stage: Stage, mut expected: Expected) -> Self {
        stage.chaos.rage(None);
        let daemon = stage.serve("", &[]);
        finish_pending(&stage);
        for number in 0..held(&stage, "available") - expected.maybe_spent {
            let canary = format!("left over {number}");
            let reply = client::post(daemon.at, &daemon.key, 0, &client::prompt(&canary)).unwrap();
            assert_eq!(reply.texts(), Some(vec![client::echo(&canary)]), "7: a token that was left over");
            expected.asked.insert(canary, 1..=1);
        }
        let mut daemon = daemon.program;
        assert!(daemon.stop().success());
        assert!(stage.house.backend.stop().success());
        let books = Self::read(&stage);
        let faults = books.faults(&expected);
        assert!(faults.is_empty(), "{}\n{books}", faults.join("\n"));
        books
    }

    /// Which laws do not hold, by their numbers.
    fn faults(&self, expected: &Expected) -> Vec<String> {
        let tokens = self.available + self.maturing + self.in_doubt + self.refused + self.spent;
        let redeemed = self.redeemed.len() as u64;
        let certain_at_most = self.spent + self.in_doubt + expected.maybe_spent;
        let asked: usize = self.asked.values().sum();
        let twice = self.sent.values().filter(|prompts| prompts.len() > 1).count() as u64;
        let laws = [
            (self.issued == tokens + self.lost, "1: issued is not what became of it"),
            (self.lost == expected.lost, "1: something else is lost than had to be"),
            (self.reserved + self.presented + self.blinded == 0, "1: something is under way"),
            (self.spent <= redeemed, "2: something good is taken for spent"),
            (redeemed <= certain_at_most, "2: something spent is taken for good"),
            (asked as u64 == redeemed, "3: not asked once for each token"),
            (self.asked.len() == expected.asked.len(), "4: something else was asked"),
            (twice <= expected.maybe_spent, "5: a token was sent with several prompts"),
            (
                self.redeemed.iter().all(|token| self.sent.contains_key(token)),
                "5: a token was sent by another way",
            ),
        ];
        let broken = laws.into_iter().filter(|(holds, _)| !holds).map(|(_, law)| law.to_owned());
        let wrong = expected.asked.iter().filter_map(|(canary, times)| {
            let found = self.asked.get(canary).copied().unwrap_or(0);
            (!times.contains(&found)).then(|| format!("4: asked {found} times and not {times:?}: {canary}"))
        });
        broken.chain(wrong).collect()
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
            sent: stage.chaos.presented(),
        }
    }
}

/// How many tokens the client has in the state `which`.
pub fn held(stage: &Stage, which: &str) -> u64 {
    stage.house.report(HOME, &["tokens"])["models"][MODEL][which].as_u64().unwrap()
}

/// How many credits the client says are lost.
pub fn lost(stage: &Stage) -> u64 {
    let report = stage.house.report(HOME, &["tokens"]);
    report["losses"].as_array().unwrap().iter().map(|loss| loss["credits"].as_u64().unwrap()).sum()
}

/// Waits for the daemon to finish what was begun, which it does by itself after a start.
fn finish_pending(stage: &Stage) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while held(stage, "blinded") > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "issued {} = available {} + maturing {} + in doubt {} + refused {} + spent {} + lost {} (reserved {}, \
             presented {}, blinded {}); redeemed {}; asked upstream {} times for {} prompts; {} tokens were sent",
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
            self.sent.len(),
        )
    }
}

#[test]
fn each_law_is_seen_to_be_broken() {
    let token = |number: u8| [number; 32];
    let prompts: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
    let good = Books {
        issued: 5,
        redeemed: [1, 2, 3].map(token).into(),
        available: 1,
        in_doubt: 2,
        spent: 2,
        asked: prompts.iter().map(|canary| (canary.clone(), 1)).collect(),
        sent: (1..=4).map(|number| (token(number), HashSet::from([token(number)]))).collect(),
        ..Books::default()
    };
    let expected = Expected {
        asked: prompts.iter().map(|canary| (canary.clone(), 1..=1)).collect(),
        ..Expected::default()
    };
    assert_eq!(good.faults(&expected), Vec::<String>::new());
    type Breach = fn(&mut Books);
    let breaches: [(&str, Breach); 12] = [
        ("1: issued", |books| books.issued += 1),
        ("1: issued", |books| books.available -= 1),
        ("1: something else", |books| (books.lost, books.available) = (1, 0)),
        ("1: something is", |books| books.blinded = 1),
        ("2: something good", |books| (books.spent, books.in_doubt) = (4, 0)),
        ("2: something spent", |books| (books.available, books.in_doubt, books.spent) = (3, 1, 1)),
        ("3: ", |books| *books.asked.get_mut("a").unwrap() += 1),
        ("3: ", |books| {
            books.redeemed.insert([4; 32]);
        }),
        ("4: something else", |books| {
            books.asked.insert("d".into(), 1);
        }),
        ("4: asked 0 times", |books| {
            books.asked.remove("a");
        }),
        ("5: a token was sent with", |books| {
            books.sent.get_mut(&[1; 32]).unwrap().insert([9; 32]);
        }),
        ("5: a token was sent by", |books| {
            books.sent.remove(&[1; 32]);
        }),
    ];
    for (law, breach) in breaches {
        let mut books = good.clone();
        breach(&mut books);
        let faults = books.faults(&expected);
        assert!(faults.iter().any(|fault| fault.starts_with(law)), "{law}: {faults:?}");
    }
}
