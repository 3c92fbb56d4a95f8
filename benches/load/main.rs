//! What the daemon costs: a fixed-answer provider, a load generator and the figures of `BENCHMARKS.md`.
//!
//! `benches/run.sh` runs all of it. By hand:
//!
//! ```text
//! cargo bench --bench load -- daemon --program target/release/llmtor
//! cargo bench --bench load -- provider
//! cargo bench --bench load -- peer NAME http://127.0.0.1:8787/v1 PID http://127.0.0.1:PROVIDER [header:value]...
//! cargo bench --bench load -- blind
//! ```
//!
//! Generator, provider and the program under test are three processes on one machine. Calls direct to the
//! provider and calls through the program alternate in rounds, so that a drift of the machine hits both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a measurement that cannot go on has nothing better to do than stop and say so"
)]

mod client;
mod daemon;
mod heavy;
mod measure;
mod provider;

use std::time::Instant;

use llmtor::blind::{BlindSignature, PublicKey, TokenMessage};

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["provider"] => runtime().block_on(provider::serve()),
        ["daemon", "--program", program] => daemon::measure(program),
        ["peer", name, url, pid, provider, headers @ ..] => {
            runtime().block_on(measure::peer(name, url, pid.parse().unwrap(), provider, headers));
        }
        ["blind"] => blind(),
        _ => eprintln!("usage: see the head of benches/load/main.rs, or run benches/run.sh"),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The client's work for one token, on one core: blinding, in batches as a mint's worker does it on two cores, and
/// finalizing with its verification.
fn blind() {
    const ROUNDS: u32 = 20;
    const BATCH: u32 = 16;
    let signer = provider::key_pair();
    let key = PublicKey::from_spki_pem(&provider::spki_pem(&signer)).unwrap();
    let mut rng = rand::rng();
    let mut total = std::time::Duration::ZERO;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let messages: Vec<_> = (0..BATCH).map(|_| TokenMessage::credit(&mut rng)).collect();
        let blindings = key.blind_batch(&mut rng, &messages).unwrap();
        total += started.elapsed();
        for (blinding, message) in blindings.iter().zip(&messages) {
            let signature = signer.sk.blind_sign(blinding.blinded.as_bytes()).unwrap();
            let signature = BlindSignature::from_bytes(signature.0);
            let started = Instant::now();
            key.finalize(&signature, &blinding.secret, message).unwrap();
            total += started.elapsed();
        }
    }
    println!("{:.3}", total.as_secs_f64() * 1_000.0 / f64::from(ROUNDS * BATCH));
}
