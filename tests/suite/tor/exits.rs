//! Exits that are refused, cut, hold or lie: the call goes another way with the same token and the same bytes.

use super::{ask_all, assert_answers, tornet, wait_for_warm};
use crate::support::front::Manner;
use crate::support::house::Daemon;
use crate::support::tor_world::TorWorld;
use crate::support::tornet::TorNetwork;

/// What a content network says to an exit that it does not like.
const FORBIDDEN: Manner = Manner::Answer { status: 403, kind: "text/html", body: "<h1>Access denied</h1>" };

/// So many calls, and none by one exit of four: once in a hundred thousand runs.
const ENOUGH: usize = 40;

/// One exit that the daemon uses (its guard, of all relays, it never would) is treated so; calls are made until one met
/// it. Every call was answered, and one token paid for each, whatever was repeated.
fn assert_goes_around(network: &TorNetwork, manner: Manner, settings: &[&str]) {
    let mut world = TorWorld::new(network, 1 + ENOUGH);
    // Without warm streams, so that a call itself meets the exit.
    world.set("anonymous.pool=0");
    for setting in settings {
        world.set(*setting);
    }
    let daemon = world.serve(&[]);
    world.front.treat(ask_all(&world, &daemon, &["which way?"])[0].door, manner);
    let mut answers = 1;
    let met = (0..ENOUGH).any(|number| {
        let question = format!("around {number}");
        assert_answers(&daemon.ask(&question), &question);
        answers += 1;
        world.front.connections().iter().any(|connection| connection.manner == manner)
    });
    assert!(met, "no call met an exit that is treated as {manner:?}");
    assert_eq!(world.distinct_payments(), answers);
    let books = world.books();
    books.assert_balanced(answers);
    assert_eq!(books.in_doubt, 0);
    if manner == Manner::WrongCertificate {
        assert_heard_nothing(&world);
    }
}

#[test]
fn an_exit_that_is_refused_with_a_page_is_gone_around() {
    let Some(network) = tornet::using() else { return };
    assert_goes_around(&network, FORBIDDEN, &[]);
}

#[test]
fn an_exit_that_is_told_to_slow_down_or_that_the_service_is_away_is_gone_around() {
    let Some(network) = tornet::using() else { return };
    for (status, body) in [(429, "slow down"), (503, "come back later")] {
        let manner = Manner::Answer { status, kind: "text/plain", body };
        assert_goes_around(&network, manner, &[]);
    }
}

#[test]
fn an_exit_that_cuts_is_gone_around_whenever_it_does_it() {
    let Some(network) = tornet::using() else { return };
    for manner in [Manner::Cut, Manner::CutAfterRequest, Manner::CutInAnswer] {
        assert_goes_around(&network, manner, &[]);
    }
}

#[test]
fn an_exit_that_holds_the_connection_is_gone_around() {
    let Some(network) = tornet::using() else { return };
    assert_goes_around(&network, Manner::Hold, &[]);
    assert_goes_around(&network, Manner::HoldAfterHandshake, &["anonymous.first_byte_seconds=2"]);
}

#[test]
fn an_exit_that_shows_another_certificate_is_gone_around_and_learns_nothing() {
    let Some(network) = tornet::using() else { return };
    assert_goes_around(&network, Manner::WrongCertificate, &[]);
}

#[test]
fn a_certificate_that_is_wrong_at_every_exit_is_reported_and_costs_nothing() {
    let Some(network) = tornet::using() else { return };
    let mut world = TorWorld::new(&network, 1);
    world.set("anonymous.pool=0");
    let daemon = world.serve(&[]);
    world.front.treat_all(Manner::WrongCertificate);
    assert_refuses_certificate(&daemon);
    assert!(world.front.connections().len() >= 2, "one exit is not believed");
    assert_heard_nothing(&world);
    let books = world.books();
    assert_eq!((books.available, books.spent, books.at_backend), (1, 0, 0));

    world.front.treat_all(Manner::Pass);
    assert_answers(&daemon.ask("and now?"), "and now?");
}

#[test]
fn warm_streams_are_made_again_when_the_exits_behave_again() {
    let Some(network) = tornet::using() else { return };
    let world = TorWorld::new(&network, 1);
    world.front.treat_all(Manner::Cut);
    let daemon = world.serve(&[]);
    let tried = tornet::poll(super::SOON, || !world.front.connections().is_empty());
    assert!(tried, "nothing was ever dialled");
    world.front.treat_all(Manner::Pass);
    wait_for_warm(&world);
    assert_answers(&daemon.ask("warm again"), "warm again");
}

fn assert_refuses_certificate(daemon: &Daemon) {
    let reply = daemon.ask("is it you?");
    assert_eq!(reply.status, 502, "{}", reply.body);
    assert_eq!(reply.error_code().as_deref(), Some("backend_certificate_refused"));
    assert_eq!(reply.header("x-should-retry"), Some("false"));
}

fn assert_heard_nothing(world: &TorWorld) {
    for connection in world.front.connections() {
        if connection.manner == Manner::WrongCertificate {
            assert!(connection.request.is_empty() && connection.handshake.is_none());
        }
    }
}
