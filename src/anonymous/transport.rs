//! Ways out of the machine for the anonymous plane. (Contract.)

use std::future::Future;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

pub mod loopback;

/// A byte stream to the backend, used for one exchange and never again.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, TransportError>> + Send + 'a>>;

/// Opens one fresh, isolated stream per call. Nothing has left for the backend's application when it fails.
pub trait Transport: Send + Sync + 'static {
    fn open(&self) -> Opening<'_>;
    /// What `Host:` says.
    fn authority(&self) -> &str;
}

#[derive(Debug, thiserror::Error)]
pub enum TransportError {}
