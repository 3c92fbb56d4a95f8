//! A fixed-answer backend: protocol.md's answers without its work, and the same answer in OpenAI's shape.
//!
//! It blind-signs for real, so that a vault can be filled, and checks nothing at redemption: what is measured
//! is the daemon. `POST /v1/chat/completions` on the same port is what the peers are given as their upstream.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blind_rsa_signatures::{DefaultRng, KeyPairSha384PSSDeterministic};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::client::find;

/// The only model.
pub const MODEL: &str = "gpt-4.1-mini";

const COMPLETION: &str = r#"{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1760000000,"model":"gpt-4.1-mini","choices":[{"index":0,"message":{"role":"assistant","content":"The capital of France is Paris. About two million people live in the city itself and some twelve million in its region, which makes it one of the largest in Europe.","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":31,"completion_tokens":38,"total_tokens":69}}"#;

/// A fresh RSA-2048 pair.
pub fn key_pair() -> KeyPairSha384PSSDeterministic {
    KeyPairSha384PSSDeterministic::generate(&mut DefaultRng, 2048).unwrap()
}

/// Its public half as SPKI PEM.
pub fn spki_pem(pair: &KeyPairSha384PSSDeterministic) -> String {
    pair.pk.to_pem().unwrap()
}

/// In a prompt: the answer begins with the nanoseconds since the epoch at which it was made.
pub const CLOCK: &str = "what time is it";
/// In a prompt: the answer has a megabyte.
pub const MEGABYTE: &str = "at length";

struct Answers {
    signers: BTreeMap<String, KeyPairSha384PSSDeterministic>,
    completion: Vec<u8>,
    redemption: Vec<u8>,
    models: Vec<u8>,
    me: Vec<u8>,
}

/// Prints `{"url":…,"keys":{name: PEM}}` and serves until it is killed.
pub async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let names = [MODEL, "abuse-permanent", "abuse-transient"];
    let signers: BTreeMap<String, _> = names.iter().map(|name| ((*name).to_owned(), key_pair())).collect();
    let keys: BTreeMap<&String, String> = signers.iter().map(|(name, pair)| (name, spki_pem(pair))).collect();
    let url = format!("http://{}", listener.local_addr().unwrap());
    println!("{}", serde_json::json!({"url": url, "keys": keys}));

    let data = serde_json::json!({"is_blocked": false, "blocked_reason": "", "size_limit_exceeded": false,
        "size_limit_reason": "", "abuse_token_invalid": false, "abuse_token_expired": false,
        "abuse_token_blacklisted": false, "metadata": "", "proxy_response": STANDARD.encode(COMPLETION)});
    let models = serde_json::json!({"object": "list", "data": [{"id": MODEL, "object": "model"}]});
    let me = serde_json::json!({"id": "1", "Email": "", "Name": "", "SubscriptionInfo":
        {"ActiveAuthTokens": {MODEL: 1_000_000}, "UsedAuthTokens": null, "PaymentLogs": null}});
    let answers = Arc::new(Answers {
        signers,
        completion: ok(COMPLETION),
        redemption: envelope(&data),
        models: ok(&models.to_string()),
        me: envelope(&me),
    });
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                // A client that hangs up is no news.
                let _ = converse(stream, &answers).await;
            });
        }
    }
}

fn ok(body: &str) -> Vec<u8> {
    respond("200 OK", body)
}

fn respond(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn envelope(data: &serde_json::Value) -> Vec<u8> {
    ok(&serde_json::json!({"status": "Ok.", "data": data}).to_string())
}

async fn converse(mut stream: TcpStream, answers: &Arc<Answers>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        let head_end = loop {
            if let Some(end) = find(&buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..head_end]).to_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |length| length.trim().parse().unwrap());
        while buffer.len() < head_end + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let last = head.contains("connection: close");
        let body = buffer[head_end..head_end + length].to_vec();
        buffer.drain(..head_end + length);
        match path.as_str() {
            "/api/v1/llm-proxy" if find(&body, CLOCK.as_bytes()).is_some() => {
                let megabyte = find(&body, MEGABYTE.as_bytes()).is_some();
                stream.write_all(&timed(megabyte)).await?;
            }
            "/api/v1/llm-proxy" => stream.write_all(&answers.redemption).await?,
            "/v1/chat/completions" => stream.write_all(&answers.completion).await?,
            "/v1/models" => stream.write_all(&answers.models).await?,
            "/api/v1/me" => stream.write_all(&answers.me).await?,
            _ => {
                let answers = Arc::clone(answers);
                let signed = tokio::task::spawn_blocking(move || sign(&path, &body, &answers)).await?;
                stream.write_all(&signed).await?;
            }
        }
        if last {
            return stream.shutdown().await;
        }
    }
}

/// An answer that says when it was made.
fn timed(megabyte: bool) -> Vec<u8> {
    let rest = if megabyte { "word ".repeat(200_000) } else { String::new() };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let completion = serde_json::json!({"id": "chatcmpl-0123456789abcdef", "object": "chat.completion",
        "created": now / 1_000_000_000, "model": MODEL, "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": format!("{now} {rest}")}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}});
    let response = STANDARD.encode(completion.to_string());
    envelope(&serde_json::json!({"is_blocked": false, "metadata": "", "proxy_response": response}))
}

/// `/api/v1/auth-token/{model}` and `/api/v1/abuse-token/{permanent,transient}`.
fn sign(path: &str, body: &[u8], answers: &Answers) -> Vec<u8> {
    let name = match path.rsplit('/').next().unwrap_or_default() {
        "permanent" => "abuse-permanent",
        "transient" => "abuse-transient",
        model => model,
    };
    let signed = answers.signers.get(name).and_then(|signer| {
        let request: serde_json::Value = serde_json::from_slice(body).ok()?;
        let blinded = STANDARD.decode(request["BlindedToken"].as_str()?).ok()?;
        signer.sk.blind_sign(&blinded).ok()
    });
    match signed {
        Some(signature) => envelope(
            &serde_json::json!({"ModelName": MODEL, "SignedBlindedToken": STANDARD.encode(&signature.0)}),
        ),
        None => respond("404 Not Found", r#"{"status":"Resource not found."}"#),
    }
}
