//! Calls that go well: through exits over TLS, and to an onion service.

use crate::support::tor_world::TorWorld;
use crate::support::tornet;

#[test]
fn a_call_goes_through_an_exit_over_tls() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 1);
    let daemon = world.serve(&[]);
    let reply = daemon.ask("Is anybody there?");
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.body.contains("Is anybody there?"), "{}", reply.body);
    let calls = world.front.calls();
    assert_eq!(calls.len(), 1);
    let exit = network.exit_at(calls[0].door).expect("an exit");
    let asked = network.resolver().asked();
    let question =
        asked.iter().find(|question| question.name == world.name()).expect("a question for the name");
    assert!(network.exits().contains(&exit) && question.kind == 1);
}
