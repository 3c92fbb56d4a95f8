//! The running client: bootstrap, status, streams.
//!
//! | phase | what goes on | a stream asked for |
//! | --- | --- | --- |
//! | Bootstrapping | attempts, each with a time limit, one after another for ever | waits, as long as its caller likes |
//! | Blocked | the same; Arti says on what it is stuck | the same |
//! | Ready | circuits can be built | is opened |
//! | Dormant | nothing in the background | wakes the client |
//!
//! Neither a bootstrap nor a connect of Arti's returns by itself while the network is dead, and a start with a
//! directory in the cache "succeeds" without a network: hence the limits here, and a failed stream asks again
//! whether the client is blocked.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arti_client::config::BoolOrAuto;
use arti_client::status::{BlockageKind, BootstrapStatus};
use arti_client::{BootstrapBehavior, DataStream, DormantMode, HasKind as _, StreamPrefs, TorClient};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tor_error::ErrorKind;
use tor_linkspec::HasRelayIds as _;
use tor_proto::client::stream::ClientStreamCtrl as _;

use super::dial::{self, Runtime};
use super::{Blockage, ConnectError, ConnectErrorKind, Exit, Isolation, Phase, Settings, Status, TorError};

/// How long one bootstrap may take before it is begun anew.
const ATTEMPT: Duration = Duration::from_secs(120);
/// Between attempts.
const PAUSE: Duration = Duration::from_secs(2);

/// A byte stream to a target through Tor.
pub trait TorStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// The exit it goes through; `None` to and from an onion service.
    fn exit(&self) -> Option<Exit>;
}

/// A running client. Clones share everything.
#[derive(Clone)]
pub struct Tor {
    client: Arc<TorClient<Runtime>>,
    life: Arc<Life>,
}

/// Ends with the last handle.
struct Life {
    status: watch::Sender<Status>,
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
}

impl Tor {
    /// Starts a client that bootstraps in the background and keeps trying. Must be called inside a Tokio runtime.
    pub fn launch(settings: &Settings) -> Result<Self, TorError> {
        // Arti's feature installs none, and panics without one. An earlier one, by whomever, is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = settings.resolve()?;
        let runtime = dial::runtime().map_err(|error| TorError::Storage(error.to_string()))?;
        let client = TorClient::with_runtime(runtime)
            .config(config)
            .bootstrap_behavior(BootstrapBehavior::Manual)
            .create_unbootstrapped()
            .map_err(|error| refused(&error))?;
        let (status, _) = watch::channel(Status { percent: 0, phase: Phase::Bootstrapping });
        let tor = Self { client, life: Arc::new(Life { status, tasks: Mutex::default() }) };
        // The tasks hold no handle, or the client would never end.
        let following = follow(tor.client.bootstrap_events(), tor.life.status.clone());
        let bootstrapping = bootstrap(Arc::clone(&tor.client), tor.life.status.clone());
        let mut tasks = tor.life.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(AbortOnDropHandle::new(tokio::spawn(following)));
        tasks.push(AbortOnDropHandle::new(tokio::spawn(bootstrapping)));
        drop(tasks);
        Ok(tor)
    }

    /// A client with the same guards and directory whose streams never share a circuit with this one's.
    #[must_use]
    pub fn separate(&self) -> Self {
        Self { client: self.client.isolated_client(), life: Arc::clone(&self.life) }
    }

    /// How far it is.
    pub fn status(&self) -> Status {
        self.life.status.borrow().clone()
    }

    /// Every change of [`Tor::status`].
    pub fn changes(&self) -> watch::Receiver<Status> {
        self.life.status.subscribe()
    }

    /// Waits until streams can be opened; the status as it is when `patience` is over.
    pub async fn ready(&self, patience: Duration) -> Result<(), Status> {
        let mut changes = self.changes();
        let ready = tokio::time::timeout(patience, changes.wait_for(Status::is_ready)).await;
        match ready {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.status()),
        }
    }

    /// A stream to `host` (a name, an address or an onion address) on the circuit of `isolation`. Wakes a dormant
    /// client. Cancel-safe; the caller sets the time limit.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        isolation: &Isolation,
    ) -> Result<Box<dyn TorStream>, ConnectError> {
        let mut prefs = StreamPrefs::new();
        prefs.set_isolation(isolation.0);
        prefs.connect_to_onion_services(BoolOrAuto::Explicit(true));
        if self.status().phase == Phase::Dormant {
            self.tell(Phase::Ready);
        }
        match self.client.connect_with_prefs((host, port), &prefs).await {
            Ok(stream) => {
                let exit = exit(&stream);
                Ok(Box::new(Stream { stream, exit }))
            }
            Err(error) => {
                // Only the kind: the rest names the target.
                let kind = kind(error.kind());
                tracing::debug!(?kind, "no stream through Tor");
                Err(ConnectError { kind, exit: None })
            }
        }
    }

    /// Suspends background work until the next stream.
    pub fn doze(&self) {
        if self.status().phase == Phase::Ready {
            self.client.set_dormant(DormantMode::Soft);
            self.tell(Phase::Dormant);
        }
    }

    /// For what is not a stream to somewhere: an onion service.
    pub(super) fn client(&self) -> &TorClient<Runtime> {
        &self.client
    }

    fn tell(&self, phase: Phase) {
        self.life.status.send_modify(|status| status.phase = phase);
    }
}

