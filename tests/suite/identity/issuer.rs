//! A scripted backend: real blind signatures, a ledger, RequestIDs remembered, and faults on demand.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blind_rsa_signatures::{DefaultRng, KeyPairSha384PSSDeterministic};
use futures_util::stream;
use llmtor::blind::PublicKey;
use llmtor::keys::{KeyName, Keyring};
use llmtor::passage::{Gate, Passage};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{MODEL, OTHER_SESSION, SESSION};

/// What happens to one request instead of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Done, and the connection is cut before the answer.
    AnswerLost,
    /// Done, and the answer is cut in the middle.
    AnswerCut,
    /// Not done, and the connection is cut.
    RequestLost,
    /// Not done; a gateway's page.
    Html(u16),
    /// Not done; 500 with a text that the protocol does not list.
    Strange,
    /// 429 in plain text.
    RateLimited,
    /// Done; the signature is not base64.
    GarbageBase64,
    /// Done; the signature is too short.
    ShortSignature,
    /// Done; `data` is missing.
    NoData,
    /// A body without an end.
    Endless,
    /// A redirect to the same path.
    Redirect,
    /// Done, signed under the key that is not published.
    Forged,
    /// Not done, and never answered.
    HangBefore,
    /// Done, and never answered.
    HangAfter,
    /// Done; a gateway gave up on it, in JSON of this status, and with a refusal's words if the backend has some for it.
    Gateway(u16),
    /// 401.
    Unauthorized,
    /// Not done: another server, which does not know of a debit that took the last credit.
    NoQuota,
    /// Not done: another server, which does not know the model.
    UnknownModel,
    /// 409 in JSON.
    Conflict,
    /// 429 in JSON.
    Exhausted,
}

/// One request as it arrived.
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

type Hook = Box<dyn Fn(&Value) + Send>;

#[derive(Default)]
struct Books {
    active: i64,
    used: i64,
    remembered: HashMap<String, Vec<u8>>,
    faults: VecDeque<Fault>,
    seen: Vec<Seen>,
    hook: Option<Hook>,
    /// Shut as soon as a request arrives, or an issuance.
    shuts: Option<(Gate, bool)>,
    /// Every issuance waits until this many are in flight.
    gather: usize,
    in_flight: usize,
    most_in_flight: usize,
}

struct State {
    books: Mutex<Books>,
    gathered: Notify,
    hung: Notify,
}

pub(super) struct Issuer {
    state: Arc<State>,
    address: std::net::SocketAddr,
}

/// Generated once: the key that is published, and one that is not.
fn key_pairs() -> &'static [KeyPairSha384PSSDeterministic; 2] {
    static PAIRS: OnceLock<[KeyPairSha384PSSDeterministic; 2]> = OnceLock::new();
    PAIRS.get_or_init(|| {
        [(); 2].map(|()| KeyPairSha384PSSDeterministic::generate(&mut DefaultRng, 2048).expect("key pair"))
    })
}

/// The public key that the issuer signs under, or the other one.
pub(super) fn public_key(which: usize) -> PublicKey {
    PublicKey::from_spki_pem(&key_pairs()[which].pk.to_pem().expect("pem")).expect("key")
}

/// Signed under that key, whichever it was blinded under.
pub(super) fn sign(which: usize, blinded: &[u8]) -> Vec<u8> {
    let key = &key_pairs()[which].sk;
    let signature =
        key.blind_sign(blind_rsa_signatures::BlindMessage(blinded.to_vec())).unwrap_or_else(|_| {
            // Blinded under the other key's modulus, it may be beyond this one's. A forgery need not be of this message.
            let mut smaller = blinded.to_vec();
            smaller[0] = 0;
            key.blind_sign(blind_rsa_signatures::BlindMessage(smaller)).expect("signed")
        });
    signature.0
}

/// PKCS #8 DER.
pub(super) fn private_key(which: usize) -> Vec<u8> {
    key_pairs()[which].sk.to_der().expect("der")
}

