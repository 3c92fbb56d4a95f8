//! Ways out of the machine for the anonymous plane.
//!
//! A transport opens one fresh, isolated stream per call and knows nothing of what is said on it. When
//! [`Transport::open`] fails, not one byte of the call has left for the backend: the token is untouched.
//! Error kinds say *where* the opening failed, because that decides what the user can do about it.
//!
//! | file | what it is |
//! | --- | --- |
//! | `loopback` | a backend on this machine |
//! | `isolated` | Tor, whichever way: one circuit per call (or as configured), warmed ahead of need in `pool` |
//! | `arti` | the dialler of the embedded Tor client |
//! | `socks` | the dialler of a Tor that runs beside, over SOCKS |
//! | `fetch` | pictures from the web, where the user wants them fetched |
//! | `leak` | in no release: deliberate leaks, for the tests that must see them |
//! | `target`, `tls` | where the backend is, and how its certificate is judged |
//!
//! Deliberately absent: use of a stream for a second call, and any fallback to another transport.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::passage::{PAUSED, Passage};

pub use crate::tor::{Blockage, Exit, Stage};

pub mod arti;
pub mod fetch;
pub mod isolated;
// Empty unless the tests that want to see a leak ask for it.
pub mod leak;
pub mod loopback;
mod pool;
pub mod socks;
pub mod target;
pub mod tls;

/// A byte stream to the backend, used for one exchange and never again.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream on which nothing has been said, and the exit that it goes through, where that can be known.
pub struct Opened {
    /// To the backend, TLS included where the backend speaks it.
    pub stream: Box<dyn Stream>,
    /// Told so that another attempt can avoid it.
    pub exit: Option<Exit>,
}

/// What the caller wishes of a stream.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Exits that failed this call.
    pub avoid: Vec<Exit>,
    /// Tells the calls of one conversation from those of others; only `per-conversation` isolation looks at it.
    pub conversation: Option<Conversation>,
}

/// A keyed digest of how a conversation begins; random per process, so that it means nothing elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conversation(pub [u8; 16]);

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conversation(…)")
    }
}

/// The way out of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The Tor client built in.
    Tor,
    /// A proxy on this machine, which is Tor unless the user said that it need not be.
    Socks,
    /// None: the backend is on this machine.
    Loopback,
}

/// Which other calls go over the same circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// None.
    Nobody,
    /// Those of the same conversation.
    Conversation,
    /// Any.
    Anybody,
}

/// How a call leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// By which way.
    pub way: Way,
    /// With whom.
    pub company: Company,
}

/// What [`Transport::open`] returns.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Opened, TransportError>> + Send + 'a>>;
/// What [`Transport::ready`] returns.
pub type Readiness<'a> = Pin<Box<dyn Future<Output = Result<(), TransportError>> + Send + 'a>>;

/// Opens one fresh, isolated stream per call.
pub trait Transport: Send + Sync + 'static {
    /// Waits until streams can be opened, as long as the transport thinks right.
    fn ready(&self) -> Readiness<'_> {
        Box::pin(async { Ok(()) })
    }

    /// A stream on which nothing has been said. Cancel-safe; the caller sets the time limit.
    fn open(&self, wish: Wish) -> Opening<'_>;

    /// How a stream that is opened for `wish` leaves.
    fn departure(&self, wish: &Wish) -> Departure;

    /// What `Host:` says: the backend's host, and its port unless it is the scheme's own.
    fn authority(&self) -> &str;

    /// Nothing opened from now on shares a circuit with anything opened before.
    fn new_identity(&self) {}

    /// Whether anything may leave: while nothing may, none is kept warm, and nothing is opened ahead of need.
    fn follow(&self, passage: Passage) {
        let _ = passage;
    }

    /// How many streams wait for a call.
    fn warm(&self) -> usize {
        0
    }
}

/// What a transport is still waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// Starting up.
    Bootstrapping {
        /// 0 to 100.
        percent: u8,
        /// What it is at.
        stage: Stage,
    },
    /// Started, and stuck on something that the user can see to.
    Blocked(Blockage),
    /// Nothing may leave.
    Paused,
    /// Nobody listens where the Tor that runs beside is looked for.
    NoProxy,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bootstrapping { percent, stage } => write!(f, "starting up, {percent} % done, {stage}"),
            Self::Paused => f.write_str(PAUSED),
            Self::NoProxy => f.write_str("no SOCKS proxy listens there; start Tor, or correct --transport"),
            Self::Blocked(blockage) => blockage.fmt(f),
        }
    }
}

/// Where opening a stream failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportErrorKind {
    /// The transport itself is not up.
    NotReady(NotReady),
    /// The address is not one that this transport may dial.
    NotLoopback,
    /// The way is there, but nobody listens at its end.
    Refused,
    /// It took too long.
    Timeout,
    /// The way to the backend could not be built.
    Connect,
    /// The proxy is not Tor.
    NotTor,
    /// The certificate shown is not one for the backend: somebody on the way, or the backend itself.
    Certificate,
}

/// A stream that could not be opened. Nothing has left for the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportError {
    kind: TransportErrorKind,
    retry_after: Option<Duration>,
    exit: Option<Exit>,
}

impl TransportError {
    /// A failure at the place that `kind` names.
    pub fn new(kind: TransportErrorKind) -> Self {
        Self { kind, retry_after: None, exit: None }
    }

    /// The same, with a hint when trying again is worthwhile.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// The same, at this exit.
    #[must_use]
    pub fn at(mut self, exit: Option<Exit>) -> Self {
        self.exit = exit;
        self
    }

    /// The exit that failed, if the transport knows.
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Where it failed.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// When trying again is worthwhile, if the transport knows.
    pub fn retry_hint(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TransportErrorKind::NotReady(reason) => write!(f, "the transport is not ready: {reason}"),
            TransportErrorKind::NotLoopback => f.write_str("the loopback transport dials only this machine"),
            TransportErrorKind::Refused => f.write_str("the backend refused the connection"),
            TransportErrorKind::Timeout => f.write_str("no connection to the backend in time"),
            TransportErrorKind::Connect => f.write_str("no connection to the backend"),
            TransportErrorKind::NotTor => f.write_str("the proxy is not Tor"),
            TransportErrorKind::Certificate => f.write_str("the backend's certificate is not accepted"),
        }
    }
}

impl std::error::Error for TransportError {}
