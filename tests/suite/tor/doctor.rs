//! `llmtor doctor` where the way out is Tor.

use std::time::Duration;

use serde_json::Value;

use crate::support::front::Manner;
use crate::support::program;
use crate::support::tor_world::{CLIENT, TorWorld};
use crate::support::tornet;

fn examine(world: &TorWorld) -> (Option<i32>, Value) {
    let arguments = ["--home", CLIENT, "--json", "doctor"];
    let output = program::command(world.room()).args(arguments).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

#[test]
fn the_backend_is_looked_for_through_tor_and_not_a_word_is_said_to_it() {
    let Some(network) = tornet::using() else { return };
    let mut world = TorWorld::new(&network, 1);
    // What was warmed before would be taken in place of a fresh stream.
    world.set("anonymous.pool=0");
    let _daemon = world.serve(&[]);
    let (code, report) = examine(&world);
    assert_eq!(code, Some(0), "{report}");
    for name in ["home", "settings", "keys", "vault", "abuse", "session", "clock", "tor", "backend"] {
        assert_eq!(check(&report, name)["verdict"], "ok", "{report}");
    }
    assert!(
        check(&report, "clock")["detail"].as_str().unwrap().contains("Tor's directory is valid"),
        "{report}"
    );
    let shaken = || world.front.connections().iter().all(|connection| connection.handshake.is_some());
    assert!(tornet::poll(Duration::from_secs(10), shaken), "no handshake");
    let connections = world.front.connections();
    assert_eq!(connections.len(), 1, "one stream");
    assert!(connections[0].request.is_empty(), "something was said");
    assert!(network.exit_at(connections[0].door).is_some());

    world.front.treat_all(Manner::WrongCertificate);
    let (code, report) = examine(&world);
    assert_eq!(code, Some(5), "{report}");
    let backend = check(&report, "backend");
    assert!(backend["detail"].as_str().unwrap().contains("certificate"), "{report}");
    assert!(backend["advice"].as_str().unwrap().contains("tls.extra_roots"), "{report}");
    world.front.treat_all(Manner::Cut);
    assert_eq!(examine(&world).0, Some(5));
    assert!(world.front.calls().is_empty(), "something was said");
}
