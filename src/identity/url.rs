//! The identity plane's base URL: HTTPS anywhere, plain HTTP to this machine or to an onion service only.
//!
//! The session cookie travels on it, so a plain-HTTP URL to another host is refused where it is read and
//! no later.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::identity::error::IdentityError;
use crate::wire::API_PREFIX;

/// Where the backend's identity plane is. Without user, password, query and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityUrl {
    url: Url,
    protection: Protection,
}

/// What keeps the cookie from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// TLS, verified by the platform's roots.
    Tls,
    /// The bytes do not leave this machine.
    Loopback,
    /// Plain HTTP to an onion service, which Tor encrypts up to the service itself.
    Onion,
}

impl IdentityUrl {
    /// Reads a base URL such as `https://api.llmtor.com` or `http://127.0.0.1:5000`.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let url = Url::parse(text.trim()).map_err(|_| IdentityError::Url("it is not an absolute URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(IdentityError::Url("it carries a user name or a password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(IdentityError::Url("it carries a query or a fragment"));
        }
        let protection = match url.scheme() {
            "https" => Protection::Tls,
            "http" if is_loopback(&url) => Protection::Loopback,
            "http" if is_onion(&url) => Protection::Onion,
            "http" => {
                return Err(IdentityError::Url(
                    "plain http is accepted for this machine and for onion services only; use https",
                ));
            }
            _ => return Err(IdentityError::Url("its scheme is neither https nor http")),
        };
        Ok(Self { url, protection })
    }

    /// What protects the connection.
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// Whether it can be reached without Tor. An onion service cannot, and its name is nobody else's to resolve.
    pub fn check_direct(&self) -> Result<(), IdentityError> {
        if is_onion(&self.url) {
            return Err(IdentityError::Url(
                "an onion service is reached through Tor only; set `identity.transport` to \"tor\"",
            ));
        }
        Ok(())
    }

    /// Whether it can be reached through Tor. This machine cannot: Tor ends elsewhere.
    pub fn check_tor(&self) -> Result<(), IdentityError> {
        if is_loopback(&self.url) {
            return Err(IdentityError::Url(
                "it is this machine, where Tor does not lead; set `identity.transport` to \"direct\"",
            ));
        }
        Ok(())
    }

    /// The URL of an endpoint: base, `/api/v1` (protocol.md §3), then `segments`, each percent-encoded.
    pub(crate) fn endpoint(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        // Cannot fail: `http` and `https` URLs always have a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .extend(API_PREFIX.split('/').filter(|part| !part.is_empty()))
                .extend(segments);
        }
        url
    }
}

impl fmt::Display for IdentityUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

fn is_onion(url: &Url) -> bool {
    // A URL's host is in lower case already.
    let Some(Host::Domain(name)) = url.host() else { return false };
    name.trim_end_matches('.').rsplit_once('.').is_some_and(|(_, last)| last == "onion")
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn https_and_loopback_are_accepted_and_nothing_else() {
        for good in [
            "https://api.llmtor.com",
            "https://h/base/",
            "http://127.0.0.1:1",
            "http://[::1]:9/",
            "http://localhost:80",
            "http://abcdefghij.onion",
        ] {
            assert!(IdentityUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.llmtor.com",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://onion",
            "http://abcdefghij.onion.evil.example",
            "http://0.0.0.0:1",
            "http://192.168.0.1",
            "https://user:pw@h",
            "https://h/?q=1",
            "https://h/#f",
            "ftp://127.0.0.1",
            "unix:/x",
            "",
        ] {
            assert!(IdentityUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_onion_service_is_for_tor_and_this_machine_is_not() {
        let check = |text: &str| {
            let url = IdentityUrl::parse(text).expect("url");
            (url.check_direct().is_ok(), url.check_tor().is_ok())
        };
        assert_eq!(check("https://api.llmtor.com"), (true, true));
        for onion in ["http://abcdefghij.onion", "https://abcdefghij.onion", "https://abcdefghij.onion."] {
            assert_eq!(check(onion), (false, true), "{onion}");
        }
        for here in ["http://127.0.0.1:1", "https://127.0.0.1", "https://localhost", "https://[::1]:1"] {
            assert_eq!(check(here), (true, false), "{here}");
        }
    }

    #[test]
    fn an_endpoint_hangs_below_the_base_and_its_segments_cannot_climb() {
        let base = IdentityUrl::parse("https://h/base/").expect("url");
        assert_eq!(base.endpoint(&["me"]).as_str(), "https://h/base/api/v1/me");
        assert_eq!(base.endpoint(&["auth-token", "a/b"]).as_str(), "https://h/base/api/v1/auth-token/a%2Fb");
        assert_eq!(base.to_string(), "https://h/base");
    }

    proptest! {
        #[test]
        fn plain_http_never_leaves_this_machine(host in "[a-z0-9.:\\[\\]-]{1,24}") {
            if let Ok(url) = IdentityUrl::parse(&format!("http://{host}/")) {
                prop_assert!(is_loopback(&url.url) || is_onion(&url.url));
            }
        }
    }
}
