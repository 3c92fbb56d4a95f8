//! The only place of the identity plane that dials.
//!
//! | route | where to | who judges the certificate |
//! | --- | --- | --- |
//! | direct | HTTPS anywhere, plain HTTP to this machine | the platform |
//! | Tor | HTTPS anywhere, plain HTTP to an onion service; never this machine | the platform's roots, judged here |
//!
//! There is no way from one to the other: what cannot go the configured way does not go. While nothing may leave
//! ([`crate::passage`]) nothing goes either way: each request asks the gate before it is sent, be it the hundredth of a mint or
//! a repetition, a dial under way is called off, and a pause before a repetition ends at once. Only what was sent already is
//! waited for: it may have been debited.
//!
//! What a client built here never does: read proxies from the environment, follow a redirect (the cookie would travel
//! along), keep cookies, retry by itself, or resolve `localhost` by asking somebody. Connections are reused: every
//! request on this plane carries the same session anyway.

mod gated;
mod tor;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::identity::error::{Distrust, Failing, Foreign, IdentityError};
use crate::identity::record;
use crate::identity::url::{IdentityUrl, Protection};
use crate::passage::{Gate, Passage};

use gated::GatedLayer;

pub use tor::TorRoute;

/// How the identity plane reaches the backend.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Route {
    /// From this machine's own address.
    #[default]
    Direct,
    /// Through Tor, on circuits that nothing else uses.
    Tor(TorRoute),
}

/// How long the identity plane waits, and for how much.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For a whole call, from dialling to the last byte.
    pub call: Duration,
    /// The longest answer that is read, bytes.
    pub answer_bytes: usize,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect: Duration::from_secs(15), call: Duration::from_secs(30), answer_bytes: 1024 * 1024 }
    }
}

impl Deadlines {
    /// For circuits that have to be built first, and for onion services, which are slow to meet.
    pub fn over_tor() -> Self {
        Self { connect: Duration::from_secs(60), call: Duration::from_secs(90), ..Self::default() }
    }
}

/// A client of one backend.
pub(crate) struct Client {
    way: Way,
    gate: Gate,
    answer_bytes: usize,
}

enum Way {
    Direct(reqwest::Client, record::Way),
    Tor(Box<tor::Client>),
}

/// Why there is no answer to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Nothing may leave: nothing was sent.
    Shut,
    /// No connection, or a broken one.
    Unreachable(Failing),
    /// The TLS handshake failed for the server's certificate: nothing was sent.
    Untrusted(Distrust),
    /// An answer that is not read, with its status.
    Foreign(Foreign, u16),
}

