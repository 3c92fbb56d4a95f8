//! What the far end, and the relays, see of calls: which of them share a circuit.

use std::collections::BTreeSet;

use super::{ask_all, next_connection, wait_for_warm};
use crate::support::house::MODEL;
use crate::support::tor_world::{CLIENT, TorWorld};
use crate::support::tornet;
use tokio_rustls::rustls::HandshakeKind;

const CALLS: usize = 20;

/// Twenty questions, no two alike.
fn questions() -> Vec<String> {
    (0..CALLS).map(|number| format!("question {number}")).collect()
}

#[test]
fn twenty_calls_are_twenty_circuits_connections_and_full_handshakes_by_several_exits() {
    // Alone on the network, so that nobody else's circuits are counted.
    let Some(network) = tornet::breaking() else { return };
    let mut world = TorWorld::new(&network, CALLS);
    world.set("anonymous.pool=0");
    // Before the daemon is there: a circuit that it keeps ahead of need may be the first call's.
    let before = network.client_circuits();
    let daemon = world.serve(&[]);
    let questions = questions();
    let calls = ask_all(&world, &daemon, &questions.iter().map(String::as_str).collect::<Vec<_>>());
    let circuits = network.client_circuits() - before;

    assert_eq!((calls.len(), next_connection(&world)), (CALLS, CALLS), "a connection a call");
    assert!(circuits >= CALLS, "{circuits} circuits for {CALLS} calls");
    for call in &calls {
        let kind = call.handshake.expect("a handshake");
        assert!(matches!(kind, HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest), "{kind:?}");
    }
    let exits: BTreeSet<_> = calls.iter().map(|call| network.exit_at(call.door).expect("an exit")).collect();
    assert!(exits.len() >= 2, "all by one exit");
    let lengths: BTreeSet<_> = calls.iter().map(|call| call.request.len()).collect();
    assert_eq!(lengths.len(), 1, "calls of one size look alike");
    world.books().assert_balanced(CALLS);
}

#[test]
fn with_a_shared_circuit_all_calls_come_by_one_exit_and_still_no_session_is_resumed() {
    let Some(network) = tornet::breaking() else { return };
    let world = TorWorld::new(&network, CALLS);
    let daemon = world.serve(&["--isolation", "shared"]);
    let questions = questions();
    // The first builds the circuit.
    ask_all(&world, &daemon, &[&questions[0]]);
    let before = network.client_circuits();
    ask_all(&world, &daemon, &questions[1..].iter().map(String::as_str).collect::<Vec<_>>());
    let circuits = network.client_circuits().saturating_sub(before);

    // Arti keeps a few ahead of need, whatever we do.
    assert!(circuits < CALLS / 3, "{circuits} new circuits");
    let connections = world.front.connections();
    assert_eq!(connections.len(), CALLS);
    let doors: BTreeSet<_> = connections.iter().map(|connection| connection.door).collect();
    assert_eq!(doors.len(), 1, "{doors:?}");
    assert!(connections.iter().all(|connection| connection.handshake != Some(HandshakeKind::Resumed)));
}

#[test]
fn per_conversation_the_calls_that_begin_alike_share_an_exit_and_others_do_not() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, CALLS);
    let daemon = world.serve(&["--isolation", "per-conversation"]);
    let mut doors = BTreeSet::new();
    for topic in ["cats", "dogs", "birds", "fish", "bees", "ants"] {
        let before = world.front.calls().len();
        let mut history = vec![serde_json::json!({ "role": "user", "content": topic })];
        for turn in 0..3 {
            let body = serde_json::json!({ "model": MODEL, "messages": history });
            let reply = daemon.post_chat(&[], &body.to_string());
            assert_eq!(reply.status, 200, "{}", reply.body);
            history.push(serde_json::json!({ "role": "assistant", "content": "Indeed." }));
            history.push(serde_json::json!({ "role": "user", "content": format!("more {turn}") }));
        }
        let calls = world.front.calls().split_off(before);
        let of_topic: BTreeSet<_> = calls.iter().map(|call| call.door).collect();
        assert_eq!((calls.len(), of_topic.len()), (3, 1), "{topic}: {of_topic:?}");
        doors.extend(of_topic);
    }
    assert!(doors.len() >= 2, "six conversations, and all by one exit");
}

#[test]
fn a_new_identity_leaves_the_circuits_and_what_waits_on_them_behind() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 40);

    // Warm streams are dropped: the far end sees them end, and none of them serves a call.
    let daemon = world.serve(&[]);
    wait_for_warm(&world);
    let made = next_connection(&world);
    let report = world.report(&["tor", "new-identity"]);
    assert!(report["dropped"].as_u64() > Some(0), "{report}");
    ask_all(&world, &daemon, &["afterwards"]);
    let by = world.front.connections().iter().position(|connection| !connection.request.is_empty());
    assert!(by >= Some(made), "the call came by a stream of the identity before");
    drop(daemon);

    // A shared circuit is left: another exit after a few tries at the latest.
    let daemon = world.serve(&["--isolation", "shared"]);
    let mut doors = BTreeSet::new();
    let changed = (0..30).any(|number| {
        doors.insert(ask_all(&world, &daemon, &[&format!("identity {number}")])[0].door);
        world.client(CLIENT, &["tor", "new-identity"], "");
        doors.len() >= 2
    });
    assert!(changed, "always the same exit");
}
