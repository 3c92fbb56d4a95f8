//! From a request to a response.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::Endpoint;
use super::body::read_body;
use super::cors::{self, Caller};
use super::error::{ApiError, Failure};
use super::guard::{self, Admitted};
use super::handover::Exchange;
use super::reply::{Answering, Reply};
use super::route::Route;
use crate::anonymous::openai::RequestError;
use crate::anonymous::openai::answer::{self, Completion};
use crate::anonymous::openai::chunks::Chunks;
use crate::anonymous::openai::request::{self, Ignored, Shape, UsageChunk};
use crate::anonymous::redeem::{Delivery, Prompt};
use crate::wire::ModelName;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_LLMTOR_IGNORED: HeaderName = HeaderName::from_static("x-llmtor-ignored");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");

/// The endpoint, without its connections.
pub(super) struct Service(Endpoint);

impl Service {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self(endpoint)
    }

    /// Answers `request`, whatever happens.
    pub(super) async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        exchange: Exchange,
    ) -> Response<Reply> {
        let started = Instant::now();
        let route = Route::of(request.uri().path(), self.0.faces);
        let template = route.template();
        let caller = Caller::of(request.headers(), &self.0.allowed_origins);
        let answering = self.answer(route, request, &caller, exchange.clone());
        let answered = AssertUnwindSafe(answering).catch_unwind().await;
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => error.into_response(),
            Err(_) => ApiError::from(Failure::Panicked).into_response(),
        };
        caller.mark(response.headers_mut());
        response.body_mut().belong_to(exchange);
        let id = format!("req_{}", uuid::Uuid::new_v4().simple());
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(X_REQUEST_ID, id);
        }
        tracing::debug!(
            route = template,
            status = response.status().as_u16(),
            took = duration_class(started.elapsed()),
            "answered"
        );
        response
    }

    async fn answer(
        self: Arc<Self>,
        route: Route,
        request: Request<Incoming>,
        caller: &Caller,
        exchange: Exchange,
    ) -> Result<Response<Reply>, ApiError> {
        match guard::admit(&request, caller, route.access(), &self.0.api_key)? {
            Admitted::Preflight => return Ok(cors::preflight(request.headers())),
            Admitted::Call => {}
        }
        let allow = route.allow()?;
        if request.method() == Method::OPTIONS {
            return Ok(options(allow));
        }
        if !route.answers(request.method()) {
            return Err(Failure::WrongMethod { route: route.template(), allow }.into());
        }
        match route {
            Route::ChatCompletions => self.chat(request, exchange).await,
            Route::Models => Ok(json(Reply::plain(self.0.catalog.list_json()))),
            Route::Model(id) => {
                let name = ModelName::new(id).ok();
                match name.as_ref().and_then(|name| self.0.catalog.model_json(name)) {
                    Some(body) => Ok(json(Reply::plain(body))),
                    None => Err(Failure::Request(RequestError::UnknownModel(name)).into()),
                }
            }
            Route::Health => Ok(json(Reply::plain(&br#"{"status":"ok"}"#[..]))),
            Route::Completions
            | Route::Responses
            | Route::OpenApi
            | Route::Ollama(_)
            | Route::Anthropic(_)
            | Route::NotOffered(_)
            | Route::Unknown => Err(Failure::UnknownPath.into()),
        }
    }

    /// `POST /v1/chat/completions`.
    async fn chat(
        self: Arc<Self>,
        request: Request<Incoming>,
        exchange: Exchange,
    ) -> Result<Response<Reply>, ApiError> {
        guard::require_json(request.headers())?;
        let body =
            tokio::time::timeout(self.0.limits.body_time, read_body(request, self.0.limits.body_bytes))
                .await
                .map_err(|_| Failure::BodyTooSlow)??;
        let request::ChatRequest { model, messages, shape, ignored } =
            request::read(&body).map_err(Failure::Request)?;
        drop(body);
        if !self.0.catalog.has(&model) {
            return Err(Failure::Request(RequestError::UnknownModel(Some(model))).into());
        }
        let prompt = Prompt { model, messages };
        let mut response = match shape {
            Shape::Whole => {
                let (completion, delivery) = self.complete(prompt).await?;
                json(Reply::whole(completion.to_json(), delivery, exchange))
            }
            Shape::Stream(usage) => self.stream(prompt, usage, exchange).await?,
        };
        report_ignored(&mut response, ignored);
        Ok(response)
    }

    /// Waits one heartbeat for the answer: until then a failure can still be an HTTP error.
    async fn stream(
        self: Arc<Self>,
        prompt: Prompt,
        usage: UsageChunk,
        exchange: Exchange,
    ) -> Result<Response<Reply>, ApiError> {
        let heartbeat = self.0.heartbeat;
        let answering = async move {
            let (completion, delivery) = self.complete(prompt).await?;
            Ok((Chunks::new(completion, usage), delivery))
        };
        // Once the stream has begun, `respond` is no longer there to catch it.
        let answering = AssertUnwindSafe(answering).catch_unwind();
        let mut call: Answering =
            Box::pin(answering.map(|caught| caught.unwrap_or_else(|_| Err(Failure::Panicked.into()))));
        let reply = match tokio::time::timeout(heartbeat, &mut call).await {
            Ok(answered) => {
                let (chunks, delivery) = answered?;
                Reply::speaking(chunks, delivery, exchange)
            }
            Err(_) => Reply::waiting(call, heartbeat, exchange),
        };
        let mut response = Response::new(reply);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, EVENT_STREAM);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        Ok(response)
    }

    /// Spends a token on `prompt`.
    async fn complete(self: Arc<Self>, prompt: Prompt) -> Result<(Completion, Delivery), ApiError> {
        let model = prompt.model.clone();
        let delivery = self.0.redeemer.redeem(prompt).await.map_err(Failure::Redeem)?;
        let now = self.0.clock.now();
        if let Ok(completion) = answer::read(&delivery.answer().body, model, now, answer::new_id) {
            return Ok((completion, delivery));
        }
        // Kept, it would be found again by every repeat of the request: it counts as delivered.
        delivery.delivered();
        Err(Failure::NotACompletion.into())
    }
}

/// What can be done with a resource, and nothing else.
fn options(allow: &'static str) -> Response<Reply> {
    let mut response = Response::new(Reply::plain(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn json(reply: Reply) -> Response<Reply> {
    let mut response = Response::new(reply);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn report_ignored(response: &mut Response<Reply>, ignored: Ignored) {
    let names = ignored.names().collect::<Vec<_>>().join(", ");
    if let (false, Ok(value)) = (names.is_empty(), HeaderValue::from_str(&names)) {
        response.headers_mut().insert(X_LLMTOR_IGNORED, value);
    }
}

/// Coarse on purpose: a log of exact durations is a log of answer lengths.
fn duration_class(elapsed: Duration) -> &'static str {
    match elapsed.as_secs() {
        0 => "under a second",
        1..10 => "seconds",
        10..60 => "tens of seconds",
        _ => "minutes",
    }
}
