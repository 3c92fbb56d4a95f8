//! The program, the reference backend and the provider, for as many drivers as want them; and how a driver is run.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::model::{self, LATE};
use super::table;
use crate::support::house::{Daemon, House, MODEL};
use crate::support::program;
use crate::support::provider::Provider;
use crate::support::relay::Relay;

/// Tokens of one stage: more than all quick drivers spend.
const TOKENS: usize = 400;
/// No driver takes nearly as long, on a busy machine either.
const LONGEST: Duration = Duration::from_secs(240);

/// One daemon, and everything behind it.
pub struct Stage {
    /// `llmtor serve`.
    pub daemon: Daemon,
    /// The scripted model.
    pub provider: Provider,
    /// Between the daemon and the backend.
    pub relay: Relay,
    /// Where clients are sent.
    base_url: String,
    /// The way to everywhere else, as far as a client asks the environment for one.
    trap: TcpListener,
    /// Last, for the others stand in its room.
    house: House,
}

/// A driver and where it works.
pub struct Run {
    /// Its home, where it also runs.
    pub room: tempfile::TempDir,
    command: Command,
    driver: String,
}

/// What a driver printed.
#[derive(Deserialize)]
struct Verdict {
    versions: BTreeMap<String, String>,
    proved: Vec<String>,
}

impl Stage {
    /// The one that is up, or else a new one; it ends with the last test that uses it.
    pub fn shared() -> Arc<Self> {
        static STAGE: Mutex<Weak<Stage>> = Mutex::new(Weak::new());
        let mut stage = STAGE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        stage.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Self::set(TOKENS));
            *stage = Arc::downgrade(&new);
            new
        })
    }

    /// A new one with `tokens`.
    pub fn set(tokens: usize) -> Self {
        let provider = Provider::start(model::answer);
        let mut house = House::open_before(Some(&provider.base_url()), tokens, "warn");
        let relay = Relay::start(house.address());
        house.furnish("client", &format!("http://{}", relay.address()), tokens);
        // A late failure comes after the beginning of a stream.
        assert!(LATE > Duration::from_secs(1));
        let daemon = house.serve("client", &["--set", "anonymous.heartbeat_seconds=1"]);
        let base_url = daemon.base_url.clone();
        let trap = TcpListener::bind("127.0.0.1:0").unwrap();
        trap.set_nonblocking(true).unwrap();
        Self { daemon, provider, relay, base_url, trap, house }
    }

    /// The same, and what clients send to the daemon is written down too.
    pub fn watched(tokens: usize) -> (Self, Relay) {
        let mut stage = Self::set(tokens);
        let address = stage.base_url.trim_start_matches("http://").trim_end_matches("/v1");
        let watch = Relay::start(address.parse().unwrap());
        stage.base_url = format!("http://{}/v1", watch.address());
        (stage, watch)
    }

    /// Everything that left for the backend, and everything that it passed on.
    pub fn left(&self) -> Vec<Vec<u8>> {
        let shown =
            self.provider.shown().into_iter().map(|shown| [shown.head.into_bytes(), shown.body].concat());
        shown.chain(self.relay.recorded()).collect()
    }

    /// Runs `driver` (a file under `tests/clients`) by `command`; what it has proved is what the table says. Panics with
    /// what it said when it failed.
    pub fn run(&self, command: Command, driver: &str) -> Run {
        let before = self.provider.shown().len();
        let mut run = self.prepare(command, driver);
        run.finish();
        let shown = self.provider.shown();
        assert!(shown.len() > before, "{driver} asked nothing");
        for shown in shown {
            shown.assert_bare();
        }
        assert!(
            self.trap.accept().is_err(),
            "{driver}, or another that runs beside it, asks the network for something"
        );
        run
    }

    fn prepare(&self, mut command: Command, driver: &str) -> Run {
        let room = tempfile::Builder::new().prefix("llmtor-client-").tempdir().unwrap();
        program::confine(&mut command, room.path());
        let origin = self.base_url.trim_end_matches("/v1");
        for name in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OLLAMA_API_KEY"] {
            command.env(name, &self.daemon.api_key);
        }
        for name in ["OPENAI_BASE_URL", "OPENAI_API_BASE"] {
            command.env(name, &self.base_url);
        }
        for name in ["ANTHROPIC_BASE_URL", "OLLAMA_HOST"] {
            command.env(name, origin);
        }
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            let trap = format!("http://{}", self.trap.local_addr().unwrap());
            command.env(name, &trap).env(name.to_lowercase(), trap);
        }
        command
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("no_proxy", "127.0.0.1,localhost")
            .env("LLMTOR_MODEL", MODEL)
            // For the drivers that have their settings written.
            .env("LLMTOR", program::SHIPPED)
            .env("LLMTOR_HOME", self.house.home("client"))
            .env("LLMTOR_URL", &self.daemon.base_url)
            .env("LLMTOR_CLIENTS", large_clients())
            // Nobody is told of it.
            .env("DO_NOT_TRACK", "1")
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .env("OPENAI_AGENTS_DISABLE_TRACING", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONWARNINGS", "ignore")
            .env("LANG", "C.UTF-8");
        Run { room, command, driver: driver.to_owned() }
    }
}

impl Run {
    fn finish(&mut self) {
        let (stdout, stderr) = (self.room.path().join("stdout"), self.room.path().join("stderr"));
        self.command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            // So that whatever it starts ends with it.
            .process_group(0);
        let ended = wait(&mut self.command);
        let [stdout, stderr] =
            [stdout, stderr].map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned());
        let driver = &self.driver;
        let ended =
            ended.map_or_else(|| "was ended: it took too long".to_owned(), |status| status.to_string());
        assert!(ended == "exit status: 0", "{driver}: {ended}\n{stdout}\n{stderr}");
        let last = stdout.lines().last().unwrap_or_default();
        let verdict: Verdict = serde_json::from_str(last)
            .unwrap_or_else(|_| panic!("{driver} has no verdict:\n{stdout}\n{stderr}"));
        table::check(driver, &verdict.versions, &verdict.proved);
    }
}

/// A command for `program`, which is installed; `None`, and a line that says so, where it is not.
pub fn installed(program: PathBuf, needed: &Path) -> Option<Command> {
    if needed.exists() {
        return Some(Command::new(program));
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", needed.display());
    eprintln!("SKIPPED: a client is not installed ({} is missing)", needed.display());
    None
}

/// Where the drivers are.
pub fn drivers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Where `.ci/clients` installs the large ones.
pub fn large_clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ci/clients")
}

/// `None` when it had to be killed.
fn wait(command: &mut Command) -> Option<ExitStatus> {
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + LONGEST;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    // Servers that an agent left behind too.
    let _ = Command::new("kill")
        .args(["-KILL", "--", &format!("-{}", child.id())])
        .stderr(Stdio::null())
        .status();
    let _ = child.wait();
    status
}
