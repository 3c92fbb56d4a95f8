//! The reference backend, and homes of clients with tokens of it, all from the real binary by the commands that a user
//! would type.
#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::program::{self, Program};

/// The model that the account has credits for.
pub const MODEL: &str = "gpt-4.1-mini";
/// Above the longest time that a daemon gives a call in any test.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// A backend with one account, and room for clients.
pub struct House {
    room: tempfile::TempDir,
    level: String,
    address: SocketAddr,
    /// The reference backend.
    pub backend: Program,
    /// The account's session, as printed by the backend.
    pub session: String,
    /// What the one-shot commands said, standard output and error.
    pub said_by_commands: Vec<u8>,
}

/// `llmtor serve` on a client's home.
pub struct Daemon {
    /// The process.
    pub program: Program,
    /// The local endpoint's key.
    pub api_key: String,
    /// `http://127.0.0.1:PORT/v1`.
    pub base_url: String,
}

/// A status, headers and a body.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body as it came, chunk framing included.
    pub body: String,
}

impl House {
    /// A backend that runs, and an account with `credits`; all log at `level`.
    pub fn open(credits: usize, level: &str) -> Self {
        Self::open_before(None, credits, level)
    }

    /// The same before a provider that speaks OpenAI's API at `upstream`, or else before the built-in one.
    pub fn open_before(upstream: Option<&str>, credits: usize, level: &str) -> Self {
        let room = tempfile::tempdir().unwrap();
        let home = room.path().join("backend").to_str().unwrap().to_owned();
        let credits = format!("{MODEL}={credits}");
        let mut said = Vec::new();
        let mut run = |arguments: &[&str]| {
            let output = program::run(room.path(), arguments, "");
            said.extend_from_slice(&output.stderr);
            output.stdout
        };
        let settings = room.path().join("backend.toml");
        // One account mints everything at once here.
        let mut text = "[limits]\nper_session = 0\n".to_owned();
        let _ = match upstream {
            None => write!(text, "[models.\"{MODEL}\"]\nprovider = \"embedded\"\n"),
            // The roles and contents that every model takes, and no others.
            Some(url) => write!(
                text,
                "[models.\"{MODEL}\"]\nprovider = \"upstream\"\nroles = \"strict\"\n\
                 [providers.upstream]\nbase_url = \"{url}\"\n"
            ),
        };
        std::fs::write(&settings, text).unwrap();
        let settings = settings.to_str().unwrap();
        run(&["backend", "init", "--home", &home, "--config", settings, "--log", level]);
        let printed = run(&["backend", "account", "add", "alice", "--credits", &credits, "--home", &home]);
        let session = find_uuid(&String::from_utf8(printed).unwrap());
        let keys = run(&["backend", "keys", "export", "--home", &home]);
        std::fs::write(room.path().join("keys.json"), keys).unwrap();
        let mut backend = Program::start(
            room.path(),
            &["backend", "serve", "--home", &home, "--listen", "127.0.0.1:0", "--json", "--log", level],
        );
        let address = find_address(&backend.ready());
        Self { room, level: level.to_owned(), address, backend, session, said_by_commands: said }
    }

    /// Where the backend listens, for both planes.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that the processes may have written lies under here.
    pub fn room(&self) -> &Path {
        self.room.path()
    }

    /// A client's home.
    pub fn home(&self, name: &str) -> PathBuf {
        self.room().join(name)
    }

    /// Makes the client `name` with `tokens` usable tokens; its prompts go to `anonymous_url`.
    pub fn furnish(&mut self, name: &str, anonymous_url: &str, tokens: usize) {
        let identity_url = format!("http://{}", self.address);
        let init =
            ["init", "--backend", &identity_url, "--anonymous-url", anonymous_url, "--keys", "keys.json"];
        let (count, session) = (tokens.to_string(), self.session.clone());
        for (arguments, input) in [
            (&init[..], ""),
            (&["login", "--session-stdin"], &session),
            (&["abuse", "setup"], ""),
            (&["tokens", "mint", "--model", MODEL, "--count", &count, "--now"], ""),
        ] {
            let said = self.client(name, arguments, input);
            self.said_by_commands.extend(said);
        }
    }

    /// Runs a command on the home of `name`; its standard output, then its standard error.
    pub fn client(&self, name: &str, arguments: &[&str], input: &str) -> Vec<u8> {
        let output = program::run(self.room(), &self.arguments(name, arguments), input);
        [output.stdout, output.stderr].concat()
    }

    /// What a command with `--json` tells of the home of `name`.
    pub fn report(&self, name: &str, arguments: &[&str]) -> serde_json::Value {
        let output =
            program::run(self.room(), &[&self.arguments(name, arguments)[..], &["--json"]].concat(), "");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Serves the home of `name`, with more `arguments`.
    pub fn serve(&self, name: &str, arguments: &[&str]) -> Daemon {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--json"];
        let mut program =
            Program::start(self.room(), &self.arguments(name, &[&serve[..], arguments].concat()));
        let ready = program.ready();
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        let (api_key, base_url) = (text("api_key"), text("base_url"));
        Daemon { program, api_key, base_url }
    }

    /// `--home`, `--log` and `rest`.
    pub fn arguments<'a>(&'a self, name: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
        [&["--home", name, "--log", &self.level][..], rest].concat()
    }
}

impl Daemon {
    /// One request with the right key unless `headers` name another, on a connection of its own.
    pub fn post_chat(&self, headers: &[(&str, &str)], body: &str) -> Reply {
        self.request("POST /v1/chat/completions", headers, body)
    }

    /// One question with one message.
    pub fn ask(&self, question: &str) -> Reply {
        let messages = serde_json::json!([{ "role": "user", "content": question }]);
        self.post_chat(&[], &serde_json::json!({ "model": MODEL, "messages": messages }).to_string())
    }

    /// Any other path, with the right key unless `headers` name another.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.request(&format!("GET {path}"), headers, "")
    }

    /// `GET /v1/models`.
    pub fn models(&self) -> Reply {
        self.request("GET /v1/models", &[], "")
    }

    fn request(&self, what: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let authority = self.base_url.trim_start_matches("http://").trim_end_matches("/v1");
        let mut request = format!("{what} HTTP/1.1\r\nHost: {authority}\r\n");
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
        stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }
}

impl Reply {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The `message` of OpenAI's error object; empty if this is none.
    pub fn error_message(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// The `code` of OpenAI's error object; `None` if this is none.
    pub fn error_code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        Some(body["error"]["code"].as_str()?.to_owned())
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
