//! The key, in each of the forms in which clients send it.
//!
//! | header | who sends it |
//! | --- | --- |
//! | `Authorization: Bearer KEY` | OpenAI's clients, and most others |
//! | `x-api-key: KEY` | Anthropic's |
//! | `api-key: KEY` | Azure's |
//! | `Authorization: Basic base64(anything:KEY)` | programs that can be given a URL only: `http://llmtor:KEY@127.0.0.1:8787` |
//!
//! Each header stands once at most, and one of them must be right. What another holds is somebody else's: clients send the
//! key of the service that they were made for beside the one that they were told (Anthropic's SDK sends `x-api-key` out of its
//! environment together with a bearer's). Whoever has the right one gains nothing by a wrong one beside it, and headers of a
//! client go no further than here. A browser attaches Basic credentials that it remembers to whatever a page asks for; so
//! these do not count in a request that a browser marked as its own.
//!
//! Deliberately absent: a Basic challenge, at which browsers ask their user for a password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, ORIGIN};

use super::error::Failure;
use super::guard::only;
use crate::secret::Secret;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// Compared in constant time, all that are offered.
pub(super) fn check(headers: &HeaderMap, key: &Secret<String>) -> Result<(), Failure> {
    let offered = [AUTHORIZATION, X_API_KEY, API_KEY].into_iter().filter(|name| headers.contains_key(name));
    let mut verdicts = offered.map(|name| match only(headers, &name) {
        Some(value) if is_right(&name, value, headers, key) => Verdict::Right,
        Some(_) => Verdict::Foreign,
        None => Verdict::Repeated,
    });
    let Some(first) = verdicts.next() else { return Err(Failure::MissingKey) };
    // Every one is looked at, also after a right one.
    match verdicts.fold(first, Ord::max) {
        Verdict::Right => Ok(()),
        Verdict::Foreign | Verdict::Repeated => Err(Failure::WrongKey),
    }
}

/// What a header holds; of several headers the greatest counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Another's key, or none.
    Foreign,
    /// The key.
    Right,
    /// It stands twice: whoever reads the request next may take the other one.
    Repeated,
}

fn is_right(name: &HeaderName, value: &HeaderValue, headers: &HeaderMap, key: &Secret<String>) -> bool {
    let value = value.as_bytes();
    if name != AUTHORIZATION {
        return key.matches(value.trim_ascii());
    }
    let Some(end) = value.iter().position(|byte| *byte == b' ') else { return false };
    let (scheme, rest) = (&value[..end], value[end..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        key.matches(rest)
    } else if scheme.eq_ignore_ascii_case(b"basic") && !is_of_a_browser(headers) {
        password(rest).is_some_and(|password| key.matches(password.expose()))
    } else {
        false
    }
}

/// What stands behind the first colon.
fn password(encoded: &[u8]) -> Option<Secret<Vec<u8>>> {
    let pair = Secret::new(STANDARD.decode(encoded).ok()?);
    let colon = pair.expose().iter().position(|byte| *byte == b':')?;
    Some(Secret::new(pair.expose()[colon + 1..].to_vec()))
}

/// Every request of a browser has one of these, be it a page's or its user's.
fn is_of_a_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(lines: &[(&str, &str)]) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        check(&headers, &Secret::new(String::from("k-1")))
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn the_key_is_taken_in_every_form() {
        for line in [
            ("authorization", "Bearer k-1"),
            ("authorization", "bearer  k-1 "),
            ("x-api-key", "k-1"),
            ("api-key", " k-1"),
            ("authorization", &basic("llmtor:k-1")),
            ("authorization", &basic(":k-1")),
            ("authorization", &basic("k-1:k-1").replace("Basic", "BASIC")),
        ] {
            assert!(judge(&[line]).is_ok(), "{line:?}");
        }
        assert!(judge(&[("x-api-key", "k-1"), ("authorization", "Bearer k-1"), ("api-key", "k-1")]).is_ok());
    }

    #[test]
    fn another_service_s_key_beside_the_right_one_does_no_harm() {
        let pair = basic("llmtor:k-1");
        let right: [&[(&str, &str)]; 6] = [
            &[("authorization", "Bearer k-1"), ("x-api-key", "sk-ant-OLD")],
            &[("x-api-key", "k-1"), ("authorization", "Bearer oauth")],
            &[("authorization", "Bearer k-1"), ("api-key", "")],
            &[("authorization", "Digest x"), ("api-key", "k-1")],
            &[("authorization", &pair), ("x-api-key", "k-2")],
            &[("authorization", "Bearer k-2"), ("x-api-key", "k-3"), ("api-key", "k-1")],
        ];
        for lines in right {
            assert!(judge(lines).is_ok(), "{lines:?}");
        }
    }

    #[test]
    fn without_the_right_one_and_with_one_twice_there_is_no_way_in() {
        let (pair, alone) = (basic("llmtor:k-2"), basic("k-1"));
        let wrong: [&[(&str, &str)]; 15] = [
            &[("authorization", "k-1")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer k-2")],
            &[("authorization", "Basic k-1")],
            &[("authorization", &pair)],
            &[("authorization", &alone)],
            &[("authorization", "Digest k-1")],
            &[("authorization", "Bearer k-1"), ("authorization", "Bearer k-1")],
            &[("x-api-key", "")],
            &[("x-api-key", "Bearer k-1")],
            &[("authorization", "Bearer k-3"), ("x-api-key", "k-2")],
            &[("authorization", "Bearer k-2"), ("api-key", "k-3"), ("x-api-key", "")],
            &[("x-api-key", "k-1"), ("x-api-key", "k-2"), ("authorization", "Bearer k-1")],
            &[("x-api-key", "k-2"), ("authorization", "Bearer k-1"), ("x-api-key", "k-2")],
        ];
        for lines in wrong {
            assert!(matches!(judge(lines), Err(Failure::WrongKey)), "{lines:?}");
        }
        assert!(matches!(judge(&[("accept", "k-1")]), Err(Failure::MissingKey)));
    }

    #[test]
    fn what_a_browser_attaches_by_itself_does_not_count() {
        let pair = basic("llmtor:k-1");
        for mark in
            [("origin", "https://app.example"), ("sec-fetch-site", "none"), ("Sec-Fetch-Mode", "no-cors")]
        {
            assert!(matches!(judge(&[("authorization", &pair), mark]), Err(Failure::WrongKey)), "{mark:?}");
            let beside = [("authorization", &*pair), ("x-api-key", "k-2"), mark];
            assert!(matches!(judge(&beside), Err(Failure::WrongKey)), "{mark:?}");
            assert!(judge(&[("authorization", "Bearer k-1"), mark]).is_ok(), "{mark:?}");
        }
    }

    proptest! {
        #[test]
        fn only_the_key_opens(value in "[ -~]{0,40}", user in "[^:]{0,9}", password in "[ -~]{0,9}") {
            prop_assume!(!value.contains("k-1") && password != "k-1");
            let pair = basic(&format!("{user}:{password}"));
            for line in [("authorization", &value), ("x-api-key", &value), ("authorization", &pair)] {
                prop_assert!(judge(&[(line.0, line.1)]).is_err());
            }
            let pair = basic(&format!("{user}:k-1"));
            prop_assert!(judge(&[("authorization", &pair)]).is_ok());
        }
    }
}
