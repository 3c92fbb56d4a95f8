//! Paths. Every view is one segment behind the place (`access`), so that links between them are plain names.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::header::{self, HeaderValue};
use axum::http::{Method, Response, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::routing::{get, post};
use maud::Markup;
use url::form_urlencoded;

use super::access::{Admitted, Gate};
use super::desk::{AccountWay, Desk, Setting};
use super::frame::{self, Door, Notice, View};
use super::guard::{self, Followed, Objection};
use super::workshop::Workshop;
use super::{calls, leaving, overview, settings, workings};
use crate::control::{Refusal, RefusalKind};
use crate::passage::Passage;

/// All fields of a form together.
const LONGEST_FORM: usize = 8 * 1024;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

type Reply = Response<Body>;

struct Shared {
    desk: Arc<dyn Desk>,
    gate: Arc<Gate>,
    workshop: Arc<Workshop>,
}

/// The page.
pub(super) fn router(desk: Arc<dyn Desk>, gate: Arc<Gate>) -> Router {
    let at = |name: &str| format!("/{}/{name}", gate.place());
    let inside = Router::new()
        .route(&at(""), get(show_overview))
        .route(&at("state"), get(show_state))
        .route(&at("calls"), get(show_calls))
        .route(&at("rows"), get(show_rows))
        .route(&at("leaving"), get(show_leaving))
        .route(&at("settings"), get(show_settings).post(change_settings))
        .route(&at("pause"), post(|shared| pass(shared, Passage::Paused)))
        .route(&at("resume"), post(|shared| pass(shared, Passage::Open)))
        .route(&at("identity"), post(new_identity))
        .route(&at("workings"), get(show_workings))
        .route(&at("another"), post(another));
    let shared = Arc::new(Shared { desk, gate, workshop: Workshop::open() });
    inside
        .route_layer(from_fn_with_state(Arc::clone(&shared), admit))
        .route("/enter", get(enter))
        .route("/style.css", get(|| async { text("text/css; charset=utf-8", STYLE) }))
        .route("/page.js", get(|| async { text("text/javascript; charset=utf-8", SCRIPT) }))
        .fallback(|| async { html(StatusCode::FORBIDDEN, &frame::door(Door::Closed)) })
        .method_not_allowed_fallback(|| async { plain(StatusCode::METHOD_NOT_ALLOWED, "Not here.") })
        .layer(from_fn_with_state(Arc::clone(&shared), check))
        .layer(from_fn(hardened))
        .with_state(shared)
}

/// What another account of this machine gets.
pub(super) fn for_strangers() -> Router {
    Router::new()
        .fallback(|| async {
            plain(StatusCode::FORBIDDEN, "This page belongs to another account of this machine.")
        })
        .layer(from_fn(hardened))
}

async fn hardened(request: Request, next: Next) -> Reply {
    let mut response = next.run(request).await;
    guard::harden(&mut response);
    response
}

async fn check(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Reply {
    let followed = if request.uri().path() == "/enter" { Followed::FromAnywhere } else { Followed::FromHere };
    match guard::judge(request.method(), request.headers(), shared.gate.port(), followed) {
        Ok(()) => next.run(request).await,
        Err(Objection::ForeignHost) => {
            plain(StatusCode::MISDIRECTED_REQUEST, "This page answers to its own address only.")
        }
        // Somebody followed a link to here: a page that says what to do, and nothing else.
        Err(Objection::ForeignPage) if request.method() == Method::GET => {
            html(StatusCode::FORBIDDEN, &frame::door(Door::Closed))
        }
        Err(Objection::ForeignPage) => plain(StatusCode::FORBIDDEN, "Not from another page."),
    }
}

/// Lets visitors with a session through; what they send with a form must bear its token.
async fn admit(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Reply {
    let cookie = guard::cookie(request.headers(), &shared.gate.cookie_name());
    let Some(admitted) = cookie.and_then(|cookie| shared.gate.admit(cookie, Instant::now())) else {
        return html(StatusCode::FORBIDDEN, &frame::door(Door::Closed));
    };
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let body = std::mem::take(request.body_mut());
        let Ok(bytes) = to_bytes(body, LONGEST_FORM).await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "That is no form of this page.");
        };
        let form = Form(form_urlencoded::parse(&bytes).into_owned().collect());
        if !form.get("form").is_some_and(|token| admitted.form.matches(token.as_bytes())) {
            return plain(
                StatusCode::FORBIDDEN,
                "This form is out of date: go back, reload the page, and try again.",
            );
        }
        request.extensions_mut().insert(form);
    }
    request.extensions_mut().insert(admitted);
    next.run(request).await
}

