//! Many calls at once, through a proxy that breaks things, to a daemon that is killed all the time; minting meanwhile.
//!
//! A monkey sits beside the daemon. Every now and then, drawn from the seed (but once in this order, so that no run is
//! without one of them), it
//!
//! | does | share |
//! | --- | --- |
//! | kill the daemon with SIGKILL, and start it again | 6 of 10 |
//! | stop it with SIGSTOP for a while, and let it go on | 2 of 10 |
//! | fill its disk: no file may grow (`RLIMIT_FSIZE`) for a while | 1 of 10 |
//! | start a second daemon on the same home, which must refuse | 1 of 10 |
//!
//! The clients ask as SDKs do: the same body again, with a count of the retries, until there is an answer. One attempt in
//! eight they give up themselves, after a few milliseconds. What is drawn
//! follows from the seed; which call meets which act depends on the machine, so two runs are alike and not the same.
//!
//! | variable | default | |
//! | --- | --- | --- |
//! | `LLMTOR_CHAOS_CALLS` | 300 | how many prompts |
//! | `LLMTOR_CHAOS_SEED` | 5 | what is done to which connection, and when the monkey does what |
//! | `LLMTOR_CHAOS_CLIENTS` | 12 | how many at once |
//! | `LLMTOR_BIN` | the tests' own | another build of the program, for daemon and backend alike |

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::books::{Books, Expected};
use super::client;
use super::stage::{Daemon, HOME, Stage};
use crate::support::program::{self, Program};

/// Tokens minted in one go.
const BATCH: usize = 100;
/// So many tokens more than calls, at least, and one more for so many calls, for those that become two: the books are to tell
/// what went wrong, and not an empty stock.
const SPARE: usize = 5;
const CALLS_A_SPARE: usize = 20;
/// So many credits more than that: a mint whose caller is cut off goes on, and what is counted then is not all of it. Without
/// a credit, what it begins would stay pending for its five minutes.
const MARGIN: usize = 2 * BATCH;
/// One attempt in so many is given up by the client itself, in the middle.
const HANG_UPS: u32 = 8;
/// How long a client goes on about one prompt.
const PATIENCE: Duration = Duration::from_secs(180);

struct Plan {
    calls: usize,
    seed: u64,
    clients: usize,
}

impl Plan {
    fn read() -> Self {
        let number = |name: &str, default: u64| {
            let text = std::env::var(name).ok();
            text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
        };
        let size = |name, default| usize::try_from(number(name, default)).unwrap();
        Self {
            calls: size("LLMTOR_CHAOS_CALLS", 300),
            seed: number("LLMTOR_CHAOS_SEED", 5),
            clients: size("LLMTOR_CHAOS_CLIENTS", 12),
        }
    }

    fn tokens(&self) -> usize {
        self.calls + SPARE + self.calls / CALLS_A_SPARE
    }

    fn canary(&self, number: usize) -> String {
        format!("call {number} of {} under seed {}", self.calls, self.seed)
    }
}

/// What happened, for the record.
#[derive(Default)]
struct Tally {
    kills: AtomicU64,
    freezes: AtomicU64,
    full_disks: AtomicU64,
    second_daemons: AtomicU64,
    retries: AtomicU64,
    hang_ups: AtomicU64,
    mints: AtomicU64,
    mints_broken: AtomicU64,
}

struct Soak {
    stage: Stage,
    plan: Plan,
    /// Where the daemon listens, and its key; none while it is dead.
    front: RwLock<Option<(SocketAddr, String)>>,
    left: Mutex<VecDeque<usize>>,
    /// By prompt: what was answered, and how often its client had hung up before.
    answers: Mutex<BTreeMap<String, (Vec<String>, usize)>>,
    over: AtomicBool,
    tally: Tally,
}

