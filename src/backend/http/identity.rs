//! The identity plane's endpoints (protocol.md §3).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;

use super::{
    Peer, fail, internal, invalid, not_found, ok, read, session, to_the_end, too_fast, unauthorized,
};
use crate::backend::ledger::{AccountId, Permit, Statement};
use crate::backend::limits::Pace;
use crate::backend::settings::Generation;
use crate::backend::sqlite::StoreError;
use crate::backend::{SessionId, Shared, issuance::IssuanceError};
use crate::clock::Timestamp;
use crate::wire::identity::{
    AbuseIssueAnswer, AbuseIssueRequest, BackupBlob, IssueAnswer, IssueRequest, Me, SubscriptionInfo,
};
use crate::wire::redemption::Epoch;
use crate::wire::{
    ABUSE_PERMANENT, ABUSE_TRANSIENT, API_PREFIX, Base64Bytes, SESSION_COOKIE, lenient, refusal,
};

/// Largest blinded abuse token, bytes (protocol.md §3).
const BLINDED_LIMIT: usize = 1024;
/// Largest backup blob, bytes of base64 (protocol.md §3).
const BACKUP_LIMIT: usize = 100 << 10;
/// Largest body of any request here, bytes.
const BODY_LIMIT: usize = BACKUP_LIMIT + 4096;

pub(super) type App = State<Arc<Shared>>;

pub(super) fn routes(generation: Generation) -> Router<Arc<Shared>> {
    let path = |endpoint: &str| format!("{API_PREFIX}{endpoint}");
    let router = Router::new()
        .route(&path("/me"), get(me))
        .route(&path("/auth-token/{*model}"), post(issue))
        .route(&path("/users/signin"), get(sign_in))
        .route(&path("/users/signout"), post(sign_out));
    match generation {
        Generation::Older => router,
        Generation::Current => router
            .route(&path("/abuse-token/permanent"), post(permanent))
            .route(&path("/abuse-token/transient"), post(transient))
            .route(&path("/abuse-token/backup"), get(backup).put(store_backup)),
    }
}

/// The account of the request's session; a request without one is answered here.
pub(super) struct SignedIn(pub(super) AccountId);

impl FromRequestParts<Arc<Shared>> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Response> {
        let session = session(&parts.headers).ok_or_else(unauthorized)?;
        if shared.limits.count_session(session) == Pace::TooFast {
            return Err(too_fast());
        }
        let account = shared.ledger.account(session).await.map_err(|error| broken(&error))?;
        account.map(Self).ok_or_else(unauthorized)
    }
}

async fn me(State(shared): App, SignedIn(account): SignedIn) -> Response {
    match shared.ledger.statement(account.clone()).await {
        Ok(statement) => {
            let transient_token = shared.store.transient_token(&account, &mut rand::rng());
            ok(Me { transient_token, ..describe(&account, statement) })
        }
        Err(error) => broken(&error),
    }
}

fn describe(account: &AccountId, statement: Statement) -> Me {
    Me {
        id: account.as_str().to_owned(),
        name: statement.name,
        subscription_info: SubscriptionInfo {
            active_auth_tokens: Some(statement.active).filter(|counts| !counts.is_empty()),
            used_auth_tokens: Some(statement.used).filter(|counts| !counts.is_empty()),
            payment_logs: Some(statement.grants).filter(|grants| !grants.is_empty()),
        },
        permanent_abuse_token_issued_at: statement.permanent_issued_at.and_then(rfc3339),
        transient_abuse_token_epoch: statement.transient_epoch,
        ..Me::default()
    }
}

fn rfc3339(time: Timestamp) -> Option<String> {
    let time = time::OffsetDateTime::from_unix_timestamp(time.unix()).ok()?;
    time.format(&time::format_description::well_known::Rfc3339).ok()
}

