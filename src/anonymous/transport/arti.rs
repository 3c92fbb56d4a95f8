//! The dialler of the embedded Tor client.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::isolated::Dialer;
use super::target::Target;
use super::tls::Tls;
use super::{NotReady, Opened, TransportError, TransportErrorKind};
use crate::tor::{ConnectErrorKind, Isolation, Phase, Status, Tor};

/// When it is worth asking again while Tor starts.
const STARTING: Duration = Duration::from_secs(5);
/// The same while Tor is stuck.
const STUCK: Duration = Duration::from_secs(30);

/// Streams to one backend through a [`Tor`].
pub struct ArtiDialer {
    tor: Tor,
    target: Target,
    tls: Tls,
    patience: Duration,
}

impl ArtiDialer {
    /// `patience` is how long a call waits for Tor to start.
    pub fn new(tor: Tor, target: Target, tls: Tls, patience: Duration) -> Self {
        Self { tor, target, tls, patience }
    }

    fn failed(&self, kind: ConnectErrorKind) -> TransportError {
        let kind = match kind {
            ConnectErrorKind::NotReady => return not_ready(&self.tor.status()),
            ConnectErrorKind::Refused => TransportErrorKind::Refused,
            ConnectErrorKind::Timeout => TransportErrorKind::Timeout,
            ConnectErrorKind::NoSuchHost | ConnectErrorKind::Exit | ConnectErrorKind::Path => {
                TransportErrorKind::Connect
            }
        };
        TransportError::new(kind)
    }
}

impl Dialer for ArtiDialer {
    type Lane = Isolation;

    fn lane(&self) -> Isolation {
        Isolation::new()
    }

    async fn dial(&self, lane: &Isolation, limit: Duration) -> Result<Opened, TransportError> {
        let deadline = Instant::now() + limit;
        let late = |_| TransportError::new(TransportErrorKind::Timeout);
        let connecting = self.tor.connect(self.target.host(), self.target.port(), lane);
        let connected = timeout_at(deadline, connecting).await.map_err(late)?;
        let stream = connected.map_err(|error| self.failed(error.kind).at(error.exit))?;
        let exit = stream.exit();
        // Whoever keeps the handshake waiting is at that exit, or it is the exit itself.
        let layered = timeout_at(deadline, self.tls.layer(stream, &self.target)).await;
        let stream = layered.unwrap_or_else(|elapsed| Err(late(elapsed))).map_err(|error| error.at(exit))?;
        Ok(Opened { stream, exit })
    }

    async fn ready(&self) -> Result<(), TransportError> {
        self.tor.ready(self.patience).await.map_err(|status| not_ready(&status))
    }

    fn doze(&self) {
        self.tor.doze();
    }

    fn target(&self) -> &Target {
        &self.target
    }
}

fn not_ready(status: &Status) -> TransportError {
    let (reason, retry_after) = match status.phase {
        Phase::Blocked(blockage) => (NotReady::Blocked(blockage), STUCK),
        // Ready, and yet a stream says otherwise: the network went away a moment ago.
        Phase::Bootstrapping | Phase::Ready | Phase::Dormant => {
            (NotReady::Bootstrapping { percent: status.percent }, STARTING)
        }
    };
    TransportError::new(TransportErrorKind::NotReady(reason)).retry_after(retry_after)
}
