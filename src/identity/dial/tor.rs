//! The route through Tor: HTTP/1.1 on streams that an Arti client opens.
//!
//! Names are resolved by the exit. The roots of trust are the platform's, as on the direct route, but certificates are
//! judged here: the verifier of some systems dials by itself (revocation lists, missing intermediates), and that would be direct.
//!
//! Deliberately absent: waiting for Tor to start, which whoever chose this route has done.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderValue};
use reqwest::{Method, StatusCode};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tower::Layer as _;
use url::Url;

use super::gated::{Gated, GatedLayer};
use super::{Deadlines, JSON, Lost, distrust, read};
use crate::identity::error::{Failing, IdentityError};
use crate::identity::url::{IdentityUrl, Protection};
use crate::passage::Gate;
use crate::tor::{ConnectErrorKind, Isolation, Limits, Tor};

/// A Tor client, and circuits of it that nothing else uses. Clones use the same ones.
#[derive(Clone)]
pub struct TorRoute {
    tor: Tor,
    isolation: Isolation,
}

impl TorRoute {
    /// On circuits of its own, whatever else goes through `tor`.
    pub fn new(tor: &Tor) -> Self {
        Self { tor: tor.separate(), isolation: Isolation::new() }
    }

    /// The same on circuits that were never used before.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self { tor: self.tor.clone(), isolation: Isolation::new() }
    }

    /// The client, to wait for.
    pub fn tor(&self) -> &Tor {
        &self.tor
    }
}

pub(super) struct Client {
    client: legacy::Client<Gated<Connector>, Full<Bytes>>,
    deadline: Duration,
}

impl Client {
    pub(super) fn new(
        url: &IdentityUrl,
        route: TorRoute,
        deadlines: &Deadlines,
        gate: &Gate,
    ) -> Result<Self, IdentityError> {
        let tls = match url.protection() {
            Protection::Tls => Some(TlsConnector::from(Arc::new(tls()?))),
            Protection::Onion | Protection::Loopback => None,
        };
        let connector = GatedLayer::new(gate).layer(Connector { route, tls, deadline: deadlines.connect });
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .retry_canceled_requests(false)
            .build(connector);
        Ok(Self { client, deadline: deadlines.call })
    }

    pub(super) async fn call(
        &self,
        method: Method,
        url: &Url,
        cookie: Option<HeaderValue>,
        body: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<(StatusCode, Vec<u8>), Lost> {
        let request = hyper::Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(ACCEPT, HeaderValue::from_static("*/*"));
        let request = match cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        };
        let request = match body {
            Some(body) => request.header(CONTENT_TYPE, JSON).body(Full::from(body)),
            None => request.body(Full::default()),
        };
        // A URL is a URI, and the headers are headers already.
        let request = request.map_err(|_| Lost::Unreachable(Failing::Connecting))?;
        let calling = async {
            let answer = self.client.request(request).await.map_err(|error| match distrust(&error) {
                Some(distrust) => Lost::Untrusted(distrust),
                None if error.is_connect() => Lost::Unreachable(Failing::Connecting),
                None => Lost::Unreachable(Failing::Interrupted),
            })?;
            read(answer, limit, |_| Lost::Unreachable(Failing::Interrupted)).await
        };
        tokio::time::timeout(self.deadline, calling)
            .await
            .unwrap_or(Err(Lost::Unreachable(Failing::TimedOut)))
    }
}

/// The platform's roots, as the direct route has them.
fn tls() -> Result<ClientConfig, IdentityError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(IdentityError::Tls);
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| IdentityError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Opens the connections of a client.
#[derive(Clone)]
struct Connector {
    route: TorRoute,
    tls: Option<TlsConnector>,
    deadline: Duration,
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> io::Result<TokioIo<Line>> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let limits = Limits { circuit: self.deadline, stream: self.deadline };
        let stream = self.route.tor.connect(host, port, &self.route.isolation, limits, &[]).await;
        // Only the kind: the rest would name the target.
        let stream = stream.map_err(|error| match error.kind {
            ConnectErrorKind::Refused => io::Error::from(io::ErrorKind::ConnectionRefused),
            ConnectErrorKind::Timeout | ConnectErrorKind::NoCircuit => io::ErrorKind::TimedOut.into(),
            ConnectErrorKind::NotReady
            | ConnectErrorKind::NoSuchHost
            | ConnectErrorKind::Exit
            | ConnectErrorKind::Path => io::ErrorKind::NotConnected.into(),
        })?;
        let Some(tls) = &self.tls else { return Ok(TokioIo::new(Line(Box::new(stream)))) };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(TokioIo::new(Line(Box::new(tls.connect(name, stream).await?))))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Line>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Line>>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let connected = tokio::time::timeout(this.deadline, this.connect(&uri)).await;
            connected.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection.
struct Line(Box<dyn Stream>);

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
