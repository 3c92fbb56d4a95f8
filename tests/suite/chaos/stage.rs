//! A provider that counts, the reference backend before it, the proxy before that, and a client's home.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::client;
use crate::support::chaos::Chaos;
use crate::support::house::{House, MODEL};
use crate::support::program::{self, Program};
use crate::support::provider::{Provider, Said};

/// The client.
pub const HOME: &str = "client";
/// A process that is to die is dead within this time.
const DEATH_WITHIN: Duration = Duration::from_secs(60);

pub struct Stage {
    pub house: House,
    pub provider: Provider,
    pub chaos: Chaos,
}

/// A daemon that answers.
pub struct Daemon {
    pub program: Program,
    pub at: SocketAddr,
    pub key: String,
}

impl Stage {
    /// An account with `credits`, of which `tokens` are minted in peace.
    pub fn set(credits: usize, tokens: usize) -> Self {
        let provider = Provider::start(|shown| {
            let messages = shown.messages();
            Said::Text(client::echo(&messages.last().unwrap().1))
        });
        let mut house = House::open_before(Some(&provider.base_url()), credits, "warn");
        let chaos = Chaos::start(house.address(), &house.room().join("chaos.log"));
        house.furnish(HOME, &chaos.url(), tokens);
        Self { house, provider, chaos }
    }

    /// `llmtor` on the home `name`, with the identity plane through the proxy, too, and minting only when it is told to.
    pub fn command(&self, name: &str, failpoints: &str, arguments: &[&str]) -> Command {
        let mut command = program::command(self.house.room());
        let through = format!("backend.identity_url={}", self.chaos.url());
        command.env("FAILPOINTS", failpoints).args(self.house.arguments(name, &["--set", &through]));
        command.args(["--set", "topup.enabled=false"]);
        command.args(arguments);
        command
    }

    /// A command's end, whatever it is.
    pub fn run(&self, name: &str, failpoints: &str, arguments: &[&str]) -> Output {
        program::finish(&mut self.command(name, failpoints, arguments), "")
    }

    /// Mints, and dies of it at `failpoints`.
    pub fn die_minting(&self, count: &str, failpoints: &str) {
        let output = self.mint(count, failpoints);
        assert_eq!(output.status.signal(), Some(9), "{failpoints}: {}", said(&output));
    }

    /// Mints.
    pub fn mint(&self, count: &str, failpoints: &str) -> Output {
        let mint = ["tokens", "mint", "--model", MODEL, "--count", count, "--now", "--json"];
        self.run(HOME, failpoints, &mint)
    }

    /// Mints, and must not fail.
    pub fn must_mint(&self, count: &str) -> serde_json::Value {
        let output = self.mint(count, "");
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// `llmtor serve`, with more `arguments`; it may die at `failpoints` before it answers.
    pub fn start(&self, failpoints: &str, arguments: &[&str]) -> Program {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--json"];
        Program::spawn(self.command(HOME, failpoints, &[&serve[..], arguments].concat()))
    }

    /// A daemon that answers, and may die later.
    pub fn serve(&self, failpoints: &str, arguments: &[&str]) -> Daemon {
        Daemon::of(self.start(failpoints, arguments))
    }

    /// Lets the daemon answer `body` until it does, as an SDK does. Panics if it will not.
    pub fn must_answer(&self, body: &str) -> Vec<String> {
        let daemon = self.serve("", &[]);
        for retry in 1..=10 {
            if let Some(texts) = client::post(daemon.at, &daemon.key, retry, body).unwrap().texts() {
                return texts;
            }
        }
        panic!("no answer: {}", String::from_utf8_lossy(&daemon.program.stderr()));
    }

    /// Changes the vault behind the back of a program that is not running.
    pub fn meddle(&self, statement: &str) {
        let vault = Connection::open(self.house.home(HOME).join("vault.db")).unwrap();
        assert!(vault.execute(statement, []).unwrap() > 0, "nothing to change: {statement}");
    }
}

impl Daemon {
    /// Panics if the program ends before it is ready.
    pub fn of(mut program: Program) -> Self {
        let ready = program.ready();
        assert_eq!(ready["event"], "ready", "{ready}");
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        let at = text("base_url").trim_start_matches("http://").trim_end_matches("/v1").parse().unwrap();
        Self { at, key: text("api_key"), program }
    }
}

/// Waits until the process is dead, of SIGKILL.
pub fn await_death(program: &mut Program, of: &str) {
    let deadline = Instant::now() + DEATH_WITHIN;
    loop {
        if let Some(status) = program.status() {
            assert_eq!(status.signal(), Some(9), "{of}: {}", String::from_utf8_lossy(&program.stderr()));
            return;
        }
        assert!(Instant::now() < deadline, "{of} was not reached");
        thread::sleep(Duration::from_millis(5));
    }
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].concat().iter().map(|byte| char::from(*byte)).collect()
}
