//! What emulation costs: a large request with tools, a large answer, and how soon a stream begins to speak.
//!
//! CPU is the daemon's own, read from the kernel around many calls; small calls in the same run are what is taken off to
//! see the emulation alone. How soon a stream speaks is told by the answer itself: the provider writes into it
//! the moment at which it sent it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::client::{Connection, Target, find};
use crate::provider;

/// Calls of each kind.
const CALLS: usize = 100;

/// Prints the table.
pub async fn measure(through: &Target, pid: u32) {
    let mut connection = Connection::open(through).await.unwrap();
    for number in 0..20 {
        connection.post(through, &small(number)).await.unwrap();
    }
    let small = cpu_a_call(&mut connection, through, pid, small).await;
    let heavy_length = heavy(0).len();
    let heavy = cpu_a_call(&mut connection, through, pid, heavy).await;
    let spoke = first_words(&mut connection, through).await;
    let (took, events) = megabyte(&mut connection, through).await;
    println!("| what | figure | bound |\n| --- | --- | --- |");
    println!("| CPU of a small call, ms | {small:.2} | |");
    println!(
        "| CPU of a call of {} kB with 200 messages and 60 tools, ms | {heavy:.2} | 5 |",
        heavy_length / 1_000
    );
    println!("| first words of a stream behind the backend's answer, median, ms | {:.2} | 2 |", ms(spoke));
    println!(
        "| an answer of 1 MB as a stream of {events} events, from the backend's to its last, ms | {:.1} | |\n",
        ms(took)
    );
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn small(number: usize) -> Value {
    json!({"model": provider::MODEL, "messages": [{"role": "user", "content": format!("Question {number}")}]})
}

/// 200 messages, tool calls and results among them, and 60 tools of three quarters of a kilobyte.
fn heavy(number: usize) -> Value {
    let words = "the quick brown fox jumps over the lazy dog and says \"hello\"\n";
    let tools: Vec<_> = (0..60)
        .map(|tool| {
            let properties: serde_json::Map<_, _> = (0..6)
                .map(|at| (format!("argument_{at}"), json!({"type": "string", "description": words})))
                .collect();
            json!({"type": "function", "function": {"name": format!("tool_{tool}"), "description": words,
                "parameters": {"type": "object", "properties": properties, "required": ["argument_0"]}}})
        })
        .collect();
    let messages: Vec<_> = (0..200)
        .map(|turn| match turn % 4 {
            0 => json!({"role": "user", "content": format!("{number} {turn} {}", words.repeat(13))}),
            1 => json!({"role": "assistant", "content": null, "tool_calls": [{"id": format!("call_{turn}"),
                "type": "function", "function": {"name": format!("tool_{}", turn % 60),
                "arguments": json!({"argument_0": words.repeat(11)}).to_string()}}]}),
            2 => json!({"role": "tool", "tool_call_id": format!("call_{}", turn - 1), "content": words.repeat(12)}),
            _ => json!({"role": "assistant", "content": words.repeat(12)}),
        })
        .collect();
    json!({"model": provider::MODEL, "messages": messages, "tools": tools})
}

trait Length {
    fn len(&self) -> usize;
}

impl Length for Value {
    fn len(&self) -> usize {
        self.to_string().len()
    }
}

async fn cpu_a_call(
    connection: &mut Connection,
    through: &Target,
    pid: u32,
    body: impl Fn(usize) -> Value,
) -> f64 {
    let bodies: Vec<_> = (0..CALLS).map(body).collect();
    let before = cpu(pid);
    for body in &bodies {
        connection.post(through, body).await.unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "a hundred")]
    let calls = CALLS as f64;
    (cpu(pid) - before) * 1_000.0 / calls
}

/// From the provider's answer to the first words of the stream; the median.
async fn first_words(connection: &mut Connection, through: &Target) -> Duration {
    let mut taken = Vec::new();
    for number in 0..CALLS {
        let body = json!({"model": provider::MODEL, "stream": true,
            "messages": [{"role": "user", "content": format!("{} {number}", provider::CLOCK)}]});
        let arrived = connection.post(through, &body).await.unwrap();
        let answer = connection.said();
        taken.push(arrived.saturating_sub(sent(&answer)));
    }
    taken.sort_unstable();
    taken[CALLS / 2]
}

/// From the provider's answer to the end of the stream, and how many events it has.
async fn megabyte(connection: &mut Connection, through: &Target) -> (Duration, usize) {
    let body = json!({"model": provider::MODEL, "stream": true,
        "messages": [{"role": "user", "content": format!("{} {}", provider::CLOCK, provider::MEGABYTE)}]});
    connection.post(through, &body).await.unwrap();
    let ended = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let answer = connection.said();
    (ended.saturating_sub(sent(&answer)), answer.matches("data: ").count())
}

/// When the provider says that it sent the answer; since the epoch.
fn sent(answer: &str) -> Duration {
    let at = answer.split("\"content\":\"").find_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    });
    Duration::from_nanos(at.unwrap_or_else(|| panic!("no time in the answer")))
}

/// User and system time of a process, seconds.
fn cpu(pid: u32) -> f64 {
    let read = || {
        // Finer than the ticks of /proc/PID/stat: nanoseconds of each thread.
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
            .filter_map(|stat| stat.split(' ').next()?.parse::<f64>().ok())
            .sum::<f64>()
    };
    read() / 1e9
}

impl Connection {
    /// Posts `body`; when the first words of the answer came, since the epoch.
    async fn post(&mut self, target: &Target, body: &Value) -> Result<Duration, String> {
        let begun = Instant::now();
        let request = target.with(&body.to_string());
        let arrived = self.exchange(&request, |so_far| {
            find(so_far, b"\"content\":\"")
                .is_some_and(|at| so_far.get(at + 11).is_some_and(u8::is_ascii_digit))
        });
        let arrived = arrived.await?;
        assert!(begun.elapsed() < Duration::from_secs(60));
        Ok(arrived.duration_since(UNIX_EPOCH).unwrap())
    }
}
