//! Shared by the tests of the command line: running to an end, talking to an endpoint, a backend beside it.
#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use serde_json::Value;

use crate::support::program::{self, Program};

/// A command's end.
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Ended {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim()).unwrap_or_else(|_| panic!("no JSON: {}", self.all()))
    }

    pub(super) fn all(&self) -> String {
        format!("exit {:?}\n{}{}", self.code, self.stdout, self.stderr)
    }

    /// Asserts the exit code and that each of `words` is said on standard error.
    #[track_caller]
    pub(super) fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.all());
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in: {}", self.all());
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.all());
    }
}

impl Ended {
    /// Asserts that it failed, with `--json`, in a way of this kind.
    #[track_caller]
    pub(super) fn refused_json(&self, kind: &str) {
        let told = self.json();
        assert_eq!((&told["event"], &told["kind"]), (&"error".into(), &kind.into()), "{}", self.all());
        assert_ne!(self.code, Some(0), "{}", self.all());
    }
}

/// Runs to the end, whatever the end is.
pub(super) fn llmtor(room: &Path, environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Ended {
    let mut command = program::command(room);
    let output = program::finish(command.envs(environment.iter().copied()).args(arguments), input);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs to a good end.
#[track_caller]
pub(super) fn succeed(room: &Path, arguments: &[&str], input: &str) -> Ended {
    let ended = llmtor(room, &[], arguments, input);
    assert_eq!(ended.code, Some(0), "llmtor {arguments:?}: {}", ended.all());
    ended
}

/// A status and a body.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

/// `POST /v1/chat/completions`.
pub(super) fn chat(base_url: &str, api_key: &str, body: &str) -> Reply {
    let authority = base_url.trim_start_matches("http://").trim_end_matches("/v1");
    let mut stream = TcpStream::connect(authority).unwrap();
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {api_key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("cut short: {answer}"));
    Reply { status: head.split(' ').nth(1).unwrap().parse().unwrap(), body: body.to_owned() }
}

pub(super) const MODEL: &str = "gpt-4.1-mini";

pub(super) fn hello(stream: bool) -> String {
    serde_json::json!({
        "model": MODEL, "stream": stream, "messages": [{ "role": "user", "content": "good morning" }],
    })
    .to_string()
}

/// A running reference backend, with its keys in `keys.json` and an account's session.
pub(super) struct Backend {
    pub(super) room: tempfile::TempDir,
    pub(super) program: Program,
    pub(super) url: String,
    pub(super) session: String,
}

impl Backend {
    /// By the commands that a host would type; the account has `credits` for [`MODEL`].
    pub(super) fn start(credits: u32) -> Self {
        let room = tempfile::tempdir().unwrap();
        let mut program = Program::start(
            room.path(),
            &["backend", "serve", "--home", "backend", "--listen", "127.0.0.1:0", "--json"],
        );
        let url = program.ready()["base_url"].as_str().unwrap().to_owned();
        // While it runs: the store is shared.
        let credits = format!("{MODEL}={credits}");
        let added = succeed(
            room.path(),
            &["backend", "account", "add", "alice", "--credits", &credits, "--home", "backend"],
            "",
        );
        let keys = succeed(room.path(), &["--home", "backend", "backend", "keys", "export"], "");
        std::fs::write(room.path().join("keys.json"), keys.stdout).unwrap();
        Self { session: added.stdout.trim().to_owned(), room, program, url }
    }

    pub(super) fn room(&self) -> &Path {
        self.room.path()
    }

    /// Configures the home `client`; `anonymous` takes the place of the backend's own URL.
    pub(super) fn init(&self, anonymous: Option<&str>) {
        let mut arguments = vec!["init", "--home", "client", "--backend", &self.url, "--keys", "keys.json"];
        if let Some(url) = anonymous {
            arguments.extend(["--anonymous-url", url]);
        }
        succeed(self.room(), &arguments, "");
    }

    /// Session, abuse tokens and `count` usable tokens for the home `client`.
    pub(super) fn stock_up(&self, count: u32) {
        succeed(self.room(), &["login", "--session-stdin", "--home", "client"], &self.session);
        succeed(self.room(), &["abuse", "setup", "--home", "client"], "");
        let count = count.to_string();
        succeed(
            self.room(),
            &["tokens", "mint", "--model", MODEL, "--count", &count, "--now", "--home", "client"],
            "",
        );
    }

    /// `llmtor serve` on the home `client`.
    pub(super) fn serve(&self) -> Daemon {
        let mut program = Program::start(
            self.room(),
            &["serve", "--home", "client", "--listen", "127.0.0.1:0", "--transport", "loopback", "--json"],
        );
        let ready = program.ready();
        assert_eq!(ready["event"], "ready");
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        Daemon { base_url: text("base_url"), api_key: text("api_key"), program }
    }

    /// The counts of [`MODEL`] in the home `client`.
    pub(super) fn stock(&self) -> Value {
        succeed(self.room(), &["--json", "tokens", "--home", "client"], "").json()["models"][MODEL].clone()
    }
}

/// A running `llmtor serve`.
pub(super) struct Daemon {
    pub(super) program: Program,
    pub(super) base_url: String,
    pub(super) api_key: String,
}

/// A relay that holds back everything until it is let go.
pub(super) struct Gate {
    pub(super) url: String,
    /// Told when a request has arrived.
    pub(super) arrived: mpsc::Receiver<()>,
    /// Dropped or sent to, lets one connection through.
    pub(super) open: mpsc::Sender<()>,
}

impl Gate {
    /// In front of `backend` (`http://…`).
    pub(super) fn before(backend: &str) -> Self {
        let backend: SocketAddr = backend.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (arrive, arrived) = mpsc::channel();
        let (open, opened) = mpsc::channel::<()>();
        thread::spawn(move || {
            for inbound in listener.incoming().map_while(Result::ok) {
                // Only a connection that carries something is a request.
                let mut first = [0; 1];
                if inbound.peek(&mut first).unwrap_or(0) == 0 {
                    continue;
                }
                let _ = arrive.send(());
                let _ = opened.recv();
                let outbound = TcpStream::connect(backend).unwrap();
                let (mut from, mut to) = (inbound.try_clone().unwrap(), outbound.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut from, &mut to));
                let (mut from, mut to) = (outbound, inbound);
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        Self { url, arrived, open }
    }
}
