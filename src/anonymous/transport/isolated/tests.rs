use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::anonymous::transport::{Blockage, Exit, NotReady};
use crate::clock::{ManualClock, Timestamp};

/// A Tor whose exits come as the script says; keeps the far ends.
#[derive(Default)]
struct Scripted {
    exits: Mutex<VecDeque<Result<u8, TransportErrorKind>>>,
    lanes: AtomicUsize,
    dialled: Mutex<Vec<usize>>,
    far: Mutex<Vec<Option<DuplexStream>>>,
    dozed: AtomicUsize,
}

struct Script(Arc<Scripted>, Target);

impl Dialer for Script {
    type Lane = usize;

    fn lane(&self) -> usize {
        self.0.lanes.fetch_add(1, Ordering::SeqCst)
    }

    async fn dial(&self, lane: &usize, avoid: &[Exit]) -> Result<Opened, TransportError> {
        self.0.dialled.lock().unwrap().push(*lane);
        let exit = self.0.exits.lock().unwrap().pop_front().unwrap_or(Ok(0)).map_err(TransportError::new)?;
        let exit = Exit::new([exit; 32]);
        if avoid.contains(&exit) {
            return Err(TransportError::new(TransportErrorKind::Connect).at(Some(exit)));
        }
        let (near, far) = tokio::io::duplex(64);
        self.0.far.lock().unwrap().push(Some(far));
        Ok(Opened { stream: Box::new(near), exit: Some(exit) })
    }

    async fn ready(&self) -> Result<(), TransportError> {
        Ok(())
    }

    fn doze(&self) {
        self.0.dozed.fetch_add(1, Ordering::SeqCst);
    }

    fn target(&self) -> &Target {
        &self.1
    }

    fn way(&self) -> Way {
        Way::Tor
    }
}

struct Place {
    script: Arc<Scripted>,
    transport: Isolated<Script>,
    clock: Arc<ManualClock>,
}

fn place(isolation: IsolationRule, pool: usize, exits: &[Result<u8, TransportErrorKind>]) -> Place {
    let script =
        Arc::new(Scripted { exits: Mutex::new(exits.iter().copied().collect()), ..Scripted::default() });
    let target = Target::new("https://backend.test").unwrap();
    let clock = ManualClock::shared(Timestamp::from_unix(1_700_000_000));
    let settings = Settings {
        isolation,
        pool,
        dial: Duration::from_secs(5),
        dormant_after: Duration::from_secs(3600),
        passage: Passage::Open,
        clock: clock.clone(),
    };
    Place { transport: Isolated::new(Script(script.clone(), target), settings), script, clock }
}

impl Place {
    fn lanes(&self) -> Vec<usize> {
        self.script.dialled.lock().unwrap().clone()
    }

