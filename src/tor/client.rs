//! A handle on the running client: waiting for it, and streams through it.
//!
//! | phase | what goes on | a stream asked for |
//! | --- | --- | --- |
//! | Bootstrapping | attempts, each with a time limit, one after another for ever | waits, as long as its caller likes |
//! | Blocked while starting | the same; Arti, or our own dialler, says on what it is stuck | the same |
//! | Ready | circuits can be built | is opened |
//! | Dormant | nothing in the background | wakes the client |
//! | At rest | nothing at all: there is no client | waits for one to be begun |
//! | Blocked afterwards | the last stream found no circuit in time, or the machine slept | the client is begun anew, then is opened |
//!
//! Neither a bootstrap nor a connect of Arti's returns by itself while the network is dead, and a start with a
//! directory in the cache "succeeds" without a network: hence the limits here, and the doubt that a stream without
//! a circuit casts on the client. What is begun anew is in [`life`](super::life).

use std::sync::Arc;
use std::time::Duration;

use arti_client::config::BoolOrAuto;
use arti_client::{DataStream, HasKind as _, StreamPrefs, TorClient};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tor_error::ErrorKind;
use tor_linkspec::HasRelayIds as _;
use tor_proto::client::ClientTunnel;
use tor_proto::client::stream::{ClientStreamCtrl as _, StreamParameters};

use super::dial::Runtime;
use super::life::{Current, Life, Start};
use super::{ConnectError, ConnectErrorKind, Exit, Isolation, Settings, Status, TorError};
use crate::clock::SharedClock;

/// How long what may take, for one stream.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until there is a circuit.
    pub circuit: Duration,
    /// Then, until its end has opened the stream.
    pub stream: Duration,
}

/// A byte stream to a target through Tor.
pub trait TorStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// The exit it goes through; `None` to and from an onion service, and when its circuit is gone.
    fn exit(&self) -> Option<Exit>;
}

/// A running client. Clones share everything.
#[derive(Clone)]
pub struct Tor {
    life: Arc<Life>,
    owner: Isolation,
}

impl Tor {
    /// Starts a client that bootstraps in the background and keeps trying. Must be called inside a Tokio runtime.
    pub fn launch(settings: &Settings, clock: SharedClock) -> Result<Self, TorError> {
        Self::start(settings, clock, Start::Now)
    }

    /// The same, or one that is at rest until [`Tor::rise`].
    pub fn start(settings: &Settings, clock: SharedClock, start: Start) -> Result<Self, TorError> {
        Ok(Self { life: Life::launch(settings, clock, start)?, owner: Isolation::new() })
    }

    /// A client with the same guards and directory whose streams never share a circuit with this one's, whatever
    /// their isolations.
    #[must_use]
    pub fn separate(&self) -> Self {
        Self { life: Arc::clone(&self.life), owner: Isolation::new() }
    }

    /// How far it is.
    pub fn status(&self) -> Status {
        self.life.status().borrow().clone()
    }

    /// Every change of [`Tor::status`].
    pub fn changes(&self) -> watch::Receiver<Status> {
        self.life.status()
    }

    /// Waits until streams can be opened; the status as it is when `patience` is over. A client that is in doubt is
    /// begun anew first.
    pub async fn ready(&self, patience: Duration) -> Result<(), Status> {
        self.life.settle_doubt().await;
        self.ready_by(Instant::now() + patience).await
    }

    async fn ready_by(&self, deadline: Instant) -> Result<(), Status> {
        let mut changes = self.changes();
        loop {
            let epoch = self.life.epoch();
            tokio::select! {
                biased;
                ready = timeout_at(deadline, changes.wait_for(Status::is_ready)) => {
                    return match ready {
                        Ok(Ok(_)) => Ok(()),
                        Ok(Err(_)) | Err(_) => Err(self.status()),
                    };
                }
                () = self.life.replaced(epoch) => {}
            }
        }
    }

