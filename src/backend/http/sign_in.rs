//! `/users/signin`: pages for a browser, and the session as a cookie of this origin (protocol.md §3).
//!
//! | what there is | what a browser gets |
//! | --- | --- |
//! | a development account, and a visitor on this machine | its session |
//! | one provider and no open invite | 307 to the provider, as from the deployed server |
//! | an open invite, or several providers | a page to choose on |
//! | none of these | a page that says so, 404 |
//!
//! Invariants: a sign-in leads to where the settings allow and nowhere else, which is checked before anything; the session
//! is in the cookie and never in a URL or a page; the form counts only with a cookie that was set with it; a code is not in
//! any URL. Nothing here is sent to, or loaded from, anybody else, and the pages have no script.

mod page;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use url::Url;
use zeroize::Zeroizing;

use super::{Peer, cookie, internal, read, to_the_end};
use crate::backend::ledger::Admission;
use crate::backend::limits::Pace;
use crate::backend::oidc::{Begun, OidcError, PATIENCE};
use crate::backend::settings::is_here;
use crate::backend::sqlite::StoreError;
use crate::backend::{SessionId, Shared, invite};

use crate::wire::{API_PREFIX, SESSION_COOKIE};

/// Largest form, bytes.
const FORM_LIMIT: usize = 8 << 10;
/// Ties the form to the browser that it was shown in.
const FORM_COOKIE: &str = "llmtor_form";
/// Ties a provider's answer to the browser that was sent there.
const OIDC_COOKIE: &str = "llmtor_oidc";
const PATH: &str = "/users/signin";

type App = State<Arc<Shared>>;
type From = Option<Extension<Peer>>;

pub(super) fn routes() -> Router<Arc<Shared>> {
    let path = |endpoint: &str| format!("{API_PREFIX}{PATH}{endpoint}");
    Router::new()
        .route(&path(""), get(choose).post(admit))
        .route(&path("/oidc/{name}"), get(begin))
        .route(&path("/oidc/{name}/callback"), get(finish))
}

async fn choose(State(shared): App, peer: From, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let Some(target) = target(&shared, &field(query.as_deref(), "redirect").unwrap_or_default()) else {
        return page::refusal(StatusCode::BAD_REQUEST, page::BAD_TARGET);
    };
    if let Some(name) =
        shared.settings.development_account.clone().filter(|_| is_local(peer.as_ref(), &headers))
    {
        return development(&shared, name, &target).await;
    }
    let invites = match shared.sign_ins.has_open_invite(shared.clock.now()).await {
        Ok(invites) => invites,
        Err(error) => return broken(&error),
    };
    let mut providers = shared.oidc.providers();
    match (invites, providers.len(), providers.next()) {
        (false, 1, Some((name, _))) => send_away(&shared, name, peer.as_ref(), &headers, target).await,
        (false, 0, _) => page::refusal(StatusCode::NOT_FOUND, page::NO_WAY),
        _ => form(&shared, StatusCode::OK, invites, &target, None),
    }
}

/// The page to choose on, with a fresh tie between form and browser.
fn form(
    shared: &Shared,
    status: StatusCode,
    invites: bool,
    target: &Url,
    complaint: Option<&'static str>,
) -> Response {
    let tie = uuid::Uuid::new_v4().simple().to_string();
    let providers: Vec<_> = shared.oidc.providers().collect();
    let code = invites.then_some(tie.as_str());
    let mut response = page::choice(status, code, &providers, target, complaint);
    if let Some(cookie) = own_cookie(shared, FORM_COOKIE, &tie, "Strict", PATIENCE) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Somebody typed a code.
async fn admit(State(shared): App, peer: From, headers: HeaderMap, body: Body) -> Response {
    let Ok(body) = read(body, FORM_LIMIT).await.map(Zeroizing::new) else {
        return page::refusal(StatusCode::BAD_REQUEST, page::BAD_FORM);
    };
    let body = std::str::from_utf8(&body).ok();
    let of_form = |name| field(body, name).unwrap_or_default();
    let Some(target) = target(&shared, &of_form("redirect")) else {
        return page::refusal(StatusCode::BAD_REQUEST, page::BAD_TARGET);
    };
    let tie = of_form("form");
    let is_tied = cookie(&headers, FORM_COOKIE).is_some_and(|kept| !kept.is_empty() && kept == tie.as_str());
    if !is_tied || headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return form(&shared, StatusCode::FORBIDDEN, true, &target, Some(page::NOT_OURS));
    }
    if shared.limits.count_guess(peer.and_then(|Extension(peer)| peer.address())) == Pace::TooFast {
        return form(&shared, StatusCode::TOO_MANY_REQUESTS, true, &target, Some(page::TOO_MANY));
    }
    let code = invite::hash(&of_form("code"));
    let session = SessionId::generate(&mut rand::rng());
    let worker = Arc::clone(&shared);
    to_the_end(&shared.tasks, async move {
        let free = worker.settings.free_credits.clone();
        let admission = worker.sign_ins.admit(code, session.hash(), free, worker.clock.now()).await;
        match admission {
            // A 308 would send the form, and the code in it, along to the target.
            Ok(Admission::Admitted) => signed_in(StatusCode::SEE_OTHER, &session, &target),
            Ok(Admission::UnknownCode) => {
                form(&worker, StatusCode::FORBIDDEN, true, &target, Some(page::UNKNOWN_CODE))
            }
            Err(error) => broken(&error),
        }
    })
    .await
}

