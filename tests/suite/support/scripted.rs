//! A backend that does what a script says, byte for byte, and remembers what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// One request as it came.
#[derive(Clone)]
pub struct Seen {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
    pub from: SocketAddr,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn token(&self) -> String {
        self.json()["extra_body"]["llmmask"]["Token"].as_str().unwrap().to_owned()
    }

    pub fn messages(&self) -> String {
        self.json()["messages"].to_string()
    }
}

/// What to do with one request.
#[derive(Clone)]
pub enum Act {
    /// A whole answer with a length.
    Answer { status: u16, headers: &'static str, body: Vec<u8> },
    /// These bytes, then the end of the stream.
    Raw(Vec<u8>),
    /// Nothing, for ever.
    Hang,
    /// These bytes, then nothing, for ever.
    Stall(Vec<u8>),
    /// A body without end.
    Endless,
    /// Wait for a permit, then do it.
    Gated(Arc<Semaphore>, Box<Act>),
}

impl Act {
    /// The backend's success around `data`.
    pub fn data(data: &Value) -> Self {
        Self::json(200, &json!({"status": "Ok.", "data": data}))
    }

    /// A provider's answer inside the backend's success.
    pub fn provider(body: &str) -> Self {
        Self::data(&json!({"is_blocked": false, "metadata": null, "proxy_response": STANDARD.encode(body)}))
    }

    /// A completion that says `text`.
    pub fn completion(text: &str) -> Self {
        Self::provider(&completion(text))
    }

    /// The backend's 500 with `error`.
    pub fn refusal(error: &str) -> Self {
        Self::json(500, &json!({"status": "Internal Server Error.", "error": error}))
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::Answer { status, headers: "content-type: application/json\r\n", body: body.to_string().into() }
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: "content-type: text/html\r\n", body: body.into() }
    }

    /// This, once `gate` has a permit.
    pub fn after(self, gate: &Arc<Semaphore>) -> Self {
        Self::Gated(Arc::clone(gate), Box::new(self))
    }
}

/// The JSON of a completion that says `text`.
pub fn completion(text: &str) -> String {
    json!({"id": "x", "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}]})
    .to_string()
}

type Script = Arc<Mutex<dyn FnMut(usize, &Seen) -> Act + Send>>;

/// The backend. Stops when dropped.
pub struct Scripted {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Scripted {
    /// `script` is given the number of the request, from 0, and the request.
    pub async fn start(script: impl FnMut(usize, &Seen) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log): (Script, _) = (Arc::new(Mutex::new(script)), Arc::clone(&seen));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                tokio::spawn(serve(stream, from, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { address, seen, accepting }
    }

    /// Does `acts` in order, and hangs after the last.
    pub async fn playing(acts: Vec<Act>) -> Self {
        let mut acts = acts.into_iter();
        Self::start(move |_, _| acts.next().unwrap_or(Act::Hang)).await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Until `count` requests have come.
    pub async fn wait_for(&self, count: usize) {
        let waiting = async {
            while self.seen.lock().unwrap().len() < count {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.expect("requests");
    }
}

async fn serve(mut stream: TcpStream, from: SocketAddr, script: Script, log: Arc<Mutex<Vec<Seen>>>) {
    let Some(seen) = read(&mut stream, from).await else { return };
    let act = {
        let mut log = log.lock().unwrap();
        log.push(seen.clone());
        let number = log.len() - 1;
        (script.lock().unwrap())(number, &seen)
    };
    perform(stream, act).await;
}

async fn perform(mut stream: TcpStream, mut act: Act) {
    while let Act::Gated(gate, inner) = act {
        gate.acquire().await.unwrap().forget();
        act = *inner;
    }
    match act {
        Act::Answer { status, headers, body } => {
            let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            let _ = stream.shutdown().await;
        }
        Act::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Act::Stall(bytes) => {
            let _ = stream.write_all(&bytes).await;
            std::future::pending::<()>().await;
        }
        Act::Endless => {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
            let mut result = stream.write_all(head).await;
            while result.is_ok() {
                result = stream.write_all(&chunk).await;
            }
        }
        Act::Hang => std::future::pending().await,
        Act::Gated(..) => unreachable!("unwrapped above"),
    }
}

async fn read(stream: &mut TcpStream, from: SocketAddr) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = bytes[..head_end].to_vec();
    let text = String::from_utf8(head.clone()).unwrap();
    let length: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|value| value.trim().parse().ok())
        .expect("a request with a length");
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen { head, body: bytes[head_end..].to_vec(), from })
}
