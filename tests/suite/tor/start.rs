//! Starts: on a network that is not there, that says nothing, that is slow, that was there yesterday.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::breakage::assert_recovers;
use super::{SOON, assert_answers};
use crate::support::house::{Daemon, Reply};
use crate::support::program;
use crate::support::tor_world::{CLIENT, TorWorld};
use crate::support::tornet::{self, TorNetwork};

/// How long calls wait for Tor here, seconds.
const PATIENCE: u64 = 2;

/// What listens at the relays' addresses, at another port than theirs.
enum Double {
    /// Takes connections, and says nothing on them.
    Silent,
    /// Passes on to the relay, after a while.
    Slow(Duration),
}

/// Ends when dropped: from then on connections are refused.
struct Doubles {
    port: u16,
    over: Arc<AtomicBool>,
    addresses: Vec<Ipv4Addr>,
}

impl Doubles {
    fn start(network: &TorNetwork, double: &Double) -> Self {
        let addresses = network.addresses();
        let bind = |port: u16| {
            addresses.iter().map(|ip| TcpListener::bind((*ip, port)).ok()).collect::<Option<Vec<_>>>()
        };
        let (port, listeners) =
            (33_000..60_000).find_map(|port| Some((port, bind(port)?))).expect("a free port");
        let over = Arc::new(AtomicBool::new(false));
        for (listener, ip) in listeners.into_iter().zip(&addresses) {
            let (over, relay) = (Arc::clone(&over), (*ip, network.or_port()));
            let delay = match double {
                Double::Silent => None,
                Double::Slow(delay) => Some(*delay),
            };
            thread::spawn(move || {
                let mut held = Vec::new();
                for stream in listener.incoming().flatten() {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    match delay {
                        None => held.push(stream),
                        Some(delay) => drop(thread::spawn(move || pass(stream, relay, delay))),
                    }
                }
            });
        }
        Self { port, over, addresses }
    }
}

impl Drop for Doubles {
    #[expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for ip in &self.addresses {
            let _ = TcpStream::connect((*ip, self.port));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]
fn pass(client: TcpStream, relay: (Ipv4Addr, u16), delay: Duration) -> Option<()> {
    thread::sleep(delay);
    let server = TcpStream::connect(relay).ok()?;
    let (back_from, back_to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    let back = thread::spawn(move || copy(back_from, back_to));
    copy(client, server);
    back.join().ok()
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

/// A world whose client looks for the relays at another port.
fn world_at(network: &TorNetwork, port: u16) -> TorWorld {
    let mut world = TorWorld::new(network, 3);
    let file = world.write("elsewhere.toml", &network.arti_toml_at(port));
    world.set(format!("tor.arti_config={file}"));
    world.set(format!("tor.bootstrap_seconds={PATIENCE}"));
    world
}

/// A port of the relays' addresses at which nobody listens.
fn closed_port(network: &TorNetwork) -> u16 {
    Doubles::start(network, &Double::Silent).port
}

fn ask(daemon: &Daemon, question: &str) -> (Reply, Duration) {
    let begun = Instant::now();
    let reply = daemon.ask(question);
    (reply, begun.elapsed())
}

/// A call waits as long as it should, and is told why it waited and when to come again. Meanwhile the endpoint answers.
fn assert_not_ready(world: &TorWorld, daemon: &Daemon) {
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask(daemon, "ready?"));
        let begun = Instant::now();
        assert_eq!(daemon.models().status, 200);
        assert!(begun.elapsed() < Duration::from_secs(1), "the endpoint waited for Tor");
        let (reply, waited) = asking.join().unwrap();
        assert_eq!(
            (reply.status, reply.error_code().as_deref()),
            (503, Some("tor_not_ready")),
            "{}",
            reply.body
        );
        let expected = Duration::from_secs(PATIENCE)..Duration::from_secs(PATIENCE + 5);
        assert!(expected.contains(&waited), "after {waited:?}");
        let pause: u64 = reply.header("retry-after").expect("retry-after").parse().unwrap();
        assert!((1..=60).contains(&pause), "{pause}");
        assert_eq!(reply.header("x-should-retry"), Some("true"));
        assert!(reply.error_message().contains("not ready: "), "{}", reply.error_message());
    });
    let tor = world.report(&["status"])["daemon"]["tor"].take();
    assert!(tor["percent"].as_u64() < Some(100) && tor["phase"] != "ready", "{tor}");
    let books = world.books();
    assert_eq!((books.available, books.at_backend), (3, 0));
}

