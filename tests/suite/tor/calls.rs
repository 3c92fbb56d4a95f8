//! Calls that go well: through exits over TLS, and to an onion service.

use super::{assert_answers, next_connection, wait_for_warm};
use crate::support::house::MODEL;
use crate::support::sdk::sdk;
use crate::support::tor_world::TorWorld;
use crate::support::tornet;

#[test]
fn a_call_goes_through_an_exit_that_resolves_the_name_and_over_tls() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 1);
    let daemon = world.serve(&[]);
    assert_answers(&daemon.ask("Is anybody there?"), "Is anybody there?");
    let calls = world.front.calls();
    assert_eq!(calls.len(), 1);
    let exit = network.exit_at(calls[0].door).expect("an exit");
    let asked: Vec<_> = network.resolver().asked();
    let by_exit = |exit: usize| {
        asked
            .iter()
            .any(|question| question.name == world.name() && network.exits().start + question.exit == exit)
    };
    assert!(by_exit(exit), "the exit asked for the name: {asked:?}");
    world.books().assert_balanced(1);
}

#[test]
fn at_no_level_a_log_names_a_target_a_relay_or_what_is_said() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::logging(&network, 2, "trace");
    let mut daemon = world.serve(&[]);
    wait_for_warm(&world);
    let question = "7f3a9c canary of a prompt";
    assert_answers(&daemon.ask(question), question);
    assert!(world.report(&["doctor"])["checks"].is_array());
    daemon.program.stop();

    let log = String::from_utf8(daemon.program.stderr()).unwrap();
    assert!(log.contains(" DEBUG llmtor::"), "it was logged at all:\n{log}");
    let settings = network.arti_toml();
    // Identities and addresses of relays stand between quotation marks there.
    let relays = settings.split('"').skip(1).step_by(2).filter(|word| word.len() > 8);
    let port = format!(":{}", world.front.port());
    for told in relays.chain([world.name(), question, port.as_str()]) {
        assert!(!log.contains(told), "{told}:\n{log}");
    }
}

#[test]
fn the_official_python_package_calls_and_streams_through_tor() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 2);
    let daemon = world.serve(&[]);
    for mode in ["plain", "stream"] {
        let Some(mut command) = sdk("python") else { return };
        let output = command
            .args([mode, MODEL, "through Tor"])
            .env("OPENAI_BASE_URL", &daemon.base_url)
            .env("OPENAI_API_KEY", &daemon.api_key)
            .output()
            .unwrap();
        assert!(output.status.success(), "{mode}: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("You said: through Tor"), "{mode}: {said}");
    }
    assert_eq!(world.front.calls().len(), 2);
    world.books().assert_balanced(2);
}

#[test]
fn a_call_reaches_an_onion_service_without_tls_and_without_an_exit() {
    let Some(network) = tornet::using() else { return };
    let mut world = TorWorld::new(&network, 1);
    let onion = network.onion_service(world.address());
    world.set(format!("backend.anonymous_url=http://{onion}"));
    let daemon = world.serve(&[]);
    assert_answers(&daemon.ask("Down there?"), "Down there?");
    assert_eq!(next_connection(&world), 0, "no exit had a part in it");
    world.books().assert_balanced(1);
}

#[test]
fn a_call_finds_a_warm_stream_and_a_dead_one_is_never_what_it_meets() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 3);
    let daemon = world.serve(&[]);
    wait_for_warm(&world);

    let made = next_connection(&world);
    assert_answers(&daemon.ask("warm"), "warm");
    let served_by = |question: &str| {
        let connections = world.front.connections();
        let said = |request: &[u8]| String::from_utf8_lossy(request).contains(question);
        connections.iter().position(|connection| said(&connection.request)).expect("a call")
    };
    assert!(served_by("warm") < made, "the call came by a connection that had been there before it");

    // The server closes what nothing was said on, as servers do.
    wait_for_warm(&world);
    let made = next_connection(&world);
    world.front.close_idle();
    let closed = tornet::poll(super::SOON, || {
        world.report(&["status"])["daemon"]["warm"] == 0 || next_connection(&world) > made
    });
    assert!(closed, "the daemon never noticed");
    assert_answers(&daemon.ask("after the closing"), "after the closing");
    assert!(served_by("after the closing") >= made, "a stream made after the closing");
    assert_eq!(world.front.calls().len(), 2, "neither call was sent twice");
    world.books().assert_balanced(2);
}
