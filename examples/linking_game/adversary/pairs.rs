//! What can be said of a pair (pseudonym, account), as numbers.

use super::super::population::{DAY, START};
use super::super::world::{Logs, Mint, Rules};
use std::collections::{BTreeMap, BTreeSet};

use super::learned::Candidates;
use super::rules::{Course, likelihood};

/// Numbers of a pair.
pub(crate) const FEATURES: usize = 26;

/// Every pair of one game.
pub(crate) struct Pairs {
    people: usize,
    cells: Vec<[f32; FEATURES]>,
}

impl Candidates for Pairs {
    fn rows(&self) -> usize {
        self.people
    }

    fn columns(&self) -> usize {
        self.people
    }

    fn features(&self, row: usize, column: usize) -> &[f32] {
        &self.cells[row * self.people + column]
    }
}

/// A pseudonym, prepared.
struct Pseudonym {
    /// By model and by the day on which the stock begins.
    by_model: Vec<BTreeMap<i64, Course>>,
    /// All models together.
    times: Vec<i64>,
    /// Density of use over the hours of the day, 1 on average.
    hours: [f64; 24],
    total: f64,
    early: f64,
}

impl Pairs {
    pub(crate) fn of(logs: &Logs, rules: &Rules) -> Self {
        let days: BTreeSet<i64> = match rules {
            Rules::Official => BTreeSet::from([0]),
            Rules::Ours(_) => firsts(logs).map(day).chain([0]).collect(),
        };
        let pseudonyms: Vec<Pseudonym> = logs
            .uses
            .iter()
            .map(|uses| {
                let times: Vec<i64> = uses.iter().map(|call| call.at).collect();
                Pseudonym {
                    by_model: (0..logs.models)
                        .map(|model| {
                            let course =
                                |day: &i64| (*day, Course::of(uses, model, START + day * DAY, logs.end));
                            days.iter().map(course).collect()
                        })
                        .collect(),
                    hours: hours(&times),
                    total: ln(times.len() as f64),
                    early: ln(count_within(&times, START, START + 3 * DAY) as f64),
                    times,
                }
            })
            .collect();
        let accounts: Vec<Vec<Vec<Mint>>> = logs
            .mints
            .iter()
            .map(|mints| {
                (0..logs.models)
                    .map(|model| mints.iter().filter(|mint| mint.model == model).copied().collect())
                    .collect()
            })
            .collect();
        let mut cells = Vec::with_capacity(pseudonyms.len() * accounts.len());
        for pseudonym in &pseudonyms {
            for account in &accounts {
                cells.push(pair(pseudonym, account, logs, rules).map(|value| value as f32));
            }
        }
        Self { people: pseudonyms.len(), cells }
    }

    /// The scores of an attack that needs no training.
    pub(crate) fn scores(&self, attack: usize) -> Vec<Vec<f64>> {
        let score = |cell: &[f32; FEATURES]| {
            let of = |feature: usize| f64::from(cell[feature]);
            match attack {
                0 => of(7) + 0.3 * of(8) + 0.1 * of(9),
                1 => -of(25),
                2 => -of(1),
                3 => of(0) - 3.0 * of(1),
                4 => of(12),
                5 => -10.0 * of(13) - of(14),
                _ => of(15) + of(11),
            }
        };
        self.cells.chunks_exact(self.people).map(|row| row.iter().map(score).collect()).collect()
    }
}

