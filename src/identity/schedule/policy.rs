//! When to mint and how many: a pure policy over stock, habit, credit and clock.
//!
//! What the backend sees of the identity plane is a series of (account, model, time, count). The policy makes that series
//! say as little as it can about when and how much the account's owner prompts:
//!
//! - The instants are drawn in advance, from a distribution that knows nothing of use ([`Policy::appoint`]). Spending
//!   triggers nothing; an empty stock waits like a full one.
//! - The counts come from a short ladder that is the same for everybody ([`Policy::decide`]): many accounts of different use
//!   buy the same.
//!
//! `examples/linking_game.rs` runs this very code against an adversary who has the backend's logs; the presets are
//! what it says, see docs/linking-game.md.

use std::time::Duration;

use rand::{CryptoRng, RngExt as _};

use crate::clock::Timestamp;

const DAY: f64 = 86_400.0;

/// How much the user gives for privacy: tokens held in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Privacy {
    /// Few tokens in advance.
    Frugal,
    /// The default.
    #[default]
    Balanced,
    /// Many tokens in advance.
    Strong,
}

/// The rules of one model's top-ups.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Mean of the exponential distance between two looks at the stock.
    every: Duration,
    /// Mean of the delay of the first stock, after there is something to mint it with.
    first: Duration,
    /// A look mints when the stock lasts for less than this.
    low: Duration,
    /// What is minted then lasts for this.
    cover: Duration,
    /// The counts that are minted, ascending; never empty. The first stock is the first of them.
    ladder: Vec<u32>,
}

/// What a look finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shelf {
    /// Tokens that are held and can be drawn now or later.
    pub held: u64,
    /// Expected uses a day; `None` if the model was never used.
    pub per_day: Option<f64>,
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
        let (every, low, cover) = match privacy {
            Privacy::Frugal => (days(2.0), days(4.0), days(7.0)),
            Privacy::Balanced => (days(4.0), days(14.0), days(30.0)),
            Privacy::Strong => (days(7.0), days(30.0), days(90.0)),
        };
        Self { every, first: Duration::from_secs(3600), low, cover, ladder: vec![250, 1000, 4000] }
    }

    /// When to look next. `held` tells the first stock from the others.
    pub fn appoint<R: CryptoRng + ?Sized>(&self, held: u64, now: Timestamp, rng: &mut R) -> Timestamp {
        let mean = if held == 0 { self.first } else { self.every };
        #[expect(clippy::cast_possible_truncation, reason = "a few dozen means at most; the cast saturates")]
        let delay = (exponential(rng) * mean.as_secs_f64()).ceil() as i64;
        now.plus_seconds(delay)
    }

    /// What to do about `shelf`.
    pub fn decide(&self, shelf: &Shelf) -> Decision {
        let Some((first, most)) = self.ladder.first().zip(self.ladder.last()) else {
            return Decision::Enough;
        };
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let held = shelf.held as f64;
        let lasting = |time: Duration| shelf.per_day.unwrap_or(0.0) * time.as_secs_f64() / DAY;
        if shelf.held > 0 && held >= lasting(self.low) {
            return Decision::Enough;
        }
        let missing = lasting(self.cover) - held;
        let rung = self.ladder.iter().find(|rung| f64::from(**rung) >= missing).unwrap_or(most).max(first);
        match u32::try_from(shelf.credits).unwrap_or(u32::MAX).min(*rung) {
            0 => Decision::NoCredit,
            count => Decision::Mint(count),
        }
    }
}

/// Exponentially distributed with mean 1.
fn exponential<R: CryptoRng + ?Sized>(rng: &mut R) -> f64 {
    -(1.0 - rng.random::<f64>()).ln()
}
