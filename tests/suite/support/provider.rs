//! A provider behind the reference backend: an HTTP server in this process that answers as a script says and remembers
//! what it was shown.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// One request as it came.
#[derive(Clone)]
pub struct Shown {
    /// Path and query.
    pub target: String,
    /// Every header, a line each.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What the provider does with a request.
pub enum Said {
    /// A completion with this text.
    Text(String),
    /// OpenAI's error object.
    Error {
        /// Its `type`.
        kind: &'static str,
        /// Its `code`.
        code: &'static str,
    },
    /// The same, so much later.
    Late(Duration, Box<Said>),
}

type Model = Arc<dyn Fn(&Shown) -> Said + Send + Sync>;

/// A running provider; ends when dropped.
pub struct Provider {
    address: SocketAddr,
    shown: Arc<Mutex<Vec<Shown>>>,
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct Desk {
    model: Model,
    shown: Arc<Mutex<Vec<Shown>>>,
}

impl Provider {
    /// Listens on a free port of 127.0.0.1 and says what `model` says.
    pub fn start(model: impl Fn(&Shown) -> Said + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("provider")
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shown = Arc::default();
        let desk = Desk { model: Arc::new(model), shown: Arc::clone(&shown) };
        let router = Router::new().fallback(answer).with_state(desk);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, shown, runtime: Some(runtime) }
    }

    /// What the reference backend's `base_url` is.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Every request so far.
    pub fn shown(&self) -> Vec<Shown> {
        self.shown.lock().unwrap().clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shown {
    /// The body.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Role and text of each message, parts joined.
    pub fn messages(&self) -> Vec<(String, String)> {
        let body = self.json();
        let messages = body["messages"].as_array().unwrap().iter();
        messages
            .map(|message| (message["role"].as_str().unwrap().to_owned(), text(&message["content"])))
            .collect()
    }

    /// Panics unless this is what leaves for every client: a model and messages of roles and parts that every model
    /// takes, and nothing that a client said of itself.
    pub fn assert_bare(&self) {
        let body = self.json();
        assert_eq!(self.target, "/v1/chat/completions");
        let mut keys: Vec<_> = body.as_object().unwrap().keys().collect();
        keys.sort_unstable();
        assert_eq!(keys, ["messages", "model"]);
        for message in body["messages"].as_array().unwrap() {
            let mut keys: Vec<_> = message.as_object().unwrap().keys().collect();
            keys.sort_unstable();
            assert_eq!(keys, ["content", "role"]);
            assert!(["system", "user", "assistant"].contains(&message["role"].as_str().unwrap()));
            for part in message["content"].as_array().into_iter().flatten() {
                assert!(["text", "image_url"].contains(&part["type"].as_str().unwrap()));
            }
        }
        for line in self.head.lines() {
            let name = line.split(':').next().unwrap();
            let usual = ["host", "accept", "content-type", "content-length", "user-agent", "accept-encoding"];
            assert!(usual.contains(&name), "a header came through: {name}");
        }
    }
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

async fn answer(State(desk): State<Desk>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let lines =
        headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    let head = lines.collect::<Vec<_>>().join("\n");
    let shown = Shown { target: uri.to_string(), head, body: body.to_vec() };
    desk.shown.lock().unwrap().push(shown.clone());
    let mut said = (desk.model)(&shown);
    while let Said::Late(pause, then) = said {
        tokio::time::sleep(pause).await;
        said = *then;
    }
    match said {
        Said::Text(text) => {
            let completion = json!({
                "id": "chatcmpl-upstream", "object": "chat.completion", "created": 1_700_000_000, "model": "upstream",
                "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            });
            reply(StatusCode::OK, &completion)
        }
        Said::Error { kind, code } => {
            let error =
                json!({"message": format!("Scripted: {code}."), "type": kind, "param": null, "code": code});
            reply(StatusCode::BAD_REQUEST, &json!({"error": error}))
        }
        Said::Late(..) => unreachable!("waited for above"),
    }
}

fn reply(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

mod tests {
    use super::*;

    fn shown(body: &Value) -> Shown {
        Shown { target: "/v1/chat/completions".into(), head: "host: h".into(), body: body.to_string().into() }
    }

    #[test]
    fn a_model_and_messages_are_bare() {
        shown(&json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]})).assert_bare();
    }

    #[test]
    fn a_field_a_role_a_part_or_a_header_more_is_noticed() {
        let message = json!({"role": "user", "content": "x"});
        let tool = json!({"role": "tool", "content": "x"});
        let named = json!({"role": "user", "content": "x", "name": "n"});
        let file = json!({"role": "user", "content": [{"type": "file"}]});
        let mut more = vec![shown(&json!({"model": "m", "messages": [message], "user": "u"}))];
        more.extend([tool, named, file].map(|message| shown(&json!({"model": "m", "messages": [message]}))));
        more.push(Shown {
            head: "originator: x".into(),
            ..shown(&json!({"model": "m", "messages": [message]}))
        });
        for shown in more {
            assert!(std::panic::catch_unwind(|| shown.assert_bare()).is_err());
        }
    }
}