    async fn until_warm(&self, count: usize) {
        while self.transport.warm() != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn conversation(number: u8) -> Wish {
    Wish { conversation: Some(Conversation([number; 16])), ..Wish::default() }
}

#[tokio::test]
async fn each_call_has_a_lane_of_its_own_unless_told_otherwise() {
    let place = place(IsolationRule::PerCall, 0, &[]);
    for _ in 0..3 {
        place.transport.open(conversation(1)).await.unwrap();
    }
    assert_eq!(place.lanes(), [0, 1, 2]);
}

#[tokio::test]
async fn a_conversation_keeps_its_lane_and_another_has_another() {
    let place = place(IsolationRule::PerConversation, 0, &[]);
    for number in [1, 2, 1, 2] {
        place.transport.open(conversation(number)).await.unwrap();
    }
    assert_eq!(place.lanes(), [0, 1, 0, 1]);
    place.transport.new_identity();
    place.transport.open(conversation(1)).await.unwrap();
    assert_eq!(place.lanes()[4], 2);
}

#[tokio::test(start_paused = true)]
async fn a_conversation_loses_its_lane_after_a_while() {
    let place = place(IsolationRule::PerConversation, 0, &[]);
    place.transport.open(conversation(1)).await.unwrap();
    tokio::time::advance(CONVERSATION).await;
    place.transport.open(conversation(1)).await.unwrap();
    assert_eq!(place.lanes(), [0, 1]);
}

#[tokio::test]
async fn shared_means_one_lane_until_it_fails_or_is_given_up() {
    let exits = [Ok(1), Ok(1), Err(TransportErrorKind::Timeout)];
    let place = place(IsolationRule::Shared, 0, &exits);
    place.transport.open(Wish::default()).await.unwrap();
    place.transport.open(Wish::default()).await.unwrap();
    assert!(place.transport.open(Wish::default()).await.is_err());
    place.transport.open(Wish::default()).await.unwrap();
    place.transport.new_identity();
    place.transport.open(Wish::default()).await.unwrap();
    assert_eq!(place.lanes(), [0, 0, 0, 1, 2]);
}

#[tokio::test]
async fn an_exit_that_failed_this_call_is_left_out_unless_there_is_no_other() {
    let bad = Exit::new([1; 32]);
    let wish = Wish { avoid: vec![bad], ..Wish::default() };
    for rule in [IsolationRule::PerCall, IsolationRule::Shared] {
        let place = place(rule, 0, &[Ok(1), Ok(1), Ok(2)]);
        let opened = place.transport.open(wish.clone()).await.unwrap();
        assert_eq!(opened.exit, Some(Exit::new([2; 32])));
        assert_eq!(place.lanes(), [0, 1, 2]);
    }
    let place = place(IsolationRule::PerCall, 0, &[Ok(1); LANES]);
    let opened = place.transport.open(wish).await.unwrap();
    assert_eq!(opened.exit, Some(bad));
    assert_eq!(place.lanes().len(), LANES);
}

#[tokio::test(start_paused = true)]
async fn a_warm_stream_is_handed_out_once_and_replaced() {
    let place = place(IsolationRule::PerCall, 4, &[]);
    place.until_warm(1).await;
    let mut opened = place.transport.open(Wish::default()).await.unwrap();
    opened.stream.write_all(b"x").await.unwrap();
    let mut far = place.script.far.lock().unwrap()[0].take().unwrap();
    let mut byte = [0];
    far.read_exact(&mut byte).await.unwrap();
    place.until_warm(1).await;
    let lanes = place.lanes();
    assert_eq!(lanes.len(), 2, "one taken, one made in its place");
    assert_ne!(lanes[0], lanes[1]);
}

#[tokio::test(start_paused = true)]
async fn a_warm_stream_that_died_is_never_what_a_call_meets() {
    let place = place(IsolationRule::PerCall, 4, &[]);
    place.until_warm(1).await;
    place.script.far.lock().unwrap()[0] = None;
    let mut opened = place.transport.open(Wish::default()).await.unwrap();
    assert!(opened.stream.write_all(b"x").await.is_ok(), "this one is alive");
}

#[tokio::test(start_paused = true)]
async fn a_warm_stream_on_which_the_other_side_speaks_first_is_dropped() {
    let place = place(IsolationRule::PerCall, 4, &[]);
    place.until_warm(1).await;
    let mut far = place.script.far.lock().unwrap()[0].take().unwrap();
    far.write_all(b"HTTP/1.1 408").await.unwrap();
    place.transport.open(Wish::default()).await.unwrap();
    assert!(far.write_all(b"x").await.is_err(), "the first stream is closed");
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_remembered_and_a_long_silence_forgets_all() {
    let place = place(IsolationRule::PerCall, 4, &[]);
    for _ in 0..10 {
        place.transport.open(Wish::default()).await.unwrap();
    }
    place.until_warm(4).await;
    tokio::time::sleep(Duration::from_secs(3700)).await;
    place.clock.advance(3700);
    place.until_warm(0).await;
    assert!(place.script.dozed.load(Ordering::SeqCst) > 0);
    place.transport.open(Wish::default()).await.unwrap();
    place.until_warm(1).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_sleep_of_the_machine_nothing_warm_is_used() {
    let place = place(IsolationRule::PerCall, 4, &[]);
    place.until_warm(1).await;
    // The wall clock went on, the monotonic one did not.
    place.clock.advance(600);
    place.transport.open(Wish::default()).await.unwrap();
    assert!(place.lanes().len() >= 2, "the warm one was not handed out");
    // Its watcher is on its way out.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut far = place.script.far.lock().unwrap()[0].take().unwrap();
    let gone = far.write_all(b"x").await;
    assert!(gone.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_new_identity_drops_what_is_warm() {
    let place = place(IsolationRule::PerCall, 4, &[]);
    place.until_warm(1).await;
    place.transport.new_identity();
    assert_eq!(place.transport.warm(), 0);
    place.until_warm(1).await;
    assert_eq!(place.lanes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dead_network_is_not_hammered() {
    let place = place(IsolationRule::PerCall, 4, &[Err(TransportErrorKind::Connect); 1000]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let tries = place.lanes().len();
    assert!((5..40).contains(&tries), "{tries} tries in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn one_dial_has_its_time_and_no_more() {
    struct Stuck(Target);
    impl Dialer for Stuck {
        type Lane = ();
        fn lane(&self) {}
        async fn dial(&self, (): &(), _avoid: &[Exit]) -> Result<Opened, TransportError> {
            std::future::pending().await
        }
        async fn ready(&self) -> Result<(), TransportError> {
            Ok(())
        }
        fn target(&self) -> &Target {
            &self.0
        }
        fn way(&self) -> Way {
            Way::Tor
        }
    }
    let settings = place(IsolationRule::PerCall, 0, &[]).transport.settings.clone();
    let transport = Isolated::new(Stuck(Target::new("https://backend.test").unwrap()), settings);
    let error = transport.open(Wish::default()).await.err().unwrap();
    assert_eq!(error.kind(), TransportErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn who_shares_a_circuit_follows_from_the_rule() {
    let with = Wish { conversation: Some(Conversation([1; 16])), ..Wish::default() };
    for (rule, alone, in_conversation) in [
        (IsolationRule::PerCall, Company::Nobody, Company::Nobody),
        (IsolationRule::PerConversation, Company::Nobody, Company::Conversation),
        (IsolationRule::Shared, Company::Anybody, Company::Anybody),
    ] {
        let transport = place(rule, 0, &[]).transport;
        assert_eq!(transport.departure(&Wish::default()), Departure { way: Way::Tor, company: alone });
        assert_eq!(transport.departure(&with), Departure { way: Way::Tor, company: in_conversation });
    }
}

#[tokio::test]
async fn a_pause_drops_what_is_warm_and_nothing_is_dialled_until_it_is_over() {
    let place = place(IsolationRule::PerCall, 1, &[]);
    place.until_warm(1).await;
    let dozed = || place.script.dozed.load(Ordering::SeqCst);
    place.transport.follow(Passage::Paused);
    assert_eq!(place.transport.warm(), 0);
    while dozed() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The keeper has looked, and let it be.
    assert_eq!((place.lanes().len(), place.transport.warm()), (1, 0));
    place.transport.follow(Passage::Open);
    place.until_warm(1).await;
    assert_eq!(place.lanes().len(), 2);
}

/// Is ready, and dials, when it is let.
struct Slow {
    ready: tokio::sync::Semaphore,
    dial: tokio::sync::Semaphore,
    begun: AtomicUsize,
    dialled: AtomicUsize,
    target: Target,
}

impl Dialer for Arc<Slow> {
    type Lane = ();
    fn lane(&self) {}
    async fn dial(&self, (): &(), _avoid: &[Exit]) -> Result<Opened, TransportError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.dial.acquire().await.unwrap().forget();
        self.dialled.fetch_add(1, Ordering::SeqCst);
        Err(TransportError::new(TransportErrorKind::Connect))
    }
    async fn ready(&self) -> Result<(), TransportError> {
        self.ready.acquire().await.unwrap().forget();
        Ok(())
    }
    fn target(&self) -> &Target {
        &self.target
    }
    fn way(&self) -> Way {
        Way::Tor
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_stops_dials_that_are_about_to_begin_or_under_way() {
    let slow = Arc::new(Slow {
        ready: tokio::sync::Semaphore::new(0),
        dial: tokio::sync::Semaphore::new(0),
        begun: AtomicUsize::new(0),
        dialled: AtomicUsize::new(0),
        target: Target::new("https://backend.test").unwrap(),
    });
    let settings = place(IsolationRule::PerCall, 1, &[]).transport.settings.clone();
    let transport = Isolated::new(Arc::clone(&slow), settings);
    let counts = || (slow.begun.load(Ordering::SeqCst), slow.dialled.load(Ordering::SeqCst));
    let a_while = || tokio::time::sleep(Duration::from_millis(100));
    // Waiting until dialling is worthwhile, then paused, then it is.
    a_while().await;
    transport.follow(Passage::Paused);
    // Twice: the pause and the readiness come at one moment, and the first of them may have been seen or not.
    slow.ready.add_permits(2);
    a_while().await;
    assert_eq!(counts(), (0, 0));
    // Dialling, then paused, then somebody would have answered.
    transport.follow(Passage::Open);
    a_while().await;
    assert_eq!(counts(), (1, 0));
    transport.follow(Passage::Paused);
    a_while().await;
    slow.dial.add_permits(1);
    a_while().await;
    assert_eq!(counts(), (1, 0));
}

/// Whose exits answer after the script's times; then never.
struct Timed(Mutex<VecDeque<Duration>>, Mutex<Vec<Option<DuplexStream>>>, Target);

impl Dialer for Timed {
    type Lane = ();
    fn lane(&self) {}
    async fn dial(&self, (): &(), _avoid: &[Exit]) -> Result<Opened, TransportError> {
        let after = self.0.lock().unwrap().pop_front();
        tokio::time::sleep(after.unwrap_or(Duration::from_secs(3600))).await;
        let (near, far) = tokio::io::duplex(64);
        self.1.lock().unwrap().push(Some(far));
        Ok(Opened { stream: Box::new(near), exit: None })
    }
    async fn ready(&self) -> Result<(), TransportError> {
        Ok(())
    }
    fn target(&self) -> &Target {
        &self.2
    }
    fn way(&self) -> Way {
        Way::Tor
    }
}

async fn opened_after(isolation: IsolationRule, pool: usize, seconds: &[u64]) -> Option<Duration> {
    let settings = Settings {
        isolation,
        dial: Duration::from_secs(10),
        ..place(isolation, pool, &[]).transport.settings.clone()
    };
    let times = seconds.iter().map(|seconds| Duration::from_secs(*seconds)).collect();
    let target = Target::new("https://backend.test").unwrap();
    let transport = Isolated::new(Timed(Mutex::new(times), Mutex::default(), target), settings);
    let begun = Instant::now();
    transport.open(Wish::default()).await.ok().map(|_| begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_call_does_not_wait_out_an_exit_that_answers_nobody() {
    let about = |elapsed: Option<Duration>| elapsed.map(|elapsed| elapsed.as_millis() / 100);
    // The second lane.
    assert_eq!(about(opened_after(IsolationRule::PerCall, 0, &[3600, 1]).await), Some(30));
    // The first, though the second was begun.
    assert_eq!(about(opened_after(IsolationRule::PerCall, 0, &[3, 3600]).await), Some(30));
    // Neither.
    assert_eq!(opened_after(IsolationRule::PerCall, 0, &[]).await, None);
    // One lane is the rule.
    assert_eq!(opened_after(IsolationRule::Shared, 0, &[3600, 1]).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_dials_takes_what_is_made_for_the_shelf_meanwhile() {
    // The call dials first, then whoever keeps the shelf.
    let elapsed = opened_after(IsolationRule::PerCall, 1, &[3600, 1]).await.unwrap();
    assert!(elapsed < SLOW, "{elapsed:?}");
}

/// Whose first lane finds after three seconds that there is no way out at all; the others find nothing.
struct CutOff(Mutex<u32>, Target);

impl Dialer for CutOff {
    type Lane = ();
    fn lane(&self) {}
    async fn dial(&self, (): &(), _avoid: &[Exit]) -> Result<Opened, TransportError> {
        let earlier = std::mem::replace(&mut *self.0.lock().unwrap(), 1);
        tokio::time::sleep(Duration::from_secs(if earlier == 0 { 3 } else { 3600 })).await;
        Err(TransportError::new(TransportErrorKind::NotReady(NotReady::Blocked(Blockage::Unreachable))))
    }
    async fn ready(&self) -> Result<(), TransportError> {
        Ok(())
    }
    fn target(&self) -> &Target {
        &self.1
    }
    fn way(&self) -> Way {
        Way::Tor
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_finds_no_way_out_at_all_speaks_for_the_other() {
    let settings = Settings {
        dial: Duration::from_secs(10),
        ..place(IsolationRule::PerCall, 0, &[]).transport.settings.clone()
    };
    let dialer = CutOff(Mutex::default(), Target::new("https://backend.test").unwrap());
    let transport = Isolated::new(dialer, settings);
    let begun = Instant::now();
    let error = transport.open(Wish::default()).await.err().unwrap();
    assert!(matches!(error.kind(), TransportErrorKind::NotReady(_)), "{:?}", error.kind());
    assert_eq!(begun.elapsed().as_secs(), 3);
}
