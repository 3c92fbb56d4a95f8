//! How much each model is used: what a stock is measured by.
//!
//! One smoothed number a model, as it is and as it was at the last review, and the counts since; no history, no time of day. It is sealed, since how
//! much somebody asks is nobody's business, and it follows tokens that are settled, so a call that is given up counts
//! when its token does.
//!
//! The smoothing is exponential by calendar day (UTC), days without use included, with a half-life of
//! [`HALF_LIFE_DAYS`]. In the first days the mean of what was seen so far is taken instead, so that one busy evening is not
//! taken for a habit, nor a quiet one.

use std::collections::BTreeMap;

use super::books::Books;
use super::sealing::Place;
use super::thread::Durability;
use super::{Deposits, VaultError};
use crate::clock::Timestamp;
use crate::wire::ModelName;

/// Days after which a day counts half.
pub const HALF_LIFE_DAYS: f64 = 14.0;
const DAY: i64 = 86_400;

/// How much one model is used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Habit {
    /// Day of the last use that was noted, days since 1970.
    day: i64,
    /// Uses on that day.
    today: u64,
    /// Smoothed uses a day, before that day.
    mean: f64,
    /// Days behind the mean; saturates.
    days: u32,
    /// At the last review.
    review: Reading,
}

/// A habit as it was at a midnight (UTC): the same all day long, so that what is decided by it does not depend on the hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Uses a day that were to be expected.
    pub per_day: f64,
    /// Which day it was since the habit began, from 1.
    pub day: u32,
    /// Uses since that midnight.
    pub since: u64,
}

/// The readings of a habit by which a stock is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Of the last midnight.
    pub today: Reading,
    /// Of the last [review](is_review); of day 0 before the first.
    pub review: Reading,
}

/// Whether stocks are reviewed on this day of a habit: on days 2, 8, 18, 28 and so on. The same for everybody; its reading
/// holds until the next, since a machine can be off for days.
pub fn is_review(day: u32) -> bool {
    day == 2 || day % 10 == 8
}

impl Habit {
    /// `uses` happened at `now`. A clock that is a day behind counts them on the last day known; one that is further behind was
    /// ahead before and is right now, or the other way round: days are counted from its day on.
    pub fn note(&mut self, uses: u64, now: Timestamp) {
        self.turn(now);
        self.today = self.today.saturating_add(uses);
        self.review.since = self.review.since.saturating_add(uses);
    }

    /// Uses a day to be expected from `now` on; the day under way counts for the part of it that is over. None before
    /// anything was used.
    pub fn per_day(&self, now: Timestamp) -> Option<f64> {
        let mut habit = *self;
        habit.turn(now);
        if habit.days == 0 {
            // Nothing but the first day is known.
            return (habit.today > 0).then(|| float(habit.today));
        }
        let so_far = float(habit.today);
        Some(habit.mean.max(habit.smoothed(so_far))).filter(|per_day| *per_day > 0.0)
    }

    /// The readings that hold at `now`; none on the first day.
    pub fn pace(&self, now: Timestamp) -> Option<Pace> {
        let mut habit = *self;
        habit.turn(now);
        let today = Reading { per_day: habit.mean, day: habit.days, since: habit.today };
        (habit.days > 0).then_some(Pace { today, review: habit.review })
    }

    /// Whole days behind the estimate.
    pub fn days(&self) -> u32 {
        self.days
    }

    /// Closes the days before `now`'s.
    fn turn(&mut self, now: Timestamp) {
        let day = now.unix().div_euclid(DAY);
        if self.day == 0 {
            self.day = day;
        }
        // After a year nothing of the old habit is left; no need to go through each day.
        let passed = (day - self.day).clamp(0, 366);
        for _ in 0..passed {
            let closing = float(std::mem::take(&mut self.today));
            self.mean = self.smoothed(closing);
            self.days = self.days.saturating_add(1);
            if is_review(self.days) {
                self.review = Reading { per_day: self.mean, day: self.days, since: 0 };
            }
        }
        // Were the day of a clock that ran ahead once kept, no day would be closed until the calendar has caught up.
        if day > self.day || self.day - day > 1 {
            self.day = day;
        }
    }

