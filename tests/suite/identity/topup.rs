//! What the schedule does by itself: over real sockets and a real vault, with a clock that is turned by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use llmtor::clock::{Clock, Timestamp};
use llmtor::identity::schedule::agenda::{Continuity, LEAST};
use llmtor::identity::schedule::outlook::{Level, Next, Outlook};
use llmtor::identity::schedule::plan::{Plans, Stocking};
use llmtor::identity::schedule::policy::Privacy;
use llmtor::identity::schedule::rotation::{LATEST, SOONEST, WINDOW};
use llmtor::identity::{
    Activity, ErrorKind, MintOrder, Minted, Obstacle, Office, Readiness, Recovered, Schedule, ScheduleParts,
};
use llmtor::keys::Keyring;
use llmtor::vault::{AbuseRule, CallId, Doubt, RequestDigest};
use llmtor::wire::ModelName;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::issuer::Fault;
use super::{Process, START, World, model};

const BATCH: u32 = 6;

/// The schedule of one process, with an own stocking so that few tokens are made.
fn schedule(world: &World, process: &Process) -> Schedule {
    schedule_of(Stocking { target: Some(10), batch: Some(BATCH) }, world, process)
}

fn schedule_of(own: Stocking, world: &World, process: &Process) -> Schedule {
    let own = BTreeMap::from([(model(), own)]);
    Schedule::new(ScheduleParts {
        activity: Activity::On,
        plans: Plans::new(Privacy::Balanced, own),
        warn_days: 3,
        deposits: process.vault.deposits(),
        clock: world.clock.clone(),
    })
}

/// The process's own identity plane.
struct Desk<'a> {
    process: &'a Process,
    keyring: Keyring,
    is_open: AtomicBool,
    /// So many tokens are minted by hand while the account is asked for.
    by_hand: AtomicU32,
}

impl<'a> Desk<'a> {
    fn of(world: &World, process: &'a Process) -> Self {
        Self { process, keyring: world.issuer.keyring(), is_open: AtomicBool::new(true), by_hand: 0.into() }
    }
}

impl Office for Desk<'_> {
    fn is_open(&self) -> bool {
        self.is_open.load(Ordering::SeqCst)
    }

    fn keyring(&self) -> Keyring {
        self.keyring.clone()
    }

    async fn credits(&self) -> Result<BTreeMap<String, i64>, Obstacle> {
        let count = self.by_hand.swap(0, Ordering::SeqCst) as usize;
        if count > 0 {
            let order = MintOrder { model: model(), count, readiness: Readiness::Now };
            self.process.identity.mint(order, &|_| ()).await.expect("minted by hand");
        }
        let account = self.process.identity.account().await;
        account.map(|account| account.active).map_err(|error| Obstacle::from(&error))
    }

    async fn mint(
        &self,
        model: &ModelName,
        count: u32,
        stop: &CancellationToken,
    ) -> Result<Minted, Obstacle> {
        let order = MintOrder { model: model.clone(), count: count as usize, readiness: Readiness::Delayed };
        let minted = self.process.identity.mint_until(order, &|_| (), stop).await;
        minted.map_err(|error| Obstacle::from(&error))
    }

    async fn recover(&self) -> Result<(), Obstacle> {
        self.process.identity.recover().await.map(drop).map_err(|error| Obstacle::from(&error))
    }

    async fn renew_abuse(&self) -> Result<(), Obstacle> {
        let setup = self.process.identity.abuse_setup().await;
        setup.map(drop).map_err(|error| Obstacle::from(&error))
    }

    async fn rotate_abuse(&self) -> Result<(), Obstacle> {
        let rotated = self.process.identity.abuse_rotate().await;
        rotated.map(drop).map_err(|error| Obstacle::from(&error))
    }
}

async fn tick(schedule: &Schedule, desk: &Desk<'_>, continuity: Continuity) {
    schedule.tick(desk, continuity, &CancellationToken::new()).await.expect("ticked");
}

async fn outlook(schedule: &Schedule, desk: &Desk<'_>) -> Outlook {
    schedule.outlook(desk).await.expect("outlook")[&model()]
}

/// Turns the clock to the next look, and has it done.
async fn look(world: &World, schedule: &Schedule, desk: &Desk<'_>) {
    let due = match outlook(schedule, desk).await.next {
        Next::Look(due) | Next::NoCredit(Some(due)) | Next::Refused(due) => due,
        other => panic!("no look is planned: {other:?}"),
    };
    world.clock.advance(due.seconds_since(world.clock.now()).max(0));
    tick(schedule, desk, Continuity::Unbroken).await;
}

