//! An endpoint on a free port, and a client that sends bytes and reads bytes.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use llmtor::anonymous::face::catalog::{Catalog, Listing};
use llmtor::anonymous::http::{Conduct, Endpoint, Faces, Limits, serve};
use llmtor::anonymous::redeem::{
    Answer, Asking, Attempt, Delivery, Ending, Prompt, Redeem, RedeemError, RedeemErrorKind, Redemption,
    TokenFate,
};
use llmtor::anonymous::transport::fetch::Fetch;
use llmtor::clock::{ManualClock, Timestamp};
use llmtor::origin::WebOrigin;
use llmtor::secret::Secret;
use llmtor::wire::ModelName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(super) const KEY: &str = "sk-llmtor-test-key";
pub(super) const NOW: i64 = 1_790_000_000;

type Script =
    Box<dyn Fn(Prompt) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, RedeemError>> + Send>> + Send + Sync>;

/// Redemption by script; remembers how each delivery ended.
pub(super) struct Scripted {
    script: Script,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    endings: Arc<Mutex<Vec<Ending>>>,
}

impl Scripted {
    pub(super) fn new<F>(script: impl Fn(Prompt) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<u8>, RedeemError>> + Send + 'static,
    {
        Self {
            script: Box::new(move |prompt| Box::pin(script(prompt))),
            attempts: Arc::default(),
            endings: Arc::default(),
        }
    }

    /// Always the same answer.
    pub(super) fn answering(body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self::new(move |_| std::future::ready(Ok(body.clone())))
    }

    /// Echoes the messages as they would be sent.
    pub(super) fn echo() -> Self {
        Self::new(|prompt| async move { Ok(completion(prompt.messages.get())) })
    }

    pub(super) fn failing(kind: RedeemErrorKind, token: TokenFate) -> Self {
        Self::new(move |_| std::future::ready(Err(RedeemError::new(kind.clone(), token))))
    }

    /// What every call that came was said to be.
    pub(super) fn attempts(&self) -> Arc<Mutex<Vec<Attempt>>> {
        Arc::clone(&self.attempts)
    }

    /// For calls that must not get this far.
    pub(super) fn untouched() -> Self {
        Self::new(|_| async { panic!("redemption was reached") })
    }
}

impl Redeem for Scripted {
    fn redeem(&self, prompt: Prompt, asking: Asking) -> Redemption<'_> {
        self.attempts.lock().unwrap().push(asking.attempt());
        let answering = (self.script)(prompt);
        let endings = Arc::clone(&self.endings);
        Box::pin(async move {
            let answer = Answer { body: answering.await? };
            Ok(Delivery::new(answer, move |_, ending| endings.lock().unwrap().push(ending)))
        })
    }
}

/// A provider's answer that says `text`.
pub(super) fn completion(text: &str) -> Vec<u8> {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 9, "model": "upstream-name",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    })
    .to_string()
    .into_bytes()
}

/// An endpoint that is being served.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) other_address: SocketAddr,
    pub(super) shutdown: CancellationToken,
    pub(super) serving: JoinHandle<()>,
    pub(super) catalog: Catalog,
    endings: Arc<Mutex<Vec<Ending>>>,
}

/// What tests turn.
pub(super) struct Settings {
    pub(super) heartbeat: Duration,
    pub(super) limits: Limits,
    pub(super) allowed_origins: Vec<WebOrigin>,
    pub(super) faces: Faces,
    pub(super) grace: Duration,
    pub(super) conduct: Conduct,
    pub(super) pictures: Option<Box<dyn Fetch>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(60),
            limits: Limits { body_bytes: 100_000, ..Limits::default() },
            allowed_origins: Vec::new(),
            faces: Faces::ALL,
            grace: Duration::from_secs(30),
            conduct: Conduct::default(),
            pictures: None,
        }
    }
}

pub(super) async fn start(redeemer: Scripted) -> Server {
    start_with(redeemer, Settings::default()).await
}

pub(super) async fn start_with(redeemer: Scripted, settings: Settings) -> Server {
    let endings = Arc::clone(&redeemer.endings);
    Server { endings, ..serve_with(Box::new(redeemer), settings).await }
}

/// With another redemption, which keeps its own books.
pub(super) async fn serve_with(redeemer: Box<dyn Redeem>, settings: Settings) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let catalog = Catalog::new(["gpt-4.1", "org/model:free"].map(|name| Listing {
        name: ModelName::new(name).unwrap(),
        created: Timestamp::from_unix(5),
        context_length: None,
    }));
    // The other address of `localhost`, where this machine has it.
    let other = match TcpListener::bind("[::1]:0").await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind("127.0.0.1:0").await.unwrap(),
    };
    let other_address = other.local_addr().unwrap();
    let endpoint = Endpoint {
        redeemer,
        catalog: catalog.clone(),
        api_key: Secret::new(KEY.to_owned()),
        allowed_origins: settings.allowed_origins,
        faces: settings.faces,
        limits: settings.limits,
        heartbeat: settings.heartbeat,
        clock: ManualClock::shared(Timestamp::from_unix(NOW)),
        conduct: settings.conduct,
        pictures: settings.pictures,
        meter: None,
    };
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(vec![listener, other], endpoint, shutdown.clone(), settings.grace));
    Server { address, other_address, shutdown, serving, catalog, endings: Arc::default() }
}