/// Somebody chose a provider.
async fn begin(
    State(shared): App,
    Path(name): Path<String>,
    peer: From,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    match target(&shared, &field(query.as_deref(), "redirect").unwrap_or_default()) {
        Some(target) => send_away(&shared, &name, peer.as_ref(), &headers, target).await,
        None => page::refusal(StatusCode::BAD_REQUEST, page::BAD_TARGET),
    }
}

async fn send_away(
    shared: &Shared,
    name: &str,
    peer: Option<&Extension<Peer>>,
    headers: &HeaderMap,
    target: Url,
) -> Response {
    let Some(callback) = callback(shared, name, is_local(peer, headers), headers) else {
        return page::refusal(StatusCode::INTERNAL_SERVER_ERROR, page::NO_PUBLIC_URL);
    };
    match shared.oidc.begin(name, callback, target).await {
        Ok(Begun { location, cookie }) => {
            let cookie = own_cookie(shared, OIDC_COOKIE, cookie.expose(), "Lax", PATIENCE);
            redirect(StatusCode::TEMPORARY_REDIRECT, &location, cookie)
        }
        Err(error) => denied(error),
    }
}

/// Somebody comes back from a provider.
async fn finish(
    State(shared): App,
    Path(name): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.map(Zeroizing::new);
    let of_query = |name| field(query.as_deref().map(String::as_str), name);
    let (state, code) = (of_query("state").unwrap_or_default(), of_query("code"));
    let Some(tie) = cookie(&headers, OIDC_COOKIE) else { return denied(OidcError::Stale) };
    let code = code.map(|code| code.to_string());
    let (person, target) = match shared.oidc.finish(&name, tie, &state, code).await {
        Ok(known) => known,
        Err(error) => return denied(error),
    };
    let session = SessionId::generate(&mut rand::rng());
    let free = shared.settings.free_credits.clone();
    match shared.sign_ins.welcome(person, session.hash(), free).await {
        Ok(()) => signed_in(StatusCode::PERMANENT_REDIRECT, &session, &target),
        Err(error) => broken(&error),
    }
}

/// Without asking: a browser on this machine gets the development account's new session.
async fn development(shared: &Shared, name: String, target: &Url) -> Response {
    let session = SessionId::generate(&mut rand::rng());
    match shared.ledger.renew_session(name, session.hash()).await {
        Ok(true) => signed_in(StatusCode::PERMANENT_REDIRECT, &session, target),
        Ok(false) => page::refusal(StatusCode::NOT_FOUND, page::NO_WAY),
        Err(error) => broken(&error),
    }
}

/// The session as a cookie of this origin, and a redirect that does not carry it (protocol.md §3).
fn signed_in(status: StatusCode, session: &SessionId, target: &Url) -> Response {
    let cookie = Zeroizing::new(format!(
        "{SESSION_COOKIE}={}; Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=None",
        session.expose()
    ));
    match sensitive(&cookie) {
        Some(cookie) => redirect(status, target, Some(cookie)),
        None => internal("the server failed"),
    }
}

