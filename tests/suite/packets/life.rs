//! The whole life of a client under capture: start, bootstrap, login, mint, calls, Tor dead, Tor back, the backend dead, stop.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::capture::Capture;
use super::judge::{Contact, judge};
use super::namespace::WAY_OUT;
use super::world::{Daemon, PROMPT, Wanted, World, v4};
use crate::support::program::SHIPPED;

const TOKENS: usize = 10;
/// How many calls are answered; each has a connection of its own to the backend.
const ANSWERS: usize = 4;
/// How long calls may fail after the network is back: Arti looks at relays that it found dead after 30 s, and after a
/// random time up to three times as long if they still are.
const BACK_WITHIN: Duration = Duration::from_secs(150);

#[test]
fn from_start_to_stop_nothing_leaves_but_through_tor_and_to_the_identity_plane_in_its_time() {
    let Some(mut world) = World::open(TOKENS) else { return };
    assert_eq!(world.namespace.interfaces(), ["lo", WAY_OUT]);
    let room = world.house.room().to_owned();
    let outside = Capture::start(&world.namespace, WAY_OUT, &room);
    let inside = Capture::start(&world.namespace, "lo", &room);
    let begun = Instant::now();
    let told = |what: &str| eprintln!("{:5.1} s: {what}", begun.elapsed().as_secs_f32());

    world.init();
    let mut daemon = world.serve(Path::new(SHIPPED), &[]);
    told("the daemon runs");
    let times = world.login_and_mint(TOKENS);
    told("minted");
    daemon.answers("whole", Wanted::Whole);
    daemon.answers("streamed", Wanted::Streamed);
    told("answered");

    world.network.kill_all();
    let refused = |daemon: &Daemon, prompt: &str| {
        let (status, body) = daemon.call(prompt, Wanted::Whole);
        assert!((500..=599).contains(&status), "{prompt}: {status} {body}");
    };
    thread::scope(|scope| {
        for prompt in ["without Tor", "without Tor, another"] {
            let (daemon, refused) = (&daemon, &refused);
            scope.spawn(move || refused(daemon, prompt));
        }
    });
    told("refused without Tor");
    world.network.mend_all();
    let back = Instant::now();
    for wanted in [Wanted::Whole, Wanted::Streamed] {
        while let Err(refusal) = daemon.asks("with Tor again", wanted) {
            assert!(refusal.contains("\"error\""), "neither an answer nor a refusal: {refusal}");
            assert!(back.elapsed() < BACK_WITHIN, "no answer since Tor is back: {refusal}");
        }
    }
    told("answered with Tor again");

    let redemptions = world.backend.take().expect("it runs").connections();
    assert!(world.house.backend.stop().success());
    refused(&daemon, "without a backend");
    told("refused without a backend");
    assert!(daemon.program.stop().success());
    let (outside, inside) = (outside.finish(), inside.finish());
    told("stopped");

    let report = judge(&outside, &world.allowed(vec![times]));
    assert!(report.verdicts.is_empty(), "{:#?}", report.verdicts);
    // It saw what there was to see.
    let relays = world.network.relay_sockets();
    let (identity, anonymous) = (world.identity_socket(), world.backend_socket());
    let of_relays = |count: fn(&Contact) -> usize| -> usize {
        relays.iter().filter_map(|relay| report.contacts.get(relay)).map(count).sum()
    };
    assert!(of_relays(|contact| contact.connections) >= 2, "before and after Tor was dead");
    assert!(of_relays(|contact| contact.up) > PROMPT.len() * ANSWERS);
    assert!(of_relays(|contact| contact.down) > PROMPT.len() * ANSWERS);
    assert!(report.contacts[&identity].connections >= 1);
    assert!(!report.contacts.contains_key(&anonymous));
    let home = daemon.allowed_at_home();
    let at_home = judge(&inside, &home);
    assert!(at_home.verdicts.is_empty(), "{:#?}", at_home.verdicts);
    assert_eq!(at_home.contacts[&home.services[0].at].connections, daemon.calls());

    // The exits asked for the backend's name, and nobody else did.
    let asked: Vec<_> = world.resolver.asked().into_iter().filter(|asked| asked.name == world.name).collect();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|asked| v4(asked.source).ip() != &world.namespace.client()), "{asked:?}");

    // The planes, as the backend's fronts see them.
    let redeemed: BTreeSet<_> = redemptions.iter().map(|connection| connection.source).collect();
    let known: BTreeSet<_> =
        world.identity.connections().iter().map(|connection| connection.source).collect();
    assert!(!known.is_empty() && redeemed.len() >= ANSWERS, "{known:?} {redeemed:?}");
    assert!(known.is_disjoint(&redeemed));
    assert!(known.iter().all(|source| *v4(*source).ip() == world.namespace.client()));
    let exits: Vec<_> = relays[world.network.exits()].iter().map(|relay| *relay.ip()).collect();
    assert!(redeemed.iter().all(|source| exits.contains(v4(*source).ip())), "{redeemed:?}");
    eprintln!("{} packets outside, {} inside, all judged", outside.len(), inside.len());
}
