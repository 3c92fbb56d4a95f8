//! A client in a namespace, and all around it: relays, a resolver, and a backend with a front for each plane, so that
//! the planes are told apart by address.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::judge::{AllowList, Content, Service, When};
use super::namespace::{Namespace, RESOLVER};
use crate::support::canary::Canary;
use crate::support::front::Front;
use crate::support::house::{House, MODEL};
use crate::support::program::{self, Program, SHIPPED};
use crate::support::tornet::{Names, Place, Resolver, TorNetwork};

const IDENTITY: u8 = 3;
/// Of the backend's anonymous plane.
pub const BACKEND: u8 = 4;
/// The first of the relays.
const RELAYS: u8 = 11;
const DNS: u16 = 53;

/// Is part of every prompt, and of every answer: the embedded model echoes.
pub const PROMPT: &str = "canary-of-every-prompt-52719";

/// All but the client itself.
pub struct World {
    pub network: TorNetwork,
    pub house: House,
    /// Before the identity plane.
    pub identity: Front,
    /// Before the anonymous plane; gone when the backend is.
    pub backend: Option<Front>,
    /// Asked by the exits, and by whoever leaks.
    pub resolver: Resolver,
    /// Of the anonymous plane; to be asked for by exits only.
    pub name: String,
    anonymous: SocketAddrV4,
    /// The last to go.
    pub namespace: Arc<Namespace>,
}

/// `llmtor serve` in the namespace.
pub struct Daemon {
    pub program: Program,
    namespace: Arc<Namespace>,
    base_url: String,
    api_key: String,
    calls: AtomicUsize,
}

/// How an answer is wanted.
#[derive(Clone, Copy)]
pub enum Wanted {
    Whole,
    Streamed,
}

impl World {
    /// `None`, and a line that says why, where there can be no namespace.
    pub fn open(credits: usize) -> Option<Self> {
        let namespace = Arc::new(Namespace::make()?);
        let backend_ip = namespace.world(BACKEND);
        let resolver = Resolver::for_all(SocketAddrV4::new(namespace.world(RESOLVER), DNS), backend_ip);
        let place = Place {
            addresses: std::array::from_fn(|at| namespace.world(RELAYS + u8::try_from(at).unwrap())),
            client: namespace.world(RELAYS - 1),
            prefix: Vec::new(),
            doors: [backend_ip; 4],
            names: Names::There(SocketAddrV4::new(namespace.world(RESOLVER), DNS)),
            ports: None,
        };
        let (network, house) = thread::scope(|scope| {
            let network = scope.spawn(|| TorNetwork::start(place));
            let house = House::open(credits, "warn");
            (network.join().expect("a network"), house)
        });
        let ip = namespace.world(IDENTITY);
        let identity = Front::start(&[ip], &ip.to_string(), house.address());
        let name = format!("backend-{}.test", namespace.client().octets()[2]);
        let backend = Front::start(&[backend_ip], &name, house.address());
        let anonymous = SocketAddrV4::new(backend_ip, backend.port());
        resolver.tell(&name);
        for (file, text) in [
            ("arti.toml", network.arti_toml().as_str()),
            ("roots.pem", backend.authority()),
            ("platform.pem", identity.authority()),
        ] {
            std::fs::write(house.room().join(file), text).unwrap();
        }
        Some(Self { network, house, identity, backend: Some(backend), resolver, name, anonymous, namespace })
    }

    /// Makes the client's home; nothing is asked of anybody.
    pub fn init(&self) {
        let identity = format!("https://{}", self.identity_socket());
        let anonymous = format!("https://{}:{}", self.name, self.anonymous.port());
        self.client(
            &["init", "--backend", &identity, "--anonymous-url", &anonymous, "--keys", "keys.json"],
            "",
        );
    }

    /// Logs in and mints; from when to when that took.
    pub fn login_and_mint(&self, tokens: usize) -> RangeInclusive<Duration> {
        let begun = now();
        self.client(&["login", "--session-stdin"], &self.house.session);
        self.client(&["abuse", "setup"], "");
        self.client(&["tokens", "mint", "--model", MODEL, "--count", &tokens.to_string(), "--now"], "");
        begun..=now()
    }

    /// Runs a command in the namespace; panics unless it succeeds.
    pub fn client(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(Path::new(SHIPPED));
        let child =
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        // One that reads nothing closes the pipe early.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "llmtor {arguments:?}: {} {said}", output.status);
        output
    }

