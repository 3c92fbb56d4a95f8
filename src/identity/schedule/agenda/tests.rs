use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::identity::schedule::plan::Plans;
use crate::identity::schedule::policy::Privacy;

const START: i64 = 1_800_000_000;
const STEP: i64 = 30;

fn model() -> ModelName {
    "gpt-4.1".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(START + seconds)
}

/// An agenda and its surroundings.
struct World {
    agenda: Agenda,
    plans: Plans,
    stock: BTreeMap<ModelName, Kept>,
    rng: StdRng,
}

impl World {
    fn new(seed: u64, held: u64) -> Self {
        Self {
            agenda: Agenda::default(),
            plans: Plans::new(Privacy::Balanced, BTreeMap::new()),
            stock: BTreeMap::from([(model(), Kept { key: "k".into(), held })]),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    fn hold(&mut self, held: u64) {
        self.stock.get_mut(&model()).unwrap().held = held;
    }

    fn tick(&mut self, now: Timestamp, continuity: Continuity) -> Vec<ModelName> {
        let (plans, stock) = (&self.plans, &self.stock);
        self.agenda.reconcile(stock, |model| plans.of(model), now, continuity, &mut self.rng);
        self.agenda.due(now)
    }

    /// A whole look.
    fn look(&mut self, now: Timestamp, outcome: Outcome) -> News {
        let then = self.agenda.begin(&model(), self.plans.of(&model()), now, &mut self.rng);
        self.agenda.conclude(&model(), then, outcome)
    }

    fn due(&self) -> Timestamp {
        self.agenda.of(&model()).unwrap().due()
    }

    fn restart(&mut self) {
        let note = serde_json::to_vec(&self.agenda).unwrap();
        self.agenda = serde_json::from_slice(&note).unwrap();
    }
}

#[test]
fn a_restart_keeps_the_appointment_and_looks_at_nothing() {
    let mut world = World::new(1, 0);
    assert!(world.tick(at(0), Continuity::Broken).is_empty());
    let due = world.due();
    for hour in 1..4 {
        world.restart();
        let now = at(0).plus_seconds((due.seconds_since(at(0)) - 10) * hour / 4);
        assert!(world.tick(now, Continuity::Broken).is_empty());
        assert_eq!(world.due(), due);
    }
    assert_eq!(world.tick(due, Continuity::Unbroken), [model()]);
}

#[test]
fn what_was_slept_through_is_looked_at_once_and_later_than_the_waking() {
    let mut world = World::new(2, 500);
    world.tick(at(0), Continuity::Broken);
    // Long enough for a dozen appointments.
    let woken = at(60 * 86_400);
    assert!(world.tick(woken, Continuity::Broken).is_empty());
    let due = world.due();
    assert!(due.seconds_since(woken) >= LEAST);
    world.restart();
    assert!(world.tick(due.plus_seconds(-1), Continuity::Broken).is_empty());
    assert_eq!(world.due(), due, "it is drawn once");
    assert_eq!(world.tick(due, Continuity::Unbroken), [model()]);
    world.look(due, Outcome::Done);
    assert!(world.tick(due.plus_seconds(STEP), Continuity::Unbroken).is_empty());
}

#[test]
fn a_clock_set_back_draws_anew_and_one_set_right_by_minutes_does_not() {
    let mut world = World::new(3, 500);
    // The clock is a year ahead.
    let ahead = at(365 * 86_400);
    world.tick(ahead, Continuity::Broken);
    let due = world.due();
    world.tick(ahead.plus_seconds(-600), Continuity::Broken);
    assert_eq!(world.due(), due);
    world.tick(at(0), Continuity::Broken);
    assert!(world.due() < at(200 * 86_400), "{:?}", world.due());
}

#[test]
fn whoever_dies_in_a_look_has_the_appointment_of_a_failed_one() {
    let mut world = World::new(4, 0);
    world.tick(at(0), Continuity::Broken);
    let now = world.due();
    let then = world.agenda.begin(&model(), world.plans.of(&model()), now, &mut world.rng);
    world.restart();
    let again = world.due();
    assert!((LEAST..=2 * PATIENCE).contains(&again.seconds_since(now)));
    assert!(world.tick(now.plus_seconds(1), Continuity::Broken).is_empty());
    world.agenda.conclude(&model(), then, Outcome::Done);
    assert_eq!(world.due(), then.max(now.plus_seconds(LEAST)));
}

#[test]
fn failures_are_repeated_ever_more_seldom_and_told_once() {
    let mut world = World::new(5, 0);
    world.tick(at(0), Continuity::Broken);
    let mut pauses = Vec::new();
    for failure in 0..12 {
        let now = world.due();
        let news = world.look(now, Outcome::Failed);
        assert_eq!(news == News::Yes, failure == 0);
        pauses.push(world.due().seconds_since(now));
    }
    assert!(pauses[0] < 2 * PATIENCE && pauses[11] > LONGEST_PATIENCE / 3);
    assert!(pauses.iter().all(|pause| (LEAST..=LONGEST_PATIENCE * 3 / 2).contains(pause)));
    let now = world.due();
    world.look(now, Outcome::Done);
    let now = world.due();
    assert_eq!(world.look(now, Outcome::Failed), News::Yes);
}

#[test]
fn without_a_session_nothing_is_due_until_somebody_signs_in() {
    let mut world = World::new(6, 0);
    world.tick(at(0), Continuity::Broken);
    let now = world.due();
    assert_eq!(world.look(now, Outcome::SignedOut), News::Yes);
    world.restart();
    let later = at(30 * 86_400);
    world.tick(later, Continuity::Unbroken);
    assert!(world.agenda.due(later).is_empty());
    world.agenda.signed_in();
    assert!(world.tick(later, Continuity::Broken).is_empty(), "not at the sign-in itself");
    assert_eq!(world.tick(world.due(), Continuity::Unbroken), [model()]);
}

#[test]
fn no_credit_is_told_once_and_its_sight_makes_a_first_appointment() {
    let mut world = World::new(7, 0);
    world.tick(at(0), Continuity::Broken);
    let now = world.due();
    assert_eq!(world.look(now, Outcome::NoCredit), News::Yes);
    let now = world.due();
    assert_eq!(world.look(now, Outcome::NoCredit), News::No);
    let far = world.due();
    let credits = |left| BTreeMap::from([(model().as_str().to_owned(), left)]);
    for (left, standing) in [(0, Standing::NoCredit), (7, Standing::First)] {
        let plans = &world.plans;
        world.agenda.credits_seen(&credits(left), |model| plans.of(model), now, &mut world.rng);
        assert_eq!(world.agenda.of(&model()).unwrap().standing(), standing);
        assert_eq!(world.due() == far, left == 0);
    }
}

#[test]
fn which_models_lack_credit_is_known_from_the_sight_of_the_account_and_from_what_came_since() {
    let mut agenda = Agenda::default();
    assert!(!agenda.lacks_credit(&model()), "the account was never seen");
    let credits = |left| BTreeMap::from([("other".to_owned(), 3), (model().as_str().to_owned(), left)]);
    agenda.account_seen(&credits(0));
    assert!(agenda.lacks_credit(&model()));
    let mut world = World::new(3, 0);
    let bought = BTreeMap::from([(model().as_str().to_owned(), 5)]);
    agenda.credits_seen(&bought, |model| world.plans.of(model), at(0), &mut world.rng);
    assert!(!agenda.lacks_credit(&model()), "some were bought");
    agenda.account_seen(&BTreeMap::new());
    assert!(agenda.lacks_credit(&model()));
}

#[test]
fn neither_a_mint_by_hand_nor_a_lack_of_credit_stands_for_the_first_stock() {
    for held in [0, 50] {
        let mut world = World::new(11, held);
        world.tick(at(0), Continuity::Broken);
        let first = |world: &World| world.agenda.of(&model()).unwrap().first_stock();
        let due = world.due();
        world.agenda.minted_by_hand(&model());
        assert_eq!(world.agenda.of(&model()).unwrap().standing(), Standing::First);
        for outcome in [Outcome::Failed, Outcome::NoCredit, Outcome::Refused, Outcome::Alarm] {
            world.look(due, outcome);
            world.agenda.minted_by_hand(&model());
            assert_eq!(first(&world), FirstStock::ToCome);
        }
        world.look(due, Outcome::Done);
        world.restart();
        assert_eq!(first(&world), FirstStock::Had);
        // Another key: what is held under the old one is no use.
        world.stock.get_mut(&model()).unwrap().key = "another".into();
        world.tick(due, Continuity::Unbroken);
        assert_eq!(first(&world), FirstStock::ToCome);
    }
}

#[test]
fn a_mint_that_was_begun_is_remembered_until_it_is_made_or_hopeless() {
    let mut world = World::new(12, 0);
    world.tick(at(0), Continuity::Broken);
    let due = world.due();
    let goal = |world: &World| world.agenda.of(&model()).unwrap().goal();
    for (outcome, kept) in [
        (Outcome::Failed, true),
        (Outcome::SignedOut, true),
        (Outcome::Done, false),
        (Outcome::NoCredit, false),
        (Outcome::Refused, false),
        (Outcome::Alarm, false),
    ] {
        world.agenda.mint_begun(&model(), 800);
        // The repetition of one that was broken off has the same end.
        world.agenda.mint_begun(&model(), 1100);
        world.look(due, outcome);
        world.restart();
        assert_eq!(goal(&world), kept.then_some(800), "{outcome:?}");
    }
    world.agenda.mint_begun(&model(), 800);
    world.agenda.signed_in();
    assert_eq!(goal(&world), None, "it may be another account");
}

#[test]
fn a_forged_signature_stops_its_model_until_another_key_is_pinned() {
    let mut world = World::new(8, 0);
    world.tick(at(0), Continuity::Broken);
    let now = world.due();
    assert_eq!(world.look(now, Outcome::Alarm), News::Yes);
    world.restart();
    let later = at(300 * 86_400);
    assert!(world.tick(later, Continuity::Unbroken).is_empty());
    world.stock.get_mut(&model()).unwrap().key = "another".into();
    world.tick(later, Continuity::Unbroken);
    assert_eq!(world.tick(world.due(), Continuity::Unbroken), [model()]);
}

#[test]
fn a_model_whose_key_is_not_pinned_any_more_has_no_appointment() {
    let mut world = World::new(9, 0);
    world.tick(at(0), Continuity::Broken);
    world.stock.clear();
    world.tick(at(1), Continuity::Unbroken);
    assert_eq!(world.agenda, Agenda::default());
}

#[test]
fn models_have_appointments_of_their_own() {
    let mut world = World::new(10, 800);
    let other: ModelName = "gemini-2.5-pro".parse().unwrap();
    world.stock.insert(other.clone(), Kept { key: "k".into(), held: 800 });
    world.tick(at(0), Continuity::Broken);
    let others = |world: &World| world.agenda.of(&other).unwrap().clone();
    let before = others(&world);
    assert_ne!(before.due(), world.due());
    for outcome in [Outcome::Failed, Outcome::NoCredit, Outcome::Alarm] {
        let now = world.due();
        world.look(now, outcome);
        assert_eq!(others(&world), before);
    }
}

/// Days of looks that all succeed, with the stock that `held` says at each tick; the times of the looks.
fn looks(seed: u64, held: impl Fn(usize) -> u64) -> Vec<Timestamp> {
    // The first stock is told from others: here there is one.
    let mut world = World::new(seed, 800);
    world.tick(at(0), Continuity::Broken);
    let mut times = Vec::new();
    while times.len() < 20 {
        let now = world.due();
        world.hold(held(times.len()));
        assert_eq!(world.tick(now, Continuity::Unbroken), [model()]);
        world.look(now, Outcome::Done);
        times.push(now);
    }
    times
}

/// What can happen to a machine.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// It runs for so many steps.
    Runs(i64),
    /// It sleeps, and its clock goes on.
    Sleeps(i64),
    /// Its clock is set.
    Sets(i64),
    /// The program is started anew.
    Restarts,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (1i64..400).prop_map(Event::Runs),
        (60i64..20 * 86_400).prop_map(Event::Sleeps),
        (-400 * 86_400i64..400 * 86_400).prop_map(Event::Sets),
        Just(Event::Restarts),
    ];
    prop::collection::vec(event, 1..60)
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Done), Just(Outcome::Failed), Just(Outcome::NoCredit), Just(Outcome::Refused)]
}

