//! Maximum likelihood over the rules: how likely an account's mints are if its owner is the one with these redemptions.
//!
//! The adversary knows the policy and has, under a pseudonym, every use: so it knows the habit at any time and, with an account's
//! mints, the stock, and asks the very policy what it would do. Looks come at random with a known rate; while the policy says
//! "mint", the time that passes without a mint speaks against the pair, and a mint at which the policy says something else nearly
//! rules it out.

use llmtor::clock::Timestamp;
use llmtor::identity::schedule::policy::{Decision, Shelf};
use llmtor::vault::habits::{Habit, Pace, Reading};

use super::super::population::{Call, START};
use super::super::world::{Mint, Recipe};

/// Distance of the instants at which the policy is asked.
const STEP: i64 = 3 * 3600;
/// Log-likelihood of a mint that the policy would not have made.
const WRONG: f64 = -6.0;
/// Share of looks that are not slept through, roughly.
const AWAKE: f64 = 0.6;

/// What a pseudonym tells of one model: the uses, and at each step how many there were and the pace, if the habit
/// began on a certain day: that of an account's first mint.
pub(crate) struct Course {
    steps: Vec<(u64, Option<Pace>)>,
    times: Vec<i64>,
}

impl Course {
    pub(crate) fn of(uses: &[Call], model: usize, begin: i64, end: i64) -> Self {
        let times: Vec<i64> = uses.iter().filter(|call| call.model == model).map(|call| call.at).collect();
        let mut habit = Habit::default();
        habit.note(0, Timestamp::from_unix(begin));
        let mut done = 0;
        let mut steps = Vec::new();
        let mut at = START;
        while at < end {
            while done < times.len() && times[done] <= at {
                habit.note(1, Timestamp::from_unix(times[done]));
                done += 1;
            }
            steps.push((done as u64, habit.pace(Timestamp::from_unix(at))));
            at += STEP;
        }
        Self { steps, times }
    }

    /// Uses before `at`.
    pub(crate) fn used(&self, at: i64) -> u64 {
        self.times.partition_point(|time| *time < at) as u64
    }

    /// Instants of use, ascending.
    pub(crate) fn times(&self) -> &[i64] {
        &self.times
    }
}

/// The pace when there were `now` uses, if it was `then` when there were `before`; on the same day.
fn later(then: Option<Pace>, before: u64, now: u64) -> Option<Pace> {
    let more = now.saturating_sub(before);
    let add = |reading: Reading| Reading { since: reading.since + more, ..reading };
    then.map(|pace| Pace { today: add(pace.today), review: add(pace.review) })
}

/// Log-likelihood of `mints` (of one model, ascending) given a pseudonym's `course`.
pub(crate) fn likelihood(recipe: &Recipe, mints: &[Mint], course: &Course) -> f64 {
    let mut sum = 0.0;
    let mut issued = 0u64;
    let mut next = 0;
    let decide = |held: u64, pace| recipe.decide(&Shelf { held, pace, credits: u64::MAX });
    for (step, (used, pace)) in course.steps.iter().enumerate() {
        let from = START + step as i64 * STEP;
        while let Some(mint) = mints.get(next).filter(|mint| mint.at < from + STEP) {
            let before = course.used(mint.at);
            let pace = if next == 0 { None } else { later(*pace, *used, before) };
            let right = decide(issued.saturating_sub(before), pace) == Decision::Mint(mint.count);
            sum += if right { 0.0 } else { WRONG };
            issued += u64::from(mint.count);
            next += 1;
        }
        let used = course.used(from + STEP);
        let pace = later(*pace, course.used(from + 1), used);
        if let Decision::Mint(_) = decide(issued.saturating_sub(used), pace) {
            let looks = STEP as f64 / recipe.policy.mean(issued.saturating_sub(used)).as_secs_f64().max(60.0);
            sum -= looks.min(10.0) * AWAKE;
        }
    }
    sum
}