async fn bootstrap(client: Arc<TorClient<Runtime>>, status: watch::Sender<Status>) {
    loop {
        match tokio::time::timeout(ATTEMPT, client.bootstrap()).await {
            Ok(Ok(())) => {
                status.send_replace(Status { percent: 100, phase: Phase::Ready });
                return;
            }
            Ok(Err(error)) => tracing::info!(kind = ?error.kind(), "Tor did not start; trying again"),
            Err(_) => tracing::info!("Tor did not start in time; trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Keeps the status true.
async fn follow(mut events: arti_client::status::BootstrapEvents, status: watch::Sender<Status>) {
    while let Some(event) = events.next().await {
        let latest = read(&event);
        status.send_if_modified(|current| {
            // Arti forgets that it is dormant; only a stream ends that.
            let sleeping = current.phase == Phase::Dormant && latest.phase != Phase::Ready;
            let changed = !sleeping && *current != latest && current.phase != Phase::Dormant;
            if changed {
                *current = latest;
            }
            changed
        });
    }
}

fn read(event: &BootstrapStatus) -> Status {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
    let percent = (event.as_frac() * 100.0).clamp(0.0, 100.0) as u8;
    let phase = if event.ready_for_traffic() {
        Phase::Ready
    } else if let Some(blockage) = event.blocked() {
        match blockage.kind() {
            // It has not begun yet.
            BlockageKind::Disabled => Phase::Bootstrapping,
            BlockageKind::Offline => Phase::Blocked(Blockage::Offline),
            BlockageKind::Filtering => Phase::Blocked(Blockage::Filtered),
            BlockageKind::ClockSkewed => Phase::Blocked(Blockage::Clock),
            BlockageKind::CantBootstrap => Phase::Blocked(Blockage::Directory),
            _ => Phase::Blocked(Blockage::Unreachable),
        }
    } else {
        Phase::Bootstrapping
    };
    Status { percent, phase }
}

pub(super) fn refused(error: &arti_client::Error) -> TorError {
    match error.kind() {
        ErrorKind::InvalidConfig | ErrorKind::InvalidConfigTransition | ErrorKind::FeatureDisabled => {
            TorError::Settings(error.to_string())
        }
        _ => TorError::Storage(error.to_string()),
    }
}

fn kind(kind: ErrorKind) -> ConnectErrorKind {
    match kind {
        ErrorKind::TorAccessFailed
        | ErrorKind::LocalNetworkError
        | ErrorKind::BootstrapRequired
        | ErrorKind::TorDirectoryUnusable
        | ErrorKind::DirectoryExpired
        | ErrorKind::ClockSkew
        | ErrorKind::ArtiShuttingDown
        | ErrorKind::ReactorShuttingDown => ConnectErrorKind::NotReady,
        ErrorKind::RemoteConnectionRefused => ConnectErrorKind::Refused,
        ErrorKind::RemoteHostNotFound
        | ErrorKind::RemoteHostResolutionFailed
        | ErrorKind::OnionServiceNotFound
        | ErrorKind::OnionServiceAddressInvalid
        | ErrorKind::InvalidStreamTarget
        | ErrorKind::ForbiddenStreamTarget => ConnectErrorKind::NoSuchHost,
        ErrorKind::ExitTimeout | ErrorKind::RemoteNetworkTimeout | ErrorKind::TorNetworkTimeout => {
            ConnectErrorKind::Timeout
        }
        ErrorKind::ExitPolicyRejected
        | ErrorKind::RemoteStreamClosed
        | ErrorKind::RemoteStreamReset
        | ErrorKind::RemoteStreamError
        | ErrorKind::RemoteNetworkFailed
        | ErrorKind::RemoteProtocolViolation => ConnectErrorKind::Exit,
        _ => ConnectErrorKind::Path,
    }
}

/// The last relay, if the path ends at one and not at an onion service.
fn exit(stream: &DataStream) -> Option<Exit> {
    let hop = stream.client_stream_ctrl()?.tunnel()?.last_hop_info().ok()??;
    let mut digest = Sha256::new();
    for id in hop.identities() {
        digest.update(id.as_bytes());
    }
    Some(Exit::new(digest.finalize().into()))
}

/// A stream that an onion service has accepted.
pub(super) fn hosted(stream: DataStream) -> Box<dyn TorStream> {
    Box::new(Stream { stream, exit: None })
}

struct Stream {
    stream: DataStream,
    exit: Option<Exit>,
}

impl TorStream for Stream {
    fn exit(&self) -> Option<Exit> {
        self.exit
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
