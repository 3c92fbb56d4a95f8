//! Who may speak to the endpoint.
//!
//! It listens on loopback, but so can be reached by every web page in the user's browser. Against those:
//! `Host` must name loopback (a rebound DNS name does not), a request that says it comes from a page
//! (`Origin`, `Sec-Fetch-Site`) is refused unless its origin is allowed (`cors`), and a POST must be JSON, which no HTML
//! form can send. Against
//! other users of the machine: the key (`credential`).

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Uri, Version};

use super::cors::Caller;
use super::credential;
use super::error::Failure;
use super::route::Access;
use crate::secret::Secret;

/// What a request is, once it may be answered.
pub(super) enum Admitted {
    Call,
    /// A browser asks what a page may ask; it has no key to show.
    Preflight,
}

/// Checks what can be checked before it is known what is asked for: Host, Origin, key, in this order.
pub(super) fn admit<B>(
    request: &Request<B>,
    caller: &Caller,
    access: Access,
    key: &Secret<String>,
) -> Result<Admitted, Failure> {
    let headers = request.headers();
    if !is_for_loopback(request.version(), request.uri(), headers) {
        return Err(Failure::ForeignHost);
    }
    if let Caller::Stranger = caller {
        return Err(Failure::ForeignOrigin);
    }
    if caller.asks_ahead(request) {
        return Ok(Admitted::Preflight);
    }
    match access {
        Access::Anyone => {}
        Access::Key => credential::check(headers, key)?,
    }
    Ok(Admitted::Call)
}

/// `application/json`, with or without parameters.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Failure> {
    let essence = only(headers, &CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split_once(';').map_or(value, |(essence, _)| essence).trim());
    match essence {
        Some(essence) if essence.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Failure::NotJson),
    }
}

/// One `Host`, naming loopback; a target in absolute form must do so too. With HTTP/2 the target has the name, and `Host`
/// may be absent.
fn is_for_loopback(version: Version, uri: &Uri, headers: &HeaderMap) -> bool {
    let target = uri.authority().map(|target| names_loopback(target.as_str()));
    let host = headers
        .contains_key(HOST)
        .then(|| only(headers, &HOST).and_then(|value| value.to_str().ok()).is_some_and(names_loopback));
    match (host, target) {
        (Some(host), target) => host && target.unwrap_or(true),
        (None, target) => version == Version::HTTP_2 && target.unwrap_or(false),
    }
}

/// `localhost`, `127.0.0.0/8` or `[::1]`, with or without a port.
fn names_loopback(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, "")) => (Host::V6(v6), None),
        Some((v6, rest)) => match rest.strip_prefix(':') {
            Some(port) => (Host::V6(v6), Some(port)),
            None => return false,
        },
        None => match authority.split_once(':') {
            Some((name, port)) => (Host::Name(name), Some(port)),
            None => (Host::Name(authority), None),
        },
    };
    let port_is_plain =
        port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    port_is_plain
        && match host {
            Host::V6(text) => text.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()),
            Host::Name(text) => {
                text.eq_ignore_ascii_case("localhost")
                    || text.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            }
        }
}

enum Host<'a> {
    V6(&'a str),
    Name(&'a str),
}

/// The value of a header that stands there once.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_loopback() {
        for host in
            ["localhost", "LocalHost:1", "127.0.0.1:8787", "127.9.9.9", "[::1]", "[::1]:65535", "localhost:"]
        {
            assert_eq!(names_loopback(host), host != "localhost:", "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.evil.example",
            "128.0.0.1",
            "127.1",
            "0.0.0.0",
            "[::]",
            "::1",
            "[::1",
            "[::1]x",
            "[127.0.0.1]",
            "localhost:x",
            "localhost:+1",
            "localhost:65536",
            "localhost:1:2",
            "user@localhost",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(!names_loopback(host), "{host}");
        }
    }

    #[test]
    fn one_name_is_required_and_all_that_are_there_must_be_loopback() {
        let judge = |version, target: &str, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_str(host).unwrap());
            }
            is_for_loopback(version, &target.parse().unwrap(), &headers)
        };
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        assert!(judge(one, "/v1", &["localhost"]) && judge(one, "http://localhost/v1", &["127.0.0.1"]));
        assert!(judge(two, "http://localhost/v1", &[]) && judge(two, "http://[::1]:1/v1", &["localhost"]));
        assert!(judge(two, "/v1", &["localhost"]));
        for version in [one, two] {
            assert!(!judge(version, "/v1", &[]));
            assert!(!judge(version, "/v1", &["localhost", "localhost"]));
            assert!(!judge(version, "http://evil.example/v1", &["localhost"]));
            assert!(!judge(version, "http://localhost/v1", &["evil.example"]));
            assert!(!judge(version, "http://evil.example/v1", &[]));
        }
        assert!(!judge(one, "http://localhost/v1", &[]));
    }
}
