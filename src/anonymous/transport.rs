//! Ways out of the machine for the anonymous plane.
//!
//! A transport opens one fresh, isolated stream per call and knows nothing of what is said on it. When
//! [`Transport::open`] fails, not one byte of the call has left for the backend: the token is untouched.
//! Error kinds say *where* the opening failed, because that decides what the user can do about it.
//!
//! Deliberately absent: a pool of connections, reuse, and any fallback to another transport.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

pub mod loopback;

/// A byte stream to the backend, used for one exchange and never again.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What [`Transport::open`] returns.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, TransportError>> + Send + 'a>>;

/// Opens one fresh, isolated stream per call.
pub trait Transport: Send + Sync + 'static {
    /// A stream on which nothing has been said. Cancel-safe; the caller sets the time limit.
    fn open(&self) -> Opening<'_>;

    /// What `Host:` says: the backend's host, and its port unless it is the scheme's own.
    fn authority(&self) -> &str;
}

/// What a transport is still waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// Starting up; `percent` done, 0 to 100.
    Bootstrapping {
        /// 0 to 100.
        percent: u8,
    },
    /// Started, and stuck on something that the user can see to (network down, clock wrong, bridge dead).
    Blocked,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bootstrapping { percent } => write!(f, "starting up, {percent} % done"),
            Self::Blocked => f.write_str("the network does not let it start"),
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
}

/// A stream that could not be opened. Nothing has left for the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportError {
    kind: TransportErrorKind,
    retry_after: Option<Duration>,
}

impl TransportError {
    /// A failure at the place that `kind` names.
    pub fn new(kind: TransportErrorKind) -> Self {
        Self { kind, retry_after: None }
    }

    /// The same, with a hint when trying again is worthwhile.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
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
        }
    }
}

impl std::error::Error for TransportError {}
