//! The load generator and its figures.

use std::time::{Duration, Instant};

use crate::client::{Connection, Target};

const ROUNDS: usize = 10;
const CALLS_A_ROUND: usize = 200;
/// Calls of the throughput run.
pub const MANY: usize = 6_000;
/// Calls of the burst.
pub const BURST: usize = 300;
const IN_FLIGHT: usize = 16;
const WARM_UP: usize = 200;

/// How many calls one whole measurement makes through the program.
pub const CALLS: usize = WARM_UP + ROUNDS * CALLS_A_ROUND + MANY + BURST;

/// One line of the table.
pub struct Figures {
    direct: Latencies,
    through: Latencies,
    calls_a_second: f64,
    burst: Duration,
    burst_errors: usize,
    resident_mb: f64,
    peak_mb: f64,
}

/// Times of single calls, sorted.
struct Latencies(Vec<Duration>);

impl Latencies {
    fn quantile(&self, percent: usize) -> f64 {
        let index = (self.0.len() * percent / 100).min(self.0.len() - 1);
        self.0[index].as_secs_f64() * 1_000.0
    }
}

/// The head of the table.
pub fn print_head() {
    println!(
        "| program | direct p50 / p99, ms | through p50 / p99, ms | added p50, ms | added p99, ms | calls/s at 16 | burst of 300 | resident / peak, MB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
}

impl Figures {
    /// As a line of the table.
    pub fn print(&self, name: &str) {
        let (d50, d99) = (self.direct.quantile(50), self.direct.quantile(99));
        let (t50, t99) = (self.through.quantile(50), self.through.quantile(99));
        println!(
            "| {name} | {d50:.2} / {d99:.2} | {t50:.2} / {t99:.2} | {:.2} | {:.2} | {:.0} | {:.0} ms, {} errors | {:.0} / {:.0} |",
            t50 - d50,
            t99 - d99,
            self.calls_a_second,
            self.burst.as_secs_f64() * 1_000.0,
            self.burst_errors,
            self.resident_mb,
            self.peak_mb,
        );
    }
}

/// Measures `through`, a program whose upstream is `provider`, against the provider itself.
pub async fn run(through: &Target, provider: &Target, pid: u32) -> Figures {
    let mut number = 0;
    rounds(through, &mut number, WARM_UP).await;
    let (mut direct, mut via) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        direct.extend(rounds(provider, &mut number, CALLS_A_ROUND).await);
        via.extend(rounds(through, &mut number, CALLS_A_ROUND).await);
    }
    direct.sort_unstable();
    via.sort_unstable();

    let started = Instant::now();
    let workers: Vec<_> = (0..IN_FLIGHT)
        .map(|worker| {
            let target = through.clone();
            let first = number + worker * (MANY / IN_FLIGHT);
            tokio::spawn(async move {
                let mut connection = Connection::open(&target).await.unwrap();
                for call in 0..MANY / IN_FLIGHT {
                    connection.call(&target, first + call).await.unwrap();
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let calls_a_second = (MANY / IN_FLIGHT * IN_FLIGHT) as f64 / started.elapsed().as_secs_f64();
    let resident_mb = memory(pid, "VmRSS:");
    number += MANY;

    let started = Instant::now();
    let burst: Vec<_> = (0..BURST)
        .map(|call| {
            let target = through.clone();
            tokio::spawn(async move {
                let mut connection = Connection::open(&target).await.map_err(|error| error.to_string())?;
                connection.call(&target, number + call).await
            })
        })
        .collect();
    let mut burst_errors = 0;
    for call in burst {
        if let Err(error) = call.await.unwrap() {
            burst_errors += 1;
            eprintln!("burst: {error}");
        }
    }
    Figures {
        direct: Latencies(direct),
        through: Latencies(via),
        calls_a_second,
        burst: started.elapsed(),
        burst_errors,
        resident_mb,
        peak_mb: memory(pid, "VmHWM:"),
    }
}

/// A peer that is already running as `pid`.
pub async fn peer(name: &str, url: &str, pid: u32, provider: &str, headers: &[&str]) {
    let through = Target::new(url, headers);
    let provider = Target::new(&format!("{provider}/v1"), &[]);
    run(&through, &provider, pid).await.print(name);
}

async fn rounds(target: &Target, number: &mut usize, calls: usize) -> Vec<Duration> {
    let mut connection = Connection::open(target).await.unwrap();
    let mut taken = Vec::with_capacity(calls);
    for _ in 0..calls {
        let started = Instant::now();
        connection.call(target, *number).await.unwrap();
        taken.push(started.elapsed());
        *number += 1;
    }
    taken
}

/// Memory of `pid` and all its descendants, MB: some peers are a family of processes.
fn memory(pid: u32, field: &str) -> f64 {
    let own = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with(field))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        })
        .unwrap_or(0.0)
        / 1024.0;
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    own + children.split_whitespace().map(|child| memory(child.parse().unwrap(), field)).sum::<f64>()
}