fn pair(pseudonym: &Pseudonym, account: &[Vec<Mint>], logs: &Logs, rules: &Rules) -> [f64; FEATURES] {
    let mut f = [0.0; FEATURES];
    let span = (logs.end - START) as f64;
    let y = pseudonym.total;
    let (mut issued_all, mut mints_all, mut last, mut first_mint) = (0u64, 0.0, 0.0f64, i64::MAX);
    for (courses, mints) in pseudonym.by_model.iter().zip(account) {
        let begin = mints.first().map_or(0, day);
        let Some(course) = courses.get(&begin).or_else(|| courses.get(&0)) else { continue };
        let issued: u64 = mints.iter().map(|mint| u64::from(mint.count)).sum();
        let used = course.times().len() as u64;
        if let Rules::Ours(recipe) = rules {
            f[0] += likelihood(recipe, mints, course).max(-60.0);
        }
        let mut stock = 0u64;
        let (mut overdrawn, mut slack) = (0u64, 0.0);
        for mint in mints {
            let before = course.used(mint.at);
            overdrawn = overdrawn.max(before.saturating_sub(stock));
            if stock > 0 {
                slack += ln(stock.saturating_sub(before) as f64);
            }
            stock += u64::from(mint.count);
        }
        overdrawn = overdrawn.max(used.saturating_sub(stock));
        f[1] += ln(overdrawn as f64);
        f[2] += slack;
        for mint in mints {
            let times = course.times();
            let since =
                |seconds: i64| f64::from(u8::from(count_within(times, mint.at - seconds, mint.at) > 0));
            let around = |seconds: i64| {
                f64::from(u8::from(count_within(times, mint.at - seconds, mint.at + seconds) > 0))
            };
            f[7] += since(10);
            f[8] += since(300);
            f[9] += around(3600);
            f[10] += around(6 * 3600);
            f[11] += around(DAY);
            f[12] += pseudonym.hours[hour(mint.at)].ln();
            let days = count_within(times, mint.at - 3 * DAY, mint.at) as f64;
            f[15] += ln(days) - ln(used as f64 * 3.0 * DAY as f64 / span);
            last = last.max((mint.at - START) as f64 / span);
            first_mint = first_mint.min(mint.at);
        }
        f[20] += f64::from(u8::from(used == 0 && issued > 0));
        f[21] += (ln(issued as f64) - ln(used as f64)).abs();
        issued_all += issued;
        mints_all += mints.len() as f64;
    }
    let x = ln(issued_all as f64);
    (f[3], f[4], f[5], f[6]) = (x, x * x, x * y, x * y * y);
    let first_use = pseudonym.times.first().copied().unwrap_or(logs.end);
    f[13] = f64::from(u8::from(first_use < first_mint));
    f[14] = ln((first_use - first_mint).max(0) as f64 / 60.0);
    (f[16], f[17]) = (last, last * y);
    (f[18], f[19]) = (ln(mints_all), ln(mints_all) * y);
    (f[22], f[23], f[24]) = (x * pseudonym.early, last * pseudonym.early, x * x * y);
    f[25] = (x - y).abs();
    f
}

/// The first mint of each account and model.
fn firsts(logs: &Logs) -> impl Iterator<Item = &Mint> {
    let of = |mints: &'_ Vec<Mint>| -> Vec<usize> {
        (0..logs.models).filter_map(|model| mints.iter().position(|mint| mint.model == model)).collect()
    };
    logs.mints.iter().flat_map(move |mints| of(mints).into_iter().map(move |at| &mints[at]))
}

/// The day of the game.
fn day(mint: &Mint) -> i64 {
    (mint.at - START).div_euclid(DAY)
}

fn hours(times: &[i64]) -> [f64; 24] {
    let mut bins = [0.0; 24];
    for time in times {
        bins[hour(*time)] += 1.0;
    }
    let sum: f64 = bins.iter().sum::<f64>().max(1.0);
    let smooth = |at: usize| {
        let near = |off: usize, weight: f64| weight * (bins[(at + off) % 24] + bins[(at + 24 - off) % 24]);
        (0.4 * bins[at] + near(1, 0.2) + near(2, 0.1)) / sum * 24.0
    };
    std::array::from_fn(|at| (0.9 * smooth(at) + 0.1).max(0.02))
}

pub(crate) fn hour(time: i64) -> usize {
    usize::try_from(time.rem_euclid(DAY) / 3600).unwrap_or(0)
}

/// How many of `times` are in `[from, to]`.
pub(crate) fn count_within(times: &[i64], from: i64, to: i64) -> usize {
    times.partition_point(|time| *time <= to)
        - times.partition_point(|time| *time < from).min(times.partition_point(|time| *time <= to))
}

pub(crate) fn ln(count: f64) -> f64 {
    count.ln_1p()
}