    /// A daemon of `program` in the namespace, with more in its `environment`.
    pub fn serve(&self, program: &Path, environment: &[(&str, &str)]) -> Daemon {
        let mut command = self.command(program);
        command.envs(environment.iter().copied()).args(["serve", "--listen", "127.0.0.1:0", "--json"]);
        let mut program = Program::spawn(command);
        let ready = program.ready();
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        let (api_key, base_url) = (text("api_key"), text("base_url"));
        Daemon {
            program,
            namespace: Arc::clone(&self.namespace),
            base_url,
            api_key,
            calls: AtomicUsize::default(),
        }
    }

    fn command(&self, program: &Path) -> std::process::Command {
        let room = self.house.room();
        let mut command = self.namespace.command(program);
        program::confine(&mut command, room);
        command.env("SSL_CERT_FILE", room.join("platform.pem")).args(["--home", "client"]);
        for setting in [
            format!("tor.arti_config={}", room.join("arti.toml").display()),
            format!("tls.extra_roots={}", room.join("roots.pem").display()),
            "anonymous.connect_seconds=10".to_owned(),
            "anonymous.call_seconds=15".to_owned(),
        ] {
            command.args(["--set", &setting]);
        }
        command
    }

    /// What may pass on the way out, the identity plane at these times.
    pub fn allowed(&self, times: Vec<RangeInclusive<Duration>>) -> AllowList {
        let relay = |at| Service { at, when: When::Always, content: Content::Sealed };
        let mut services: Vec<_> = self.network.relay_sockets().into_iter().map(relay).collect();
        services.push(Service {
            at: self.identity_socket(),
            when: When::During(times),
            content: Content::Sealed,
        });
        AllowList {
            client: self.namespace.client(),
            services,
            names: vec![self.name.clone()],
            canaries: vec![
                Canary::new("the prompt", PROMPT),
                Canary::new("the session", self.house.session.clone()),
                Canary::new("the backend's name", self.name.clone()),
            ],
        }
    }

    pub fn identity_socket(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.namespace.world(IDENTITY), self.identity.port())
    }

    /// Of the anonymous plane, also when it is gone.
    pub fn backend_socket(&self) -> SocketAddrV4 {
        self.anonymous
    }
}

impl Daemon {
    /// One call by a client of its own, in the namespace too; status and body.
    pub fn call(&self, prompt: &str, wanted: Wanted) -> (u16, String) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let body = serde_json::json!({
            "model": MODEL,
            "messages": [{ "role": "user", "content": format!("{PROMPT} {prompt}") }],
            "stream": matches!(wanted, Wanted::Streamed),
        });
        let mut child = self
            .namespace
            .command("curl")
            .args(["-q", "-sS", "-N", "--noproxy", "*", "--max-time", "120", "--data-binary", "@-"])
            .args([
                "-H",
                "Content-Type: application/json",
                "-H",
                &format!("Authorization: Bearer {}", self.api_key),
            ])
            .args(["-w", "\n%{http_code}", &format!("{}/chat/completions", self.base_url)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), body.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "curl: {}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// The same; what was said instead of an answer. A stream has begun with success when it is refused.
    pub fn asks(&self, prompt: &str, wanted: Wanted) -> Result<(), String> {
        let (status, body) = self.call(prompt, wanted);
        if status == 200 && body.contains(PROMPT) { Ok(()) } else { Err(format!("{status}: {body}")) }
    }

    /// The same, and it must succeed.
    pub fn answers(&self, prompt: &str, wanted: Wanted) {
        let said = || String::from_utf8_lossy(&self.program.stderr()).into_owned();
        self.asks(prompt, wanted).unwrap_or_else(|refusal| panic!("{prompt}: {refusal}\n{}", said()));
    }

    /// How many calls there were.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// What may pass on its loopback: calls to it, and nothing else.
    pub fn allowed_at_home(&self) -> AllowList {
        let address: SocketAddrV4 =
            self.base_url.trim_start_matches("http://").trim_end_matches("/v1").parse().unwrap();
        AllowList {
            client: Ipv4Addr::LOCALHOST,
            services: vec![Service { at: address, when: When::Always, content: Content::Open }],
            names: Vec::new(),
            canaries: Vec::new(),
        }
    }
}

/// Since 1970, as a capture has it.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// The same address and port.
pub fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => panic!("all is IPv4 here"),
    }
}
