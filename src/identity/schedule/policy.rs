//! When to mint and how many: a pure policy over stock, habit, credit and clock.
//!
//! What the backend sees of the identity plane is a series of (account, model, time, count). The policy makes that series
//! say as little as it can about when and how much the account's owner prompts:
//!
//! - The instants are drawn in advance, from a distribution that knows nothing of use ([`Policy::appoint`]). Spending
//!   triggers nothing; an empty stock waits like a full one.
//! - A look decides by numbers that were read at a midnight ([`Pace`]), so the instant of a mint tells no more than its day.
//! - Much is decided at few reviews alone, on the same days for everybody, counted from the first stock, and a review's numbers
//!   hold until the next. So there are few histories to tell accounts apart by; their number is what an adversary gets.
//! - The counts come from a short ladder that is the same for everybody: many accounts of different use buy the same. What is
//!   minted lasts for a month, at one go.
//!
//! | reading | minted if the stock lasts less than | because |
//! | --- | --- | --- |
//! | any, and the first stock is to come | the first rung is not held: the first rung | everybody begins alike, also who minted some by hand |
//! | none (first day) | there is none: the first rung | the same |
//! | review of day 2 | 8 days: the largest rung | who needs it shows early |
//! | review of day 8, 38, 68 … | 20 days: the second rung | the month's stock |
//! | review of day 18, 28, 48, 58 … | 3 days: the second rung | the month went otherwise than it began |
//! | last midnight | 3 days: the largest rung, for those who use it up in a month | they cannot wait for a review |
//!
//! Whoever was misjudged waits for the next review, up to ten days: that is the price, and `llmtor tokens mint --now` the way
//! round it. Not here: what becomes of an appointment that was slept through, and of a mint that failed.
//!
//! `examples/linking_game.rs` runs this very code against an adversary who has the backend's logs; the numbers and the presets
//! are what it says, see docs/linking-game.md.

use std::time::Duration;

use rand::{CryptoRng, RngExt as _};

use crate::clock::Timestamp;
use crate::vault::habits::{Pace, Reading};

const DAY: f64 = 86_400.0;
/// Days that a stock must last at the first review.
const EARLY: f64 = 8.0;
/// Days that a stock must last at a review in the middle of a month.
const LATER: f64 = 3.0;
/// Days that a stock must last at any time, for those who use the largest rung up in a [`MONTH`].
const HURRY: f64 = 3.0;
/// Days.
const MONTH: f64 = 30.0;

/// How much the user gives for privacy: tokens held in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Privacy {
    /// Few tokens in advance: the backend can name the account of about one pseudonym in seven, after a month of chat.
    Frugal,
    /// The default: of about one in ten, for one and a half unspent tokens for each one used.
    #[default]
    Balanced,
    /// Many tokens in advance: of about one in twenty-five, for five unspent tokens for each one used.
    Strong,
}

/// The rules of one model's top-ups.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Mean of the exponential distance between two looks at the stock.
    every: Duration,
    /// Mean of the delay of the first stock, after there is something to mint it with.
    first: Duration,
    /// The month's review mints when the stock lasts for less than this.
    low: Duration,
    /// The counts that are minted, ascending. The first stock is the first of them.
    ladder: Vec<u32>,
}

/// What a look finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shelf {
    /// Tokens that are held and can be drawn now or later.
    pub held: u64,
    /// How fast they go; `None` on the first day of the first stock.
    pub pace: Option<Pace>,
    /// Credits that the account has for the model.
    pub credits: u64,
}

/// What a look comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The stock lasts.
    Enough,
    /// So many are minted, at one go.
    Mint(u32),
    /// There is no credit to mint with.
    NoCredit,
}

impl Policy {
    /// The rules of a preset.
    pub fn of(privacy: Privacy) -> Self {
        let days = |days: f64| Duration::from_secs_f64(days * DAY);
        let ladder = match privacy {
            Privacy::Frugal => vec![300, 900, 4000],
            Privacy::Balanced => vec![800, 1600, 5000],
            Privacy::Strong => vec![3000, 12_000],
        };
        Self { every: days(0.3), first: Duration::from_secs(1200), low: days(20.0), ladder }
    }