/// The fields of a form.
#[derive(Clone)]
struct Form(Vec<(String, String)>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

async fn enter(State(shared): State<Arc<Shared>>, request: Request) -> Reply {
    // Some programs look at a link before they follow it.
    if request.method() != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "A link is followed with GET.");
    }
    let query = request.uri().query().unwrap_or_default();
    let ticket = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "ticket");
    let now = Instant::now();
    let cookie = ticket.and_then(|(_, ticket)| shared.gate.enter(&ticket, now, &mut rand::rng()));
    let Some(cookie) = cookie else { return html(StatusCode::FORBIDDEN, &frame::door(Door::Used)) };
    shared.workshop.prepare();
    let place = format!("/{}/", shared.gate.place());
    // By a link from another program's page, a browser would not send the cookie along a redirect: then it goes by itself.
    let followed = request.headers().get("sec-fetch-site").is_some_and(|site| site != "none");
    let mut response =
        if followed { html(StatusCode::OK, &frame::entered(&place)) } else { redirect(&place) };
    let name = shared.gate.cookie_name();
    let line = format!("{name}={}; Path={place}; HttpOnly; SameSite=Strict", cookie.expose());
    let secretive = HeaderValue::from_static("no-referrer");
    response.headers_mut().insert(header::REFERRER_POLICY, secretive);
    if let Ok(mut value) = HeaderValue::from_str(&line) {
        value.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

async fn show_overview(State(shared): State<Arc<Shared>>, Extension(admitted): Extension<Admitted>) -> Reply {
    match shared.desk.status().await {
        Ok(status) => {
            let state = overview::state(&status);
            view(View::Overview, None, &overview::body(&state, status.passage, &admitted))
        }
        Err(refusal) => view(View::Overview, Some(Notice::Refused(refusal)), &Markup::default()),
    }
}

async fn show_state(State(shared): State<Arc<Shared>>) -> Reply {
    let state = match shared.desk.status().await {
        Ok(status) => overview::state(&status),
        Err(refusal) => frame::refused(&refusal),
    };
    html(StatusCode::OK, &state)
}

async fn show_calls(State(shared): State<Arc<Shared>>) -> Reply {
    view(View::Calls, None, &calls::body(&shared.desk.calls()))
}

async fn show_rows(State(shared): State<Arc<Shared>>) -> Reply {
    html(StatusCode::OK, &calls::rows(&shared.desk.calls()))
}

async fn show_leaving(State(shared): State<Arc<Shared>>) -> Reply {
    let settings = settings_of(&shared).await;
    let is_direct = |setting: &Setting| setting.key == "identity.transport" && setting.now == "direct";
    let account = if settings.iter().any(is_direct) { AccountWay::Direct } else { AccountWay::Tor };
    view(View::Leaving, None, &leaving::body(&shared.desk.calls(), &shared.desk.errands(), account))
}

async fn show_settings(
    State(shared): State<Arc<Shared>>,
    Extension(admitted): Extension<Admitted>,
    request: Request,
) -> Reply {
    let notice = (request.uri().query() == Some("saved")).then_some(Notice::Saved);
    view(View::Settings, notice, &settings::body(&settings_of(&shared).await, &admitted))
}

async fn change_settings(
    State(shared): State<Arc<Shared>>,
    Extension(admitted): Extension<Admitted>,
    Extension(form): Extension<Form>,
) -> Reply {
    let now = settings_of(&shared).await;
    let (changes, desk) = (settings::changes(&now, |key| form.get(key)), Arc::clone(&shared.desk));
    let outcome = tokio::task::spawn_blocking(move || desk.change(&changes)).await;
    let broken = |_| {
        Err(Refusal::new(RefusalKind::Failed, "the settings could not be changed")
            .advise("`llmtor logs` tells why; change config.toml by hand, or try again"))
    };
    match outcome.unwrap_or_else(broken) {
        Ok(()) => redirect("settings?saved"),
        Err(refusal) => {
            let notice = Some(Notice::Refused(refusal));
            view(View::Settings, notice, &settings::body(&now, &admitted))
        }
    }
}

/// Read from the file, off the threads that calls run on.
async fn settings_of(shared: &Shared) -> Vec<Setting> {
    let desk = Arc::clone(&shared.desk);
    tokio::task::spawn_blocking(move || desk.settings()).await.unwrap_or_default()
}

async fn pass(State(shared): State<Arc<Shared>>, wanted: Passage) -> Reply {
    match shared.desk.set_passage(wanted).await {
        Ok(()) => redirect("./"),
        Err(refusal) => view(View::Overview, Some(Notice::Refused(refusal)), &Markup::default()),
    }
}

async fn new_identity(State(shared): State<Arc<Shared>>) -> Reply {
    match shared.desk.new_identity().await {
        Ok(()) => redirect("./"),
        Err(refusal) => view(View::Overview, Some(Notice::Refused(refusal)), &Markup::default()),
    }
}

async fn show_workings(State(shared): State<Arc<Shared>>, Extension(admitted): Extension<Admitted>) -> Reply {
    shared.workshop.prepare();
    view(View::Workings, None, &workings::body(shared.workshop.shown().as_deref(), &admitted))
}

async fn another(State(shared): State<Arc<Shared>>) -> Reply {
    // Should it fail, the former one is shown.
    let _ = tokio::task::spawn_blocking(move || shared.workshop.another()).await;
    redirect("workings")
}

fn view(view: View, notice: Option<Notice>, body: &Markup) -> Reply {
    html(StatusCode::OK, &frame::page(view, notice, body))
}

fn redirect(to: &str) -> Reply {
    let mut response = plain(StatusCode::SEE_OTHER, "");
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

fn html(status: StatusCode, markup: &Markup) -> Reply {
    let mut response = text("text/html; charset=utf-8", markup.0.as_str());
    *response.status_mut() = status;
    response
}

fn plain(status: StatusCode, words: &str) -> Reply {
    let mut response = text("text/plain; charset=utf-8", words);
    *response.status_mut() = status;
    response
}

fn text(kind: &'static str, words: &str) -> Reply {
    let mut response = Response::new(Body::from(words.to_owned()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
