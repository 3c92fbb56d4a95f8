//! What is played against what: the policies, the traces, and one contest's course and result.

use std::fmt;
use std::time::Duration;

use llmtor::identity::schedule::policy::{Policy, Privacy};

use super::adversary::{self, ATTACKS, single};
use super::population::{Joining, Trace, population};
use super::world::{Cost, Counts, Order, Recipe, Rules, Trigger, World, play};

/// How much is played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) people: usize,
    pub(crate) days: i64,
    /// Games that count; the adversary trains on half as many others.
    pub(crate) games: u64,
    pub(crate) seed: u64,
}

impl Default for Scale {
    fn default() -> Self {
        Self { people: 100, days: 30, games: 12, seed: 1 }
    }
}

/// Which table a contest belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Policies,
    Ingredients,
    Frontier,
    Long,
}

/// One policy against the adversary on one trace.
#[derive(Clone, Debug)]
pub(crate) struct Contest {
    pub(crate) part: Part,
    pub(crate) name: String,
    pub(crate) rules: Rules,
    pub(crate) trace: Trace,
    pub(crate) joining: Joining,
    pub(crate) scale: Scale,
}

/// A mean over games, and half the width of its 95% interval.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Estimate {
    pub(crate) mean: f64,
    pub(crate) margin: f64,
}

/// What a contest came to.
#[derive(Clone, Debug)]
pub(crate) struct Result {
    pub(crate) contest: Contest,
    /// Of pseudonyms, named by the strongest attack, and which that is.
    pub(crate) pseudonyms: Estimate,
    pub(crate) attack: &'static str,
    /// Of pseudonyms, by attack in the order of [`ATTACKS`].
    pub(crate) attacks: Vec<f64>,
    /// Of redemptions, each through its pseudonym.
    pub(crate) through: Estimate,
    /// Of redemptions by themselves.
    pub(crate) single: Estimate,
    /// Of redemptions, if always an account with the most issued is named.
    pub(crate) baseline: Estimate,
    /// `single - baseline`, game by game.
    pub(crate) excess: Estimate,
    pub(crate) entropy: f64,
    pub(crate) cost: Cost,
}

impl fmt::Display for Contest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.trace.name(), self.name)
    }
}

impl Contest {
    pub(crate) fn play(&self) -> Result {
        let Scale { people, days, games, seed } = self.scale;
        let game = |number: u64| -> World {
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(number);
            play(
                &population(self.trace, self.joining, people, days, seed),
                &self.rules,
                days,
                self.trace.models(),
                seed,
            )
        };
        let trained: Vec<World> = (0..games.div_ceil(2)).map(|number| game(500_000 + number)).collect();
        let model = adversary::train(&trained, &self.rules);
        let samples: Vec<single::Sample> =
            trained.iter().zip(0..).map(|(world, seed)| single::Sample::of(world, seed)).collect();
        let alone = single::train(&samples);

        let mut cost = Cost::default();
        let (mut named, mut through): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
        let (mut singles, mut baselines, mut entropies) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..games {
            let world = game(number);
            let outcome = adversary::attack(&world, &self.rules, &model);
            named.push(outcome.attacks.concat());
            through.push(outcome.through.concat());
            entropies.push(outcome.entropy);
            singles.push(single::attack(&single::Sample::of(&world, number), &alone).to_vec());
            baselines.push(single::heaviest(&world.logs, &world.truth));
            cost.add(&world.cost);
        }
        let (best, pseudonyms) = strongest(&named);
        let (at, alone) = strongest(&singles);
        let excess: Vec<f64> =
            singles.iter().zip(&baselines).map(|(single, baseline)| single[at] - baseline).collect();
        let ways = named.first().map_or(1, Vec::len) / ATTACKS.len();
        let means = |attack: usize| {
            (attack * ways..(attack + 1) * ways)
                .map(|way| estimate(&column(&named, way)).mean)
                .fold(0.0, f64::max)
        };
        Result {
            contest: self.clone(),
            pseudonyms,
            attack: ATTACKS[best / ways],
            attacks: (0..ATTACKS.len()).map(means).collect(),
            through: strongest(&through).1,
            single: alone,
            baseline: estimate(&baselines),
            excess: estimate(&excess),
            entropy: estimate(&entropies).mean,
            cost,
        }
    }
}

fn column(rows: &[Vec<f64>], at: usize) -> Vec<f64> {
    rows.iter().map(|row| row[at]).collect()
}