#[test]
fn under_chaos_and_kills_no_token_is_lost_or_spent_twice_and_no_answer_goes_astray() {
    let plan = Plan::read();
    let stage = Stage::set(plan.tokens() + MARGIN, plan.tokens() - plan.calls);
    stage.chaos.rage(Some(plan.seed));
    let soak = Soak {
        left: Mutex::new((0..plan.calls).collect()),
        stage,
        plan,
        front: RwLock::default(),
        answers: Mutex::default(),
        over: AtomicBool::new(false),
        tally: Tally::default(),
    };
    let begun = Instant::now();
    thread::scope(|scope| {
        let over = Finally(&soak.over);
        let disturbing = scope.spawn(|| soak.disturb());
        let minting = scope.spawn(|| soak.mint());
        let asking: Vec<_> = (0..soak.plan.clients).map(|_| scope.spawn(|| soak.ask())).collect();
        let ended: Vec<_> = asking.into_iter().map(thread::ScopedJoinHandle::join).collect();
        let minted = minting.join();
        drop(over);
        let disturbed = disturbing.join();
        assert!(ended.iter().all(Result::is_ok), "a client gave up");
        assert!(minted.is_ok() && disturbed.is_ok(), "the minter or the monkey gave up");
    });
    let took = begun.elapsed();

    let Soak { stage, plan, answers, tally, .. } = soak;
    let mut expected = Expected::default();
    for (canary, (texts, hung_up)) in answers.into_inner().unwrap() {
        assert_eq!(texts, [client::echo(&canary)], "6: an answer of its own");
        // An attempt that was hung up on may still lie unread while its retry is begun: then they are two calls.
        expected.asked.insert(canary, 1..=1 + hung_up);
    }
    assert_eq!(expected.asked.len(), plan.calls, "6: every prompt is answered");
    let (connections, disturbed) = stage.chaos.connections();
    assert!(disturbed > connections / 4, "the proxy was too kind: {disturbed} of {connections}");
    let books = Books::balance(stage, expected);
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    println!(
        "{} calls under seed {} in {:.0} s: 0 lost, 0 spent twice, 0 crossed\n{} connections, {disturbed} disturbed; \
         {} kills, {} freezes, {} full disks, {} second daemons refused; {} retries, {} after a hang-up; \
         {} mints, {} of them broken off\n{books}",
        plan.calls,
        plan.seed,
        took.as_secs_f64(),
        connections,
        count(&tally.kills),
        count(&tally.freezes),
        count(&tally.full_disks),
        count(&tally.second_daemons),
        count(&tally.retries),
        count(&tally.hang_ups),
        count(&tally.mints),
        count(&tally.mints_broken),
    );
}

