//! The identity plane's endpoints (protocol.md §3).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::de::DeserializeOwned;

use super::{fail, internal, invalid, not_found, ok, read, session, to_the_end, too_fast, unauthorized};
use crate::backend::ledger::{AccountId, Permit, Statement};
use crate::backend::limits::Pace;
use crate::backend::settings::Generation;
use crate::backend::sqlite::StoreError;
use crate::backend::{Shared, issuance::IssuanceError};
use crate::clock::Timestamp;
use crate::wire::identity::{
    AbuseIssueAnswer, AbuseIssueRequest, BackupBlob, IssueAnswer, IssueRequest, Me, SubscriptionInfo,
};
use crate::wire::redemption::Epoch;
use crate::wire::{ABUSE_PERMANENT, ABUSE_TRANSIENT, API_PREFIX, Base64Bytes, lenient, refusal};

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
            ok(describe(&account, statement, transient_token))
        }
        Err(error) => broken(&error),
    }
}

fn describe(account: &AccountId, statement: Statement, transient_token: String) -> Me {
    Me {
        id: account.as_str().to_owned(),
        name: statement.name,
        email: statement.email,
        profile_image: statement.picture,
        transient_token,
        subscription_info: SubscriptionInfo {
            active_auth_tokens: Some(statement.active).filter(|counts| !counts.is_empty()),
            used_auth_tokens: Some(statement.used).filter(|counts| !counts.is_empty()),
            payment_logs: Some(statement.grants).filter(|grants| !grants.is_empty()),
        },
        permanent_abuse_token_issued_at: statement.permanent_issued_at.and_then(rfc3339),
        transient_abuse_token_epoch: statement.transient_epoch,
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

pub(super) async fn parse<T: DeserializeOwned>(body: Body) -> Result<T, Response> {
    let body = read(body, BODY_LIMIT).await.map_err(|_| invalid("the body is too large or broke off"))?;
    lenient::from_slice(&body).map_err(|_| invalid("the body is not the expected JSON"))
}

pub(super) fn broken(error: &StoreError) -> Response {
    tracing::error!(%error, "the ledger failed");
    internal("the server's store failed")
}