/// The attack with the best mean: chosen with hindsight, in the adversary's favour.
fn strongest(rows: &[Vec<f64>]) -> (usize, Estimate) {
    let all = (0..rows.first().map_or(0, Vec::len)).map(|at| (at, estimate(&column(rows, at))));
    all.max_by(|(_, a), (_, b)| a.mean.total_cmp(&b.mean)).unwrap_or_default()
}

fn estimate(values: &[f64]) -> Estimate {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    Estimate { mean, margin: 1.96 * (variance / count).sqrt() }
}

/// Everything that docs/linking-game.md shows.
pub(crate) fn all(scale: Scale) -> Vec<Contest> {
    let mut contests = Vec::new();
    let mut add = |part, name: &str, rules: &Rules, trace, joining, scale| {
        contests.push(Contest { part, name: name.to_owned(), rules: rules.clone(), trace, joining, scale });
    };
    for trace in Trace::ALL {
        for (name, rules) in policies() {
            add(Part::Policies, name, &rules, trace, Joining::Together, scale);
        }
    }
    for (name, rules) in ingredients() {
        add(Part::Ingredients, name, &rules, Trace::Chat, Joining::Together, scale);
    }
    for ladder in LADDERS {
        let name = format!("{ladder:?}");
        add(
            Part::Frontier,
            &name,
            &ours(balanced().with_ladder(ladder.to_vec())),
            Trace::Chat,
            Joining::Together,
            scale,
        );
    }
    let long = |days: i64| Scale { days: scale.days * days, games: scale.games.div_ceil(2), ..scale };
    for (name, rules) in policies() {
        add(
            Part::Long,
            &format!("{name}, three times as long"),
            &rules,
            Trace::Chat,
            Joining::Together,
            long(3),
        );
    }
    for (name, rules) in policies() {
        add(
            Part::Long,
            &format!("{name}, accounts opened over the month"),
            &rules,
            Trace::Chat,
            Joining::Over(scale.days),
            long(1),
        );
    }
    contests
}

const LADDERS: [&[u32]; 6] = [
    &[200, 600, 1800, 5400],
    &[600, 1500, 6000],
    &[1000, 2500, 7500],
    &[1500, 6000],
    &[2000, 8000],
    &[5000, 20_000],
];

fn policies() -> Vec<(&'static str, Rules)> {
    vec![
        ("official", Rules::Official),
        ("ours, frugal", ours(Policy::of(Privacy::Frugal))),
        ("ours, balanced", ours(balanced())),
        ("ours, strong", ours(Policy::of(Privacy::Strong))),
    ]
}

/// Balanced, with one thing changed.
fn ingredients() -> Vec<(&'static str, Rules)> {
    let with = |change: fn(&mut Recipe)| {
        let mut recipe = recipe(balanced());
        change(&mut recipe);
        Rules::Ours(recipe)
    };
    vec![
        ("balanced", ours(balanced())),
        ("looks at each use", with(|recipe| recipe.trigger = Trigger::Use)),
        ("what is needed, by fifties, instead of rungs", with(|recipe| recipe.counts = Counts::Needed)),
        ("a first stock of 100", ours(balanced().with_ladder(vec![100, 1600, 5000]))),
        (
            "what is needed, and a first stock of 100",
            with(|recipe| {
                recipe.counts = Counts::Needed;
                recipe.policy = balanced().with_ladder(vec![100, 1600, 5000]);
            }),
        ),
        ("a week at a time", ours(balanced().with_low(days(7.0)).with_ladder(vec![150, 400, 1500]))),
        ("looks days apart", ours(balanced().with_looks_every(days(3.0)))),
        ("no delay before use", with(|recipe| recipe.maturing = 0.0)),
        ("oldest token first", with(|recipe| recipe.order = Order::OldestFirst)),
    ]
}

fn balanced() -> Policy {
    Policy::of(Privacy::Balanced)
}

pub(crate) fn ours(policy: Policy) -> Rules {
    Rules::Ours(recipe(policy))
}

fn recipe(policy: Policy) -> Recipe {
    // The delay is the daemon's default, identity.delay_minutes.
    Recipe { policy, trigger: Trigger::Clock, order: Order::Random, counts: Counts::Rungs, maturing: 1800.0 }
}

fn days(days: f64) -> Duration {
    Duration::from_secs_f64(days * 86_400.0)
}