fn redirect(status: StatusCode, to: &Url, cookie: Option<HeaderValue>) -> Response {
    let mut response = (status, [(header::LOCATION, to.to_string())]).into_response();
    let headers = response.headers_mut();
    // A permanent redirect would be remembered, and the next sign-in skipped.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

/// A short-lived cookie for these pages alone.
fn own_cookie(
    shared: &Shared,
    name: &str,
    value: &str,
    same_site: &str,
    seconds: i64,
) -> Option<HeaderValue> {
    let is_https = shared.settings.sign_in.public_url.as_ref().is_some_and(|url| url.scheme() == "https");
    let secure = if is_https { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}");
    sensitive(&Zeroizing::new(cookie))
}

fn sensitive(cookie: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(cookie).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Where a provider sends browsers back to.
fn callback(shared: &Shared, name: &str, is_local: bool, headers: &HeaderMap) -> Option<Url> {
    let base = match &shared.settings.sign_in.public_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None if is_local => format!("http://{}", headers.get(header::HOST)?.to_str().ok()?),
        None => return None,
    };
    Url::parse(&format!("{base}{API_PREFIX}{PATH}/oidc/{name}/callback")).ok()
}

fn denied(error: OidcError) -> Response {
    let status = match error {
        OidcError::NoProvider => StatusCode::NOT_FOUND,
        OidcError::Unreachable => StatusCode::BAD_GATEWAY,
        OidcError::Stale => StatusCode::BAD_REQUEST,
        OidcError::Declined | OidcError::Forged | OidcError::NotAdmitted => StatusCode::FORBIDDEN,
    };
    tracing::info!(%error, "somebody was not let in");
    page::refusal(status, &error.to_string())
}

/// Where the sign-in leads, if it may.
fn target(shared: &Shared, text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| shared.settings.sign_in.admits(url))
}

/// The first field of that name of a query or a form.
fn field(encoded: Option<&str>, name: &str) -> Option<Zeroizing<String>> {
    let mut fields = url::form_urlencoded::parse(encoded?.as_bytes());
    fields.find(|(key, _)| key == name).map(|(_, value)| Zeroizing::new(value.into_owned()))
}

fn is_local(peer: Option<&Extension<Peer>>, headers: &HeaderMap) -> bool {
    let address: Option<IpAddr> = peer.and_then(|Extension(peer)| peer.address());
    address.is_some_and(|address| address.is_loopback()) && !is_relayed(headers)
}

/// Whether somebody in between speaks for another: behind a proxy on this machine everybody's address is
/// this machine's, and a foreign page may send a visitor's browser here.
pub(super) fn is_relayed(headers: &HeaderMap) -> bool {
    let foreign_page = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let named_here = Url::parse(&format!("http://{host}/"))
        .is_ok_and(|url| is_here(&url) && url.path() == "/" && !host.contains('@'));
    let forwarded = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];
    foreign_page || !named_here || forwarded.into_iter().any(|name| headers.contains_key(name))
}

fn broken(error: &StoreError) -> Response {
    tracing::error!(%error, "the ledger failed");
    page::refusal(StatusCode::INTERNAL_SERVER_ERROR, page::BROKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_speaks_for_another_is_not_local() {
        let relayed = |fields: &[(&'static str, &str)]| {
            let fields = fields.iter().map(|(name, value)| (*name, value.parse().unwrap()));
            let pairs = fields.map(|(name, value)| (axum::http::HeaderName::from_static(name), value));
            is_relayed(&pairs.collect())
        };
        assert!(!relayed(&[("host", "127.0.0.1:9797")]));
        assert!(!relayed(&[("host", "[::1]:9797"), ("sec-fetch-site", "none")]));
        assert!(!relayed(&[("host", "localhost")]));
        assert!(relayed(&[]));
        assert!(relayed(&[("host", "backend.example")]));
        assert!(relayed(&[("host", "127.0.0.1.evil.example")]));
        assert!(relayed(&[("host", "x@127.0.0.1/..")]));
        assert!(relayed(&[("host", "127.0.0.1"), ("x-forwarded-for", "192.0.2.1")]));
        assert!(relayed(&[("host", "127.0.0.1"), ("sec-fetch-site", "cross-site")]));
    }
}
