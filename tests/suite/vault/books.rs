//! The books balance: whatever the order of operations, no token is lost and none is in two hands.

use std::collections::{BTreeMap, BTreeSet};

use llmtor::vault::{Doubt, Presented, RequestDigest};
use proptest::prelude::*;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_calls_at_once_draw_all_tokens_and_none_twice() {
    let place = Place::new();
    let vault = place.open();
    let names: BTreeSet<String> = stock_up(&vault, 100).await.into_iter().collect();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let withdrawals = vault.withdrawals();
        tasks.spawn(async move {
            let mut drawn = Vec::new();
            while let Ok(reserved) = withdrawals.reserve(call(), &model(), key(), AbuseRule::Omitted).await {
                let presented = withdrawals.present(reserved, RequestDigest([1; 32])).await.unwrap();
                drawn.push(presented.llmmask().token.0.clone());
                withdrawals.settle(presented).await.unwrap();
            }
            drawn
        });
    }
    let drawn: Vec<Vec<u8>> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(drawn.len(), 100);
    let drawn: BTreeSet<String> = drawn.into_iter().map(|token| String::from_utf8(token).unwrap()).collect();
    assert_eq!(drawn, names);
    assert_eq!(stock(&vault).await, Stock { spent: 100, ..Stock::default() });
}

