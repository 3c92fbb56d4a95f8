//! A server without abuse tokens: whose is one redemption, by itself?

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::population::{Call, DAY};
use super::super::world::{Logs, Mint, World};
use super::learned::{Candidates, Model};
use super::pairs::{hour, ln};

const FEATURES: usize = 17;
/// Redemptions looked at in one game.
const SAMPLE: usize = 250;

/// Some redemptions of a game and every account's numbers for them.
pub(crate) struct Sample {
    accounts: usize,
    cells: Vec<[f32; FEATURES]>,
    truth: Vec<usize>,
}

impl Candidates for Sample {
    fn rows(&self) -> usize {
        self.truth.len()
    }

    fn columns(&self) -> usize {
        self.accounts
    }

    fn features(&self, row: usize, column: usize) -> &[f32] {
        &self.cells[row * self.accounts + column]
    }
}

impl Sample {
    pub(crate) fn of(world: &World, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let all: Vec<(usize, &Call)> = world
            .logs
            .uses
            .iter()
            .zip(&world.truth)
            .flat_map(|(uses, account)| uses.iter().map(|call| (*account, call)))
            .collect();
        let mut sample = Self { accounts: world.logs.mints.len(), cells: Vec::new(), truth: Vec::new() };
        if all.is_empty() {
            return sample;
        }
        for _ in 0..SAMPLE {
            let (account, call) = all[rng.random_range(0..all.len())];
            sample.truth.push(account);
            for mints in &world.logs.mints {
                sample.cells.push(features(mints, call, &world.logs).map(|value| value as f32));
            }
        }
        sample
    }
}

/// Trains on samples of other games.
pub(crate) fn train(samples: &[Sample]) -> Model {
    let examples: Vec<(&Sample, &[usize])> =
        samples.iter().map(|sample| (sample, sample.truth.as_slice())).collect();
    Model::fit(&examples, FEATURES)
}

/// Shares of redemptions that are named rightly: by the trained model, and by the account whose mint is next.
pub(crate) fn attack(sample: &Sample, model: &Model) -> [f64; 2] {
    let right = |scores: &[Vec<f64>]| {
        let best = |row: &Vec<f64>| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        let named =
            scores.iter().zip(&sample.truth).filter(|(row, truth)| best(row) == Some(**truth)).count();
        named as f64 / sample.truth.len().max(1) as f64
    };
    let next: Vec<Vec<f64>> = sample
        .cells
        .chunks_exact(sample.accounts)
        .map(|row| row.iter().map(|cell| -f64::from(cell[3])).collect())
        .collect();
    [right(&model.scores(sample)), right(&next)]
}

/// Share of redemptions that are named rightly if always an account with the most issued of the model is named.
pub(crate) fn heaviest(logs: &Logs, truth: &[usize]) -> f64 {
    let all: usize = logs.uses.iter().map(Vec::len).sum();
    let of_model = |model: usize| {
        let issued = |account: usize| -> u64 {
            let mints = logs.mints[account].iter().filter(|mint| mint.model == model);
            mints.map(|mint| u64::from(mint.count)).sum()
        };
        let most = (0..logs.mints.len()).map(issued).max().unwrap_or(0);
        let tied = logs.uses.iter().zip(truth).filter(|(_, account)| issued(**account) == most);
        let counts: Vec<usize> =
            tied.map(|(uses, _)| uses.iter().filter(|call| call.model == model).count()).collect();
        counts.iter().sum::<usize>() as f64 / counts.len().max(1) as f64
    };
    (0..logs.models).map(of_model).sum::<f64>() / all.max(1) as f64
}

fn features(mints: &[Mint], call: &Call, logs: &Logs) -> [f64; FEATURES] {
    let mut f = [0.0; FEATURES];
    let of_model = || mints.iter().filter(|mint| mint.model == call.model);
    let issued: f64 = of_model().map(|mint| f64::from(mint.count)).sum();
    let before: f64 = of_model().filter(|mint| mint.at <= call.at).map(|mint| f64::from(mint.count)).sum();
    let next = of_model().map(|mint| mint.at - call.at).find(|wait| *wait > 0).unwrap_or(logs.end);
    let since = of_model().rev().map(|mint| call.at - mint.at).find(|wait| *wait >= 0).unwrap_or(logs.end);
    let within = |wait: i64, seconds: i64| f64::from(u8::from(wait <= seconds));
    f[0] = ln(issued);
    f[1] = f[0] * f[0];
    f[2] = ln(before);
    f[3] = ln(next as f64);
    f[4] = ln(since as f64);
    (f[5], f[6], f[7], f[8]) = (within(next, 5), within(next, 120), within(next, 3600), within(next, DAY));
    (f[9], f[10], f[11]) = (within(since, 120), within(since, 3600), within(since, DAY));
    f[12] = f64::from(u8::from(before == 0.0));
    let count = of_model().count().max(1) as f64;
    f[13] = of_model()
        .map(|mint| {
            let turn = (hour(mint.at) as f64 - hour(call.at) as f64) / 24.0 * std::f64::consts::TAU;
            turn.cos()
        })
        .sum::<f64>()
        / count;
    f[14] = ln(count);
    f[15] = before / issued.max(1.0);
    f[16] = f[3] * f[0];
    f
}

impl Candidates for &Sample {
    fn rows(&self) -> usize {
        (*self).rows()
    }

    fn columns(&self) -> usize {
        (*self).columns()
    }

    fn features(&self, row: usize, column: usize) -> &[f32] {
        (*self).features(row, column)
    }
}
