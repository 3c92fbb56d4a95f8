//! Deliberate leaks, so that the packet judge of the test suite is seen to catch each of them.
//!
//! Compiled only with the feature `leak`, which nothing enables by itself and no release build accepts. Before each call
//! something leaves this machine beside the configured way out, as the environment variable `LLMTOR_LEAK` says:
//!
//! | value | what leaves |
//! | --- | --- |
//! | `tcp ADDRESS:PORT`, `ipv6 [ADDRESS]:PORT` | a TCP connection |
//! | `dns NAME` | a query for a name, by the system's resolver |
//! | `icmp ADDRESS` | an echo request |
//! | `clear ADDRESS:PORT` | a TCP connection, with a copy of all that the call sends |
#![cfg(feature = "leak")]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Departure, Opened, Opening, Readiness, Stream, Transport, Wish};

#[cfg(not(debug_assertions))]
compile_error!("the feature `leak` is for tests of the packet judge; a release cannot have it");

const VARIABLE: &str = "LLMTOR_LEAK";
/// A leak that nobody answers must not hold up its call for long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Echo request, code 0, checksum, identifier 0, sequence number 1.
const ECHO_REQUEST: [u8; 8] = [8, 0, 0xf7, 0xfe, 0, 0, 0, 1];

enum Leak {
    Tcp(SocketAddr),
    Dns(String),
    Icmp(IpAddr),
    Clear(SocketAddr),
}

impl Leak {
    fn read(text: &str) -> Option<Self> {
        let (kind, target) = text.split_once(' ')?;
        match kind {
            "tcp" | "ipv6" => target.parse().ok().map(Self::Tcp),
            "dns" => Some(Self::Dns(target.to_owned())),
            "icmp" => target.parse().ok().map(Self::Icmp),
            "clear" => target.parse().ok().map(Self::Clear),
            _ => None,
        }
    }

    /// Where a copy of the call's bytes goes, if anywhere.
    #[expect(clippy::disallowed_methods, reason = "what is banned is what the judge must catch")]
    async fn out(&self) -> io::Result<Option<TcpStream>> {
        match self {
            Self::Tcp(address) => TcpStream::connect(address).await.map(|_| None),
            Self::Dns(name) => tokio::net::lookup_host((name.as_str(), 443)).await.map(|_| None),
            Self::Icmp(address) => {
                let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
                socket.send_to(&ECHO_REQUEST, &SocketAddr::new(*address, 0).into()).map(|_| None)
            }
            Self::Clear(address) => TcpStream::connect(address).await.map(Some),
        }
    }
}

/// A transport that leaks.
pub struct Leaking {
    inner: Arc<dyn Transport>,
    leak: Option<Leak>,
}

impl Leaking {
    /// `inner`, and the leak that the environment names.
    pub fn over(inner: Arc<dyn Transport>) -> Arc<dyn Transport> {
        let value = std::env::var(VARIABLE).unwrap_or_default();
        Arc::new(Self { inner, leak: Leak::read(&value) })
    }

    async fn leak(&self) -> Option<TcpStream> {
        let leak = self.leak.as_ref()?;
        match timeout(PATIENCE, leak.out()).await {
            Ok(Ok(copy)) => copy,
            // The judge, not this module, says whether anything left.
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

impl Transport for Leaking {
    fn ready(&self) -> Readiness<'_> {
        self.inner.ready()
    }

    fn open(&self, wish: Wish) -> Opening<'_> {
        Box::pin(async move {
            let copy = self.leak().await;
            let Opened { stream, exit } = self.inner.open(wish).await?;
            Ok(Opened { stream: Box::new(Copied { stream, copy }), exit })
        })
    }

    fn departure(&self, wish: &Wish) -> Departure {
        self.inner.departure(wish)
    }

    fn authority(&self) -> &str {
        self.inner.authority()
    }

    fn new_identity(&self) {
        self.inner.new_identity();
    }

    fn warm(&self) -> usize {
        self.inner.warm()
    }
}

/// A stream, and where what is written on it goes as well.
struct Copied {
    stream: Box<dyn Stream>,
    copy: Option<TcpStream>,
}

impl AsyncRead for Copied {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Copied {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let (Poll::Ready(Ok(count)), Some(copy)) = (&written, &self.copy) {
            // A call's bytes fit a socket's buffer; the copy does not wait.
            let _: io::Result<usize> = copy.try_write(&bytes[..*count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