/// One step of a random history. Numbers choose among what is there, modulo its size.
#[derive(Clone, Debug)]
enum Step {
    Begin(u8),
    Finalize { which: usize, delay: i64 },
    Abandon(usize),
    Reserve,
    Release(usize),
    DropReserved(usize),
    Present { which: usize, prompt: u8 },
    Resume { prompt: u8 },
    Return(usize),
    SetAside(usize),
    Doubt { which: usize, doubt: bool },
    DropPresented(usize),
    Settle(usize),
    Wait(i64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<usize>();
    prop_oneof![
        2 => (1u8..4).prop_map(Step::Begin),
        6 => (which, prop_oneof![Just(0), 0i64..20_000]).prop_map(|(which, delay)| Step::Finalize { which, delay }),
        1 => which.prop_map(Step::Abandon),
        6 => Just(Step::Reserve),
        1 => which.prop_map(Step::Release),
        1 => which.prop_map(Step::DropReserved),
        5 => (which, 0u8..3).prop_map(|(which, prompt)| Step::Present { which, prompt }),
        4 => (0u8..3).prop_map(|prompt| Step::Resume { prompt }),
        1 => which.prop_map(Step::Return),
        1 => which.prop_map(Step::SetAside),
        2 => (which, any::<bool>()).prop_map(|(which, doubt)| Step::Doubt { which, doubt }),
        1 => which.prop_map(Step::DropPresented),
        2 => which.prop_map(Step::Settle),
        2 => prop_oneof![1i64..5_000, 2 * DAY..7 * DAY].prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

struct InDoubt {
    prompt: u8,
    spent: bool,
    presented_at: Timestamp,
}

struct InHand {
    guard: Presented,
    token: String,
    prompt: u8,
    /// From an earlier attempt: None, unknown (false) or known to be spent (true).
    doubt: Option<bool>,
    presented_at: Timestamp,
}

/// What the vault should hold, kept with nothing but collections.
#[derive(Default)]
struct Model {
    blinded: Vec<String>,
    /// Token → `not_before`. A reserved token's name is not known, so it stays here, and `reserved` counts.
    shelf: BTreeMap<String, Timestamp>,
    reserved: Vec<Reserved>,
    presented: Vec<InHand>,
    in_doubt: BTreeMap<String, InDoubt>,
    refused: BTreeSet<String>,
    wiped: BTreeSet<String>,
}

impl Model {
    fn lapse(&mut self, now: Timestamp) {
        let over: Vec<String> = self
            .in_doubt
            .iter()
            .filter(|(_, doubt)| now.seconds_since(doubt.presented_at) >= 6 * DAY)
            .map(|(token, _)| token.clone())
            .collect();
        for token in over {
            if self.in_doubt.remove(&token).unwrap().spent {
                self.wiped.insert(token);
            } else {
                self.shelf.insert(token, START);
            }
        }
    }

    fn leave_in_doubt(&mut self, hand: &InHand, spent: bool) {
        let spent = spent || hand.doubt == Some(true);
        let doubt = InDoubt { prompt: hand.prompt, spent, presented_at: hand.presented_at };
        assert!(self.in_doubt.insert(hand.token.clone(), doubt).is_none());
    }
}

fn take<T>(from: &mut Vec<T>, which: usize) -> Option<T> {
    if from.is_empty() { None } else { Some(from.swap_remove(which % from.len())) }
}

#[expect(clippy::too_many_lines, reason = "one short arm for each kind of step")]
async fn run(steps: Vec<Step>) {
    let place = Place::new();
    let mut vault = place.open();
    let mut model_of = Model::default();
    for step in steps {
        let (deposits, withdrawals) = (vault.deposits(), vault.withdrawals());
        let digest = |prompt: u8| withdrawals.digest(&model(), &[prompt]);
        let now = place.clock.now();
        match step {
            Step::Begin(count) => {
                let names: Vec<String> = (0..count).map(|_| format!("token {}", unique())).collect();
                deposits.begin(names.iter().map(|name| issuance(name, name)).collect()).await.unwrap();
                model_of.blinded.extend(names);
            }
            Step::Finalize { which, delay } => {
                if let Some(name) = take(&mut model_of.blinded, which) {
                    let not_before = now.plus_seconds(delay);
                    deposits.finalize(&RequestId(name.clone()), signature(), not_before).await.unwrap();
                    model_of.shelf.insert(name, not_before);
                }
            }
            Step::Abandon(which) => {
                if let Some(name) = take(&mut model_of.blinded, which) {
                    deposits.abandon(&RequestId(name)).await.unwrap();
                }
            }
            Step::Reserve => {
                let matured = model_of.shelf.values().filter(|at| **at <= now).count();
                let drawn = reserve(&vault).await;
                assert_eq!(drawn.is_ok(), matured > model_of.reserved.len(), "{:?}", drawn.err());
                model_of.reserved.extend(drawn);
            }
            Step::Release(which) => {
                if let Some(reserved) = take(&mut model_of.reserved, which) {
                    withdrawals.release(reserved).await.unwrap();
                }
            }
            Step::DropReserved(which) => drop(take(&mut model_of.reserved, which)),
            Step::Present { which, prompt } => {
                if let Some(reserved) = take(&mut model_of.reserved, which) {
                    let guard = withdrawals.present(reserved, digest(prompt)).await.unwrap();
                    let token = String::from_utf8(guard.llmmask().token.0.clone()).unwrap();
                    assert!(model_of.shelf.remove(&token).is_some_and(|at| at <= now), "in two hands");
                    model_of.presented.push(InHand { guard, token, prompt, doubt: None, presented_at: now });
                }
            }
            Step::Resume { prompt } => {
                let resumed = withdrawals.resume(call(), digest(prompt)).await.unwrap();
                let oldest = model_of.in_doubt.values().filter(|doubt| doubt.prompt == prompt);
                let oldest = oldest.map(|doubt| doubt.presented_at).min();
                assert_eq!(resumed.is_some(), oldest.is_some());
                if let Some(guard) = resumed {
                    let token = String::from_utf8(guard.llmmask().token.0.clone()).unwrap();
                    let found = model_of.in_doubt.remove(&token).expect("was in doubt");
                    assert!(found.prompt == prompt && Some(found.presented_at) == oldest && guard.resumed());
                    let doubt = Some(found.spent);
                    model_of.presented.push(InHand { guard, token, prompt, doubt, presented_at: now });
                }
            }
            Step::Return(which) => {
                if let Some(hand) = take(&mut model_of.presented, which) {
                    if hand.doubt.is_none() {
                        model_of.shelf.insert(hand.token.clone(), START);
                    } else {
                        model_of.leave_in_doubt(&hand, false);
                    }
                    withdrawals.return_unspent(hand.guard).await.unwrap();
                }
            }
            Step::SetAside(which) => {
                if let Some(hand) = take(&mut model_of.presented, which) {
                    withdrawals.set_aside(hand.guard).await.unwrap();
                    model_of.refused.insert(hand.token);
                }
            }
            Step::Doubt { which, doubt } => {
                if let Some(hand) = take(&mut model_of.presented, which) {
                    model_of.leave_in_doubt(&hand, doubt);
                    let doubt = if doubt { Doubt::Undelivered } else { Doubt::Unknown };
                    withdrawals.doubt(hand.guard, doubt).await.unwrap();
                }
            }
            Step::DropPresented(which) => {
                if let Some(hand) = take(&mut model_of.presented, which) {
                    model_of.leave_in_doubt(&hand, false);
                }
            }
            Step::Settle(which) => {
                if let Some(hand) = take(&mut model_of.presented, which) {
                    withdrawals.settle(hand.guard).await.unwrap();
                    assert!(model_of.wiped.insert(hand.token), "spent twice");
                }
            }
            // An hour at least, so that the vault looks for lapsed doubts as often as this model does.
            Step::Wait(seconds) => {
                place.clock.advance(3600 + seconds);
                model_of.lapse(place.clock.now());
            }
            Step::Restart => {
                vault.close().await.unwrap();
                let (reopened, report) = place.open_with_report();
                vault = reopened;
                assert_eq!(report.released, model_of.reserved.len() as u64);
                assert_eq!(report.doubted, model_of.presented.len() as u64);
                assert_eq!(report.blinded, model_of.blinded.len() as u64);
                model_of.reserved.clear();
                for hand in std::mem::take(&mut model_of.presented) {
                    model_of.leave_in_doubt(&hand, false);
                }
                model_of.lapse(now);
            }
        }
        let now = place.clock.now();
        let matured = model_of.shelf.values().filter(|at| **at <= now).count() as u64;
        let reserved = model_of.reserved.len() as u64;
        let expected = Stock {
            available: matured - reserved,
            maturing: model_of.shelf.len() as u64 - matured,
            reserved,
            presented: model_of.presented.len() as u64,
            in_doubt: model_of.in_doubt.len() as u64,
            blinded: model_of.blinded.len() as u64,
            other_key: 0,
            refused: model_of.refused.len() as u64,
            spent: model_of.wiped.len() as u64,
        };
        assert_eq!(stock(&vault).await, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_books_balance_after_every_step_of_any_history(steps in proptest::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps));
    }
}
