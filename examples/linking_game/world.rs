//! One game: people play by rules under a simulated clock, and the backend writes its logs.
//!
//! The rules of ours are the daemon's own code: [`Policy`] says when and how much, [`Habit`] measures use, [`DrawIndex`] draws.
//! What the backend sees is [`Logs`]; who is who is [`World::truth`], and only the referee reads it.

use llmtor::blind::Fingerprint;
use llmtor::clock::Timestamp;
use llmtor::identity::schedule::policy::{Decision, Policy, Shelf};
use llmtor::vault::draw::DrawIndex;
use llmtor::vault::habits::Habit;
use llmtor::wire::ModelName;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::population::{Call, DAY, Person, START, exponential};

/// How tokens are minted and drawn.
#[derive(Clone, Debug)]
pub(crate) enum Rules {
    /// The official client's: five tokens, refilled after a use that leaves two, at once.
    Official,
    /// Ours, with an ingredient or another changed.
    Ours(Recipe),
}

/// Ours.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) policy: Policy,
    pub(crate) trigger: Trigger,
    pub(crate) order: Order,
    pub(crate) counts: Counts,
    /// Mean seconds between issuing and `not_before`.
    pub(crate) maturing: f64,
}

impl Recipe {
    /// What to do about a stock; the adversary knows it, too.
    pub(crate) fn decide(&self, shelf: &Shelf) -> Decision {
        match (self.policy.decide(shelf), self.counts, shelf.pace) {
            (Decision::Mint(_), Counts::Needed, Some(pace)) => {
                let missing = pace.today.per_day * 30.0 - (shelf.held + pace.today.since) as f64;
                Decision::Mint((missing / 50.0).ceil().max(1.0) as u32 * 50)
            }
            (decision, ..) => decision,
        }
    }
}

/// How many are minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// A rung.
    Rungs,
    /// What is missing for 30 days, in batches of 50.
    Needed,
}

/// What makes the stock be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// Appointments, drawn in advance.
    Clock,
    /// Each use.
    Use,
}

/// Which token is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Random,
    OldestFirst,
}

/// One batch of issuances, as the backend sees it: the account is the place in [`Logs::mints`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mint {
    pub(crate) at: i64,
    pub(crate) model: usize,
    pub(crate) count: u32,
}

/// All that the backend sees.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    /// By account.
    pub(crate) mints: Vec<Vec<Mint>>,
    /// By pseudonym: the redemptions.
    pub(crate) uses: Vec<Vec<Call>>,
    pub(crate) end: i64,
    pub(crate) models: usize,
}

/// What the users paid for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) calls: u64,
    /// Calls that found no token.
    pub(crate) empty: u64,
    pub(crate) issued: u64,
    pub(crate) used: u64,
    /// Tokens held, averaged over the days, summed over people.
    pub(crate) held: f64,
}

impl Cost {
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.empty += other.empty;
        self.issued += other.issued;
        self.used += other.used;
        self.held += other.held;
    }
}

/// A game that was played.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) logs: Logs,
    /// The account of each pseudonym.
    pub(crate) truth: Vec<usize>,
    pub(crate) cost: Cost,
}

/// Plays.
pub(crate) fn play(people: &[Person], rules: &Rules, days: i64, models: usize, seed: u64) -> World {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed_0f9a_3e11);
    let mut truth: Vec<usize> = (0..people.len()).collect();
    truth.shuffle(&mut rng);
    let end = START + days * DAY;
    let mut cost = Cost::default();
    let played: Vec<(Vec<Mint>, Vec<Call>)> = people
        .iter()
        .map(|person| match rules {
            Rules::Official => official(person, models, end, &mut cost, &mut rng),
            Rules::Ours(recipe) => ours(person, recipe, models, end, &mut cost, &mut rng),
        })
        .collect();
    let uses = truth.iter().map(|account| played[*account].1.clone()).collect();
    let mints = played.into_iter().map(|(mints, _)| mints).collect();
    World { logs: Logs { mints, uses, end, models }, truth, cost }
}

fn official(
    person: &Person,
    models: usize,
    end: i64,
    cost: &mut Cost,
    rng: &mut StdRng,
) -> (Vec<Mint>, Vec<Call>) {
    let mut mints: Vec<Mint> = Vec::new();
    let mut held = vec![0u32; models];
    // The refill of each model that may still be on its way.
    let mut refills: Vec<Option<usize>> = vec![None; models];
    for call in &person.calls {
        let (held, refill) = (&mut held[call.model], &mut refills[call.model]);
        if let Some(refill) = refill.map(|place| &mut mints[place])
            && refill.at > call.at
            && *held <= refill.count
        {
            // All others are used: the call waits for it. Both are told at the instant of the call.
            refill.at = call.at;
        }
        if *held == 0 {
            *held = 5;
            mints.push(Mint { at: call.at - 2, model: call.model, count: 5 });
        }
        *held -= 1;
        if *held <= 2 {
            *refill = Some(mints.len());
            mints.push(Mint { at: call.at + rng.random_range(1..4), model: call.model, count: 5 - *held });
            *held = 5;
        }
    }
    tally(cost, &mints, &person.calls, person.calls.len(), end);
    (mints, person.calls.clone())
}

