//! A keep-alive HTTP/1.1 client that does as little as possible, so that what is measured is not itself.

use std::time::SystemTime;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Where and how to post a chat completion.
#[derive(Clone)]
pub struct Target {
    authority: String,
    head: String,
}

impl Target {
    /// `base_url` ends in `/v1`; `headers` are `name:value`.
    pub fn new(base_url: &str, headers: &[&str]) -> Self {
        let rest = base_url.trim_start_matches("http://");
        let (authority, path) = rest.split_once('/').unwrap();
        let extra: Vec<String> = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = format!(
            "POST /{path}/chat/completions HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n{}",
            extra.concat()
        );
        Self { authority: authority.to_owned(), head }
    }

    /// The `number`-th question: all of one length, no two alike.
    fn request(&self, number: usize) -> Vec<u8> {
        let body = format!(
            r#"{{"model":"gpt-4.1-mini","messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":"Question {number:08}: what is the capital of France, and how large is it?"}}]}}"#
        );
        self.with(&body)
    }

    /// A request with this body.
    pub fn with(&self, body: &str) -> Vec<u8> {
        format!("{}content-length: {}\r\n\r\n{body}", self.head, body.len()).into_bytes()
    }
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Dials the target.
    #[expect(clippy::disallowed_methods, reason = "a load generator on loopback")]
    pub async fn open(target: &Target) -> std::io::Result<Self> {
        let stream = TcpStream::connect(&target.authority).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends one question and reads the answer to its end.
    pub async fn call(&mut self, target: &Target, number: usize) -> Result<(), String> {
        self.exchange(&target.request(number), |_| true).await.map(drop)
    }

    /// What came back last, as it came.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// Sends `request` and reads the answer to its end; when what had come first had `enough`.
    pub async fn exchange(
        &mut self,
        request: &[u8],
        enough: impl Fn(&[u8]) -> bool,
    ) -> Result<SystemTime, String> {
        let failed = |error: std::io::Error| error.to_string();
        self.stream.write_all(request).await.map_err(failed)?;
        self.buffer.clear();
        let mut arrived = None;
        let mut look = |buffer: &[u8]| {
            if arrived.is_none() && enough(buffer) {
                arrived = Some(SystemTime::now());
            }
        };
        let (head_end, framing) = loop {
            self.read_more().await?;
            look(&self.buffer);
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).to_lowercase();
                break (end + 4, Framing::of(&head)?);
            }
        };
        match framing {
            Framing::Length(length) => {
                while self.buffer.len() < head_end + length {
                    self.read_more().await?;
                    look(&self.buffer);
                }
            }
            Framing::Chunked => {
                while !self.buffer.ends_with(b"0\r\n\r\n") {
                    self.read_more().await?;
                    look(&self.buffer);
                }
            }
        }
        if self.buffer.starts_with(b"HTTP/1.1 200 ") {
            Ok(arrived.unwrap_or_else(SystemTime::now))
        } else {
            Err(String::from_utf8_lossy(&self.buffer).into_owned())
        }
    }

    async fn read_more(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the connection ended early".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

impl Framing {
    fn of(head: &str) -> Result<Self, String> {
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if let Some(length) = value("content-length:") {
            length.parse().map(Self::Length).map_err(|_| "bad content-length".into())
        } else if value("transfer-encoding:") == Some("chunked") {
            Ok(Self::Chunked)
        } else {
            Err(format!("no length in: {head}"))
        }
    }
}

/// Where `needle` starts in `haystack`.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
