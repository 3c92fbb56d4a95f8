//! The way through Tor: the real daemon on a private network of real relays (Debian's `tor`; see `support::tornet`).

mod breakage;
mod bridges;
mod calls;
mod doctor;
mod exits;
mod hosting;
mod identity;
mod isolation;
mod life;
mod pause;
mod pictures;
mod socks;
mod speed;
mod start;

use std::time::Duration;

use super::support::front::Connection;
use super::support::house::{Daemon, Reply};
use super::support::tor_world::TorWorld;
use super::support::tornet;

/// How long a daemon may take to something that takes it a second.
const SOON: Duration = Duration::from_secs(20);

/// Panics unless the reply is the answer to this question.
fn assert_answers(reply: &Reply, question: &str) {
    assert_eq!(reply.status, 200, "{}\n{}", reply.head, reply.body);
    assert!(reply.body.contains(&format!("You said: {question}")), "{}", reply.body);
}

/// Waits until the daemon keeps at least one stream warm.
fn wait_for_warm(world: &TorWorld) {
    let warm = tornet::poll(SOON, || world.report(&["status"])["daemon"]["warm"].as_u64() > Some(0));
    assert!(warm, "{}", world.report(&["status"]));
}

/// Which of the front's connections is the next.
fn next_connection(world: &TorWorld) -> usize {
    world.front.connections().len()
}

/// Asks one after the other; the connections that the questions came by.
fn ask_all(world: &TorWorld, daemon: &Daemon, questions: &[&str]) -> Vec<Connection> {
    let before = world.front.calls().len();
    for question in questions {
        assert_answers(&daemon.ask(question), question);
    }
    world.front.calls().split_off(before)
}
