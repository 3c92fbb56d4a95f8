//! A whole world behind Tor: the reference backend, a TLS front before it that only exits reach by its name, and
//! homes of clients whose settings name the private network.
//!
//! The identity plane goes to the backend directly, over loopback.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use super::front::Front;
use super::house::{Daemon, House, MODEL};
use super::program::{self, Program};
use super::tornet::{self, TorNetwork};

/// The only client that most tests have.
pub const CLIENT: &str = "client";

/// How long calls that nobody waits for may hold their tokens.
const QUIET_WITHIN: Duration = Duration::from_secs(40);

/// One backend, one front.
pub struct TorWorld {
    house: House,
    /// Before the backend's anonymous plane.
    pub front: Front,
    name: String,
    tokens: u64,
    settings: Vec<String>,
}

impl TorWorld {
    /// A client with `tokens` usable tokens for a backend that stands behind `network`. No daemon runs yet.
    pub fn new(network: &TorNetwork, tokens: usize) -> Self {
        Self::logging(network, tokens, "warn")
    }

    /// The same, where every process logs at `level`.
    pub fn logging(network: &TorNetwork, tokens: usize, level: &str) -> Self {
        let mut house = House::open(tokens, level);
        // Exits remember names; another world has another.
        let name = format!("backend-{}.test", uuid::Uuid::new_v4().simple());
        let front = Front::start(&network.doors(), &name, house.address());
        network.resolver().tell(&name);
        let file = |name: &str, text: &str| {
            let path = house.room().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let settings = vec![
            format!("tor.arti_config={}", file("arti.toml", &network.arti_toml())),
            format!("tls.extra_roots={}", file("roots.pem", front.authority())),
            "anonymous.connect_seconds=15".to_owned(),
        ];
        let url = format!("https://{name}:{}", front.port());
        house.furnish(CLIENT, &url, tokens);
        Self { house, front, name, tokens: u64::try_from(tokens).unwrap(), settings }
    }

    /// What the exits are asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The anonymous plane's base URL.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.name, self.front.port())
    }

    /// Writes a file beside the homes; its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.room().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// `SECTION.KEY=VALUE` for every daemon from now on.
    pub fn set(&mut self, setting: impl Into<String>) {
        self.settings.push(setting.into());
    }

    /// A daemon, with more `arguments`.
    pub fn serve(&self, arguments: &[&str]) -> Daemon {
        let settings = self.settings.iter().flat_map(|setting| ["--set", setting]);
        self.house.serve(CLIENT, &settings.chain(arguments.iter().copied()).collect::<Vec<_>>())
    }

    /// A daemon on a socket that stays with the caller, who knows its key; not waited for.
    pub fn activate(&self, socket: &TcpListener, api_key: &str) -> Daemon {
        let address = socket.local_addr().unwrap().to_string();
        let settings = self.settings.iter().flat_map(|setting| ["--set", setting]);
        let rest: Vec<_> = ["serve", "--listen", &address, "--json"].into_iter().chain(settings).collect();
        let mut command = Command::new("sh");
        let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
        command.args(["-c", script, program::SHIPPED]).args(self.house.arguments(CLIENT, &rest));
        program::confine(&mut command, self.room());
        let program = Program::spawn_with_input(command, OwnedFd::from(socket.try_clone().unwrap()).into());
        Daemon { program, api_key: api_key.to_owned(), base_url: format!("http://{address}/v1") }
    }

    /// What a command with `--json` tells of the client.
    pub fn report(&self, arguments: &[&str]) -> serde_json::Value {
        self.house.report(CLIENT, arguments)
    }

    /// Waits until no call has a token in its hands, and counts.
    pub fn books(&self) -> Books {
        let mut stock = serde_json::Value::Null;
        let quiet = tornet::poll(QUIET_WITHIN, || {
            stock = self.report(&["tokens"])["models"][MODEL].take();
            stock["presented"] == 0 && stock["reserved"] == 0
        });
        assert!(quiet, "a call never let go of its token: {stock}");
        let count = |name: &str| stock[name].as_u64().unwrap();
        let (available, in_doubt, spent) = (count("available"), count("in_doubt"), count("spent"));
        let others = ["blinded", "maturing", "other_key", "refused"].map(count);
        assert_eq!(others, [0; 4], "{stock}");
        let store = rusqlite::Connection::open(self.home("backend").join("spent.db")).unwrap();
        let at_backend: i64 = store.query_row("SELECT count(*) FROM spent", [], |row| row.get(0)).unwrap();
        let at_backend = u64::try_from(at_backend).unwrap();
        Books { minted: self.tokens, available, in_doubt, spent, at_backend }
    }

    /// Whatever was sent again was the same: one token never paid for two requests. How many tokens the front saw.
    pub fn distinct_payments(&self) -> usize {
        let mut seen = BTreeMap::new();
        for call in self.front.calls() {
            // A request that was cut off proves nothing.
            let Some(request) = Request::read(&call.request) else { continue };
            let body = seen.entry(request.token).or_insert_with(|| request.body.clone());
            assert_eq!(*body, request.body, "one token, two requests");
        }
        seen.len()
    }
}

/// Where the tokens are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Books {
    /// How many there were.
    pub minted: u64,
    /// Usable.
    pub available: u64,
    /// Perhaps spent.
    pub in_doubt: u64,
    /// Spent, by the client's account.
    pub spent: u64,
    /// Spent, by the backend's.
    pub at_backend: u64,
}

impl Books {
    /// Panics unless no token is lost, and the backend took none but for an answer or a doubt.
    pub fn assert_balanced(&self, answers: usize) {
        assert_eq!(self.available + self.in_doubt + self.spent, self.minted, "{self:?}");
        let answers = u64::try_from(answers).unwrap();
        assert!(self.at_backend <= answers + self.in_doubt, "{answers} answers, {self:?}");
        assert!(self.spent >= answers && self.at_backend >= answers, "{answers} answers, {self:?}");
    }
}

/// One redemption as it came to the front.
struct Request {
    token: String,
    body: Vec<u8>,
}

impl Request {
    fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let body: serde_json::Value = serde_json::from_slice(&bytes[head..]).ok()?;
        let token = body["extra_body"]["llmmask"]["Token"].as_str()?.to_owned();
        Some(Self { token, body: bytes[head..].to_vec() })
    }
}

impl Deref for TorWorld {
    type Target = House;

    fn deref(&self) -> &House {
        &self.house
    }
}

impl DerefMut for TorWorld {
    fn deref_mut(&mut self) -> &mut House {
        &mut self.house
    }
}
