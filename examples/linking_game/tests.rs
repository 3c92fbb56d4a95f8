//! The game is fair, and the adversary is one: small games, so that it does not rot.

use llmtor::identity::schedule::policy::{Policy, Privacy};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::adversary;
use super::contest::{self, Scale, ours};
use super::population::{DAY, Joining, START, Trace, population};
use super::report;
use super::world::{Rules, World, play};

fn game(trace: Trace, rules: &Rules, people: usize, days: i64, seed: u64) -> World {
    play(&population(trace, Joining::Together, people, days, seed), rules, days, trace.models(), seed)
}

fn rules() -> [Rules; 3] {
    [
        Rules::Official,
        ours(Policy::of(Privacy::Balanced)),
        ours(Policy::of(Privacy::Frugal).with_ladder(vec![50, 200])),
    ]
}

/// Share of pseudonyms that the best attack names.
fn best(world: &World, rules: &Rules, training: &[World]) -> f64 {
    let outcome = adversary::attack(world, rules, &adversary::train(training, rules));
    outcome.attacks.concat().into_iter().fold(0.0, f64::max)
}

/// A redemption for which nothing had been issued.
fn redeemed_early(trace: Trace, by: usize, seed: u64) -> Option<i64> {
    let world = game(trace, &rules()[by], 4, 12, seed);
    for (uses, account) in world.logs.uses.iter().zip(&world.truth) {
        for model in 0..trace.models() {
            let times = uses.iter().filter(|call| call.model == model).map(|call| call.at);
            for (used, at) in times.enumerate() {
                let mints =
                    world.logs.mints[*account].iter().filter(|mint| mint.model == model && mint.at <= at);
                let issued: u64 = mints.map(|mint| u64::from(mint.count)).sum();
                if issued <= used as u64 {
                    return Some(at);
                }
            }
        }
    }
    None
}

#[test]
fn a_call_that_overtakes_the_official_clients_refill_waits_for_it() {
    // In this world somebody calls three times before the refill is there.
    assert_eq!(redeemed_early(Trace::Chat, 0, 927), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn nothing_is_redeemed_before_it_is_issued(seed in 0u64..1_000, trace in prop::sample::select(&Trace::ALL[..]), by in 0usize..3) {
        prop_assert_eq!(redeemed_early(trace, by, seed), None);
    }

    #[test]
    fn calls_are_made_while_the_machine_is_on(seed in 0u64..1_000, trace in prop::sample::select(&Trace::ALL[..])) {
        for person in population(trace, Joining::Over(5), 4, 10, seed) {
            prop_assert!(person.calls.is_sorted());
            for call in &person.calls {
                prop_assert_eq!(person.awake(call.at), Some((call.at, true)));
                prop_assert!(call.at >= person.joined && (START..START + 10 * DAY).contains(&call.at));
            }
        }
    }
}

#[test]
fn the_same_seed_plays_the_same_game() {
    let rules = ours(Policy::of(Privacy::Balanced));
    let (one, other) = (game(Trace::Chat, &rules, 5, 10, 3), game(Trace::Chat, &rules, 5, 10, 3));
    assert_eq!((one.logs.mints, one.logs.uses, one.truth), (other.logs.mints, other.logs.uses, other.truth));
}

#[test]
fn the_official_clients_pseudonyms_are_all_named() {
    let worlds: Vec<World> = (0..3).map(|seed| game(Trace::Chat, &Rules::Official, 20, 10, seed)).collect();
    assert!(best(&worlds[0], &Rules::Official, &worlds[1..]) > 0.9);
}

#[test]
fn logs_that_were_shuffled_name_nobody() {
    let rules = ours(Policy::of(Privacy::Balanced));
    let mut rng = StdRng::seed_from_u64(9);
    let mut worlds: Vec<World> = (0..6).map(|seed| game(Trace::Chat, &rules, 20, 10, seed)).collect();
    for world in &mut worlds {
        world.truth.shuffle(&mut rng);
    }
    let model = adversary::train(&worlds[3..], &rules);
    // One of twenty is expected; each attack has 60 guesses, of which 12 are over five standard deviations.
    for attack in 0..adversary::ATTACKS.len() {
        let share: f64 = worlds[..3]
            .iter()
            .map(|world| adversary::attack(world, &rules, &model).attacks[attack][1])
            .sum::<f64>()
            / 3.0;
        assert!(share < 0.2, "{}: {share}", adversary::ATTACKS[attack]);
    }
}

#[test]
fn a_whole_contest_is_played_and_told() {
    let scale = Scale { people: 8, days: 10, games: 2, seed: 1 };
    let some: Vec<_> = contest::all(scale).into_iter().step_by(13).map(|contest| contest.play()).collect();
    let text = report::tables(&some);
    for result in &some {
        assert!(text.contains(&result.contest.name), "{text}");
    }
    assert!(report::plot(&some).ends_with("</svg>\n"));
}
