//! When a call asks again, and through which exit.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use llmtor::anonymous::redeem::{RedeemErrorKind, Redeemer, TokenFate};
use llmtor::anonymous::transport::loopback::Loopback;
use llmtor::anonymous::transport::{
    Departure, Exit, Opened, Opening, Transport, TransportError, TransportErrorKind, Wish,
};
use llmtor::passage::{Gate, Passage};

use super::{Bench, first, prompt, settings};
use crate::support::scripted::{Act, Scripted};

/// To a backend on this machine, each stream as if through another exit; after so many, nobody answers.
struct Exits {
    loopback: Loopback,
    opened: AtomicU8,
    open: u8,
}

impl Exits {
    fn new(backend: &Scripted, open: u8) -> Arc<Self> {
        Arc::new(Self { loopback: Loopback::new(&backend.url()).unwrap(), opened: AtomicU8::new(0), open })
    }
}

impl Transport for Exits {
    fn open(&self, wish: Wish) -> Opening<'_> {
        Box::pin(async move {
            let number = self.opened.fetch_add(1, Ordering::SeqCst);
            if number >= self.open {
                return Err(TransportError::new(TransportErrorKind::Refused));
            }
            let Opened { stream, .. } = self.loopback.open(wish).await?;
            Ok(Opened { stream, exit: Some(Exit::new([number; 32])) })
        })
    }

    fn departure(&self, wish: &Wish) -> Departure {
        self.loopback.departure(wish)
    }

    fn authority(&self) -> &str {
        self.loopback.authority()
    }
}

#[tokio::test]
async fn the_first_repeat_goes_through_another_exit_at_once_and_later_ones_wait_longer_and_longer() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&times);
    let backend = Scripted::start(move |number, _| {
        log.lock().unwrap().push(Instant::now());
        if number < 3 { Act::text(502, "restarting") } else { Act::completion("back") }
    });
    let bench = Bench::new(1, backend.await).await;
    let mut settings = settings();
    settings.deadlines.pause = Duration::from_millis(300);
    let redeemer = Redeemer::new(bench.vault.withdrawals(), Exits::new(&bench.backend, u8::MAX), settings);
    redeemer.redeem(prompt("hello"), first()).await.unwrap().delivered();
    let times = times.lock().unwrap().clone();
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] < Duration::from_millis(150), "{gaps:?}");
    // Half of the doubled pause is the least that chance makes of it.
    assert!(gaps[1] >= Duration::from_millis(300) && gaps[2] >= Duration::from_millis(600), "{gaps:?}");
    assert!(bench.backend.seen().windows(2).all(|pair| pair[0].body == pair[1].body));
}

#[tokio::test]
async fn a_way_that_is_never_open_is_given_up_sooner_than_a_call_that_has_gone_out() {
    for (open, tries, kind, token) in [
        (0, 5, RedeemErrorKind::Unreachable, TokenFate::Unspent),
        (1, 8, RedeemErrorKind::ConnectionLost, TokenFate::InDoubt),
    ] {
        let bench = Bench::new(1, Scripted::start(|_, _| Act::Raw(Vec::new())).await).await;
        let exits = Exits::new(&bench.backend, open);
        let mut settings = settings();
        settings.limits.attempts = 8;
        let transport: Arc<dyn Transport> = Arc::<Exits>::clone(&exits);
        let redeemer = Redeemer::new(bench.vault.withdrawals(), transport, settings);
        let error = redeemer.redeem(prompt("hello"), first()).await.err().unwrap();
        assert_eq!((error.kind(), error.token()), (&kind, token));
        assert_eq!(exits.opened.load(Ordering::SeqCst), tries);
    }
}

#[tokio::test]
async fn once_the_user_pauses_no_further_attempt_is_begun() {
    let gate = Gate::default();
    let closing = gate.clone();
    let backend = Scripted::start(move |_, _| {
        closing.set(Passage::Paused);
        Act::text(502, "restarting")
    });
    let bench = Bench::new(1, backend.await).await;
    let settings = llmtor::anonymous::redeem::Settings { gate, ..settings() };
    let redeemer = Redeemer::new(bench.vault.withdrawals(), Exits::new(&bench.backend, u8::MAX), settings);
    let error = redeemer.redeem(prompt("hello"), first()).await.err().unwrap();
    assert!(matches!(error.kind(), RedeemErrorKind::Paused), "{error}");
    assert_eq!(error.token(), TokenFate::InDoubt, "the same request resumes it");
    assert_eq!(bench.backend.seen().len(), 1);
}

/// Dials for ever, and tells when it has begun.
struct Dialling {
    begun: tokio::sync::Notify,
}

impl Transport for Dialling {
    fn open(&self, _wish: Wish) -> Opening<'_> {
        self.begun.notify_one();
        Box::pin(std::future::pending())
    }

    fn departure(&self, _wish: &Wish) -> Departure {
        Departure {
            way: llmtor::anonymous::transport::Way::Tor,
            company: llmtor::anonymous::transport::Company::Nobody,
        }
    }

    fn authority(&self) -> &'static str {
        "backend.example"
    }
}

#[tokio::test]
async fn a_pause_calls_off_a_dial_under_way_and_the_token_goes_back() {
    let gate = Gate::default();
    let bench = Bench::new(1, Scripted::start(|_, _| Act::Raw(Vec::new())).await).await;
    let settings = llmtor::anonymous::redeem::Settings { gate: gate.clone(), ..settings() };
    let dialling = Arc::new(Dialling { begun: tokio::sync::Notify::new() });
    let transport: Arc<dyn Transport> = Arc::<Dialling>::clone(&dialling);
    let redeemer = Redeemer::new(bench.vault.withdrawals(), transport, settings);
    let call = tokio::spawn(async move { redeemer.redeem(prompt("hello"), first()).await.err().unwrap() });
    dialling.begun.notified().await;
    gate.set(Passage::Paused);
    let error = tokio::time::timeout(Duration::from_secs(2), call).await.expect("at once").unwrap();
    assert_eq!((error.kind(), error.token()), (&RedeemErrorKind::Paused, TokenFate::Unspent));
    assert!(bench.backend.seen().is_empty());
}
