//! The dialler of the embedded Tor client.

use std::time::Duration;

use tokio::time::timeout;

use super::isolated::Dialer;
use super::target::{Layer, Target};
use super::tls::Tls;
use super::{Blockage, Exit, NotReady, Opened, TransportError, TransportErrorKind, Way};
use crate::tor::{ConnectErrorKind, Isolation, Limits, Phase, Status, Tor};

/// When it is worth asking again while Tor starts.
const STARTING: Duration = Duration::from_secs(5);
/// The same while Tor is stuck.
const STUCK: Duration = Duration::from_secs(30);

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A call's wait for Tor to start.
    pub bootstrap: Duration,
    /// Opening one stream, TLS included.
    pub connect: Duration,
}

/// Opening a stream on a circuit, and shaking hands on it, are a few round trips each, and whoever is at the exit may
/// hold them for ever.
const STEP: Duration = Duration::from_secs(10);

impl Patience {
    /// Most of it is the circuit's; the steps after it still fit, so that it is known at which exit time ran out.
    fn circuit(self) -> Duration {
        self.connect.mul_f64(0.8)
    }

    fn step(self) -> Duration {
        STEP.min(self.connect.mul_f64(0.4))
    }
}

/// Streams to one backend through a [`Tor`].
pub struct ArtiDialer {
    tor: Tor,
    target: Target,
    tls: Tls,
    patience: Patience,
}

impl ArtiDialer {
    /// To `target`, judged by `tls` where it speaks that.
    pub fn new(tor: Tor, target: Target, tls: Tls, patience: Patience) -> Self {
        Self { tor, target, tls, patience }
    }

    fn failed(&self, kind: ConnectErrorKind) -> TransportError {
        let kind = match kind {
            ConnectErrorKind::NotReady => return not_ready(&self.tor.status()),
            ConnectErrorKind::NoCircuit => {
                let status = self.tor.status();
                match (&status.phase, self.target.layer()) {
                    // Others got theirs a moment ago, so the next one may do; and an onion service that is away looks
                    // like this, too, unless Tor itself says what it lacks.
                    (Phase::Ready | Phase::Dormant, _)
                    | (Phase::Blocked(Blockage::Unreachable), Layer::Onion) => TransportErrorKind::Timeout,
                    (Phase::Blocked(_) | Phase::Bootstrapping(_) | Phase::AtRest, _) => {
                        return not_ready(&status);
                    }
                }
            }
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

    async fn dial(&self, lane: &Isolation, avoid: &[Exit]) -> Result<Opened, TransportError> {
        let (host, port) = (self.target.host(), self.target.port());
        let step = self.patience.step();
        let limits = Limits { circuit: self.patience.circuit(), stream: step };
        let connected = self.tor.connect(host, port, lane, limits, avoid).await;
        let stream = connected.map_err(|error| self.failed(error.kind).at(error.exit))?;
        let exit = stream.exit();
        let out_of_time = |_| Err(TransportError::new(TransportErrorKind::Timeout));
        let layered = timeout(step, self.tls.layer(stream, &self.target)).await.unwrap_or_else(out_of_time);
        let stream = layered.map_err(|error| error.at(exit))?;
        Ok(Opened { stream, exit })
    }

    async fn ready(&self) -> Result<(), TransportError> {
        self.tor.ready(self.patience.bootstrap).await.map_err(|status| not_ready(&status))
    }

    fn doze(&self) {
        self.tor.doze();
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn way(&self) -> Way {
        Way::Tor
    }
}

fn not_ready(status: &Status) -> TransportError {
    let percent = status.percent;
    let (reason, retry_after) = match status.phase {
        Phase::Blocked(blockage) => (NotReady::Blocked(blockage), STUCK),
        Phase::AtRest => (NotReady::Paused, STUCK),
        Phase::Bootstrapping(stage) => (NotReady::Bootstrapping { percent, stage }, STARTING),
        // Ready, and yet there is no circuit: the network went away a moment ago, or is that slow.
        Phase::Ready | Phase::Dormant => (NotReady::Blocked(Blockage::Unreachable), STARTING),
    };
    TransportError::new(TransportErrorKind::NotReady(reason)).retry_after(retry_after)
}