impl Issuer {
    pub(super) async fn start(credits: i64) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let address = listener.local_addr().expect("address");
        let state = Arc::new(State {
            books: Mutex::new(Books { active: credits, ..Books::default() }),
            gathered: Notify::new(),
            hung: Notify::new(),
        });
        let served = state.clone();
        let router = axum::Router::new().fallback(move |request: Request| answer(served.clone(), request));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { state, address }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The published keys: one for everything, which is allowed.
    #[expect(clippy::unused_self, reason = "they are this issuer's")]
    pub(super) fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::default();
        for name in [MODEL, "abuse-permanent", "abuse-transient"] {
            keyring.insert(name.parse::<KeyName>().expect("name"), public_key(0));
        }
        keyring
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.state.books.lock().expect("books")
    }

    /// The next requests other than `/me` fail in these ways.
    pub(super) fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.books().faults.extend(faults);
    }

    /// Nothing that was scripted happens any more.
    pub(super) fn mend(&self) {
        self.books().faults.clear();
    }

    /// Called with the body of each issuance before it is answered.
    pub(super) fn on_issuance(&self, hook: impl Fn(&Value) + Send + 'static) {
        self.books().hook = Some(Box::new(hook));
    }

    /// The user pauses while the next request is under way.
    pub(super) fn shut_at_the_next(&self, gate: Gate) {
        self.books().shuts = Some((gate, true));
    }

    /// The same with the next issuance.
    pub(super) fn shut_at_the_issuance(&self, gate: Gate) {
        self.books().shuts = Some((gate, false));
    }

    pub(super) fn gather(&self, at_once: usize) {
        self.books().gather = at_once;
    }

    pub(super) fn most_in_flight(&self) -> usize {
        self.books().most_in_flight
    }

    /// Restarts: RequestIDs are forgotten, the ledger is not.
    pub(super) fn forget(&self) {
        self.books().remembered.clear();
    }

    /// The account's owner buys credits.
    pub(super) fn buy(&self, credits: i64) {
        self.books().active += credits;
    }

    /// Another device uses credits.
    pub(super) fn debit_elsewhere(&self, credits: i64) {
        let mut books = self.books();
        books.active -= credits;
        books.used += credits;
    }

    pub(super) fn used(&self) -> i64 {
        self.books().used
    }

    /// Resolves once a request hangs.
    pub(super) async fn hung(&self) {
        self.state.hung.notified().await;
    }

    pub(super) fn seen<T>(&self, look: impl Fn(&[Seen]) -> T) -> T {
        look(&self.books().seen)
    }

    /// Values of one field in the bodies sent to paths that contain `path`, in order.
    pub(super) fn field(&self, path: &str, field: &str) -> Vec<String> {
        self.seen(|seen| {
            seen.iter()
                .filter(|seen| seen.path.contains(path))
                .filter_map(|seen| Some(seen.body[field].as_str()?.to_owned()))
                .collect()
        })
    }
}

fn reply(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(status).expect("status"))
        .body(body.into())
        .expect("response")
}

fn ok(data: &Value) -> Response<Body> {
    reply(200, json!({"status": "Ok.", "data": data}).to_string())
}

fn failure(status: u16, error: &str) -> Response<Body> {
    reply(status, json!({"status": "Internal Server Error.", "error": error}).to_string())
}

/// A response that breaks off after `sent`.
fn cut(sent: &str) -> Response<Body> {
    let chunks = [Ok(Bytes::copy_from_slice(sent.as_bytes())), Err(std::io::Error::other("cut"))];
    reply(200, Body::from_stream(stream::iter(chunks)))
}

async fn answer(state: Arc<State>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("body");
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let cookie = parts.headers.get("cookie").and_then(|cookie| cookie.to_str().ok()).unwrap_or_default();
    let known = [SESSION, OTHER_SESSION].iter().any(|session| cookie == format!("sessionID={session}"));
    let id = if cookie.ends_with(SESSION) { "u1" } else { "u2" };
    let issuing = path.contains("auth-token");
    let fault = {
        let mut books = state.books.lock().expect("books");
        books.seen.push(Seen { path: path.clone(), headers: parts.headers.clone(), body: body.clone() });
        if books.shuts.as_ref().is_some_and(|(_, any)| *any || issuing)
            && let Some((gate, _)) = books.shuts.take()
        {
            gate.set(Passage::Paused);
        }
        if let (true, Some(hook)) = (issuing, &books.hook) {
            hook(&body);
        }
        books.in_flight += usize::from(issuing);
        books.most_in_flight = books.most_in_flight.max(books.in_flight);
        if path.ends_with("/me") { None } else { books.faults.pop_front() }
    };
    if !known || fault == Some(Fault::Unauthorized) {
        return reply(401, json!({"status": "Unauthorized", "error": "no session"}).to_string());
    }
    if issuing {
        loop {
            let gathered = state.gathered.notified();
            let enough = {
                let books = state.books.lock().expect("books");
                books.most_in_flight >= books.gather
            };
            if enough {
                break;
            }
            gathered.await;
        }
        state.gathered.notify_waiters();
    }
    if path.ends_with("/me") {
        return me(&state, id);
    }
    let answer = faulty(&state, &path, &body, fault).await;
    if issuing {
        state.books.lock().expect("books").in_flight -= 1;
    }
    answer
}

