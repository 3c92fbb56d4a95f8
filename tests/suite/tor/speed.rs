//! What a call through Tor costs, on the private network: a measurement, run by `benches/tor.sh` on a release build.
//!
//! All ways are measured in turns, in one run, so that whatever else goes on meets them alike. The bounds are ratios
//! between ways where they can be.

use std::process::Command;
use std::time::{Duration, Instant};

use super::super::support::house::Daemon;
use super::super::support::tor_world::TorWorld;
use super::super::support::tornet;
use super::{SOON, assert_answers, wait_for_warm};

/// Turns of every way, and calls in one turn.
const TURNS: usize = 4;
const CALLS: usize = 25;
/// Between calls, so that what is done ahead of need is ahead of it.
const THINKING: Duration = Duration::from_millis(150);
/// Calls at once, and calls of each of them.
const AT_ONCE: usize = 16;
const EACH: usize = 10;
/// Streams that the default keeps warm at most.
const POOL: u64 = 4;

/// How long calls took, milliseconds.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn note(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1000.0);
    }

    /// Of 100.
    fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[(sorted.len() - 1) * percent / 100]
    }

    fn median(&self) -> f64 {
        self.percentile(50)
    }
}

/// A question that was not asked before.
fn question() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn ask(daemon: &Daemon) -> Duration {
    let question = question();
    let begun = Instant::now();
    let reply = daemon.ask(&question);
    let took = begun.elapsed();
    assert_answers(&reply, &question);
    took
}

/// One turn of a daemon; how long after its start the first call was answered.
fn turn(world: &TorWorld, arguments: &[&str], times: &mut Times) -> Duration {
    let begun = Instant::now();
    let mut daemon = world.serve(arguments);
    ask(&daemon);
    let first = begun.elapsed();
    for _ in 0..CALLS {
        std::thread::sleep(THINKING);
        times.note(ask(&daemon));
    }
    daemon.program.stop();
    first
}

/// The same requests, as an ordinary HTTPS client makes them through C tor; the backend repeats what it answered.
fn curl(world: &TorWorld, socks: &str, login: Option<&str>, body: &str) -> Duration {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--http1.1", "--socks5-hostname", socks]);
    command.args(["--cacert", world.room().join("roots.pem").to_str().unwrap()]);
    command.args(["--header", "Content-Type: application/json", "--data-binary", &format!("@{body}")]);
    command.args(["--output", "/dev/null", "--write-out", "%{time_total}"]);
    if let Some(login) = login {
        command.args(["--proxy-user", login]);
    }
    let output = command.arg(format!("{}/api/v1/llm-proxy", world.url())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seconds = String::from_utf8(output.stdout).unwrap().parse().unwrap();
    Duration::from_secs_f64(seconds)
}

fn resident_mb(world: &TorWorld) -> f64 {
    let pid = &world.report(&["status"])["daemon"]["pid"];
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes / 1024.0
}

/// Many at once; calls a second, and what the daemon then holds with its pool full, MB.
fn burst(world: &TorWorld) -> (f64, f64) {
    let daemon = world.serve(&[]);
    ask(&daemon);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                for _ in 0..EACH {
                    ask(&daemon);
                }
            });
        }
    });
    let calls = f64::from(u32::try_from(AT_ONCE * EACH).unwrap());
    let rate = calls / begun.elapsed().as_secs_f64();
    let full = tornet::poll(SOON, || world.report(&["status"])["daemon"]["warm"] == POOL);
    assert!(full, "{}", world.report(&["status"]));
    (rate, resident_mb(world))
}

#[test]
#[ignore = "a measurement, for a release build; benches/tor.sh runs it"]
fn a_circuit_for_each_call_costs_no_more_than_a_shared_one() {
    let network = tornet::using().expect("tor is installed");
    let world = TorWorld::new(&network, TURNS * (CALLS + 1) * 3 + AT_ONCE * EACH + 10);
    let warm_up = world.serve(&[]);
    wait_for_warm(&world);
    drop(warm_up);

    let [mut fresh, mut shared, mut unready, mut socks, mut socks_shared] =
        [(); 5].map(|()| Times::default());
    let mut first = Times::default();
    let proxy = network.client().socks().to_string();
    for number in 0..TURNS {
        let known = world.front.calls().len();
        first.note(turn(&world, &[], &mut fresh));
        let made = world.front.calls().split_off(known);
        turn(&world, &["--isolation", "shared"], &mut shared);
        turn(&world, &["--set", "anonymous.pool=0"], &mut unready);
        for (index, call) in made.iter().enumerate() {
            let head = call.request.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
            let body = world.write("body.json", std::str::from_utf8(&call.request[head..]).unwrap());
            std::thread::sleep(THINKING);
            let login = format!("call:{number}-{index}");
            socks.note(curl(&world, &proxy, Some(&login), &body));
            socks_shared.note(curl(&world, &proxy, None, &body));
        }
    }
    let (rate, resident) = burst(&world);

    println!("| way | p50, ms | p90, ms | p50 against the shared circuit |");
    println!("| --- | --- | --- | --- |");
    for (name, times) in [
        ("llmtor, a circuit for each call (the default)", &fresh),
        ("llmtor, one shared circuit", &shared),
        ("llmtor, a circuit for each call, none kept ready (`anonymous.pool = 0`)", &unready),
        ("C tor, SOCKS and curl, a circuit for each call", &socks),
        ("C tor, SOCKS and curl, one shared circuit", &socks_shared),
    ] {
        let (p50, p90, ratio) = (times.median(), times.percentile(90), times.median() / shared.median());
        println!("| {name} | {p50:.1} | {p90:.1} | {ratio:.2} |");
    }
    println!();
    println!(
        "| calls/s at {AT_ONCE} | resident with {POOL} streams ready, MB | first answer after a warm start, ms |"
    );
    println!("| --- | --- | --- |");
    println!("| {rate:.0} | {resident:.0} | {:.0} |", first.median());

    assert!(fresh.median() <= 1.15 * shared.median(), "the default against a shared circuit");
    assert!(fresh.median() <= socks.median(), "the default against C tor and curl");
    assert!(rate >= 8.0, "calls a second at {AT_ONCE}");
    assert!(resident <= 60.0, "resident, MB");
    assert!(first.median() <= 1000.0, "the first answer after a warm start, ms");
}
