//! Who plays: people with a time zone, a machine that is on or off, and calls.
//!
//! Use is heavy-tailed over people (log-normal: of a hundred, the heaviest makes about a tenth of all calls) and drifts from
//! month to month. A person calls only while the machine is on.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;
/// The midnight (UTC, of a Monday) at which every game begins.
pub(crate) const START: i64 = 1_799_625_600;

/// Spread of use over people: standard deviation of the logarithm.
const SPREAD: f64 = 1.2;
/// Mean calls a day over people.
const MEAN: f64 = 19.0;
/// Standard deviation of the logarithm of use from one month to the next.
const DRIFT: f64 = 0.25;

/// What kind of calls there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trace {
    /// Conversations, days and nights, every day of the week.
    Chat,
    /// An assistant in an editor: bursts in working hours, on working days.
    Ide,
    /// Loops that run for an hour on machines that are mostly always on.
    Agent,
    /// Conversations, with one to three of three models.
    Models,
}

impl Trace {
    pub(crate) const ALL: [Self; 4] = [Self::Chat, Self::Ide, Self::Agent, Self::Models];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Ide => "IDE",
            Self::Agent => "agent",
            Self::Models => "chat, 3 models",
        }
    }

    /// How many models there are.
    pub(crate) fn models(self) -> usize {
        if self == Self::Models { 3 } else { 1 }
    }
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) at: i64,
    pub(crate) model: usize,
}

/// Somebody with a machine.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// Ascending.
    pub(crate) calls: Vec<Call>,
    /// When the machine is on: `[from, to)`, ascending, disjoint.
    pub(crate) on: Vec<(i64, i64)>,
    /// When the account was opened.
    pub(crate) joined: i64,
}

impl Person {
    /// The first instant from `at` on at which the machine is on, and whether it was on at `at` already.
    pub(crate) fn awake(&self, at: i64) -> Option<(i64, bool)> {
        let next = self.on.partition_point(|(_, to)| *to <= at);
        self.on.get(next).map(|(from, _)| (at.max(*from), *from <= at))
    }
}

/// When accounts are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joining {
    /// All at the beginning.
    Together,
    /// Evenly over so many days.
    Over(i64),
}

/// `count` people over `days` days.
pub(crate) fn population(trace: Trace, joining: Joining, count: usize, days: i64, seed: u64) -> Vec<Person> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| person(trace, joining, days, &mut rng)).collect()
}

fn person(trace: Trace, joining: Joining, days: i64, rng: &mut StdRng) -> Person {
    let zone = pick(&[(35, 1), (20, -5), (12, -8), (10, 5), (15, 8), (8, 9)], rng) * 3600;
    let always_on = chance(if trace == Trace::Agent { 0.8 } else { 0.15 }, rng);
    let rise = 7.5 + normal(rng);
    let mut on = Vec::new();
    for day in -1..=days {
        let midnight = START + day * DAY - zone;
        let weekend = weekday(day) >= 5;
        let (from, to, skipped) = match trace {
            Trace::Ide => (8.7 + 0.4 * normal(rng), 18.5 + normal(rng), if weekend { 0.9 } else { 0.07 }),
            _ => (rise + 0.7 * normal(rng), rise + 15.5 + 0.7 * normal(rng), 0.05),
        };
        let off = chance(skipped, rng);
        if always_on {
            on.push((midnight, midnight + DAY));
        } else if !off {
            on.push((midnight + hours(from), midnight + hours(to)));
        }
    }
    for next in 1..on.len() {
        on[next].0 = on[next].0.max(on[next - 1].1);
    }
    on.retain(|(from, to)| from < to);
    let joined = match joining {
        Joining::Together => START,
        Joining::Over(days) => {
            let at = START + rng.random_range(0..days * DAY);
            on.iter().find(|(_, to)| *to > at).map_or(at, |(from, _)| at.max(*from))
        }
    };
    let mut rate = MEAN * (SPREAD * normal(rng) - SPREAD * SPREAD / 2.0).exp();
    let shares = shares(trace.models(), rng);
    let mut calls = Vec::new();
    for day in 0..days {
        if day % 30 == 29 {
            rate *= (DRIFT * normal(rng)).exp();
        }
        let midnight = START + day * DAY - zone;
        let weekend = weekday(day) >= 5;
        match trace {
            Trace::Chat | Trace::Models => {
                let mood = (0.7 * normal(rng) - 0.245).exp() * if weekend { 0.8 } else { 1.08 };
                for _ in 0..poisson(rate * mood / 6.0, rng) {
                    let hour = if chance(0.5, rng) {
                        rise + 12.5 + 1.5 * normal(rng)
                    } else {
                        rise + 1.5 + 10.0 * rng.random::<f64>()
                    };
                    session(midnight + hours(hour), 6.0, 120.0, &shares, &mut calls, rng);
                }
            }
            Trace::Ide => {
                let mood = (0.6 * normal(rng) - 0.18).exp() * if weekend { 0.15 } else { 1.34 };
                for _ in 0..poisson(rate * mood / 20.0, rng) {
                    session(
                        midnight + hours(9.0 + 9.0 * rng.random::<f64>()),
                        20.0,
                        25.0,
                        &shares,
                        &mut calls,
                        rng,
                    );
                }
            }
            Trace::Agent => {
                for _ in 0..poisson(rate / 50.0, rng) {
                    session(
                        midnight + hours(24.0 * rng.random::<f64>()),
                        50.0,
                        60.0,
                        &shares,
                        &mut calls,
                        rng,
                    );
                }
            }
        }
    }
    calls.retain(|call| {
        let at = on.partition_point(|(_, to)| *to <= call.at);
        call.at >= joined
            && call.at < START + days * DAY
            && on.get(at).is_some_and(|(from, _)| *from <= call.at)
    });
    calls.sort_unstable();
    Person { calls, on, joined }
}

