//! An onion service, in process: its identity, and the byte streams that come in through it.
//!
//! | step | needs the network | what is known |
//! | --- | --- | --- |
//! | [`Host::open`] | no | the address: its key is made once and kept under the state directory |
//! | [`Host::publish`] | waits for it, as long as it takes | introduction points and descriptors follow in the background |
//! | [`Incoming::next`] | yes | the next client's stream |
//!
//! Invariants: only the one port is answered, and any other request ends like a closed port; nothing of a client or of the
//! address is logged. A stream's other end has no address: nothing here pretends that it has.
//!
//! Deliberately absent: waiting until the descriptors are up (Arti's own word on that lags behind what clients see),
//! restricted discovery, and proof of work.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arti_client::TorClient;
use futures_util::{Stream, StreamExt as _};
use safelog::DisplayRedacted as _;
use tokio_util::task::AbortOnDropHandle;
use tor_cell::relaycell::msg::{Connected, End, EndReason};
use tor_hsservice::config::OnionServiceConfigBuilder;
use tor_hsservice::status::{OnionServiceStatus, Problem};
use tor_hsservice::{OnionServiceConfig, RunningOnionService, StreamRequest, handle_rend_requests};
use tor_keymgr::KeystoreSelector;
use tor_proto::stream::IncomingStreamRequest;

use super::client::TorStream;
use super::dial::Runtime;
use super::life::refused as arti_refused;
use super::{Phase, Settings, Status, Tor, TorError};
use crate::clock::SharedClock;

/// How many streams one client's circuit may have open; more, and the circuit is torn down.
const STREAMS_PER_CIRCUIT: u32 = 512;
/// How many streams are being accepted at once.
const ACCEPTING: usize = 64;
/// How long telling a client that it is connected may take.
const ACCEPT_TIME: Duration = Duration::from_secs(30);

/// An onion service with its identity, not yet published.
pub struct Host {
    tor: Tor,
    service: OnionServiceConfig,
    address: String,
}

impl Host {
    /// Reads the identity of the service `name` from the state directory, makes it at the first time, and starts a
    /// client that bootstraps in the background. Must be called inside a Tokio runtime; blocks for a moment.
    pub fn open(settings: &Settings, name: &str, clock: SharedClock) -> Result<Self, TorError> {
        let refused = |error: &dyn std::fmt::Display| TorError::Settings(error.to_string());
        let storage = |error: &dyn std::fmt::Display| TorError::Storage(error.to_string());
        let nickname = name.parse().map_err(|error: tor_hsservice::InvalidNickname| refused(&error))?;
        let service = OnionServiceConfigBuilder::default()
            .nickname(nickname)
            .max_concurrent_streams_per_circuit(STREAMS_PER_CIRCUIT)
            .build()
            .map_err(|error| refused(&error))?;
        let arti = settings.resolve()?;
        let kept = TorClient::<Runtime>::create_onion_service(&arti, service.clone())
            .map_err(|error| arti_refused(&error))?;
        let identity = match kept.onion_address() {
            Some(identity) => identity,
            None => kept.generate_identity_key(KeystoreSelector::Primary).map_err(|error| storage(&error))?,
        };
        let address = identity.display_unredacted().to_string();
        Ok(Self { tor: Tor::launch(settings, clock)?, service, address })
    }

    /// `….onion`; the same as long as the state directory is kept.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until the client is up, for ever if need be, then begins to answer on `port` and to publish. Cancel-safe.
    pub async fn publish(self, port: u16) -> Result<Incoming, TorError> {
        let Self { tor, service, address: _ } = self;
        let following = AbortOnDropHandle::new(tokio::spawn(follow_client(tor.clone())));
        // The sender lives in `tor`.
        let _ = tor.changes().wait_for(Status::is_ready).await;
        let client = tor.client().ok_or_else(|| TorError::Storage("it is in use".into()))?;
        let launched = client.launch_onion_service(service).map_err(|error| arti_refused(&error))?;
        let Some((service, requests)) = launched else {
            return Err(TorError::Settings("the onion service is disabled".into()));
        };
        let reporting = AbortOnDropHandle::new(tokio::spawn(follow_service(Arc::clone(&service))));
        let streams = handle_rend_requests(requests)
            .map(move |request| accept(request, port))
            .buffer_unordered(ACCEPTING)
            .filter_map(async |accepted| accepted);
        Ok(Incoming {
            streams: Box::pin(streams),
            _service: service,
            _tor: tor,
            _followers: [following, reporting],
        })
    }
}

/// The clients' streams. Dropping it takes the service, and every stream still open, off the network.
pub struct Incoming {
    streams: Pin<Box<dyn Stream<Item = Box<dyn TorStream>> + Send>>,
    _service: Arc<RunningOnionService>,
    _tor: Tor,
    _followers: [AbortOnDropHandle<()>; 2],
}

impl Incoming {
    /// The next stream; `None` when the service has ended, which by itself it does not. Cancel-safe.
    pub async fn next(&mut self) -> Option<Box<dyn TorStream>> {
        self.streams.next().await
    }
}