async fn issue(State(shared): App, SignedIn(account): SignedIn, body: Body) -> Response {
    let request: IssueRequest = match parse(body).await {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    let Ok(id) = uuid::Uuid::parse_str(&request.request_id) else {
        return invalid("RequestID is not a UUID");
    };
    let worker = Arc::clone(&shared);
    to_the_end(&shared.tasks, async move {
        let (model, blinded) = (request.model_name, request.blinded_token.0);
        let ledger = worker.ledger.as_ref();
        match worker.issuance.issue(ledger, &worker.issuer, account, id, model, blinded).await {
            Ok(issued) => ok(IssueAnswer {
                model_name: issued.model.to_string(),
                signed_blinded_token: Base64Bytes(issued.signature),
            }),
            Err(IssuanceError::NoAuthManager) => internal(refusal::NO_AUTH_MANAGER),
            Err(IssuanceError::NoQuota) => internal(refusal::NO_QUOTA),
            Err(IssuanceError::Unsignable) => internal("failed to sign blinded token"),
            Err(IssuanceError::Store(error)) => broken(&error),
        }
    })
    .await
}

async fn permanent(State(shared): App, SignedIn(account): SignedIn, body: Body) -> Response {
    let blinded = match blinded_abuse_token(body).await {
        Ok(blinded) => blinded,
        Err(refused) => return refused,
    };
    let worker = Arc::clone(&shared);
    to_the_end(&shared.tasks, async move {
        match worker.ledger.permit_permanent(account, worker.clock.now()).await {
            Ok(Permit::Granted) => sign_abuse(&worker, ABUSE_PERMANENT, blinded).await,
            Ok(Permit::Refused) => {
                fail(StatusCode::CONFLICT, "Conflict.", "permanent abuse token already issued")
            }
            Err(error) => broken(&error),
        }
    })
    .await
}

async fn transient(State(shared): App, SignedIn(account): SignedIn, body: Body) -> Response {
    let blinded = match blinded_abuse_token(body).await {
        Ok(blinded) => blinded,
        Err(refused) => return refused,
    };
    let worker = Arc::clone(&shared);
    to_the_end(&shared.tasks, async move {
        let epoch = Epoch::at(worker.clock.now().unix());
        match worker.ledger.permit_transient(account, epoch).await {
            Ok(Permit::Granted) => sign_abuse(&worker, ABUSE_TRANSIENT, blinded).await,
            Ok(Permit::Refused) => fail(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests.",
                "transient abuse token limit reached for this epoch",
            ),
            Err(error) => broken(&error),
        }
    })
    .await
}

async fn blinded_abuse_token(body: Body) -> Result<Vec<u8>, Response> {
    let request: AbuseIssueRequest = parse(body).await?;
    let blinded = request.blinded_token.0;
    if blinded.is_empty() || blinded.len() > BLINDED_LIMIT {
        return Err(invalid("BlindedToken must have 1 to 1024 bytes"));
    }
    Ok(blinded)
}

async fn sign_abuse(shared: &Shared, key: &str, blinded: Vec<u8>) -> Response {
    match shared.issuer.sign(key, blinded).await {
        Ok(signature) => ok(AbuseIssueAnswer { signed_blinded_token: Base64Bytes(signature) }),
        Err(_) => internal("failed to sign blinded token"),
    }
}

async fn store_backup(State(shared): App, SignedIn(account): SignedIn, body: Body) -> Response {
    let blob: BackupBlob = match parse(body).await {
        Ok(blob) => blob,
        Err(refused) => return refused,
    };
    if blob.encrypted_blob.len() > BACKUP_LIMIT {
        return invalid("EncryptedBlob is larger than 100 KiB");
    }
    match shared.ledger.store_backup(account, blob.encrypted_blob).await {
        Ok(()) => ok(serde_json::Value::Null),
        Err(error) => broken(&error),
    }
}

async fn backup(State(shared): App, SignedIn(account): SignedIn) -> Response {
    match shared.ledger.backup(account).await {
        Ok(Some(encrypted_blob)) => ok(BackupBlob { encrypted_blob }),
        Ok(None) => not_found(),
        Err(error) => broken(&error),
    }
}

async fn sign_out(State(shared): App, headers: HeaderMap) -> Response {
    let Some(session) = session(&headers) else { return unauthorized() };
    match shared.ledger.end_session(session).await {
        Ok(()) => ok(serde_json::Value::Null),
        Err(error) => broken(&error),
    }
}

/// Whether somebody in between speaks for another: behind a proxy on this machine everybody's address is
/// this machine's, and a foreign page may send a visitor's browser here.
pub(super) fn is_relayed(headers: &HeaderMap) -> bool {
    let foreign_page = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host
        .strip_suffix(|c: char| c.is_ascii_digit())
        .map_or(host, |_| host.rsplit_once(':').map_or(host, |(name, _)| name));
    let named_here = ["localhost", "127.0.0.1", "[::1]"].contains(&name);
    let forwarded = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];
    foreign_page || !named_here || forwarded.into_iter().any(|name| headers.contains_key(name))
}

/// There is no identity provider here. With a development account configured, a browser on this machine gets
/// that account's new session as the deployed server would give it: as a cookie of this origin, and a
/// redirect that does not carry it.
async fn sign_in(
    State(shared): App,
    peer: Option<axum::Extension<Peer>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let local =
        peer.and_then(|axum::Extension(peer)| peer.address()).is_some_and(|address| address.is_loopback())
            && !is_relayed(&headers);
    let (Some(name), true) = (shared.settings.development_account.clone(), local) else {
        return not_found();
    };
    let Some(target) = redirect_target(query.as_deref().unwrap_or_default()) else {
        return invalid("redirect must be an http URL of this machine");
    };
    let session = SessionId::generate(&mut rand::rng());
    match shared.ledger.renew_session(name, session.hash()).await {
        Ok(true) => {}
        Ok(false) => return not_found(),
        Err(error) => return broken(&error),
    }
    let cookie = zeroize::Zeroizing::new(format!(
        "{SESSION_COOKIE}={}; Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=None",
        session.expose()
    ));
    let Ok(mut cookie) = axum::http::HeaderValue::from_str(&cookie) else {
        return internal("the server failed");
    };
    cookie.set_sensitive(true);
    let headers = [(header::SET_COOKIE, cookie)];
    (StatusCode::PERMANENT_REDIRECT, headers, [(header::LOCATION, target.to_string())]).into_response()
}

fn redirect_target(query: &str) -> Option<url::Url> {
    let (_, target) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "redirect")?;
    let local = |url: &url::Url| match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url::Url::parse(&target).ok().filter(|url| url.scheme() == "http" && local(url))
}

pub(super) async fn parse<T: DeserializeOwned>(body: Body) -> Result<T, Response> {
    let body = read(body, BODY_LIMIT).await.map_err(|_| invalid("the body is too large or broke off"))?;
    lenient::from_slice(&body).map_err(|_| invalid("the body is not the expected JSON"))
}

pub(super) fn broken(error: &StoreError) -> Response {
    tracing::error!(%error, "the ledger failed");
    internal("the server's store failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_redirects_to_this_machine_only() {
        let target = |to: &str| redirect_target(&format!("a=b&redirect={to}")).is_some();
        assert!(target("http%3A%2F%2F127.0.0.1%3A5139%2Fcallback"));
        assert!(target("http://localhost:1/"));
        assert!(target("http://[::1]:1/"));
        assert!(!target("https://evil.example/"));
        assert!(!target("http://127.0.0.1.evil.example/"));
        assert!(!target("javascript:alert(1)"));
        assert!(redirect_target("").is_none());
    }
}
