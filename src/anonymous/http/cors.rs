//! Which web pages may speak to the endpoint, and what their browser must be told for that.
//!
//! | who asks | by what | answered |
//! | --- | --- | --- |
//! | a program | no `Origin`, and no `Sec-Fetch-Site` of another site | as ever |
//! | a page of an allowed origin | one `Origin`, in the list as it stands | with its origin in the answer, an error among them; its preflights before a key is asked for |
//! | anybody else | | 403, and nothing of CORS |
//!
//! A preflight carries no key, so it is told nothing that depends on one: which paths there are is not said.
//!
//! Deliberately absent: `*`, and `Access-Control-Allow-Credentials` (a page shows the key itself, or has none).

use bytes::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request, Response, StatusCode};

use super::guard::only;
use super::reply::Reply;
use crate::origin::WebOrigin;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");
/// Beyond those that every page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, x-llmtor-ignored, x-llmtor-schema, x-llmtor-tools, retry-after, x-should-retry",
);
/// Ten minutes: a page asks once a visit, and a changed list counts soon.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// More headers than this no client sends.
const MOST_HEADERS: usize = 64;

/// Who is behind a request.
pub(super) enum Caller {
    Program,
    /// With its origin, which is allowed.
    Page(HeaderValue),
    Stranger,
}

impl Caller {
    /// By what the browser, if there is one, says.
    pub(super) fn of(headers: &HeaderMap, allowed: &[WebOrigin]) -> Self {
        if headers.contains_key(ORIGIN) {
            let origin = only(headers, &ORIGIN);
            let known = |origin: &&HeaderValue| {
                allowed.iter().any(|allowed| allowed.as_str().as_bytes() == origin.as_bytes())
            };
            return origin.filter(known).map_or(Self::Stranger, |origin| Self::Page(origin.clone()));
        }
        // `none` is the user's own navigation.
        let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
        if sites.all(|site| matches!(site.as_bytes(), b"none" | b"same-origin")) {
            Self::Program
        } else {
            Self::Stranger
        }
    }

    /// Whether `request` only asks what it may ask.
    pub(super) fn asks_ahead<B>(&self, request: &Request<B>) -> bool {
        matches!(self, Self::Page(_))
            && request.method() == Method::OPTIONS
            && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Lets the page read the response, if it is one's.
    pub(super) fn mark(&self, response: &mut HeaderMap) {
        if let Self::Page(origin) = self {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            response.append(VARY, HeaderValue::from_static("Origin"));
        }
    }
}

/// What a page may send: every header that it names, if they are names.
pub(super) fn preflight(asked: &HeaderMap) -> Response<Reply> {
    let mut response = Response::new(Reply::plain(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Some(names) = only(asked, &ACCESS_CONTROL_REQUEST_HEADERS).and_then(well_formed) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    if only(asked, &REQUEST_PRIVATE_NETWORK).is_some_and(|asked| asked == "true") {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    response
}

/// The names in `asked`; none if one of them is no name.
fn well_formed(asked: &HeaderValue) -> Option<HeaderValue> {
    let names = asked.to_str().ok()?.split(',').map(|name| name.trim().parse::<HeaderName>());
    let names: Vec<HeaderName> = names.collect::<Result<_, _>>().ok()?;
    if names.len() > MOST_HEADERS {
        return None;
    }
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    HeaderValue::from_str(&names.join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn caller(lines: &[(&HeaderName, &str)]) -> Caller {
        let allowed = ["https://app.example", "app://obsidian.md"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Caller::of(&headers, &allowed)
    }

    #[test]
    fn a_page_is_of_an_allowed_origin_or_a_stranger() {
        for origin in ["https://app.example", "app://obsidian.md"] {
            assert!(matches!(caller(&[(&ORIGIN, origin)]), Caller::Page(found) if found == origin));
            let cross = [(&ORIGIN, origin), (&SEC_FETCH_SITE, "cross-site")];
            assert!(matches!(caller(&cross), Caller::Page(_)));
        }
        for origin in [
            "",
            "null",
            "*",
            "https://app.example:443",
            "http://app.example",
            "https://app.example.evil.example",
            "https://evil.example",
            "https://APP.example",
            "https://app.example/",
        ] {
            assert!(matches!(caller(&[(&ORIGIN, origin)]), Caller::Stranger), "{origin}");
        }
        let twice = [(&ORIGIN, "https://app.example"), (&ORIGIN, "https://app.example")];
        assert!(matches!(caller(&twice), Caller::Stranger));
    }

    #[test]
    fn without_an_origin_only_the_user_s_own_doing_passes() {
        assert!(matches!(caller(&[]), Caller::Program));
        for (site, passes) in
            [("none", true), ("same-origin", true), ("cross-site", false), ("same-site", false)]
        {
            let verdict = caller(&[(&SEC_FETCH_SITE, site)]);
            assert_eq!(matches!(verdict, Caller::Program), passes, "{site}");
        }
    }

    proptest! {
        #[test]
        fn what_is_allowed_was_asked_for_and_is_a_name(asked in "[ -~]{0,60}", names in "[a-z-]{1,9}(, ?[a-z-]{1,9}){0,4}") {
            for asked in [asked, names] {
                let allowed = well_formed(&HeaderValue::from_str(&asked).unwrap());
                let allowed = allowed.as_ref().map(|allowed| allowed.to_str().unwrap()).unwrap_or_default();
                for name in allowed.split(", ").filter(|name| !name.is_empty()) {
                    prop_assert!(name.parse::<HeaderName>().is_ok());
                    prop_assert!(asked.split(',').any(|asked| asked.trim().eq_ignore_ascii_case(name)));
                }
            }
        }
    }
}