/// Calls one after the other: `size` on average, `gap` seconds between them on average.
fn session(from: i64, size: f64, gap: f64, shares: &[f64], calls: &mut Vec<Call>, rng: &mut StdRng) {
    let mut at = from;
    let mut mark = rng.random::<f64>();
    let model = shares.iter().position(|share| {
        mark -= share;
        mark < 0.0
    });
    loop {
        calls.push(Call { at, model: model.unwrap_or(0) });
        if chance(1.0 / size, rng) {
            return;
        }
        at += seconds(gap * exponential(rng)) + 2;
    }
}

/// How one person's calls are divided over models: most people keep to one.
fn shares(models: usize, rng: &mut StdRng) -> Vec<f64> {
    let mut shares = vec![0.0; models];
    let used = pick(&[(50, 1), (35, 2), (15, 3)], rng);
    for share in [1.0, 0.5, 0.25].iter().take(usize::try_from(used).unwrap_or(1)) {
        let model = rng.random_range(0..models);
        shares[model] += share;
    }
    let sum: f64 = shares.iter().sum();
    shares.iter().map(|share| share / sum).collect()
}

/// Monday is 0.
fn weekday(day: i64) -> i64 {
    day.rem_euclid(7)
}

fn hours(hours: f64) -> i64 {
    seconds(hours * 3600.0)
}

#[expect(clippy::cast_possible_truncation, reason = "days at most")]
fn seconds(seconds: f64) -> i64 {
    seconds as i64
}

fn pick(weighted: &[(u32, i64)], rng: &mut StdRng) -> i64 {
    let sum: u32 = weighted.iter().map(|(weight, _)| weight).sum();
    let mut mark = rng.random_range(0..sum);
    for (weight, value) in weighted {
        if mark < *weight {
            return *value;
        }
        mark -= weight;
    }
    0
}

fn chance(probability: f64, rng: &mut StdRng) -> bool {
    rng.random::<f64>() < probability
}

/// Exponentially distributed with mean 1.
pub(crate) fn exponential(rng: &mut StdRng) -> f64 {
    -(1.0 - rng.random::<f64>()).ln()
}

fn normal(rng: &mut StdRng) -> f64 {
    (2.0 * exponential(rng)).sqrt() * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

fn poisson(mean: f64, rng: &mut StdRng) -> u32 {
    let mut count = 0;
    let mut sum = exponential(rng);
    while sum < mean {
        count += 1;
        sum += exponential(rng);
    }
    count
}