    /// The same with other counts to mint; they are brought in order. Nothing is minted if there is none.
    #[must_use]
    pub fn with_ladder(mut self, mut ladder: Vec<u32>) -> Self {
        ladder.retain(|rung| *rung > 0);
        ladder.sort_unstable();
        self.ladder = ladder;
        self
    }

    /// The same with another month: its review mints when the stock lasts for less than `low`.
    #[must_use]
    pub fn with_low(mut self, low: Duration) -> Self {
        self.low = low;
        self
    }

    /// The same with looks this far apart on average.
    #[must_use]
    pub fn with_looks_every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Mean distance between looks at a stock of `held`.
    pub fn mean(&self, held: u64) -> Duration {
        if held == 0 { self.first } else { self.every }
    }

    /// When to look next. `held` tells the first stock from the others.
    pub fn appoint<R: CryptoRng + ?Sized>(&self, held: u64, now: Timestamp, rng: &mut R) -> Timestamp {
        #[expect(clippy::cast_possible_truncation, reason = "a few dozen means at most; the cast saturates")]
        let delay = (exponential(rng) * self.mean(held).as_secs_f64()).ceil() as i64;
        now.plus_seconds(delay)
    }

    /// How many tokens the first stock is.
    pub fn first(&self) -> u32 {
        self.ladder.first().copied().unwrap_or(0)
    }

    /// What to do about a stock while the first one is to come, whatever the habit says: the reviews take it for granted.
    pub fn begin(&self, stock: &Shelf) -> Decision {
        let rung = self.ladder.first().filter(|rung| stock.held < u64::from(**rung));
        bounded(rung.copied(), stock.credits)
    }

    /// What to do about a stock after the first.
    pub fn decide(&self, stock: &Shelf) -> Decision {
        let rung = match stock.pace {
            None if stock.held == 0 => self.ladder.first(),
            None => None,
            Some(pace) => self.wanted(stock.held, &pace),
        };
        bounded(rung.copied(), stock.credits)
    }

    /// The rung that is to be minted when `held` go at this pace.
    fn wanted(&self, held: u64, pace: &Pace) -> Option<&u32> {
        let most = self.ladder.last();
        let second = self.ladder.get(1).or(most);
        let heavy = pace.today.per_day * MONTH > most.copied().map_or(0.0, f64::from);
        let (lasting, rung) = match pace.review.day {
            0 => (None, None),
            2 => (Some(EARLY), most),
            day if day % 30 == 8 => (Some(self.low.as_secs_f64() / DAY), if heavy { most } else { second }),
            _ => (Some(LATER), if heavy { most } else { second }),
        };
        let is_short = |reading: Reading, days: f64| {
            // Nothing at all is too little, whatever the habit says.
            float(held.saturating_add(reading.since)) < (reading.per_day * days).max(1.0)
        };
        if lasting.is_some_and(|days| is_short(pace.review, days)) {
            rung
        } else if heavy && is_short(pace.today, HURRY) {
            most
        } else {
            None
        }
    }
}

/// As much of `rung` as the credits allow.
fn bounded(rung: Option<u32>, credits: u64) -> Decision {
    let credits = u32::try_from(credits).unwrap_or(u32::MAX);
    match rung {
        None => Decision::Enough,
        Some(_) if credits == 0 => Decision::NoCredit,
        Some(rung) => Decision::Mint(credits.min(rung)),
    }
}

