//! A backend with an account, a clock turned by hand, and a provider that counts its calls.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmtor::backend::{Backend, ModelSettings, ProviderSettings, RateLimits, Settings};
use llmtor::blind::{BlindSignature, Blinding, PublicKey, TokenMessage};
use llmtor::clock::{ManualClock, Timestamp};
use llmtor::wire::ModelName;
use llmtor::wire::redemption::Epoch;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// 2026-11-22T00:00:00Z.
pub const NOW: i64 = 1_795_305_600;
pub const MODEL: &str = "gpt-4.1";
pub const OTHER: &str = "gemini-2.5-flash";

pub struct House {
    pub home: Arc<tempfile::TempDir>,
    pub base: String,
    pub clock: Arc<ManualClock>,
    pub backend: Backend,
    pub session: String,
    pub keys: BTreeMap<String, PublicKey>,
    pub client: reqwest::Client,
    pub upstream: Upstream,
    settings: Settings,
    shutdown: CancellationToken,
    server: Option<tokio::task::JoinHandle<()>>,
}

/// A provider on a socket: says what it is told to, once it is let.
#[derive(Clone)]
pub struct Upstream {
    pub url: String,
    pub calls: Arc<AtomicUsize>,
    pub answer: Arc<Mutex<(u16, String)>>,
    pub verdict: Arc<Mutex<(u16, String)>>,
    pub seen: Arc<Mutex<Vec<Value>>>,
    pub gate: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Upstream {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            url: format!("http://{}/v1", listener.local_addr().unwrap()),
            calls: Arc::default(),
            answer: Arc::new(Mutex::new((200, r#"{"object":"chat.completion"}"#.into()))),
            verdict: Arc::default(),
            seen: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            stop: CancellationToken::new(),
        };
        let own = upstream.clone();
        let route = axum::routing::post(move |body: String| {
            let own = own.clone();
            async move {
                own.calls.fetch_add(1, Ordering::SeqCst);
                own.seen.lock().unwrap().push(serde_json::from_str(&body).unwrap());
                own.gate.acquire().await.unwrap().forget();
                let (status, text) = own.answer.lock().unwrap().clone();
                (axum::http::StatusCode::from_u16(status).unwrap(), text)
            }
        });
        let judge = axum::routing::post({
            let verdict = Arc::clone(&upstream.verdict);
            move |_: String| async move {
                let (status, text) = verdict.lock().unwrap().clone();
                (axum::http::StatusCode::from_u16(status).unwrap(), text)
            }
        });
        let app = axum::Router::new().route("/v1/chat/completions", route).route("/v1/moderations", judge);
        let stop = upstream.stop.clone();
        tokio::spawn(async move {
            tokio::select! { _ = axum::serve(listener, app) => {}, () = stop.cancelled() => {} }
        });
        upstream
    }

    pub fn count(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn say(&self, status: u16, text: &str) {
        *self.answer.lock().unwrap() = (status, text.into());
    }
}

fn model(name: &str) -> ModelName {
    ModelName::new(name).unwrap()
}

pub fn settings(upstream: &Upstream) -> Settings {
    let from = |provider: &str, name: Option<&str>| ModelSettings {
        provider: provider.into(),
        upstream_model: name.map(Into::into),
        ..ModelSettings::default()
    };
    let scripted = ProviderSettings { base_url: upstream.url.clone(), key_env: None, timeout_seconds: 60 };
    Settings {
        models: [
            (model(MODEL), from("scripted", Some("upstream-name"))),
            (model(OTHER), from("embedded", None)),
        ]
        .into(),
        providers: [("scripted".to_owned(), scripted)].into(),
        limits: RateLimits { per_session: 0, per_address: 0 },
        ..Settings::default()
    }
}

/// Four key pairs take seconds in a test build: made once, copied into each home.
fn copy_keys(home: &Path) {
    static TEMPLATE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let template = tempfile::tempdir().unwrap();
        let models = [MODEL, OTHER].map(|name| (model(name), ModelSettings::default())).into();
        Backend::init(template.path(), &Settings { models, ..Settings::default() }).unwrap();
        template
    });
    std::fs::create_dir_all(home.join("keys")).unwrap();
    for entry in std::fs::read_dir(template.path().join("keys")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), home.join("keys").join(entry.file_name())).unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's client")]
fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

impl House {
    /// Default settings, and an account with 50 credits per model.
    pub async fn open() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with_upstream(|settings, _| change(settings)).await
    }

    /// As [`Self::with`], for settings that name the provider's URL.
    pub async fn with_upstream(change: impl FnOnce(&mut Settings, &str)) -> Self {
        let upstream = Upstream::start().await;
        let mut settings = settings(&upstream);
        change(&mut settings, &upstream.url);
        let home = Arc::new(tempfile::tempdir().unwrap());
        copy_keys(home.path());
        Backend::init(home.path(), &settings).unwrap();
        let clock = ManualClock::shared(Timestamp::from_unix(NOW));
        Self::start(home, settings, clock, upstream, None).await
    }

    async fn start(
        home: Arc<tempfile::TempDir>,
        settings: Settings,
        clock: Arc<ManualClock>,
        upstream: Upstream,
        session: Option<String>,
    ) -> Self {
        let backend = Backend::open(home.path(), settings.clone(), clock.clone()).unwrap();
        let credits = [(model(MODEL), 50), (model(OTHER), 50)].into();
        let session =
            session.unwrap_or_else(|| backend.add_account("alice", &credits).unwrap().expose().to_owned());
        let export = backend.export_keys().into_iter();
        let keys = export.map(|(name, pem)| (name, PublicKey::from_spki_pem(&pem).unwrap())).collect();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let serving = backend.clone().serve(listener, shutdown.clone(), Duration::from_secs(5));
        let server = Some(tokio::spawn(async move { serving.await.unwrap() }));
        let client = client();
        Self { home, base, clock, backend, session, keys, client, upstream, settings, shutdown, server }
    }