#[test]
fn where_no_relay_can_be_reached_calls_are_told_so_and_the_endpoint_answers_all_the_same() {
    let Some(network) = tornet::using() else { return };
    let world = world_at(&network, closed_port(&network));
    let daemon = world.serve(&[]);
    assert_not_ready(&world, &daemon);
    let mut tor = serde_json::Value::Null;
    let told = tornet::poll(SOON, || {
        tor = world.report(&["status"])["daemon"]["tor"].take();
        tor["phase"] == "blocked"
    });
    assert!(told, "{tor}");
    let blockage = tor["blockage"].as_str().expect("on what it is stuck");
    assert!(blockage.contains("no relay can be reached"), "{blockage}");
    // A call that ends while relays are just being tried again is told so.
    let mut said = String::new();
    let told = tornet::poll(SOON, || {
        said = ask(&daemon, "still?").0.error_message();
        said.contains(blockage)
    });
    assert!(told, "{said}");
}

#[test]
fn relays_that_say_nothing_are_not_waited_for_longer_than_configured() {
    let Some(network) = tornet::using() else { return };
    let doubles = Doubles::start(&network, &Double::Silent);
    let world = world_at(&network, doubles.port);
    let daemon = world.serve(&[]);
    assert_not_ready(&world, &daemon);
    let (reply, _) = ask(&daemon, "still?");
    assert!(reply.error_message().contains("waiting for a relay to answer"), "{}", reply.error_message());
    let tor = world.report(&["status"])["daemon"]["tor"].take();
    assert!(tor["stage"].as_str() == Some("waiting for a relay to answer"), "{tor}");
}

#[test]
fn a_slow_start_is_waited_for_and_the_call_goes_through_in_the_end() {
    let Some(network) = tornet::using() else { return };
    let doubles = Doubles::start(&network, &Double::Slow(Duration::from_secs(PATIENCE + 1)));
    let mut world = world_at(&network, doubles.port);
    {
        let daemon = world.serve(&[]);
        assert_not_ready(&world, &daemon);
    }
    // The same, with more patience, from the start.
    std::fs::remove_dir_all(world.home(CLIENT).join("tor")).unwrap();
    world.set("tor.bootstrap_seconds=30");
    let daemon = world.serve(&[]);
    let (reply, waited) = ask(&daemon, "and now?");
    assert_answers(&reply, "and now?");
    assert!(waited > Duration::from_secs(PATIENCE), "it was not slow: {waited:?}");
}

#[test]
fn a_warm_start_on_a_dead_network_fails_cleanly_and_goes_on_when_the_network_is_back() {
    let Some(network) = tornet::breaking() else { return };
    let mut world = TorWorld::new(&network, 40);
    world.set("tor.bootstrap_seconds=3");
    world.set("anonymous.connect_seconds=4");
    world.set("anonymous.call_seconds=15");
    let mut daemon = world.serve(&[]);
    assert_answers(&daemon.ask("yesterday"), "yesterday");
    assert!(daemon.program.stop().success());
    network.kill_all();

    let daemon = world.serve(&[]);
    for _ in 0..2 {
        let (reply, waited) = ask(&daemon, "today");
        assert_eq!(
            (reply.status, reply.error_code().as_deref()),
            (503, Some("tor_not_ready")),
            "{}",
            reply.body
        );
        assert!(waited < Duration::from_secs(10), "{waited:?}");
        assert_eq!(daemon.models().status, 200);
    }
    let tor = world.report(&["status"])["daemon"]["tor"].take();
    assert!(tor["phase"] != "ready", "{tor}");

    network.mend_all();
    assert_recovers(&daemon);
    world.books().assert_balanced(2);
}

#[test]
fn a_second_daemon_on_the_same_home_is_refused() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 1);
    let daemon = world.serve(&[]);
    let second = program::command(world.room())
        .args(["--home", CLIENT, "serve", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(3), "{}", String::from_utf8_lossy(&second.stderr));
    assert_answers(&daemon.ask("unmoved?"), "unmoved?");
    assert!(tornet::poll(SOON, || world.report(&["status"])["daemon"]["tor"]["phase"] == "ready"));
}
