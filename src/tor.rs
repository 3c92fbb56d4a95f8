//! Tor, in process: one Arti client, its life and what it says of itself.
//!
//! Both planes and the reference backend's onion service stand on this; it knows none of them.
//!
//! Invariants: what it dials are relays and bridges of the configured network, nothing else; names are resolved by
//! the exit; guard state is kept under the home; nothing of a target or a path is logged.

mod bridges;
mod client;
mod dial;
mod host;
mod life;
mod settings;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tor_proto::client::ClientTunnel;

pub use client::{Limits, Tor, TorStream};
pub use host::{Host, Incoming};
pub use life::Start;
pub use settings::Settings;

/// How far a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// 0 to 100.
    pub percent: u8,
    /// What follows from it.
    pub phase: Phase,
}

impl Status {
    /// Whether a stream is worth trying.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Dormant)
    }
}

/// Whether streams can be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Under way.
    Bootstrapping(Stage),
    /// Streams can be opened.
    Ready,
    /// Ready, and its background work suspended until the next stream.
    Dormant,
    /// Stuck, as far as the client can tell.
    Blocked(Blockage),
    /// There is no client: nothing may leave.
    AtRest,
}

/// What a start is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Looking for a relay that can be reached.
    #[default]
    Connecting,
    /// A relay is reached, and has not shown that it speaks Tor.
    Handshaking,
    /// Fetching the directory.
    Directory,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connecting => "looking for a relay that can be reached",
            Self::Handshaking => "waiting for a relay to answer",
            Self::Directory => "fetching the directory",
        })
    }
}

/// On what a client is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blockage {
    /// No TCP connection to any relay.
    Offline,
    /// TCP, but no Tor behind it.
    Filtered,
    /// Some other trouble on the way to the network.
    Unreachable,
    /// This machine's clock is wrong.
    Clock,
    /// No directory that can be used.
    Directory,
}

impl std::fmt::Display for Blockage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Offline => "no relay can be reached; this machine seems to be offline",
            Self::Filtered => "connections to Tor seem to be filtered here; a bridge may help",
            Self::Unreachable => "the Tor network cannot be reached",
            Self::Clock => "this machine's clock is wrong; set it",
            Self::Directory => "no usable directory of the Tor network can be had",
        })
    }
}

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TorError {
    /// Arti's own settings are refused; the text names the setting and the reason (for a bridge line too).
    #[error("Tor's settings are refused: {0}")]
    Settings(String),
    /// The file with Arti's settings cannot be read, or is not TOML.
    #[error("{path} cannot be read: {reason}", path = .path.display())]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// The system's reason, or the parser's complaint.
        reason: String,
    },
    /// The state or cache directory cannot be used.
    #[error("Tor cannot use its directory: {0}")]
    Storage(String),
}

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectErrorKind {
    /// The client itself is not up, or lost the network.
    NotReady,
    /// No circuit could be had in time.
    NoCircuit,
    /// The exit or onion service refused: nobody listens there.
    Refused,
    /// No such name or onion service.
    NoSuchHost,
    /// It took too long.
    Timeout,
    /// The exit does not let us there, or misbehaved.
    Exit,
    /// The path could not be built.
    Path,
}

/// A stream that was not opened, and through which exit, if one was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// Where it failed.
    pub kind: ConnectErrorKind,
    /// The exit that was used.
    pub exit: Option<Exit>,
}

/// The last relay of a path; to be compared, never shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Exit([u8; 32]);

impl std::fmt::Debug for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exit(…)")
    }
}

impl Exit {
    /// From an identity, or a digest of one.
    pub fn new(identity: [u8; 32]) -> Self {
        Self(identity)
    }
}

/// Streams with different isolations never share a circuit; those with the same one do, as long as it lives. For one
/// target, the one that it is first used for.
#[derive(Clone)]
pub struct Isolation {
    token: arti_client::IsolationToken,
    /// Arti may have several that fit, and takes any. With whose it is: a separate client shares none.
    circuit: Arc<Mutex<Option<Kept>>>,
}

/// The circuit that an isolation's last stream was on.
struct Kept {
    owner: arti_client::IsolationToken,
    circuit: Weak<ClientTunnel>,
}

impl Isolation {
    /// Another than all others.
    #[expect(clippy::new_without_default, reason = "no two are equal, so none is the default")]
    pub fn new() -> Self {
        Self { token: arti_client::IsolationToken::new(), circuit: Arc::default() }
    }

    /// The circuit that its last stream was on, if that was `owner`'s and still lives.
    fn circuit(&self, owner: &Self) -> Option<Arc<ClientTunnel>> {
        let kept = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.as_ref().filter(|kept| kept.owner == owner.token)?;
        kept.circuit.upgrade().filter(|circuit| !circuit.is_closed())
    }

    fn keep(&self, owner: &Self, circuit: &Arc<ClientTunnel>) {
        let kept = Kept { owner: owner.token, circuit: Arc::downgrade(circuit) };
        *self.circuit.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    }
}