    /// Ends the server and starts another one in the same home.
    pub async fn restart(self) -> Self {
        let (home, settings) = (Arc::clone(&self.home), self.settings.clone());
        let (clock, upstream, session) = (self.clock.clone(), self.upstream.clone(), self.session.clone());
        self.stop().await;
        Self::start(home, settings, clock, upstream, Some(session)).await
    }

    pub async fn stop(mut self) {
        self.shutdown.cancel();
        self.server.take().unwrap().await.unwrap();
    }

    /// Nobody listens upstream any more.
    pub async fn cut_upstream(&self) {
        self.upstream.stop.cancel();
        let address = self.upstream.url.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
        while tokio::net::TcpListener::bind(&address).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let (status, text) = self.call_text(method, path, body).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn call_text(&self, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
        let url = format!("{}/api/v1{path}", self.base);
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let cookie = format!("other=1; sessionID={}", self.session);
        let mut request = self.client.request(method, url).header("cookie", cookie);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The body of an issue request, and what finalizes its answer.
    pub fn issue_request(&self, model: &str) -> (Value, TokenMessage, Blinding) {
        let message = TokenMessage::credit(&mut rand::rng());
        let blinding = self.keys[model].blind(&mut rand::rng(), &message).unwrap();
        let body = json!({
            "RequestID": uuid::Uuid::new_v4().to_string(),
            "BlindedToken": STANDARD.encode(blinding.blinded.as_bytes()),
            "ModelName": model,
        });
        (body, message, blinding)
    }

    /// A bought credit token and its signature, base64.
    pub async fn token(&self, model: &str) -> (String, String) {
        let (body, message, blinding) = self.issue_request(model);
        let answer = self.call("POST", &format!("/auth-token/{model}"), Some(body)).await;
        self.finalized(model, answer, &message, &blinding)
    }

    pub fn finalized(
        &self,
        key: &str,
        (status, answer): (u16, Value),
        message: &TokenMessage,
        blinding: &Blinding,
    ) -> (String, String) {
        assert_eq!(status, 200, "{answer}");
        let signed = STANDARD.decode(answer["data"]["SignedBlindedToken"].as_str().unwrap()).unwrap();
        let signed = BlindSignature::from_bytes(signed);
        let signature = self.keys[key].finalize(&signed, &blinding.secret, message).unwrap();
        (STANDARD.encode(message.expose()), STANDARD.encode(signature.expose()))
    }

    /// An abuse token and its signature; `kind` is `permanent` or `transient`.
    pub async fn abuse_token(&self, kind: &str, message: TokenMessage) -> (String, String) {
        let key = format!("abuse-{kind}");
        let blinding = self.keys[&key].blind(&mut rand::rng(), &message).unwrap();
        let body = json!({"BlindedToken": STANDARD.encode(blinding.blinded.as_bytes())});
        let answer = self.call("POST", &format!("/abuse-token/{kind}"), Some(body)).await;
        self.finalized(&key, answer, &message, &blinding)
    }

    pub async fn abuse_tokens(&self, epoch: Epoch) -> [(String, String); 2] {
        let permanent = TokenMessage::permanent_abuse(&mut rand::rng());
        let transient = TokenMessage::transient_abuse(&mut rand::rng(), epoch);
        [self.abuse_token("permanent", permanent).await, self.abuse_token("transient", transient).await]
    }

    /// A redemption that has everything.
    pub async fn paid(&self, name: &str) -> Value {
        let abuse = self.abuse_tokens(Epoch::at(NOW)).await;
        self.paid_with(name, &abuse).await
    }

    pub async fn paid_with(&self, name: &str, abuse: &[(String, String); 2]) -> Value {
        let (token, signature) = self.token(name).await;
        let [(permanent, permanent_sig), (transient, transient_sig)] = abuse;
        json!({
            "model": name,
            "messages": [{"role": "user", "content": "Hello"}],
            "extra_body": {"llmmask": {
                "Token": token, "SignedToken": signature, "ModelName": name,
                "PermanentAbuseToken": permanent, "PermanentAbuseTokenSig": permanent_sig,
                "TransientAbuseToken": transient, "TransientAbuseTokenSig": transient_sig,
            }},
        })
    }

    pub async fn redeem(&self, body: &Value) -> (u16, Value) {
        self.redeem_bytes(body.to_string().into_bytes()).await
    }

    pub async fn redeem_bytes(&self, body: Vec<u8>) -> (u16, Value) {
        let url = format!("{}/api/v1/llm-proxy", self.base);
        let response = self.client.post(url).body(body).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        assert!(!text.contains('<'), "no HTML: {text}");
        (status, serde_json::from_str(&text).unwrap())
    }

    /// What `/me` says is left and used of a model's credits.
    pub async fn credits(&self, name: &str) -> (i64, i64) {
        let (status, me) = self.call("GET", "/me", None).await;
        assert_eq!(status, 200);
        let info = &me["data"]["SubscriptionInfo"];
        let count = |kind: &str| info[kind][name].as_i64().unwrap_or_default();
        (count("ActiveAuthTokens"), count("UsedAuthTokens"))
    }
}

/// What the provider said, out of a redemption's answer.
pub fn said(answer: &Value) -> String {
    let encoded = answer["data"]["proxy_response"].as_str().unwrap();
    String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
}

pub fn decode(text: &Value) -> Vec<u8> {
    STANDARD.decode(text.as_str().unwrap()).unwrap()
}
