//! `POST /api/v1/llm-proxy` (protocol.md §4). Headers are not looked at.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;

use super::{Unread, internal, invalid, ok, read, to_the_end};
use crate::backend::Shared;
use crate::backend::redemption::Refused;
use crate::wire::LLM_PROXY_PATH;
use crate::wire::redemption::ProxyAnswer;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route(LLM_PROXY_PATH, post(redeem))
}

async fn redeem(State(shared): State<Arc<Shared>>, body: Body) -> Response {
    let body = match read(body, shared.settings.effective_body_limit()).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => {
            return ok(ProxyAnswer { size_limit_exceeded: true, ..ProxyAnswer::default() });
        }
        Err(Unread::Broken) => return invalid("the body broke off"),
    };
    let worker = Arc::clone(&shared);
    to_the_end(&shared.tasks, async move {
        match worker.redemption.redeem(&body).await {
            Ok(answer) => ok(answer),
            Err(Refused::Invalid(text)) => invalid(text),
            Err(Refused::Text(text)) => internal(&text),
        }
    })
    .await
}
