//! A client like the usual SDKs: one connection a request, and the same body again with a count of the retries.
#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::house::MODEL;

/// Longer than any act of the proxy and any pause of the daemon.
const PATIENCE: Duration = Duration::from_secs(120);

/// A status and a body, whole.
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

/// A question that names itself, so that its answer can be told from every other.
pub fn prompt(canary: &str) -> String {
    json!({ "model": MODEL, "messages": [{ "role": "user", "content": canary }] }).to_string()
}

/// What the provider answers to that question.
pub fn echo(canary: &str) -> String {
    format!("You said: {canary}")
}

/// One attempt. An error is a connection that broke, or was not there.
pub fn post(at: SocketAddr, key: &str, retry: u32, body: &str) -> io::Result<Reply> {
    post_within(PATIENCE, at, key, retry, body)
}

/// One attempt that this client gives up, by hanging up, when nothing came for so long.
pub fn post_within(
    patience: Duration,
    at: SocketAddr,
    key: &str,
    retry: u32,
    body: &str,
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(patience))?;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nx-stainless-retry-count: {retry}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8(answer).map_err(|_| io::ErrorKind::InvalidData)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    // Cut short, it is not JSON.
    let body = serde_json::from_str(body).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    Ok(Reply { status: status.ok_or(io::ErrorKind::InvalidData)?, body })
}

impl Reply {
    /// The texts of all choices, if this is an answer.
    pub fn texts(&self) -> Option<Vec<String>> {
        (self.status == 200).then(|| {
            let choices = self.body["choices"].as_array().unwrap().iter();
            choices.map(|choice| choice["message"]["content"].as_str().unwrap().to_owned()).collect()
        })
    }
}
