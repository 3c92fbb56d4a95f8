//! The whole measurement of llmtor itself: mint, start, load.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Target;
use crate::{heavy, measure, provider};

/// A child that ends with us.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a child and reads the one JSON line that says it is ready.
fn start(command: &mut Command) -> (Killed, Value, Duration) {
    let started = Instant::now();
    let mut child = Killed(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let taken = started.elapsed();
    // Kept open: a closed pipe would fail the child's next line.
    std::mem::forget(lines);
    (child, serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {line:?}")), taken)
}

/// Runs `program` and prints the tables of `BENCHMARKS.md`.
pub fn measure(program: &str) {
    let room = tempfile::tempdir().unwrap();
    let home = room.path().join("home");
    let (_provider, ready, _) = start(Command::new(std::env::current_exe().unwrap()).arg("provider"));
    let url = ready["url"].as_str().unwrap();
    let keys = room.path().join("keys.json");
    std::fs::write(&keys, ready["keys"].to_string()).unwrap();

    let command = |arguments: &[&str]| {
        let mut command = Command::new(program);
        command.env_remove("LLMTOR_HOME").env_remove("DBUS_SESSION_BUS_ADDRESS");
        command.arg("--home").arg(&home).args(arguments);
        command
    };
    let run = |arguments: &[&str], input: &str| {
        let mut child = command(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "llmtor {arguments:?} failed");
    };
    run(&["init", "--backend", url, "--keys", keys.to_str().unwrap()], "");
    run(&["login", "--session-stdin"], "01234567-89ab-4def-8123-456789abcdef\n");
    run(&["abuse", "setup"], "");

    let count = (measure::CALLS + 600).to_string();
    let before = children_cpu();
    let started = Instant::now();
    run(&["tokens", "mint", "--model", provider::MODEL, "--count", &count, "--now"], "");
    let minting = started.elapsed();
    let cpu = children_cpu() - before;
    let each = |seconds: f64| seconds * 1_000.0 / count.parse::<f64>().unwrap();
    println!("## Minting\n");
    println!(
        "| tokens | wall, s | wall a token, ms | CPU of the client a token, ms |\n| --- | --- | --- | --- |"
    );
    println!(
        "| {count} | {:.1} | {:.2} | {:.2} |\n",
        minting.as_secs_f64(),
        each(minting.as_secs_f64()),
        each(cpu)
    );

    println!("## Program\n");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--json"];
    let mut ready_after: Vec<Duration> = (0..5)
        .map(|_| {
            let (mut daemon, _, taken) = start(&mut command(&serve));
            terminate(&mut daemon.0);
            taken
        })
        .collect();
    ready_after.sort_unstable();
    let size = std::fs::metadata(Path::new(program)).unwrap().len();
    println!("| ready after, ms (median of 5, {count} tokens in the vault) | binary, MB |\n| --- | --- |");
    #[expect(clippy::cast_precision_loss, reason = "a file's size")]
    let megabytes = size as f64 / 1e6;
    println!("| {:.0} | {megabytes:.1} |\n", ready_after[2].as_secs_f64() * 1_000.0);

    println!("## Calls\n");
    measure::print_head();
    let (daemon, ready, _) = start(&mut command(&serve));
    let authorization = format!("authorization: Bearer {}", ready["api_key"].as_str().unwrap());
    let through = Target::new(ready["base_url"].as_str().unwrap(), &[&authorization]);
    let direct = Target::new(&format!("{url}/v1"), &[]);
    let figures = crate::runtime().block_on(measure::run(&through, &direct, daemon.0.id()));
    figures.print("llmtor");

    println!("\n## Emulation\n");
    crate::runtime().block_on(heavy::measure(&through, daemon.0.id()));
}

fn terminate(child: &mut Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    child.wait().unwrap();
}

/// User and system time of children that ended, seconds (proc(5): fields 16 and 17, ticks of 10 ms).
fn children_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
    (ticks(13) + ticks(14)) / 100.0
}