impl Client {
    /// For `url` and nothing else.
    pub(crate) fn new(
        url: &IdentityUrl,
        route: Route,
        deadlines: &Deadlines,
        gate: Gate,
    ) -> Result<Self, IdentityError> {
        // An earlier installation, by whomever, is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let way = match route {
            Route::Direct => {
                url.check_direct()?;
                let way = match url.protection() {
                    Protection::Tls | Protection::Onion => record::Way::Direct,
                    Protection::Loopback => record::Way::Loopback,
                };
                Way::Direct(direct(url, deadlines, &gate)?, way)
            }
            Route::Tor(route) => {
                url.check_tor()?;
                Way::Tor(Box::new(tor::Client::new(url, route, deadlines, &gate)?))
            }
        };
        Ok(Self { way, gate, answer_bytes: deadlines.answer_bytes })
    }

    /// How its requests leave.
    pub(crate) fn way(&self) -> record::Way {
        match &self.way {
            Way::Direct(_, way) => *way,
            Way::Tor(_) => record::Way::Tor,
        }
    }

    /// Whether a request may be sent now.
    pub(crate) fn admit(&self) -> Result<(), Lost> {
        match self.gate.passage() {
            Passage::Open => Ok(()),
            Passage::Paused => Err(Lost::Shut),
        }
    }

    /// Waits before a repetition, or until there is none.
    pub(crate) async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.gate.shut() => {}
        }
    }

    /// One request, and its whole answer. Without a cookie it is nobody's.
    pub(crate) async fn call(
        &self,
        method: Method,
        url: Url,
        cookie: Option<HeaderValue>,
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Vec<u8>), Lost> {
        self.admit()?;
        match self.call_admitted(method, url, cookie, body).await {
            // For want of a connection, which the gate may have been the reason of: nothing was sent.
            Err(Lost::Unreachable(Failing::Connecting)) if self.admit().is_err() => Err(Lost::Shut),
            answer => answer,
        }
    }

    async fn call_admitted(
        &self,
        method: Method,
        url: Url,
        cookie: Option<HeaderValue>,
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Vec<u8>), Lost> {
        match &self.way {
            Way::Direct(client, _) => {
                let request = client.request(method, url);
                let request = match cookie {
                    Some(cookie) => request.header(COOKIE, cookie),
                    None => request,
                };
                let request = match body {
                    Some(body) => request.header(CONTENT_TYPE, JSON).body(body),
                    None => request,
                };
                let answer = request.send().await.map_err(|error| lost_directly(&error))?;
                read(answer.into(), self.answer_bytes, lost_directly).await
            }
            Way::Tor(client) => client.call(method, &url, cookie, body, self.answer_bytes).await,
        }
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The answer's status and body, unless it is a redirect or too long.
async fn read<B: hyper::body::Body<Data = Bytes> + Unpin>(
    answer: hyper::Response<B>,
    limit: usize,
    lost: impl Fn(&B::Error) -> Lost,
) -> Result<(StatusCode, Vec<u8>), Lost> {
    let status = answer.status();
    if status.is_redirection() {
        return Err(Lost::Foreign(Foreign::Redirect, status.as_u16()));
    }
    let too_large = Lost::Foreign(Foreign::TooLarge, status.as_u16());
    let announced =
        answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        return Err(too_large);
    }
    let (mut content, mut body) = (Vec::new(), answer.into_body());
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|error| lost(&error))?.into_data() else { continue };
        if content.len() + chunk.len() > limit {
            return Err(too_large);
        }
        content.extend_from_slice(&chunk);
    }
    Ok((status, content))
}

#[expect(clippy::disallowed_methods, reason = "the one dialler of this plane")]
fn direct(url: &IdentityUrl, deadlines: &Deadlines, gate: &Gate) -> Result<reqwest::Client, IdentityError> {
    let builder = reqwest::Client::builder().no_proxy();
    let builder = match url.protection() {
        Protection::Tls | Protection::Onion => builder.https_only(true),
        // No TLS will be spoken, so a machine without CA certificates is no obstacle; port 0 means the URL's.
        Protection::Loopback => builder.tls_certs_only([]).resolve_to_addrs(
            "localhost",
            &[
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
                SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
            ],
        ),
    };
    builder
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .connector_layer(GatedLayer::new(gate))
        .connect_timeout(deadlines.connect)
        .timeout(deadlines.call)
        .build()
        .map_err(|_| IdentityError::Tls)
}

fn lost_directly(error: &reqwest::Error) -> Lost {
    if let Some(distrust) = distrust(error) {
        return Lost::Untrusted(distrust);
    }
    Lost::Unreachable(if error.is_connect() {
        Failing::Connecting
    } else if error.is_timeout() {
        Failing::TimedOut
    } else {
        Failing::Interrupted
    })
}

/// What rustls holds against the server's certificate, if that is what stopped the call.
fn distrust(error: &(dyn std::error::Error + 'static)) -> Option<Distrust> {
    use rustls::CertificateError as Bad;
    let mut next = Some(error);
    while let Some(error) = next {
        // An `io::Error` passes its content's source on, and not its content.
        let content = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let found = error
            .downcast_ref()
            .or_else(|| content.and_then(|content| content.downcast_ref::<rustls::Error>()));
        if let Some(rustls::Error::InvalidCertificate(bad)) = found {
            return Some(match bad {
                // Another signature than the authority's: somebody took its name.
                Bad::UnknownIssuer | Bad::BadSignature => Distrust::Issuer,
                Bad::Expired | Bad::ExpiredContext { .. } => Distrust::Expired,
                Bad::NotValidYet | Bad::NotValidYetContext { .. } => Distrust::NotYetValid,
                Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Distrust::Name,
                _ => Distrust::Other,
            });
        }
        next = match content {
            Some(content) => Some(content),
            None => error.source(),
        };
    }
    None
}
