//! The only place of the identity plane that dials.
//!
//! What a client built here does: HTTPS verified by the platform's trust store, or plain HTTP to this machine. What it
//! never does: read proxies from the environment, follow a redirect (the cookie would travel along), keep
//! cookies, retry by itself, or resolve `localhost` by asking somebody. Connections are reused: every
//! request on this plane carries the same session anyway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::identity::error::IdentityError;
use crate::identity::url::{IdentityUrl, Protection};

/// How the identity plane reaches the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// From this machine's own address.
    #[default]
    Direct,
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

/// A client for `url` and nothing else.
#[expect(clippy::disallowed_methods, reason = "the one dialler of this plane")]
pub(crate) fn client(
    url: &IdentityUrl,
    route: Route,
    deadlines: &Deadlines,
) -> Result<reqwest::Client, IdentityError> {
    // An earlier installation, by whomever, is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = match route {
        Route::Direct => reqwest::Client::builder().no_proxy(),
    };
    let builder = match url.protection() {
        Protection::Tls => builder.https_only(true),
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
        .connect_timeout(deadlines.connect)
        .timeout(deadlines.call)
        .build()
        .map_err(|_| IdentityError::Tls)
}