/// Raises the flag also when whoever holds this panics.
struct Finally<'a>(&'a AtomicBool);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Soak {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::SeqCst);
    }

    /// One client: takes a prompt, asks until it is answered, takes the next.
    fn ask(&self) {
        loop {
            let Some(number) = self.left.lock().unwrap().pop_front() else { return };
            let canary = self.plan.canary(number);
            let body = client::prompt(&canary);
            let deadline = Instant::now() + PATIENCE;
            let (mut retry, mut hung_up) = (0, 0);
            let mut rng = StdRng::seed_from_u64(self.plan.seed ^ (number as u64) << 32);
            let texts = loop {
                assert!(!self.over.load(Ordering::SeqCst), "the others gave up");
                let front = self.front.read().unwrap().clone();
                if let Some((at, key)) = front {
                    let attempt = if rng.random_ratio(1, HANG_UPS) {
                        Self::count(&self.tally.hang_ups);
                        hung_up += 1;
                        let patience = Duration::from_millis(rng.random_range(1..60));
                        client::post_within(patience, at, &key, retry, &body)
                    } else {
                        client::post(at, &key, retry, &body)
                    };
                    match attempt {
                        Ok(reply) => {
                            if let Some(texts) = reply.texts() {
                                break texts;
                            }
                            assert!(Instant::now() < deadline, "{canary}: {} {}", reply.status, reply.body);
                        }
                        Err(error) => assert!(Instant::now() < deadline, "{canary}: {error}"),
                    }
                    retry += 1;
                    Self::count(&self.tally.retries);
                }
                thread::sleep(Duration::from_millis(50));
            };
            self.answers.lock().unwrap().insert(canary, (texts, hung_up));
        }
    }

    /// Turns credits into tokens, a batch at a time, until enough are ordered: what is pending comes by itself.
    fn mint(&self) {
        let total = self.plan.tokens();
        let mut missing = self.plan.calls;
        let deadline = Instant::now() + PATIENCE + Duration::from_millis(60 * self.plan.calls as u64);
        while missing > 0 {
            let output = self.stage.mint(&BATCH.min(missing).to_string(), "");
            Self::count(&self.tally.mints);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            if !output.status.success() {
                Self::count(&self.tally.mints_broken);
                assert!(
                    !said.contains("begun earlier are lost"),
                    "no credit is lost within five minutes: {said}"
                );
            }
            assert!(!self.over.load(Ordering::SeqCst), "the others gave up");
            // What was made is the vault's to tell: a mint that broke off made some, and more are finished later.
            if let Some(ordered) = self.ordered() {
                missing = total.saturating_sub(ordered);
            }
            assert!(Instant::now() < deadline, "{missing} tokens cannot be had: {said}");
        }
    }

    /// Tokens that were made or begun, whatever became of them; none while nobody can tell.
    fn ordered(&self) -> Option<usize> {
        let output = self.stage.run(HOME, "", &["tokens", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let stock = report["models"][crate::support::house::MODEL].as_object()?;
        usize::try_from(stock.values().filter_map(serde_json::Value::as_u64).sum::<u64>()).ok()
    }

    /// Keeps a daemon running, and does things to it.
    fn disturb(&self) {
        let _over = Finally(&self.over);
        let mut rng = StdRng::seed_from_u64(self.plan.seed);
        let mut first = [0, 6, 8, 9].into_iter();
        while !self.over.load(Ordering::SeqCst) {
            let Some(mut daemon) = self.revive() else { continue };
            *self.front.write().unwrap() = Some((daemon.at, daemon.key.clone()));
            loop {
                self.pause(Duration::from_millis(rng.random_range(200..2000)));
                if self.over.load(Ordering::SeqCst) {
                    break;
                }
                match first.next().unwrap_or_else(|| rng.random_range(0..10)) {
                    0..6 => {
                        Self::count(&self.tally.kills);
                        break;
                    }
                    6..8 => {
                        let pid = daemon.program.pid().to_string();
                        signal("-STOP", &pid);
                        thread::sleep(Duration::from_millis(rng.random_range(50..800)));
                        signal("-CONT", &pid);
                        Self::count(&self.tally.freezes);
                    }
                    8 => {
                        let pid = daemon.program.pid().to_string();
                        limit_files(&pid, "0:unlimited");
                        thread::sleep(Duration::from_millis(rng.random_range(50..800)));
                        limit_files(&pid, "unlimited:unlimited");
                        Self::count(&self.tally.full_disks);
                    }
                    _ => {
                        let second = ["serve", "--listen", "127.0.0.1:0"];
                        let refused = self.stage.run(HOME, "", &second).status.code();
                        assert!(matches!(refused, Some(1 | 3)), "a second daemon ended with {refused:?}");
                        Self::count(&self.tally.second_daemons);
                    }
                }
            }
            *self.front.write().unwrap() = None;
            daemon.program.kill();
        }
    }

    /// A daemon, unless a command has the home just now.
    fn revive(&self) -> Option<Daemon> {
        // Where a file may not grow the system sends a signal, unless that is ignored: then the write fails as on a full disk.
        let mut shell = Command::new("sh");
        program::confine(&mut shell, self.stage.house.room());
        let serve = self.stage.command(HOME, "", &["serve", "--listen", "127.0.0.1:0", "--json"]);
        shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(serve.get_program()).args(serve.get_args());
        let mut program = Program::spawn(shell);
        while !program.stdout().contains(&b'\n') {
            if program.ended() {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
        (program.ready()["event"] == "ready").then(|| Daemon::of(program))
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.over.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn signal(what: &str, pid: &str) {
    assert!(Command::new("kill").args([what, pid]).status().unwrap().success());
}

fn limit_files(pid: &str, limit: &str) {
    let limit = format!("--fsize={limit}");
    assert!(Command::new("prlimit").args(["--pid", pid, &limit]).status().unwrap().success());
}