/// What one person holds of one model.
struct Stock {
    name: ModelName,
    index: DrawIndex,
    /// For [`Order::OldestFirst`].
    queue: Vec<i64>,
    held: u64,
    habit: Habit,
    look: i64,
    next_id: i64,
}

fn ours(
    person: &Person,
    recipe: &Recipe,
    models: usize,
    end: i64,
    cost: &mut Cost,
    rng: &mut StdRng,
) -> (Vec<Mint>, Vec<Call>) {
    let mut mints = Vec::new();
    let mut uses = Vec::new();
    let wanted = |model: usize| person.calls.iter().any(|call| call.model == model);
    let mut stocks: Vec<Stock> = (0..models)
        .map(|model| Stock {
            name: model_name(model),
            index: DrawIndex::default(),
            queue: Vec::new(),
            held: 0,
            habit: Habit::default(),
            // Somebody buys the models that they are going to use.
            look: if wanted(model) {
                recipe.policy.appoint(0, at(person.joined), rng).unix()
            } else {
                i64::MAX
            },
            next_id: 0,
        })
        .collect();
    let mut calls = person.calls.iter().peekable();
    loop {
        let (model, look) = stocks
            .iter()
            .map(|stock| stock.look)
            .enumerate()
            .min_by_key(|(_, look)| *look)
            .unwrap_or((0, i64::MAX));
        match calls.peek() {
            Some(call) if call.at < look => {
                let call = **call;
                calls.next();
                let stock = &mut stocks[call.model];
                if stock.draw(recipe.order, call.at, rng) {
                    stock.held -= 1;
                    stock.habit.note(1, at(call.at));
                    uses.push(call);
                }
                if recipe.trigger == Trigger::Use {
                    stock.look(call.model, recipe, call.at + 2, &mut mints, rng);
                }
            }
            _ if look < end => {
                let stock = &mut stocks[model];
                match person.awake(look) {
                    Some((_, true)) => {
                        stock.look(model, recipe, look, &mut mints, rng);
                        stock.look = match recipe.trigger {
                            Trigger::Clock => recipe.policy.appoint(stock.held, at(look), rng).unix(),
                            Trigger::Use => i64::MAX,
                        };
                    }
                    // Slept through: not at the instant of waking.
                    Some((waking, false)) => {
                        stock.look = recipe.policy.appoint(stock.held, at(waking), rng).unix();
                    }
                    None => stock.look = i64::MAX,
                }
            }
            _ => break,
        }
    }
    tally(cost, &mints, &uses, person.calls.len(), end);
    (mints, uses)
}

impl Stock {
    fn draw(&mut self, order: Order, now: i64, rng: &mut StdRng) -> bool {
        match order {
            Order::Random => self.index.draw(rng, &self.name, key(), at(now)).is_ok(),
            Order::OldestFirst => {
                let first = self.queue.first().copied().filter(|not_before| *not_before <= now);
                first.map(|_| self.queue.remove(0)).is_some()
            }
        }
    }

    fn look(&mut self, model: usize, recipe: &Recipe, now: i64, mints: &mut Vec<Mint>, rng: &mut StdRng) {
        let shelf = Shelf { held: self.held, pace: self.habit.pace(at(now)), credits: u64::MAX };
        if let Decision::Mint(count) = recipe.decide(&shelf) {
            if mints.iter().all(|mint| mint.model != model) {
                self.habit.note(0, at(now));
            }
            mints.push(Mint { at: now, model, count });
            self.held += u64::from(count);
            for _ in 0..count {
                let not_before = now + whole(recipe.maturing * exponential(rng));
                match recipe.order {
                    Order::Random => self.index.put(&self.name, key(), self.next_id, at(not_before)),
                    Order::OldestFirst => {
                        let place = self.queue.partition_point(|other| *other <= not_before);
                        self.queue.insert(place, not_before);
                    }
                }
                self.next_id += 1;
            }
        }
    }
}

fn tally(cost: &mut Cost, mints: &[Mint], uses: &[Call], calls: usize, end: i64) {
    let issued: u64 = mints.iter().map(|mint| u64::from(mint.count)).sum();
    cost.calls += calls as u64;
    cost.empty += (calls - uses.len()) as u64;
    cost.issued += issued;
    cost.used += uses.len() as u64;
    let span = (end - START) as f64;
    cost.held += mints.iter().map(|mint| f64::from(mint.count) * (end - mint.at) as f64 / span).sum::<f64>()
        - uses.iter().map(|call| (end - call.at) as f64 / span).sum::<f64>();
}

fn model_name(model: usize) -> ModelName {
    let name = ["gpt-4.1", "gpt-5-mini", "gemini-2.5-pro"][model % 3];
    ModelName::new(name).unwrap_or_else(|_| unreachable!("a name that is well-formed"))
}

fn key() -> Fingerprint {
    Fingerprint::from_bytes([0; 32])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(seconds)
}

fn whole(seconds: f64) -> i64 {
    seconds as i64
}
