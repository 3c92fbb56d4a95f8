//! Which requests are answered at all, and what every response says.
//!
//! | request | checked |
//! | --- | --- |
//! | any | `Host` is this page's address; `Sec-Fetch-Site`, where a browser sends it, is `same-origin` or `none`; `Origin`, where there is one, is ours |
//! | `/enter` | the same, but a link may be followed from anywhere: the ticket is what counts |
//! | any but GET and HEAD | a browser says that it comes from here, and the form token is right |
//!
//! `same-site` does not do: to a browser all ports of this machine are one site.

use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Response};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Nothing from elsewhere, nothing inline, no frames, no other base.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What a request may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Objection {
    /// For another name than this page's.
    ForeignHost,
    /// From another page.
    ForeignPage,
}

/// Whether a link may be followed from elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Followed {
    FromAnywhere,
    FromHere,
}

/// Judges a request by its headers; `port` is the page's.
pub(super) fn judge(
    method: &Method,
    headers: &HeaderMap,
    port: u16,
    followed: Followed,
) -> Result<(), Objection> {
    let text = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| Objection::ForeignPage),
            (Some(_), Some(_)) => Err(Objection::ForeignPage),
        }
    };
    let host = text(&header::HOST).map_err(|_| Objection::ForeignHost)?.ok_or(Objection::ForeignHost)?;
    let names = [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")];
    if !names.iter().any(|name| name.eq_ignore_ascii_case(host)) {
        return Err(Objection::ForeignHost);
    }
    let is_safe = [Method::GET, Method::HEAD].contains(method);
    if is_safe && followed == Followed::FromAnywhere {
        return Ok(());
    }
    let site = text(&FETCH_SITE)?;
    let origin = text(&header::ORIGIN)?;
    let own = format!("http://{host}");
    let site_is_ours = match site {
        None => None,
        Some("same-origin") => Some(true),
        // Typed, or opened by another program: no form is sent like that.
        Some("none") => Some(is_safe),
        Some(_) => Some(false),
    };
    let origin_is_ours = origin.map(|origin| origin.eq_ignore_ascii_case(&own));
    let is_ours = match (site_is_ours, origin_is_ours) {
        (Some(false), _) | (_, Some(false)) => false,
        (Some(true), _) | (_, Some(true)) => true,
        // No browser: it has the cookie or not. Nothing is changed on such a word.
        (None, None) => is_safe,
    };
    if is_ours { Ok(()) } else { Err(Objection::ForeignPage) }
}

/// The cookie of that name, if there is exactly one.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut found = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name);
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value)
}

/// Says on every response what browsers may do with it.
pub(super) fn harden(response: &mut Response<Body>) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        // Without a referrer of their own pages, browsers say `Origin: null` with their forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        // What a path says of itself is stricter.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    fn get(lines: &[(&str, &str)]) -> Result<(), Objection> {
        judge(&Method::GET, &headers(lines), 7, Followed::FromHere)
    }

    fn post(lines: &[(&str, &str)]) -> Result<(), Objection> {
        judge(&Method::POST, &headers(lines), 7, Followed::FromHere)
    }

    #[test]
    fn only_the_page_s_own_names_are_answered() {
        for host in ["127.0.0.1:7", "localhost:7", "LOCALHOST:7", "[::1]:7"] {
            assert_eq!(get(&[("host", host)]), Ok(()), "{host}");
        }
        for host in
            ["evil.example:7", "evil.example", "127.0.0.1", "127.0.0.1:8", "127.0.0.1.evil.example:7", ""]
        {
            assert_eq!(get(&[("host", host)]), Err(Objection::ForeignHost), "{host}");
            let followed = judge(&Method::GET, &headers(&[("host", host)]), 7, Followed::FromAnywhere);
            assert_eq!(followed, Err(Objection::ForeignHost), "{host}");
        }
        assert_eq!(get(&[]), Err(Objection::ForeignHost));
        assert_eq!(get(&[("host", "localhost:7"), ("host", "localhost:7")]), Err(Objection::ForeignHost));
    }

    #[test]
    fn a_page_of_another_origin_gets_nothing_whatever_it_sends() {
        let host = ("host", "127.0.0.1:7");
        for site in ["cross-site", "same-site", "x"] {
            assert!(get(&[host, ("sec-fetch-site", site)]).is_err(), "{site}");
            assert!(
                post(&[host, ("sec-fetch-site", site), ("origin", "http://127.0.0.1:7")]).is_err(),
                "{site}"
            );
        }
        for origin in ["http://127.0.0.1:8", "https://127.0.0.1:7", "null", "http://localhost:7"] {
            assert!(get(&[host, ("origin", origin)]).is_err(), "{origin}");
            assert!(
                post(&[host, ("origin", origin), ("sec-fetch-site", "same-origin")]).is_err(),
                "{origin}"
            );
        }
        assert_eq!(get(&[host, ("sec-fetch-site", "none")]), Ok(()));
        // A form is never typed, and one without a word of where it comes from is not ours.
        assert!(post(&[host, ("sec-fetch-site", "none")]).is_err());
        assert!(post(&[host]).is_err());
        assert_eq!(post(&[host, ("origin", "http://127.0.0.1:7")]), Ok(()));
        assert_eq!(post(&[host, ("sec-fetch-site", "same-origin")]), Ok(()));
    }

    #[test]
    fn the_cookie_is_found_among_others_and_must_be_alone() {
        let one = headers(&[("cookie", "a=b; llmtor-page-7=x; c=d")]);
        assert_eq!(cookie(&one, "llmtor-page-7"), Some("x"));
        assert_eq!(cookie(&one, "llmtor-page-77"), None);
        let two = headers(&[("cookie", "llmtor-page-7=x"), ("cookie", "llmtor-page-7=y")]);
        assert_eq!(cookie(&two, "llmtor-page-7"), None);
    }
}
