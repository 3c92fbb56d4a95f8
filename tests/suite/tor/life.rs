//! The life of a laptop, as the client in the daemon lives it: sleep and wake, dormancy, with time turned by hand.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use llmtor::clock::{ManualClock, SharedClock, SystemClock, Timestamp};
use llmtor::tor::{Isolation, Limits, Phase, Settings, Tor, TorStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::support::tornet::{self, TorNetwork};

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

const LIMITS: Limits = Limits { circuit: PATIENCE, stream: PATIENCE };

/// A client on the private network, and an echo that its exits reach.
struct Place {
    tor: Tor,
    clock: Arc<ManualClock>,
    echo: SocketAddr,
    home: tempfile::TempDir,
}

impl Place {
    async fn new(network: &TorNetwork) -> Self {
        let home = tempfile::tempdir().unwrap();
        let settings = Settings::in_home(home.path(), None, network.arti_toml().parse().unwrap()).unwrap();
        let clock = ManualClock::shared(Timestamp::from_unix(1_700_000_000));
        let shared: SharedClock = clock.clone();
        let tor = Tor::launch(&settings, shared).unwrap();
        tor.ready(PATIENCE).await.unwrap();
        Self { tor, clock, echo: echo().await, home }
    }

    async fn open(&self) -> Box<dyn TorStream> {
        self.tor.ready(PATIENCE).await.unwrap();
        let host = self.echo.ip().to_string();
        self.tor.connect(&host, self.echo.port(), &Isolation::new(), LIMITS, &[]).await.unwrap()
    }
}

/// Says again whatever it hears.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reading, mut writing) = stream.split();
                let _ = tokio::io::copy(&mut reading, &mut writing).await;
            });
        }
    });
    address
}

async fn assert_echoes(stream: &mut Box<dyn TorStream>) {
    let talk = async {
        stream.write_all(b"ping").await.unwrap();
        stream.flush().await.unwrap();
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"ping");
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_sleep_the_client_is_begun_anew_and_a_call_under_way_keeps_its_circuit() {
    let Some(network) = tornet::using() else { return };
    let place = Place::new(&network).await;
    let mut before = place.open().await;
    assert_echoes(&mut before).await;

    // The wall clock went on by eight hours, the monotonic one did not.
    place.clock.advance(8 * 3600);
    let mut after = place.open().await;
    assert_echoes(&mut after).await;
    assert_echoes(&mut before).await;
    assert_eq!(place.tor.status().phase, Phase::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dormant_client_is_awake_within_a_call() {
    let Some(network) = tornet::using() else { return };
    let place = Place::new(&network).await;
    assert_echoes(&mut place.open().await).await;
    place.tor.doze();
    assert_eq!(place.tor.status().phase, Phase::Dormant);
    assert_echoes(&mut place.open().await).await;
    assert_eq!(place.tor.status().phase, Phase::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_closed_has_its_guards_on_disk_however_short_its_life() {
    let Some(network) = tornet::using() else { return };
    let place = Place::new(&network).await;
    assert_echoes(&mut place.open().await).await;
    place.tor.close().await;
    assert!(!guards(place.home.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn guards_are_kept_from_one_client_to_the_next() {
    let Some(network) = tornet::using() else { return };
    let place = Place::new(&network).await;
    assert_echoes(&mut place.open().await).await;
    place.clock.advance(8 * 3600);
    assert_echoes(&mut place.open().await).await;
    let first = guards(place.home.path());
    assert!(!first.is_empty(), "none was kept by the client that was begun anew");

    let Place { tor, home, .. } = place;
    drop(tor);
    let settings = Settings::in_home(home.path(), None, network.arti_toml().parse().unwrap()).unwrap();
    let next = Tor::launch(&settings, SystemClock::shared()).unwrap();
    next.ready(PATIENCE).await.unwrap();
    drop(next);
    let kept = tornet::poll(PATIENCE, || guards(home.path()).starts_with(&first));
    assert!(kept, "{first:?}\n{:?}", guards(home.path()));
}

/// The identities of the guards on disk, in their order.
fn guards(home: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(home.join("tor/state/state/guards.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&text).unwrap();
    let guards = state["default"]["guards"].as_array().unwrap();
    guards.iter().map(|guard| guard["id"]["ed25519"].as_str().unwrap().to_owned()).collect()
}