impl Server {
    pub(super) async fn connect(&self) -> TcpStream {
        connect(self.address).await
    }

    /// Sends one request on a connection of its own and reads the response to the end.
    pub(super) async fn send(&self, request: impl AsRef<[u8]>) -> Response {
        let mut stream = self.connect().await;
        // A refused body may close the connection while it is still being written.
        let _ = stream.write_all(request.as_ref()).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        Response::parse(&bytes)
    }

    /// A proper call with this body.
    pub(super) async fn chat(&self, body: impl AsRef<[u8]>) -> Response {
        self.send(post(body)).await
    }

    /// How deliveries ended so far, waiting until there are `count`.
    pub(super) async fn endings(&self, count: usize) -> Vec<Ending> {
        for _ in 0..1_000 {
            let endings = self.endings.lock().unwrap().clone();
            if endings.len() >= count {
                return endings;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("fewer than {count} deliveries ended");
    }

    pub(super) fn endings_now(&self) -> Vec<Ending> {
        self.endings.lock().unwrap().clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "a client of the endpoint under test, on loopback")]
pub(super) async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// A proper `POST /v1/chat/completions` that closes its connection.
pub(super) fn post(body: impl AsRef<[u8]>) -> Vec<u8> {
    request("POST /v1/chat/completions", &[], body)
}

/// A request with the headers that every proper one has; `headers` replace or (with an empty value) remove them.
pub(super) fn request(line: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let authorization = format!("Bearer {KEY}");
    let length = body.len().to_string();
    let mut all = vec![
        ("host", "127.0.0.1"),
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("content-length", length.as_str()),
        ("connection", "close"),
    ];
    all.retain(|(name, _)| headers.iter().all(|(replaced, _)| !replaced.eq_ignore_ascii_case(name)));
    all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
    let mut request = format!("{line} HTTP/1.1\r\n");
    for (name, value) in all {
        request.extend([name, ": ", value, "\r\n"]);
    }
    request.push_str("\r\n");
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}

/// `{"model","messages"}` with `rest` behind.
pub(super) fn hello(rest: &str) -> String {
    format!(r#"{{"model":"gpt-4.1","messages":[{{"role":"user","content":"hi"}}]{rest}}}"#)
}

/// A response, taken apart.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// Without its chunked framing.
    pub(super) body: Vec<u8>,
    /// Whether the framing was complete.
    pub(super) complete: bool,
}

impl Response {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let end = find(bytes, b"\r\n\r\n").unwrap_or_else(|| panic!("no head in {} bytes", bytes.len()));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Self { status, headers, body: Vec::new(), complete: false };
        let rest = &bytes[end + 4..];
        if response.header("transfer-encoding") == Some("chunked") {
            (response.body, response.complete) = unchunk(rest);
        } else {
            let length: usize = response.header("content-length").map_or(0, |length| length.parse().unwrap());
            response.complete = rest.len() == length;
            response.body = rest.to_vec();
        }
        response
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Checks the status and that the body is OpenAI's error object with exactly its four keys; returns
    /// `(message, type, param, code)`.
    pub(super) fn error(&self, status: u16) -> (String, String, Value, Value) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.header("x-should-retry").is_some());
        assert!(self.header("x-request-id").is_some_and(|id| id.starts_with("req_") && id.len() == 36));
        assert!(self.complete);
        error_fields(&self.json())
    }
}

/// `(message, type, param, code)` of an error object with exactly those keys.
pub(super) fn error_fields(body: &Value) -> (String, String, Value, Value) {
    assert_eq!(body.as_object().unwrap().len(), 1);
    let error = body["error"].as_object().unwrap();
    assert_eq!(error.keys().collect::<Vec<_>>(), ["message", "type", "param", "code"]);
    let text = |key: &str| error[key].as_str().unwrap().to_owned();
    (text("message"), text("type"), error["param"].clone(), error["code"].clone())
}

pub(super) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = find(bytes, b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        let data = &bytes[end + 2..];
        if size == 0 {
            return (body, data == b"\r\n");
        }
        if data.len() < size + 2 {
            body.extend_from_slice(&data[..data.len().min(size)]);
            return (body, false);
        }
        body.extend_from_slice(&data[..size]);
        bytes = &data[size + 2..];
    }
    (body, false)
}