async fn faulty(state: &State, path: &str, body: &Value, fault: Option<Fault>) -> Response<Body> {
    match fault {
        None => done(state, path, body, 0),
        Some(Fault::Forged) => done(state, path, body, 1),
        Some(Fault::RequestLost) => cut(""),
        Some(Fault::Html(status)) => reply(status, "<html><body>checking your browser</body></html>"),
        Some(Fault::Strange) => failure(500, "dial tcp 10.0.0.3:5432: connect: connection refused"),
        Some(Fault::RateLimited) => reply(429, "Too Many Requests"),
        Some(Fault::NoQuota) => failure(500, "no quota left"),
        Some(Fault::UnknownModel) => failure(500, "no auth manager found"),
        Some(Fault::Conflict) => failure(409, "permanent abuse token already issued"),
        Some(Fault::Exhausted) => failure(429, "too many transient abuse tokens"),
        Some(Fault::Unauthorized) => failure(401, "no session"),
        Some(Fault::Endless) => {
            let page = Bytes::from(vec![b' '; 1 << 16]);
            reply(200, Body::from_stream(stream::repeat_with(move || Ok::<_, std::io::Error>(page.clone()))))
        }
        Some(Fault::Redirect) => {
            let mut answer = reply(307, "");
            answer.headers_mut().insert("location", path.parse().expect("location"));
            answer
        }
        Some(Fault::HangBefore) => {
            state.hung.notify_one();
            std::future::pending().await
        }
        Some(Fault::HangAfter) => {
            done(state, path, body, 0);
            state.hung.notify_one();
            std::future::pending().await
        }
        Some(Fault::Gateway(status)) => {
            done(state, path, body, 0);
            reply(status, json!({"status": "fail", "error": "no quota left"}).to_string())
        }
        Some(
            fault @ (Fault::AnswerLost
            | Fault::AnswerCut
            | Fault::GarbageBase64
            | Fault::ShortSignature
            | Fault::NoData),
        ) => {
            done(state, path, body, 0);
            match fault {
                Fault::AnswerLost => cut(""),
                Fault::AnswerCut => cut("{\"status\":\"Ok.\",\"data\":{\"SignedBlin"),
                Fault::GarbageBase64 => ok(&json!({"SignedBlindedToken": "***"})),
                Fault::ShortSignature => ok(&json!({"SignedBlindedToken": "AQID"})),
                _ => reply(200, "{\"status\":\"Ok.\"}"),
            }
        }
    }
}

fn me(state: &State, id: &str) -> Response<Body> {
    let (active, used) = {
        let books = state.books.lock().expect("books");
        (books.active, books.used)
    };
    ok(&json!({"id": id, "Email": "m@example.org", "Name": "M", "SubscriptionInfo": {
        "ActiveAuthTokens": {MODEL: active}, "UsedAuthTokens": if used == 0 { Value::Null } else { json!({MODEL: used}) },
        "PaymentLogs": null}, "PermanentAbuseTokenIssuedAt": null, "TransientAbuseTokenEpoch": 0}))
}

/// The request is done, signed under key `which`.
fn done(state: &State, path: &str, body: &Value, which: usize) -> Response<Body> {
    let mut books = state.books.lock().expect("books");
    let blinded = STANDARD.decode(body["BlindedToken"].as_str().unwrap_or_default()).expect("base64");
    if path.contains("abuse-token") {
        return ok(&json!({"SignedBlindedToken": STANDARD.encode(sign(which, &blinded))}));
    }
    if !path.contains("auth-token") {
        return ok(&Value::Null);
    }
    let id = body["RequestID"].as_str().expect("RequestID").to_owned();
    let signature = match books.remembered.get(&id) {
        Some(signature) => signature.clone(),
        None if books.active == 0 => return failure(500, "no quota left"),
        None => {
            books.active -= 1;
            books.used += 1;
            let signature = sign(which, &blinded);
            books.remembered.insert(id, signature.clone());
            signature
        }
    };
    // As Go may: another case than the one documented.
    ok(&json!({"modelname": MODEL, "signedBlindedToken": STANDARD.encode(signature)}))
}
