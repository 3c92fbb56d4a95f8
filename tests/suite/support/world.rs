//! A whole world on loopback: the reference backend, a recording relay before its anonymous plane, and a
//! daemon with tokens, all from the real binary by the commands that a user would type.
#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use super::program::{self, Program};
use super::relay::Relay;

/// The model that the account has credits for.
pub const MODEL: &str = "gpt-4.1-mini";

/// Two homes, two processes, one relay.
pub struct World {
    room: tempfile::TempDir,
    /// The reference backend.
    pub backend: Program,
    /// `llmtor serve`.
    pub daemon: Program,
    /// Between the daemon and the backend's anonymous plane.
    pub relay: Relay,
    /// The account's session, as printed by the backend.
    pub session: String,
    /// The local endpoint's key.
    pub api_key: String,
    /// `http://127.0.0.1:PORT/v1`.
    pub base_url: String,
    /// What the one-shot commands said, standard output and error.
    pub said_by_commands: Vec<u8>,
}

/// A status and a body.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body as it came, chunk framing included.
    pub body: String,
}

impl World {
    /// Brings everything up with `tokens` usable tokens, all logging at `level`.
    pub fn start(tokens: usize, level: &str) -> Self {
        let room = tempfile::tempdir().unwrap();
        let backend_home = room.path().join("backend").to_str().unwrap().to_owned();
        let home = room.path().join("client").to_str().unwrap().to_owned();
        let credits = format!("{MODEL}={tokens}");
        let mut said = Vec::new();
        let mut run = |arguments: &[&str], input: &str| {
            let output = program::run(room.path(), arguments, input);
            said.extend_from_slice(&output.stderr);
            output.stdout
        };

        run(&["backend", "init", "--home", &backend_home, "--log", level], "");
        let printed =
            run(&["backend", "account", "add", "alice", "--credits", &credits, "--home", &backend_home], "");
        let session = find_uuid(&String::from_utf8(printed).unwrap());
        let keys = run(&["backend", "keys", "export", "--home", &backend_home], "");
        let keys_file = room.path().join("keys.json");
        std::fs::write(&keys_file, keys).unwrap();

        let mut backend = Program::start(
            room.path(),
            &[
                "backend",
                "serve",
                "--home",
                &backend_home,
                "--listen",
                "127.0.0.1:0",
                "--json",
                "--log",
                level,
            ],
        );
        let backend_address = find_address(&backend.ready());
        let relay = Relay::start(backend_address);

        let identity_url = format!("http://{backend_address}");
        let anonymous_url = format!("http://{}", relay.address());
        let count = tokens.to_string();
        let client = |rest: &[&str], input: &str| -> Vec<u8> {
            let mut arguments = vec!["--home", &home, "--log", level];
            arguments.extend_from_slice(rest);
            let output = program::run(room.path(), &arguments, input);
            [output.stdout, output.stderr].concat()
        };
        let keys_path = keys_file.to_str().unwrap();
        let init =
            ["init", "--backend", &identity_url, "--anonymous-url", &anonymous_url, "--keys", keys_path];
        said.extend(client(&init, ""));
        said.extend(client(&["login", "--session-stdin"], &session));
        said.extend(client(&["abuse", "setup"], ""));
        said.extend(client(&["tokens", "mint", "--model", MODEL, "--count", &count, "--now"], ""));
        std::fs::remove_file(&keys_file).unwrap();

        let mut daemon = Program::start(
            room.path(),
            &["--home", &home, "serve", "--listen", "127.0.0.1:0", "--json", "--log", level],
        );
        let ready = daemon.ready();
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        let (api_key, base_url) = (text("api_key"), text("base_url"));
        Self { room, backend, daemon, relay, session, api_key, base_url, said_by_commands: said }
    }

    /// Everything that the processes may have written lies under here.
    pub fn room(&self) -> &Path {
        self.room.path()
    }

    /// The daemon's home.
    pub fn client_home(&self) -> PathBuf {
        self.room().join("client")
    }

    /// One request with the right key unless `headers` name another, on a connection of its own.
    pub fn post_chat(&self, headers: &[(&str, &str)], body: &str) -> Reply {
        let authority = self.base_url.trim_start_matches("http://").trim_end_matches("/v1");
        let mut request = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: {authority}\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            let _ = write!(request, "Authorization: Bearer {}\r\n", self.api_key);
        }
        for (name, value) in headers {
            let _ = write!(request, "{name}: {value}\r\n");
        }
        let _ = write!(
            request,
            "Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let address: SocketAddr = authority.parse().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, body: body.to_owned() }
    }
}

/// The first hyphenated UUID in `text`.
fn find_uuid(text: &str) -> String {
    text.split(|c: char| !c.is_ascii_hexdigit() && c != '-')
        .find(|word| uuid::Uuid::try_parse(word).is_ok() && word.len() == 36)
        .unwrap_or_else(|| panic!("no session was printed"))
        .to_owned()
}

/// The address in a ready line.
fn find_address(ready: &serde_json::Value) -> SocketAddr {
    ready
        .as_object()
        .unwrap()
        .values()
        .filter_map(|value| value.as_str())
        .find_map(|text| text.trim_start_matches("http://").trim_end_matches('/').parse().ok())
        .unwrap_or_else(|| panic!("no address in {ready}"))
}