fn asked(world: &World) -> usize {
    world.issuer.seen(<[_]>::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_is_topped_up_in_batches_at_its_appointments_and_at_no_other_time() {
    let world = World::new(100).await;
    let process = world.start();
    let (schedule, desk) = (schedule(&world, &process), Desk::of(&world, &process));
    tick(&schedule, &desk, Continuity::Broken).await;
    let first = outlook(&schedule, &desk).await;
    assert_eq!(first.level, Level::Empty);
    let Next::Look(due) = first.next else { panic!("{first:?}") };
    assert!(due.seconds_since(Timestamp::from_unix(START)) >= LEAST);
    world.clock.advance(LEAST - 1);
    tick(&schedule, &desk, Continuity::Unbroken).await;
    assert_eq!(asked(&world), 0);

    look(&world, &schedule, &desk).await;
    let stock = process.stock().await;
    assert_eq!((stock.available + stock.maturing, world.issuer.used()), (6, 6));
    assert!(stock.maturing > 0, "with a delay each");
    // Spending something changes nothing; what is there decides at the next look.
    let next = outlook(&schedule, &desk).await.next;
    tick(&schedule, &desk, Continuity::Unbroken).await;
    assert_eq!(outlook(&schedule, &desk).await.next, next);
    look(&world, &schedule, &desk).await;
    assert_eq!(world.issuer.used(), 12);

    // Twelve are more than ten: nothing is asked.
    let before = asked(&world);
    look(&world, &schedule, &desk).await;
    assert_eq!(asked(&world), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_mint_by_hand_nor_a_few_credits_stand_for_the_first_stock() {
    let world = World::new(7).await;
    let process = world.start();
    let by_hand = MintOrder { model: model(), count: 3, readiness: Readiness::Now };
    process.identity.mint(by_hand, &|_| ()).await.expect("minted");
    // As the preset has it, but with a batch of six.
    let own = Stocking { target: None, batch: Some(BATCH) };
    let (schedule, desk) = (schedule_of(own, &world, &process), Desk::of(&world, &process));
    tick(&schedule, &desk, Continuity::Broken).await;
    schedule.minted_by_hand(&model()).await.expect("kept");
    // Credit for four of the six; days go by, and the habit has readings.
    look(&world, &schedule, &desk).await;
    assert_eq!(world.issuer.used(), 7);
    assert!(matches!(outlook(&schedule, &desk).await.next, Next::NoCredit(_)));
    world.clock.advance(86_400);
    world.issuer.buy(100);
    schedule.credits_seen(&BTreeMap::from([(model().to_string(), 100)])).await.expect("kept");
    look(&world, &schedule, &desk).await;
    assert_eq!(world.issuer.used(), 7 + i64::from(BATCH));
    look(&world, &schedule, &desk).await;
    assert_eq!(world.issuer.used(), 7 + i64::from(BATCH), "there is one first stock");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_minted_while_the_account_was_asked_for_is_counted() {
    let world = World::new(100).await;
    let process = world.start();
    let (schedule, desk) = (schedule(&world, &process), Desk::of(&world, &process));
    tick(&schedule, &desk, Continuity::Broken).await;
    desk.by_hand.store(10, Ordering::SeqCst);
    look(&world, &schedule, &desk).await;
    assert_eq!(world.issuer.used(), 10, "the target is reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stock_is_judged_by_does_not_change_while_a_call_is_under_way() {
    let world = World::new(3).await;
    let process = world.start();
    let order = MintOrder { model: model(), count: 3, readiness: Readiness::Now };
    process.identity.mint(order, &|_| ()).await.expect("minted");
    world.clock.advance(86_400);
    let key = world.issuer.keyring().model(&model()).expect("pinned").fingerprint();
    let judged = async || {
        let held = process.vault.deposits().held([(model(), key)].into()).await.expect("held")[&model()];
        let habit = process.vault.deposits().habits().await.expect("habits")[&model()];
        held + habit.pace(world.clock.now()).expect("a day is over").today.since
    };
    let (withdrawals, digest) = (process.vault.withdrawals(), RequestDigest([1; 32]));
    assert_eq!(judged().await, 3);
    let reserved = withdrawals.reserve(CallId(1), &model(), key, AbuseRule::Omitted).await.expect("reserved");
    assert_eq!(judged().await, 3);
    let presented = withdrawals.present(reserved, digest).await.expect("presented");
    assert_eq!(judged().await, 3);
    withdrawals.doubt(presented, Doubt::Unknown).await.expect("in doubt");
    assert_eq!(judged().await, 3);
    let resumed = withdrawals.resume(CallId(2), digest).await.expect("resumed").expect("the same request");
    withdrawals.settle(resumed).await.expect("settled");
    assert_eq!(judged().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_appointment_and_asks_nothing() {
    let world = World::new(100).await;
    let due = {
        let process = world.start();
        let (schedule, desk) = (schedule(&world, &process), Desk::of(&world, &process));
        tick(&schedule, &desk, Continuity::Broken).await;
        outlook(&schedule, &desk).await.next
    };
    let process = world.start();
    let (schedule, desk) = (schedule(&world, &process), Desk::of(&world, &process));
    assert_eq!(outlook(&schedule, &desk).await.next, due, "also before anything is done");
    tick(&schedule, &desk, Continuity::Broken).await;
    assert_eq!(outlook(&schedule, &desk).await.next, due);

    // Down for a month: one look, and later than the start.
    world.clock.advance(30 * 86_400);
    tick(&schedule, &desk, Continuity::Broken).await;
    assert_eq!(asked(&world), 0);
    look(&world, &schedule, &desk).await;
    assert_eq!(world.issuer.used(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_away_is_asked_again_later_and_not_at_once() {
    let world = World::new(100).await;
    let process = world.start_elsewhere("http://127.0.0.1:9");
    let (schedule, desk) = (schedule(&world, &process), Desk::of(&world, &process));
    tick(&schedule, &desk, Continuity::Broken).await;
    look(&world, &schedule, &desk).await;
    let Next::Look(again) = outlook(&schedule, &desk).await.next else { panic!("it is tried again") };
    assert!((LEAST..=900).contains(&again.seconds_since(world.clock.now())));
    drop((schedule, process));

    let process = world.start();
    let (schedule, desk) = (self::schedule(&world, &process), Desk::of(&world, &process));
    tick(&schedule, &desk, Continuity::Broken).await;
    assert_eq!(asked(&world), 0);
    look(&world, &schedule, &desk).await;
    assert_eq!(world.issuer.used(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_is_not_used_again_until_a_sign_in() {
    let world = World::new(100).await;
    let process = world.start();
    let (schedule, desk) = (schedule(&world, &process), Desk::of(&world, &process));
    tick(&schedule, &desk, Continuity::Broken).await;
    world.issuer.script([Fault::Unauthorized]);
    look(&world, &schedule, &desk).await;
    assert_eq!(outlook(&schedule, &desk).await.next, Next::SignIn);
    // What was in flight beside it was still answered.
    let (before, made) = (asked(&world), world.issuer.used());
    for _ in 0..50 {
        world.clock.advance(86_400);
        tick(&schedule, &desk, Continuity::Unbroken).await;
    }
    assert_eq!(asked(&world), before);

    schedule.signed_in(&BTreeMap::new()).await.expect("kept");
    tick(&schedule, &desk, Continuity::Broken).await;
    assert_eq!(asked(&world), before, "not at the sign-in itself");
    look(&world, &schedule, &desk).await;
    assert_eq!(world.issuer.used(), made + 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credit_it_says_so_and_begins_again_when_some_is_seen() {
    let world = World::new(0).await;
    let process = world.start();
    let (schedule, desk) = (schedule(&world, &process), Desk::of(&world, &process));
    tick(&schedule, &desk, Continuity::Broken).await;
    look(&world, &schedule, &desk).await;
    assert!(matches!(outlook(&schedule, &desk).await.next, Next::NoCredit(_)));
    let credits = BTreeMap::from([(model().to_string(), 5)]);
    schedule.credits_seen(&credits).await.expect("kept");
    assert!(matches!(outlook(&schedule, &desk).await.next, Next::Look(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_signature_stops_the_model_and_a_mint_by_hand_sets_it_going_again() {
    let world = World::new(100).await;
    let process = world.start();
    let (schedule, desk) = (schedule(&world, &process), Desk::of(&world, &process));
    tick(&schedule, &desk, Continuity::Broken).await;
    world.issuer.script([Fault::Forged]);
    look(&world, &schedule, &desk).await;
    assert_eq!(outlook(&schedule, &desk).await.next, Next::Stopped);
    let before = asked(&world);
    world.clock.advance(100 * 86_400);
    tick(&schedule, &desk, Continuity::Unbroken).await;
    assert_eq!(asked(&world), before);
    schedule.minted_by_hand(&model()).await.expect("kept");
    assert!(matches!(outlook(&schedule, &desk).await.next, Next::Look(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mint_that_is_asked_to_stop_loses_no_credit_and_its_rest_is_made_at_the_next_appointment() {
    let world = World::new(100).await;
    let process = world.start();
    let (schedule, desk) = (schedule(&world, &process), Desk::of(&world, &process));
    tick(&schedule, &desk, Continuity::Broken).await;
    let Next::Look(due) = outlook(&schedule, &desk).await.next else { panic!("no look") };
    world.clock.advance(due.seconds_since(world.clock.now()));
    let stop = CancellationToken::new();
    let pulled = stop.clone();
    world.issuer.on_issuance(move |_| pulled.cancel());
    schedule.tick(&desk, Continuity::Unbroken, &stop).await.expect("ticked");
    let stock = process.stock().await;
    let made = stock.available + stock.maturing;
    assert!(made < 6, "{made}");
    assert_eq!((i64::try_from(made).expect("few"), stock.blinded), (world.issuer.used(), 0));
    look(&world, &schedule, &desk).await;
    assert_eq!(world.issuer.used(), 6);
    look(&world, &schedule, &desk).await;
    assert_eq!(world.issuer.used(), 12, "a batch of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_answered_is_asked_for_again_while_the_backend_remembers_it() {
    let world = World::new(100).await;
    let process = world.start();
    let own = Stocking { target: None, batch: Some(BATCH) };
    let (schedule, desk) = (schedule_of(own, &world, &process), Desk::of(&world, &process));
    tick(&schedule, &desk, Continuity::Broken).await;
    // Debited, and not one answer arrives, however often it is sent in one go.
    world.issuer.script([Fault::AnswerLost; 60]);
    look(&world, &schedule, &desk).await;
    let lost = process.stock().await.blinded;
    assert!(lost > 0 && world.issuer.used() > 0, "{lost}");
    world.issuer.mend();
    world.clock.advance(60);
    tick(&schedule, &desk, Continuity::Unbroken).await;
    let stock = process.stock().await;
    assert_eq!(
        (stock.blinded, i64::try_from(stock.available + stock.maturing).expect("few")),
        (0, world.issuer.used())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_in_a_mint_makes_it_whole_and_no_second_one() {
    let world = World::new(100).await;
    let own = Stocking { target: None, batch: Some(BATCH) };
    {
        let process = world.start();
        let (schedule, desk) = (schedule_of(own, &world, &process), Desk::of(&world, &process));
        tick(&schedule, &desk, Continuity::Broken).await;
        world.issuer.script([Fault::HangBefore; 4]);
        let all_in_flight = async {
            while world.issuer.field("auth-token", "RequestID").len() < 4 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = look(&world, &schedule, &desk) => panic!("it ended"),
            () = all_in_flight => {}
        }
    }
    let process = world.start();
    let (schedule, desk) = (schedule_of(own, &world, &process), Desk::of(&world, &process));
    // The backend has forgotten them.
    world.clock.advance(280);
    tick(&schedule, &desk, Continuity::Unbroken).await;
    assert_eq!(process.stock().await.blinded, 6);
    for _ in 0..2 {
        look(&world, &schedule, &desk).await;
        let stock = process.stock().await;
        assert_eq!((stock.available + stock.maturing, stock.blinded, world.issuer.used()), (6, 0, 6));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_abuse_token_of_a_new_month_is_fetched_early_in_it_and_never_before() {
    let world = World::new(0).await;
    let process = world.start();
    let (schedule, desk) = (schedule(&world, &process), Desk::of(&world, &process));
    let is_complete = async || process.identity.abuse_status().await.expect("status").is_complete();
    // Not set up: nothing comes by itself.
    tick(&schedule, &desk, Continuity::Broken).await;
    assert!(!is_complete().await);
    process.identity.abuse_setup().await.expect("setup");
    tick(&schedule, &desk, Continuity::Unbroken).await;
    let issued = || world.issuer.field("abuse-token/transient", "BlindedToken").len();
    assert_eq!(issued(), 1);
    let left = process.identity.abuse_status().await.expect("status").seconds_left;
    world.clock.advance(left - 1);
    tick(&schedule, &desk, Continuity::Unbroken).await;
    assert_eq!((issued(), is_complete().await), (1, true));
    // From the turn of the month on to the end of the window.
    world.clock.advance(1);
    let due = schedule.abuse_due().await.expect("read").expect("planned");
    let wait = due.seconds_since(world.clock.now());
    assert!((0..WINDOW).contains(&wait));
    if wait > 0 {
        tick(&schedule, &desk, Continuity::Unbroken).await;
        assert_eq!((issued(), is_complete().await), (1, false));
    }
    world.clock.advance(wait);
    tick(&schedule, &desk, Continuity::Unbroken).await;
    assert_eq!((issued(), is_complete().await), (2, true));

    // Off over the next turn: minutes after the start.
    world.clock.advance(40 * 86_400);
    tick(&schedule, &desk, Continuity::Broken).await;
    assert_eq!((issued(), is_complete().await), (2, false));
    let due = schedule.abuse_due().await.expect("read").expect("planned");
    let wait = due.seconds_since(world.clock.now());
    assert!((SOONEST..LATEST).contains(&wait));
    world.clock.advance(wait);
    tick(&schedule, &desk, Continuity::Unbroken).await;
    assert_eq!((issued(), is_complete().await), (3, true));
}

/// A wall clock that goes with the runtime's, which a test pauses.
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.0.elapsed().as_secs()).expect("days");
        Timestamp::from_unix(START + elapsed)
    }
}

/// Mints nothing, and notes when it was asked to.
struct Ledger {
    keyring: Keyring,
    begun: Instant,
    asked: std::sync::Mutex<Vec<Duration>>,
    refusals: AtomicU32,
}

impl Office for Ledger {
    fn is_open(&self) -> bool {
        true
    }

    fn keyring(&self) -> Keyring {
        self.keyring.clone()
    }

    async fn credits(&self) -> Result<BTreeMap<String, i64>, Obstacle> {
        self.asked.lock().expect("asked").push(self.begun.elapsed());
        if self.refusals.load(Ordering::SeqCst) == 0 {
            return Ok(BTreeMap::from([(model().to_string(), 10_000)]));
        }
        self.refusals.fetch_sub(1, Ordering::SeqCst);
        Err(Obstacle { kind: ErrorKind::Transient, message: "away".into() })
    }

    async fn mint(&self, _: &ModelName, count: u32, _: &CancellationToken) -> Result<Minted, Obstacle> {
        Ok(Minted { made: count as usize, pending: 0, recovered: Recovered::default(), stopped: None })
    }

    async fn recover(&self) -> Result<(), Obstacle> {
        Err(Obstacle { kind: ErrorKind::Transient, message: "nothing is pending".into() })
    }

    async fn renew_abuse(&self) -> Result<(), Obstacle> {
        Err(Obstacle { kind: ErrorKind::Transient, message: "not asked for".into() })
    }

    async fn rotate_abuse(&self) -> Result<(), Obstacle> {
        self.renew_abuse().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_schedule_keeps_its_appointments_and_ends_when_told() {
    let world = World::new(0).await;
    let process = world.start();
    let begun = Instant::now();
    let parts = ScheduleParts {
        activity: Activity::On,
        plans: Plans::new(Privacy::Frugal, BTreeMap::new()),
        warn_days: 3,
        deposits: process.vault.deposits(),
        clock: Arc::new(PausedClock(begun)),
    };
    let schedule = Schedule::new(parts);
    let office = Ledger {
        keyring: world.issuer.keyring(),
        begun,
        asked: std::sync::Mutex::default(),
        refusals: 3.into(),
    };
    let stop = CancellationToken::new();
    let watching = async {
        let mut planned = Vec::new();
        while planned.len() < 5 {
            tokio::time::sleep(Duration::from_secs(7)).await;
            if let Next::Look(due) = schedule.outlook(&office).await.expect("outlook")[&model()].next {
                planned.push(due.seconds_since(Timestamp::from_unix(START)));
                planned.dedup();
            }
        }
        stop.cancel();
        planned
    };
    let ((), planned) = tokio::join!(schedule.run(&office, &stop), watching);
    let asked: Vec<i64> = office
        .asked
        .lock()
        .expect("asked")
        .iter()
        .map(|at| i64::try_from(at.as_secs()).expect("days"))
        .collect();
    assert_eq!(asked.len(), 4, "three that failed, and one that did not: {asked:?}");
    for (asked, planned) in asked.iter().zip(&planned) {
        // Paused time runs on while the vault's thread is waited for, by the watcher's pause each time: some dozen times a look, with
        // the abuse token that is seen to first.
        assert!((0..=300).contains(&(asked - planned)), "{asked} {planned}");
    }
    assert!(asked[0] >= LEAST && asked.windows(2).all(|pair| pair[1] - pair[0] >= LEAST), "{asked:?}");
}
