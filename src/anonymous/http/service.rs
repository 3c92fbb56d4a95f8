//! From a request to a response.

mod anthropic;
mod ollama;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::body::read_body;
use super::call::{Cost, Planned, Shortcomings, fetch_pictures};
use super::cors::{self, Caller};
use super::error::{ApiError, Failure};
use super::guard::{self, Admitted};
use super::handover::Exchange;
use super::reply::{Answering, Reply};
use super::route::{Face, Presence, Route};
use super::{Endpoint, Strictness, openapi};
use crate::anonymous::face::catalog::Catalog;
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::{Call, Framing, Ignored, Manner, Rules, Script};
use crate::anonymous::openai;
use crate::anonymous::redeem::record::Api;
use crate::anonymous::redeem::{Asking, Attempt};
use crate::wire::ModelName;

/// How a face reads the body of a call.
type Reader = fn(&[u8], &Rules) -> Result<Call, RequestError>;

/// How a face finds the model that a client spells.
type Resolver = fn(&Catalog, &str) -> Option<ModelName>;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The same to Anthropic's clients.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// By which Anthropic's clients are known where a path is not theirs alone.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// How many times a client made this very request before, as the official SDKs count.
const RETRY_COUNT: HeaderName = HeaderName::from_static("x-stainless-retry-count");
const X_LLMTOR_IGNORED: HeaderName = HeaderName::from_static("x-llmtor-ignored");
const X_LLMTOR_SCHEMA: HeaderName = HeaderName::from_static("x-llmtor-schema");
const X_LLMTOR_TOOLS: HeaderName = HeaderName::from_static("x-llmtor-tools");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

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
        let face = self.face(&route, request.headers());
        let id = format!("req_{}", uuid::Uuid::new_v4().simple());
        let caller = Caller::of(request.headers(), &self.0.allowed_origins);
        let answering = self.answer(route, face, request, &caller, exchange.clone());
        let answered = AssertUnwindSafe(answering).catch_unwind().await;
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => error.into_response(face, &id),
            Err(_) => ApiError::from(Failure::Panicked).into_response(face, &id),
        };
        caller.mark(response.headers_mut());
        response.body_mut().belong_to(exchange);
        if let Ok(id) = HeaderValue::from_str(&id) {
            if face == Face::Anthropic {
                response.headers_mut().insert(REQUEST_ID, id.clone());
            }
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
        face: Face,
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
            Route::ChatCompletions => self.call(openai::request::read, Api::Chat, request, exchange).await,
            Route::Completions => {
                self.call(openai::completions::read, Api::Completions, request, exchange).await
            }
            Route::Responses => self.call(openai::responses::read, Api::Responses, request, exchange).await,
            Route::Models | Route::Model(_) if face == Face::Anthropic => self.anthropic_models(&route),
            Route::Models => Ok(json(Reply::plain(openai::models::list(&self.0.catalog)))),
            Route::Model(id) => {
                let name = ModelName::new(id).ok();
                match name.as_ref().and_then(|name| openai::models::one(&self.0.catalog, name)) {
                    Some(body) => Ok(json(Reply::plain(body))),
                    None => Err(Failure::Request(RequestError::UnknownModel(name)).into()),
                }
            }
            Route::Ollama(wanted) => self.ollama(wanted, request, exchange).await,
            Route::Anthropic(wanted) => self.anthropic(wanted, request, exchange).await,
            Route::Metrics => self.metrics().await,
            Route::OpenApi => Ok(json(Reply::plain(openapi::description(&self.0.conduct.rules)))),
            Route::Health => Ok(json(Reply::plain(&br#"{"status":"ok"}"#[..]))),
            Route::NotOffered(_) | Route::Unknown(_) => Err(Failure::UnknownPath.into()),
        }
    }

    /// Numbers, for whoever collects them.
    async fn metrics(&self) -> Result<Response<Reply>, ApiError> {
        let Some(meter) = &self.0.meter else { return Err(Failure::UnknownPath.into()) };
        let mut response = Response::new(Reply::plain(meter.read().await));
        response.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    /// A call in a face's own words.
    async fn call(
        self: Arc<Self>,
        read: Reader,
        api: Api,
        request: Request<Incoming>,
        exchange: Exchange,
    ) -> Result<Response<Reply>, ApiError> {
        guard::require_json(request.headers())?;
        let asking = asking(request.headers()).by(api);
        let body = self.body(request).await?;
        let call = read(&body, &self.0.conduct.rules).map_err(Failure::Request)?;
        drop(body);
        self.run(call, resolve, asking, exchange).await
    }

    /// Whose form the response to a request has.
    fn face(&self, route: &Route, headers: &HeaderMap) -> Face {
        match route {
            Route::Models | Route::Model(_) | Route::NotOffered(_) | Route::Unknown(_)
                if route.face() == Face::OpenAi
                    && self.0.faces.anthropic == Presence::On
                    && headers.contains_key(ANTHROPIC_VERSION) =>
            {
                Face::Anthropic
            }
            route => route.face(),
        }
    }

    async fn body(&self, request: Request<Incoming>) -> Result<Vec<u8>, Failure> {
        tokio::time::timeout(self.0.limits.body_time, read_body(request, self.0.limits.body_bytes))
            .await
            .map_err(|_| Failure::BodyTooSlow)?
    }

    /// What has no effect is refused, if the user wants it so.
    fn tolerate(&self, ignored: &Ignored) -> Result<(), Failure> {
        match ignored.first() {
            Some(name) if self.0.conduct.strictness == Strictness::Refusing => {
                Err(Failure::Request(RequestError::without_effect(name)))
            }
            _ => Ok(()),
        }
    }

    /// The model that is meant.
    fn model(&self, resolve: Resolver, spelled: &str) -> Result<ModelName, Failure> {
        resolve(&self.0.catalog, spelled)
            .ok_or_else(|| Failure::Request(RequestError::UnknownModel(ModelName::new(spelled).ok())))
    }

    /// Answers what a face has read.
    async fn run(
        self: Arc<Self>,
        call: Call,
        resolve: Resolver,
        asking: Asking,
        exchange: Exchange,
    ) -> Result<Response<Reply>, ApiError> {
        let Call { model, mut asks, copies, ignored, manner, mut script } = call;
        self.tolerate(&ignored)?;
        let known = self.model(resolve, &model)?;
        // Before pictures are fetched: that would leave, too.
        self.0.redeemer.admit().map_err(Failure::Redeem)?;
        fetch_pictures(&self.0, &mut asks).await?;
        let planned = Planned::new(model, known, asks, copies).map_err(Failure::Request)?;
        script.begin(self.0.clock.now().unix());
        let mut response = match manner {
            Manner::Whole => {
                let (answer, deliveries) = planned.answer(&self.0, asking, Cost::Told).await?;
                let shortcomings = Shortcomings::of(&answer);
                let mut response = json(Reply::whole(script.whole(answer), deliveries, exchange));
                report_shortcomings(&mut response, shortcomings);
                response
            }
            Manner::Stream(framing) => {
                let mut response = self.stream(planned, asking, script, exchange).await?;
                let headers = response.headers_mut();
                headers.insert(
                    CONTENT_TYPE,
                    match framing {
                        Framing::Events => EVENT_STREAM,
                        Framing::Lines => LINES,
                    },
                );
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
                response
            }
        };
        report_ignored(&mut response, &ignored);
        Ok(response)
    }

    /// Waits one heartbeat for the answer: until then a failure can still be an HTTP error.
    async fn stream(
        self: Arc<Self>,
        planned: Planned,
        asking: Asking,
        script: Box<dyn Script>,
        exchange: Exchange,
    ) -> Result<Response<Reply>, ApiError> {
        let heartbeat = self.0.heartbeat;
        let cost = if script.counts_in_streams() { Cost::Told } else { Cost::Untold };
        let answering = async move { planned.answer(&self.0, asking, cost).await };
        // Once the stream has begun, `respond` is no longer there to catch it.
        let answering = AssertUnwindSafe(answering).catch_unwind();
        let mut call: Answering =
            Box::pin(answering.map(|caught| caught.unwrap_or_else(|_| Err(Failure::Panicked.into()))));
        match tokio::time::timeout(heartbeat, &mut call).await {
            Ok(answered) => {
                let (answer, deliveries) = answered?;
                let shortcomings = Shortcomings::of(&answer);
                let mut response = Response::new(Reply::speaking(script.speak(answer), deliveries, exchange));
                report_shortcomings(&mut response, shortcomings);
                Ok(response)
            }
            Err(_) => Ok(Response::new(Reply::waiting(call, script, heartbeat, exchange))),
        }
    }
}

/// Who asks: whether it is a repeat is all that is taken from the headers, and it goes no further than to redemption.
fn asking(headers: &HeaderMap) -> Asking {
    let count = headers.get(RETRY_COUNT).and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    Asking::new(if count.unwrap_or(0) > 0 { Attempt::Retry } else { Attempt::First })
}

/// The model of that name, or of that other name.
fn resolve(catalog: &Catalog, spelled: &str) -> Option<ModelName> {
    ModelName::new(spelled).ok().and_then(|name| catalog.resolve(&name))
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

/// An answer that is not as it was asked for: known before the headers go out, or not said.
fn report_shortcomings(response: &mut Response<Reply>, shortcomings: Shortcomings) {
    let Shortcomings { schema, tools } = shortcomings;
    for (name, is_short) in [(X_LLMTOR_SCHEMA, schema), (X_LLMTOR_TOOLS, tools)] {
        if is_short {
            response.headers_mut().insert(name, HeaderValue::from_static("violated"));
        }
    }
}

fn report_ignored(response: &mut Response<Reply>, ignored: &Ignored) {
    let names = ignored.names().join(", ");
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