    fn smoothed(&self, uses: f64) -> f64 {
        let weight = (1.0 - 0.5_f64.powf(1.0 / HALF_LIFE_DAYS)).max(1.0 / (f64::from(self.days) + 1.0));
        self.mean + weight * (uses - self.mean)
    }

    fn to_bytes(self) -> Vec<u8> {
        [
            &self.day.to_be_bytes()[..],
            &self.today.to_be_bytes(),
            &self.mean.to_be_bytes(),
            &self.days.to_be_bytes(),
            &self.review.per_day.to_be_bytes(),
            &self.review.day.to_be_bytes(),
            &self.review.since.to_be_bytes(),
        ]
        .concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (day, rest) = bytes.split_first_chunk()?;
        let (today, rest) = rest.split_first_chunk()?;
        let (mean, rest) = rest.split_first_chunk()?;
        let (days, rest) = rest.split_first_chunk()?;
        let (per_day, rest) = rest.split_first_chunk()?;
        let (review, since) = rest.split_first_chunk()?;
        let rate = |bytes: &[u8; 8]| {
            Some(f64::from_be_bytes(*bytes)).filter(|rate| rate.is_finite() && *rate >= 0.0)
        };
        Some(Self {
            day: i64::from_be_bytes(*day),
            today: u64::from_be_bytes(*today),
            mean: rate(mean)?,
            days: u32::from_be_bytes(*days),
            review: Reading {
                per_day: rate(per_day)?,
                day: u32::from_be_bytes(*review),
                since: u64::from_be_bytes(since.try_into().ok()?),
            },
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Every model's habit, and which of them the file does not have yet.
#[derive(Default)]
pub(super) struct Ledger {
    by_model: BTreeMap<String, (Habit, Kept)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    NotYet,
}

impl Ledger {
    /// The days of `model` are counted from now on, if they are not yet.
    pub(super) fn begin(&mut self, model: &str, now: Timestamp) {
        if !self.by_model.contains_key(model) {
            self.note(model, 0, now);
        }
    }

    pub(super) fn note(&mut self, model: &str, uses: u64, now: Timestamp) {
        let (habit, kept) = self.by_model.entry(model.to_owned()).or_insert((Habit::default(), Kept::NotYet));
        habit.note(uses, now);
        *kept = Kept::NotYet;
    }
}

impl Deposits {
    /// How much each model is used; a model that there never was a token of is absent.
    pub async fn habits(&self) -> Result<BTreeMap<ModelName, Habit>, VaultError> {
        let work = |books: &mut Books| {
            let by_model = books.habits.by_model.iter();
            by_model
                .map(|(model, (habit, _))| Ok((model.parse().map_err(|_| VaultError::Corrupt)?, *habit)))
                .collect()
        };
        self.mailbox.call(Durability::Relaxed, work).await
    }
}

impl Books {
    pub(super) fn read_habits(&mut self) -> Result<(), VaultError> {
        self.habits.by_model.clear();
        let mut statement = self.conn.prepare_cached("SELECT model, sealed FROM habits")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let model: String = row.get(0)?;
            let sealed = row.get_ref(1)?.as_blob().unwrap_or_default();
            // A damaged one is begun anew.
            if let Ok([plain]) = self.sealer.open::<1>(&place(&model), sealed)
                && let Some(habit) = Habit::from_bytes(plain.expose())
            {
                self.habits.by_model.insert(model, (habit, Kept::Yes));
            }
        }
        Ok(())
    }

    /// Before a commit: what changed goes with it, once a batch.
    pub(super) fn write_habits(&mut self) -> Result<(), VaultError> {
        for (model, (habit, kept)) in &mut self.habits.by_model {
            if *kept == Kept::NotYet {
                let sealed = self.sealer.seal(&place(model), &[&habit.to_bytes()]);
                self.conn
                    .prepare_cached(
                        "INSERT INTO habits (model, sealed) VALUES (?1, ?2)
                         ON CONFLICT (model) DO UPDATE SET sealed = excluded.sealed",
                    )?
                    .execute((model.as_str(), sealed))?;
                *kept = Kept::Yes;
            }
        }
        Ok(())
    }
}

fn place(model: &str) -> Place<'_> {
    Place { table: "habits", row: model.as_bytes(), subject: model }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_unix(1_800_000_000 + day * DAY)
    }

    #[test]
    fn a_steady_use_is_found_within_days_and_forgotten_within_weeks() {
        let mut habit = Habit::default();
        assert_eq!(habit.per_day(at(0)), None);
        (0..30).for_each(|day| habit.note(20, at(day)));
        assert!((habit.per_day(at(30)).unwrap() - 20.0).abs() < 0.5);
        let after = habit.per_day(at(30 + 14)).unwrap();
        assert!((9.0..11.0).contains(&after), "{after}");
        assert!(habit.per_day(at(30 + 400)).unwrap() < 0.01);
    }

    #[test]
    fn a_clock_set_back_neither_forgets_nor_counts_twice() {
        let mut habit = Habit::default();
        (0..10).for_each(|day| habit.note(5, at(day)));
        let before = habit.per_day(at(9));
        assert_eq!(habit.per_day(at(2)), before);
        habit.note(5, at(2));
        assert_eq!(habit.days(), 9);
    }

    #[test]
    fn a_clock_that_ran_ahead_once_does_not_stop_the_reviews() {
        let mut habit = Habit::default();
        (0..20).for_each(|day| habit.note(40, at(day)));
        habit.note(1, at(20 + 365));
        for day in 20..40 {
            habit.note(40, at(day));
            let pace = habit.pace(at(day + 1)).unwrap();
            assert!(pace.review.since <= 40 * 11 + 1, "day {day}: {pace:?}");
            assert_eq!(pace.today.since, 0);
        }
        assert!(habit.per_day(at(40)).unwrap() > 20.0);
    }

    #[test]
    fn a_reading_is_the_same_all_day_and_a_review_holds_until_the_next() {
        let mut habit = Habit::default();
        habit.note(0, at(0));
        assert_eq!(habit.pace(at(0)), None);
        (0..9).for_each(|day| habit.note(10, at(day)));
        let before = habit.pace(at(8)).unwrap();
        assert_eq!((before.review.day, before.review.since), (8, 10));
        habit.note(1_000, at(8));
        let after = habit.pace(at(8)).unwrap();
        assert_eq!(after.review, Reading { since: 1_010, ..before.review });
        assert_eq!(after.today, Reading { since: 1_010, ..before.today });
        let later = habit.pace(at(12)).unwrap();
        assert_eq!((later.review, later.today.day), (after.review, 12));
        assert!(later.today.per_day > after.today.per_day);
        assert_eq!(habit.pace(at(18)).unwrap().review.day, 18);
    }

    proptest! {
        #[test]
        fn a_habit_survives_its_bytes_and_never_leaves_what_was_used(
            uses in prop::collection::vec((0i64..400, 0u64..1_000), 1..60),
        ) {
            let mut habit = Habit::default();
            let mut day = 0;
            for (pause, count) in &uses {
                day += pause;
                habit.note(*count, at(day));
            }
            prop_assert_eq!(Habit::from_bytes(&habit.to_bytes()), Some(habit));
            let most: u64 = uses.iter().map(|(_, count)| count).sum();
            prop_assert!(habit.per_day(at(day)).is_none_or(|mean| (0.0..=float(most)).contains(&mean)));
        }
    }
}
