//! Dials loopback and nothing else: for a backend on this machine.
//!
//! That it can dial nothing else is checked twice. [`Loopback::new`] takes only `http://` to a literal loopback
//! address or to `localhost`, which is *not* resolved but means 127.0.0.1, then ::1. And each address is asked
//! again whether it is loopback right before it is dialled. IPv4-mapped IPv6 addresses are refused.
//!
//! The one place of the anonymous plane that opens sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpStream;
use url::{Host, Url};

use super::{Company, Departure, Opened, Opening, Transport, TransportError, TransportErrorKind, Way, Wish};

/// Why an address is not one for the loopback transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoopbackUrlError {
    /// Not a URL.
    #[error("not a URL; the loopback transport wants one like http://127.0.0.1:8080")]
    NotAUrl,
    /// Not `http://`.
    #[error("the loopback transport speaks only http://")]
    NotHttp,
    /// Not this machine.
    #[error("the loopback transport dials only this machine: 127.0.0.1, [::1] or localhost")]
    NotLoopback,
    /// Credentials, a path, a query or a fragment.
    #[error("the backend's URL ends after the port; leave out what follows")]
    TooMuch,
}

/// TCP to this machine; a new connection each time.
pub struct Loopback {
    /// Dialled in this order until one answers; never empty.
    addresses: Vec<SocketAddr>,
    authority: String,
}

impl Loopback {
    /// A transport to the backend at `url`.
    pub fn new(url: &str) -> Result<Self, LoopbackUrlError> {
        let url = Url::parse(url).map_err(|_| LoopbackUrlError::NotAUrl)?;
        if url.scheme() != "http" {
            return Err(LoopbackUrlError::NotHttp);
        }
        let ips = match url.host() {
            Some(Host::Ipv4(ip)) => vec![IpAddr::V4(ip)],
            Some(Host::Ipv6(ip)) => vec![IpAddr::V6(ip)],
            Some(Host::Domain("localhost")) => {
                vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            }
            Some(Host::Domain(_)) | None => return Err(LoopbackUrlError::NotLoopback),
        };
        if !ips.iter().all(IpAddr::is_loopback) {
            return Err(LoopbackUrlError::NotLoopback);
        }
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(LoopbackUrlError::TooMuch);
        }
        let port = url.port_or_known_default().ok_or(LoopbackUrlError::NotAUrl)?;
        let authority = url.authority().to_owned();
        Ok(Self { addresses: ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect(), authority })
    }

    async fn connect(&self) -> Result<Opened, TransportError> {
        let mut last = TransportError::new(TransportErrorKind::NotLoopback);
        for address in &self.addresses {
            match dial(*address).await {
                Ok(stream) => return Ok(Opened { stream: Box::new(stream), exit: None }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Transport for Loopback {
    fn open(&self, _wish: Wish) -> Opening<'_> {
        Box::pin(self.connect())
    }

    fn departure(&self, _wish: &Wish) -> Departure {
        Departure { way: Way::Loopback, company: Company::Nobody }
    }

    fn authority(&self) -> &str {
        &self.authority
    }
}

/// A connection to an address of this machine.
pub(super) async fn dial(address: SocketAddr) -> Result<TcpStream, TransportError> {
    if !address.ip().is_loopback() {
        return Err(TransportError::new(TransportErrorKind::NotLoopback));
    }
    #[expect(clippy::disallowed_methods, reason = "the address was found to be loopback one line above")]
    let stream = TcpStream::connect(address).await.map_err(|error| TransportError::new(kind(&error)))?;
    // Without it each small write waits for the other side's delayed acknowledgement.
    stream.set_nodelay(true).map_err(|_| TransportError::new(TransportErrorKind::Connect))?;
    Ok(stream)
}

fn kind(error: &std::io::Error) -> TransportErrorKind {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => TransportErrorKind::Refused,
        ErrorKind::TimedOut => TransportErrorKind::Timeout,
        _ => TransportErrorKind::Connect,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_this_machine_can_be_named() {
        let refused = [
            ("http://192.0.2.1", LoopbackUrlError::NotLoopback),
            ("http://0.0.0.0:80", LoopbackUrlError::NotLoopback),
            ("http://[::]:80", LoopbackUrlError::NotLoopback),
            ("http://[::ffff:127.0.0.1]", LoopbackUrlError::NotLoopback),
            ("http://[fe80::1]", LoopbackUrlError::NotLoopback),
            ("http://example.com", LoopbackUrlError::NotLoopback),
            ("http://127.0.0.1.evil.example", LoopbackUrlError::NotLoopback),
            ("http://localhost.evil.example", LoopbackUrlError::NotLoopback),
            ("http://localhost.", LoopbackUrlError::NotLoopback),
            ("http://127.0.0.1@evil.example", LoopbackUrlError::NotLoopback),
            ("http://user@127.0.0.1", LoopbackUrlError::TooMuch),
            ("http://127.0.0.1/path", LoopbackUrlError::TooMuch),
            ("http://127.0.0.1/?q", LoopbackUrlError::TooMuch),
            ("https://127.0.0.1", LoopbackUrlError::NotHttp),
            ("ftp://127.0.0.1", LoopbackUrlError::NotHttp),
            ("127.0.0.1:8080", LoopbackUrlError::NotAUrl),
            ("", LoopbackUrlError::NotAUrl),
        ];
        for (url, expected) in refused {
            assert_eq!(Loopback::new(url).err(), Some(expected), "{url}");
        }
    }

    #[test]
    fn the_authority_is_what_the_url_says() {
        for (url, authority, first) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://127.9.9.9", "127.9.9.9", "127.9.9.9:80"),
            ("http://[::1]:81/", "[::1]:81", "[::1]:81"),
            ("http://LOCALHOST:82", "localhost:82", "127.0.0.1:82"),
        ] {
            let transport = Loopback::new(url).unwrap();
            assert_eq!(transport.authority(), authority);
            assert_eq!(transport.addresses[0].to_string(), first);
        }
    }

    #[tokio::test]
    async fn an_address_that_is_not_loopback_is_not_dialled_even_if_it_got_in() {
        let error = dial(SocketAddr::from(([192, 0, 2, 1], 80))).await.err();
        assert_eq!(error, Some(TransportError::new(TransportErrorKind::NotLoopback)));
    }

    proptest! {
        #[test]
        fn whatever_the_url_every_address_is_loopback(host in "[0-9a-fx.:\\[\\]%@l/-]{1,24}") {
            if let Ok(transport) = Loopback::new(&format!("http://{host}")) {
                prop_assert!(transport.addresses.iter().all(|address| address.ip().is_loopback()));
            }
        }
    }
}
