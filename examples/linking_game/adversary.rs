//! The backend as an adversary: it has the logs, knows the rules (Kerckhoffs) and can play the game by itself as often as it
//! likes, with people like ours, to learn what tells them apart.
//!
//! With abuse tokens all redemptions of a user hang together under a pseudonym, and the question is whose pseudonym it is:
//! each attack gives each pair (pseudonym, account) a score. Pseudonyms are then named one by one, by the highest score, or
//! all at once, by the best assignment (accounts and pseudonyms are one to one), or by the posterior under that constraint.
//!
//! | attack | score |
//! | --- | --- |
//! | nearest in time | how closely a mint follows a redemption |
//! | totals | how near the totals are, after both were brought in order |
//! | causal | how many redemptions there are before the tokens for them |
//! | rules | likelihood of the mints under the rules, given the redemptions ([`rules`]) |
//! | rhythm | whether the mints are at the hours of the redemptions |
//! | onset | how soon the first redemption follows the first mint |
//! | intersection | whether much is redeemed in the days around the mints |
//! | learned | all of these and their products with use, weighted by a model trained on other games ([`learned`]) |
//!
//! Without abuse tokens each redemption stands alone ([`single`]).

pub(crate) mod assign;
pub(crate) mod learned;
pub(crate) mod pairs;
pub(crate) mod rules;
pub(crate) mod single;

use super::world::{Rules, World};
use assign::{assignment, constrained};
use learned::Model;
use pairs::{FEATURES, Pairs};

/// The attacks on pseudonyms, in the order of [`Outcome::attacks`].
pub(crate) const ATTACKS: [&str; 8] =
    ["nearest in time", "totals", "causal", "rules", "rhythm", "onset", "intersection", "learned"];

/// How one game ended: shares of 1.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Pseudonyms named rightly, by attack: one by one, by assignment, by constrained posterior.
    pub(crate) attacks: Vec<[f64; 3]>,
    /// The same for redemptions, each through its pseudonym.
    pub(crate) through: Vec<[f64; 3]>,
    /// Bits of the posterior over accounts, mean over pseudonyms.
    pub(crate) entropy: f64,
}

/// Plays all attacks on `world`.
pub(crate) fn attack(world: &World, rules: &Rules, model: &Model) -> Outcome {
    let pairs = Pairs::of(&world.logs, rules);
    let mut outcome = Outcome::default();
    for attack in 0..ATTACKS.len() {
        let scores = if attack + 1 == ATTACKS.len() { model.scores(&pairs) } else { pairs.scores(attack) };
        let posterior = constrained(&scores);
        if attack + 1 == ATTACKS.len() {
            outcome.entropy = entropy(&posterior);
        }
        let guesses = [one_by_one(&scores), assignment(&scores), one_by_one(&posterior)];
        outcome.attacks.push(guesses.each_ref().map(|guess| right(guess, world, |_| 1.0)));
        outcome.through.push(guesses.each_ref().map(|guess| right(guess, world, |uses| uses as f64)));
    }
    outcome
}

/// Trains on games that it played by itself.
pub(crate) fn train(worlds: &[World], rules: &Rules) -> Model {
    let examples: Vec<(Pairs, &[usize])> =
        worlds.iter().map(|world| (Pairs::of(&world.logs, rules), world.truth.as_slice())).collect();
    Model::fit(&examples, FEATURES)
}

fn one_by_one(scores: &[Vec<f64>]) -> Vec<usize> {
    scores.iter().map(|row| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0)).collect()
}

fn right(guess: &[usize], world: &World, weight: impl Fn(usize) -> f64) -> f64 {
    let weights: Vec<f64> = world.logs.uses.iter().map(|uses| weight(uses.len())).collect();
    let named = guess.iter().zip(&world.truth).zip(&weights).filter(|((guess, truth), _)| guess == truth);
    named.map(|(_, weight)| weight).sum::<f64>() / weights.iter().sum::<f64>().max(1.0)
}

fn entropy(posterior: &[Vec<f64>]) -> f64 {
    let bits = |row: &Vec<f64>| -row.iter().filter(|p| **p > 0.0).map(|p| p * p.log2()).sum::<f64>();
    posterior.iter().map(bits).sum::<f64>() / posterior.len() as f64
}