/// Answers a request for a stream. Whatever is not wanted ends as at a port where nobody listens.
async fn accept(request: StreamRequest, port: u16) -> Option<Box<dyn TorStream>> {
    let wanted = matches!(request.request(), IncomingStreamRequest::Begin(begin) if begin.port() == port);
    let answered = tokio::time::timeout(ACCEPT_TIME, async {
        if wanted {
            request.accept(Connected::new_empty()).await.map(Some)
        } else {
            request.reject(End::new_with_reason(EndReason::DONE)).await.map(|()| None)
        }
    });
    if let Ok(Ok(stream)) = answered.await {
        stream.map(|stream| Box::new(stream) as Box<dyn TorStream>)
    } else {
        tracing::debug!("a stream to the onion service was gone before it was answered");
        None
    }
}

/// Tells how far the client is. No target, no relay.
async fn follow_client(tor: Tor) {
    let mut changes = tor.changes();
    // Neither keeps the client alive longer than its service.
    drop(tor);
    let mut told = None;
    loop {
        let Status { percent, phase } = changes.borrow_and_update().clone();
        let latest = (percent / 10, phase.clone());
        if told.as_ref() != Some(&latest) {
            match &phase {
                Phase::Blocked(blockage) => tracing::warn!(percent, "Tor is stuck: {blockage}"),
                Phase::Bootstrapping(stage) => tracing::info!(percent, "Tor is starting: {stage}"),
                Phase::Ready | Phase::Dormant => tracing::info!("Tor is ready"),
                Phase::AtRest => tracing::info!("Tor is at rest"),
            }
            told = Some(latest);
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Tells what Arti says of the service. Of a problem only its sort: its text names relays.
async fn follow_service(service: Arc<RunningOnionService>) {
    let mut events = service.status_events();
    drop(service);
    while let Some(status) = events.next().await {
        tell(&status);
    }
}

fn tell(status: &OnionServiceStatus) {
    let state = status.state();
    // Arti sends its problems along when they are over, too: empty then.
    match status.current_problem() {
        Some(Problem::DescriptorUpload(failed)) if !failed.is_empty() => {
            tracing::info!(?state, failed = failed.len(), "descriptors were not taken; they are sent again");
        }
        Some(Problem::Ipt(failed)) if !failed.is_empty() => {
            tracing::info!(?state, failed = failed.len(), "introduction points failed; others are chosen");
        }
        None | Some(Problem::DescriptorUpload(_) | Problem::Ipt(_)) => {
            tracing::info!(?state, "the onion service's state");
        }
        Some(_) => tracing::warn!(?state, "the onion service has a problem"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::SystemClock;

    /// A network that is not there: one address of this machine where nobody listens.
    const NOWHERE: &str = r#"
        [tor_network.authorities]
        v3idents = ["0123456789ABCDEF0123456789ABCDEF01234567"]
        uploads = [["127.0.0.9:1"]]
        downloads = [["127.0.0.9:1"]]
        votes = [["127.0.0.9:1"]]
        [[tor_network.fallback_caches]]
        rsa_identity = "0123456789ABCDEF0123456789ABCDEF01234567"
        ed_identity = "Ag/Gc4vnZ9rLgcq3vRzLhD7aRWq2SKMMxmLRqxQSdH0"
        orports = ["127.0.0.9:1"]
    "#;

    fn open(root: &Path, name: &str) -> Host {
        let settings = Settings::in_home(root, None, NOWHERE.parse().unwrap()).unwrap();
        Host::open(&settings, name, SystemClock::shared()).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_address_is_known_without_a_network_and_stays_the_same() {
        let home = tempfile::tempdir().unwrap();
        let first = open(home.path(), "llmtor").address().to_owned();
        let name = first.strip_suffix(".onion").unwrap();
        assert!(
            name.len() == 56 && name.bytes().all(|byte| b"abcdefghijklmnopqrstuvwxyz234567".contains(&byte)),
            "{first}"
        );
        assert_eq!(open(home.path(), "llmtor").address(), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(open(other.path(), "llmtor").address(), first);
    }

    #[cfg(unix)]
    #[tokio::test(flavor = "multi_thread")]
    async fn whatever_is_kept_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        drop(open(home.path(), "llmtor"));
        let (mut keys, mut rooms) = (0, vec![home.path().join("tor")]);
        while let Some(room) = rooms.pop() {
            let mode = std::fs::metadata(&room).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", room.display());
            for entry in std::fs::read_dir(&room).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    rooms.push(path);
                } else if path.to_string_lossy().contains("keystore") {
                    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
                    assert_eq!(mode & 0o077, 0, "{}", path.display());
                    keys += 1;
                }
            }
        }
        assert!(keys > 0, "no key was kept");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_a_network_it_waits_and_can_be_given_up() {
        let home = tempfile::tempdir().unwrap();
        let publishing = open(home.path(), "llmtor").publish(80);
        let waited = tokio::time::timeout(Duration::from_millis(300), publishing).await;
        assert!(waited.is_err(), "published without a network");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_name_that_is_no_name_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let settings = Settings::in_home(home.path(), None, toml::Table::new()).unwrap();
        let refused = Host::open(&settings, "no name at all", SystemClock::shared()).err();
        assert!(matches!(refused, Some(TorError::Settings(_))), "{refused:?}");
    }
}
