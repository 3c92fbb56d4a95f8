//! The HTTP face: envelopes, statuses, body limits, rate limits, connections.
//!
//! Work that must not be cut off half-way (a debit, a redemption) runs in a task of its own: a client that
//! hangs up then finds the stored answer when it asks again. A panic in it answers 500 JSON.
//!
//! Nothing of a request is logged: no path, no header, no body, no address.

mod anonymous;
mod html;
mod identity;
mod serve;
mod sign_in;
mod store;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio_util::task::TaskTracker;

pub(super) use serve::{serve_listener, serve_onion};

use super::Shared;
use super::ledger::SessionHash;
use super::limits::Pace;
use super::settings::Planes;
use crate::wire::{
    Envelope, Failure, SESSION_COOKIE, STATUS_INTERNAL, STATUS_INVALID, STATUS_NOT_FOUND, STATUS_UNAUTHORIZED,
};

/// How much of a body over its limit is read and thrown away, so that the client gets to read the answer.
const DRAINED: usize = 16 << 20;
/// How long a client may take over its body. Long, for slow circuits.
const BODY_TIME: Duration = Duration::from_secs(120);

/// Where a connection comes from.
#[derive(Clone, Copy)]
enum Peer {
    /// From an address.
    At(SocketAddr),
    /// Through the onion service. It has no address, and all such clients are not one: they are not counted by address.
    /// What holds a flood back is Tor's: introduction points, and the number of streams on a circuit.
    Onion,
}

impl Peer {
    fn address(self) -> Option<IpAddr> {
        match self {
            Self::At(address) => Some(address.ip().to_canonical()),
            Self::Onion => None,
        }
    }
}

/// Why there is no body.
enum Unread {
    TooLarge,
    Broken,
}

/// The endpoints of `planes`.
pub(super) fn router(shared: &Arc<Shared>, planes: Planes) -> Router {
    let mut router = Router::new();
    if planes != Planes::Anonymous {
        router = router.merge(identity::routes(shared.settings.generation));
        router = router.merge(sign_in::routes()).merge(store::routes());
    }
    if planes != Planes::Identity {
        router = router.merge(anonymous::routes());
    }
    router
        .fallback(async || not_found())
        .method_not_allowed_fallback(async || not_found())
        .layer(from_fn_with_state(Arc::clone(shared), limit_addresses))
        .with_state(Arc::clone(shared))
}

async fn limit_addresses(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    match peer.and_then(Peer::address).map(|address| shared.limits.count_address(address)) {
        Some(Pace::TooFast) => too_fast(),
        _ => next.run(request).await,
    }
}

/// `200 {"status":"Ok.","data":…}`.
fn ok(data: impl Serialize) -> Response {
    json(StatusCode::OK, &Envelope::ok(data))
}

fn invalid(error: &str) -> Response {
    fail(StatusCode::BAD_REQUEST, STATUS_INVALID, error)
}

fn unauthorized() -> Response {
    fail(StatusCode::UNAUTHORIZED, STATUS_UNAUTHORIZED, "no valid session")
}

fn internal(error: &str) -> Response {
    fail(StatusCode::INTERNAL_SERVER_ERROR, STATUS_INTERNAL, error)
}

fn not_found() -> Response {
    json(StatusCode::NOT_FOUND, &Failure { status: STATUS_NOT_FOUND.into(), error: None })
}

/// Plain text, as the deployed server's rate limiter (protocol.md §2).
fn too_fast() -> Response {
    (StatusCode::TOO_MANY_REQUESTS, "Too many requests. Try again in a second.").into_response()
}

fn fail(code: StatusCode, status: &str, error: &str) -> Response {
    json(code, &Failure { status: status.into(), error: Some(error.into()) })
}

fn json(code: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => (code, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Runs `work` to its end even if the client hangs up; a panic in it becomes a 500.
async fn to_the_end(tasks: &TaskTracker, work: impl Future<Output = Response> + Send + 'static) -> Response {
    tasks.spawn(work).await.unwrap_or_else(|_| internal("the server failed"))
}

/// The whole body, if it has at most `limit` bytes.
async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Unread> {
    tokio::time::timeout(BODY_TIME, read_at_leisure(body, limit)).await.unwrap_or(Err(Unread::Broken))
}

async fn read_at_leisure(mut body: Body, limit: usize) -> Result<Vec<u8>, Unread> {
    let mut content = Vec::new();
    let mut seen = 0usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= limit {
            content.extend_from_slice(&data);
        } else if seen > limit.saturating_add(DRAINED) {
            break;
        }
    }
    if seen > limit { Err(Unread::TooLarge) } else { Ok(content) }
}

/// SHA-256 of the cookie's session id.
fn session(headers: &HeaderMap) -> Option<SessionHash> {
    cookie(headers, SESSION_COOKIE).map(session_hash)
}

/// The first cookie of that name.
fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// How a session id is kept.
pub(super) fn session_hash(id: &str) -> SessionHash {
    Sha256::digest(id).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_answers_500_json_and_its_text_stays_inside() {
        let tasks = TaskTracker::new();
        let response = to_the_end(&tasks, async { panic!("secret") }).await;
        assert_eq!(response.status(), 500);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"status":"Internal Server Error.","error":"the server failed"}"#);
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let with = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, line.parse().unwrap());
            }
            session(&headers)
        };
        let expected = Some(session_hash("x"));
        assert_eq!(with(&["sessionID=x"]), expected);
        assert_eq!(with(&["a=b; sessionID=x;c=d"]), expected);
        assert_eq!(with(&["a=b", "sessionID=x"]), expected);
        assert_eq!(with(&["notsessionID=x"]), None);
        assert_eq!(with(&[]), None);
    }
}