    /// A stream to `host` (a name, an address or an onion address) on the circuit of `isolation`, unless that ends at an
    /// exit to `avoid`: then it is given up before anything is said on it. Wakes a dormant client. Cancel-safe.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        isolation: &Isolation,
        limits: Limits,
        avoid: &[Exit],
    ) -> Result<Box<dyn TorStream>, ConnectError> {
        let mut prefs = StreamPrefs::new();
        // Two isolations, as one: both must agree before a circuit is shared.
        prefs.set_isolation((self.owner.token, isolation.token));
        prefs.connect_to_onion_services(BoolOrAuto::Explicit(true));
        // Returns as soon as the circuit is there, so that it is known through which exit the stream goes, or fails.
        prefs.optimistic();
        let deadline = Instant::now() + limits.circuit;
        let mut stream = match self.again(host, port, isolation, deadline).await {
            Some(stream) => stream,
            None => self.begin(host, port, &prefs, deadline).await?,
        };
        if let Some(circuit) = circuit(&stream) {
            isolation.keep(&self.owner, &circuit);
        }
        let exit = stream.exit();
        if exit.is_some_and(|exit| avoid.contains(&exit)) {
            return Err(ConnectError { kind: ConnectErrorKind::Exit, exit });
        }
        match timeout(limits.stream, stream.wait_for_connection()).await {
            Ok(Ok(())) => {
                self.life.trust();
                Ok(Box::new(stream))
            }
            Ok(Err(error)) => Err(failed(kind(error.kind()), exit)),
            Err(_) => Err(failed(ConnectErrorKind::Timeout, exit)),
        }
    }

    /// A stream on the circuit that this isolation has already. An onion service's circuits are Arti's to know.
    async fn again(
        &self,
        host: &str,
        port: u16,
        isolation: &Isolation,
        deadline: Instant,
    ) -> Option<DataStream> {
        let circuit = isolation.circuit(&self.owner)?;
        exit(&circuit)?;
        let mut parameters = StreamParameters::default();
        parameters.optimistic(true);
        timeout_at(deadline, circuit.begin_stream(host, port, Some(parameters))).await.ok()?.ok()
    }

    /// A stream on a circuit that is there; whether its end opens it is to be seen.
    async fn begin(
        &self,
        host: &str,
        port: u16,
        prefs: &StreamPrefs,
        deadline: Instant,
    ) -> Result<DataStream, ConnectError> {
        loop {
            // Another stream may have put the client in doubt since, and one begun anew has its directory to read.
            self.life.settle_doubt().await;
            let ready = self.ready_by(deadline).await;
            let Some(Current { client, epoch }) = ready.ok().and_then(|()| self.life.awake()) else {
                self.life.doubt();
                return Err(failed(ConnectErrorKind::NoCircuit, None));
            };
            tokio::select! {
                biased;
                connected = timeout_at(deadline, client.connect_with_prefs((host, port), prefs)) => {
                    return match connected {
                        Ok(Ok(stream)) => Ok(stream),
                        Ok(Err(error)) => Err(failed(kind(error.kind()), None)),
                        Err(_) => {
                            self.life.doubt();
                            Err(failed(ConnectErrorKind::NoCircuit, None))
                        }
                    };
                }
                () = self.life.replaced(epoch) => {}
            }
        }
    }

    /// Suspends background work until the next stream.
    pub fn doze(&self) {
        self.life.doze();
    }

    /// Ends the client until [`Tor::rise`], with every stream that it has: nothing is sent or received any more.
    pub async fn rest(&self) {
        self.life.rest().await;
    }

    /// Begins a client anew after a rest; it bootstraps in the background.
    pub async fn rise(&self) {
        self.life.rise().await;
    }

    /// Ends the client, of which nothing more is asked; what it knows of its guards is then on disk.
    pub async fn close(&self) {
        self.life.close().await;
    }

    /// For what is not a stream to somewhere: an onion service. `None` if it could not be begun anew.
    pub(super) fn client(&self) -> Option<Arc<TorClient<Runtime>>> {
        self.life.awake().map(|current| current.client)
    }
}

/// Only the kind is told: the rest names the target.
fn failed(kind: ConnectErrorKind, exit: Option<Exit>) -> ConnectError {
    tracing::debug!(?kind, "no stream through Tor");
    ConnectError { kind, exit }
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
        ErrorKind::ExitTimeout | ErrorKind::RemoteNetworkTimeout => ConnectErrorKind::Timeout,
        ErrorKind::ExitPolicyRejected
        | ErrorKind::RemoteStreamClosed
        | ErrorKind::RemoteStreamReset
        | ErrorKind::RemoteStreamError
        | ErrorKind::RemoteNetworkFailed
        | ErrorKind::RemoteProtocolViolation => ConnectErrorKind::Exit,
        _ => ConnectErrorKind::Path,
    }
}

fn circuit(stream: &DataStream) -> Option<Arc<ClientTunnel>> {
    stream.client_stream_ctrl()?.tunnel()
}

/// The last relay, if the path ends at one and not at an onion service.
fn exit(circuit: &ClientTunnel) -> Option<Exit> {
    let hop = circuit.last_hop_info().ok()??;
    let mut digest = Sha256::new();
    for id in hop.identities() {
        digest.update(id.as_bytes());
    }
    Some(Exit::new(digest.finalize().into()))
}

impl TorStream for DataStream {
    fn exit(&self) -> Option<Exit> {
        exit(circuit(self).as_deref()?)
    }
}
