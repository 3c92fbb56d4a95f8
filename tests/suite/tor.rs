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

/// Arti's settings for a network that is not there: one address of this machine where nobody listens.
const NOWHERE: &str = "\
[tor_network.authorities]
v3idents = [\"0123456789ABCDEF0123456789ABCDEF01234567\"]
uploads = [[\"127.0.0.9:1\"]]
downloads = [[\"127.0.0.9:1\"]]
votes = [[\"127.0.0.9:1\"]]
[[tor_network.fallback_caches]]
rsa_identity = \"0123456789ABCDEF0123456789ABCDEF01234567\"
ed_identity = \"Ag/Gc4vnZ9rLgcq3vRzLhD7aRWq2SKMMxmLRqxQSdH0\"
orports = [\"127.0.0.9:1\"]
";

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
