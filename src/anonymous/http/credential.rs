//! The key, in each of the forms in which clients send it.
//!
//! | header | who sends it |
//! | --- | --- |
//! | `Authorization: Bearer KEY` | OpenAI's clients, and most others |
//! | `x-api-key: KEY` | Anthropic's |
//! | `api-key: KEY` | Azure's |
//! | `Authorization: Basic base64(anything:KEY)` | programs that can be given a URL only: `http://llmtor:KEY@127.0.0.1:8787` |
//!
//! Each header stands once at most, and all that are there must be right. A browser attaches Basic credentials that it
//! remembers to whatever a page asks for; so these do not count in a request that a browser marked as its own.
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
    let mut verdicts = [AUTHORIZATION, X_API_KEY, API_KEY]
        .into_iter()
        .filter(|name| headers.contains_key(name))
        .map(|name| only(headers, &name).is_some_and(|value| is_right(&name, value, headers, key)));
    let Some(first) = verdicts.next() else { return Err(Failure::MissingKey) };
    // Every one is looked at, also after a wrong one.
    if verdicts.fold(first, |all, right| all & right) { Ok(()) } else { Err(Failure::WrongKey) }
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
    fn whatever_is_offered_beside_it_must_be_right_too() {
        let (pair, alone) = (basic("llmtor:k-2"), basic("k-1"));
        let wrong: [&[(&str, &str)]; 13] = [
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
            &[("authorization", "Bearer k-1"), ("x-api-key", "k-2")],
            &[("authorization", "Bearer k-2"), ("api-key", "k-1")],
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