proptest! {
    #[test]
    fn appointments_do_not_depend_on_spending(seed in any::<u64>(), held in prop::collection::vec(0u64..3_000, 20)) {
        prop_assert_eq!(looks(seed, |_| 100), looks(seed, |at| held[at]));
    }

    #[test]
    fn no_history_of_sleeps_clocks_and_restarts_yields_two_looks_within_five_minutes_of_real_time(
        seed in any::<u64>(), events in events(), outcomes in prop::collection::vec(outcomes(), 16),
    ) {
        let mut world = World::new(seed, 0);
        let (mut real, mut wall) = (0, at(0));
        let mut continuity = Continuity::Broken;
        let mut looks: Vec<i64> = Vec::new();
        for event in events {
            let steps = match event {
                Event::Runs(steps) => steps,
                Event::Sleeps(seconds) => {
                    real += seconds;
                    wall = wall.plus_seconds(seconds);
                    continuity = Continuity::Broken;
                    1
                }
                Event::Sets(seconds) => {
                    wall = wall.plus_seconds(seconds);
                    continuity = Continuity::Broken;
                    1
                }
                Event::Restarts => {
                    world.restart();
                    continuity = Continuity::Broken;
                    1
                }
            };
            for _ in 0..steps {
                for model in world.tick(wall, continuity) {
                    prop_assert_eq!(continuity, Continuity::Unbroken, "a look at the moment of {:?}", event);
                    let outcome = outcomes[looks.len() % outcomes.len()];
                    let then = world.agenda.begin(&model, world.plans.of(&model), wall, &mut world.rng);
                    world.agenda.conclude(&model, then, outcome);
                    looks.push(real);
                }
                continuity = Continuity::Unbroken;
                real += STEP;
                wall = wall.plus_seconds(STEP);
            }
        }
        prop_assert!(looks.windows(2).all(|pair| pair[1] - pair[0] >= LEAST - STEP), "{:?}", looks);
    }

    #[test]
    fn any_note_is_read_or_begun_anew(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let read: Agenda = serde_json::from_slice(&bytes).unwrap_or_default();
        prop_assert!(read.due(at(0)).len() <= read.models.len());
    }
}