/// Exponentially distributed with mean 1.
fn exponential<R: CryptoRng + ?Sized>(rng: &mut R) -> f64 {
    -(1.0 - rng.random::<f64>()).ln()
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;
    use crate::vault::habits::is_review;

    fn pace(per_day: f64, day: u32) -> Pace {
        let reading = Reading { per_day, day, since: 0 };
        Pace { today: reading, review: if is_review(day) { reading } else { Reading::default() } }
    }

    fn shelf(held: u64, pace: Option<Pace>) -> Shelf {
        Shelf { held, pace, credits: 100_000 }
    }

    #[test]
    fn everybody_begins_with_the_first_rung() {
        for privacy in [Privacy::Frugal, Privacy::Balanced, Privacy::Strong] {
            let policy = Policy::of(privacy);
            assert_eq!(policy.decide(&shelf(0, None)), Decision::Mint(policy.ladder[0]));
            assert_eq!(policy.decide(&shelf(1, None)), Decision::Enough);
        }
    }

    #[test]
    fn whoever_has_no_first_stock_gets_it_whatever_the_habit_says() {
        let policy = Policy::of(Privacy::Balanced);
        for pace in [None, Some(pace(20.0, 1)), Some(pace(20.0, 2)), Some(pace(40.0, 25))] {
            for held in [0, 50, 799] {
                assert_eq!(policy.begin(&shelf(held, pace)), Decision::Mint(800));
            }
            assert_eq!(policy.begin(&shelf(800, pace)), Decision::Enough);
        }
        assert_eq!(policy.begin(&Shelf { held: 50, pace: None, credits: 5 }), Decision::Mint(5));
        assert_eq!(policy.begin(&Shelf { held: 50, pace: None, credits: 0 }), Decision::NoCredit);
    }

    #[test]
    fn a_review_mints_what_lasts_until_the_next_that_would() {
        let policy = Policy::of(Privacy::Balanced);
        assert_eq!(policy.decide(&shelf(550, Some(pace(40.0, 2)))), Decision::Enough);
        assert_eq!(policy.decide(&shelf(450, Some(pace(70.0, 2)))), Decision::Mint(5000));
        assert_eq!(policy.decide(&shelf(500, Some(pace(10.0, 8)))), Decision::Enough);
        assert_eq!(policy.decide(&shelf(500, Some(pace(40.0, 8)))), Decision::Mint(1600));
        assert_eq!(policy.decide(&shelf(130, Some(pace(40.0, 18)))), Decision::Enough);
        assert_eq!(policy.decide(&shelf(0, Some(pace(0.0, 18)))), Decision::Mint(1600));
    }

    #[test]
    fn between_reviews_only_the_heaviest_use_is_looked_after() {
        let policy = Policy::of(Privacy::Balanced);
        assert_eq!(policy.decide(&shelf(10, Some(pace(160.0, 5)))), Decision::Enough);
        assert_eq!(policy.decide(&shelf(10, Some(pace(170.0, 5)))), Decision::Mint(5000));
    }

    #[test]
    fn credits_bound_a_mint_and_their_lack_is_told() {
        let policy = Policy::of(Privacy::Balanced);
        assert_eq!(policy.decide(&Shelf { held: 0, pace: None, credits: 7 }), Decision::Mint(7));
        assert_eq!(policy.decide(&Shelf { held: 0, pace: None, credits: 0 }), Decision::NoCredit);
    }

    proptest! {
        #[test]
        fn nothing_used_since_midnight_changes_a_decision(
            held in 0u64..5_000, used in 0u64..5_000, per_day in 0.0f64..400.0, day in 1u32..100,
        ) {
            prop_assume!(used <= held);
            let policy = Policy::of(Privacy::Balanced);
            let before = pace(per_day, day);
            let add = |reading: Reading| Reading { since: reading.since + used, ..reading };
            let after = Pace { today: add(before.today), review: add(before.review) };
            prop_assert_eq!(policy.decide(&shelf(held, Some(before))), policy.decide(&shelf(held - used, Some(after))));
        }

        #[test]
        fn only_rungs_are_minted(held in 0u64..9_000, per_day in 0.0f64..4_000.0, day in 1u32..100) {
            let policy = Policy::of(Privacy::Balanced);
            if let Decision::Mint(count) = policy.decide(&shelf(held, Some(pace(per_day, day)))) {
                prop_assert!(policy.ladder[1..].contains(&count));
            }
        }

        #[test]
        fn an_appointment_is_ahead_whatever_is_held(held in 0u64..9_000, seed in 0u64..1_000) {
            let now = Timestamp::from_unix(1_800_000_000);
            prop_assert!(Policy::of(Privacy::Balanced).appoint(held, now, &mut StdRng::seed_from_u64(seed)) >= now);
        }
    }
}
