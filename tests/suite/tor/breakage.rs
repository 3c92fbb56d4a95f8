//! Relays that end, stand still and come back while calls are under way: every call succeeds or fails cleanly, and
//! no token is lost or spent twice.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::{SOON, ask_all, assert_answers};
use crate::support::front::Manner;
use crate::support::house::{Daemon, Reply};
use crate::support::tor_world::TorWorld;
use crate::support::tornet::{self, Breaking};

/// In flight at once.
const CALLS: usize = 16;
/// The longest that one call may take here, seconds.
const CALL: u64 = 20;
/// How long a client may take to find its way again when the network is back: one that was begun anew in vain is left
/// alone for twenty seconds.
const BACK_WITHIN: Duration = Duration::from_secs(45);

fn world(network: &Breaking, tokens: usize) -> TorWorld {
    let mut world = TorWorld::new(network, tokens);
    for setting in [&format!("anonymous.call_seconds={CALL}"), "anonymous.connect_seconds=10"] {
        world.set(setting);
    }
    world
}

/// So many ask at once, each so often; meanwhile `disturb`. The replies, each with its question.
fn ask_under(daemon: &Daemon, turns: usize, disturb: impl FnOnce()) -> Vec<(String, Reply)> {
    let start = Barrier::new(CALLS + 1);
    thread::scope(|scope| {
        let askers: Vec<_> = (0..CALLS)
            .map(|asker| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let ask = |turn: usize| {
                        let question = format!("asker {asker} turn {turn}.");
                        let begun = Instant::now();
                        let reply = daemon.ask(&question);
                        assert!(
                            begun.elapsed() < Duration::from_secs(CALL + 10),
                            "a call outlived its deadline"
                        );
                        (question, reply)
                    };
                    (0..turns).map(ask).collect::<Vec<_>>()
                })
            })
            .collect();
        start.wait();
        disturb();
        askers.into_iter().flat_map(|asker| asker.join().unwrap()).collect()
    })
}

/// How many were answered. Panics unless each was, or was told in OpenAI's words why not.
fn count_answers(replies: &[(String, Reply)]) -> usize {
    let mut answers = 0;
    for (question, reply) in replies {
        if reply.status == 200 {
            assert_answers(reply, question);
            answers += 1;
        } else {
            assert!(reply.error_code().is_some(), "no error of OpenAI's: {}", reply.body);
            assert!((500..=504).contains(&reply.status), "{} {}", reply.status, reply.body);
        }
    }
    eprintln!("{answers} of {} calls were answered", replies.len());
    answers
}

/// The daemon finds its way again, without a restart.
pub(super) fn assert_recovers(daemon: &Daemon) {
    let begun = Instant::now();
    let mut last = String::new();
    let back = tornet::poll(BACK_WITHIN, || {
        let reply = daemon.ask(&format!("back after {} ms?", begun.elapsed().as_millis()));
        last = reply.body;
        reply.status == 200
    });
    assert!(back, "{last}");
    eprintln!("the daemon was back after {:.1} s", begun.elapsed().as_secs_f32());
}

fn assert_books(world: &TorWorld, answers: usize) {
    world.distinct_payments();
    world.books().assert_balanced(answers);
}

#[test]
fn two_relays_killed_under_load_cost_no_token_and_no_call_its_dignity() {
    let Some(network) = tornet::breaking() else { return };
    let world = world(&network, 3 * CALLS);
    let daemon = world.serve(&[]);
    ask_all(&world, &daemon, &["up?"]);
    let exits = network.exits();
    let mut under_way = 0;
    let replies = ask_under(&daemon, 2, || {
        assert!(tornet::poll(SOON, || world.front.calls().len() > 4), "no load");
        network.kill(exits.start);
        network.kill(exits.start + 1);
        under_way = world.front.calls().len();
    });
    assert!(under_way < 2 * CALLS, "the load was over before the relays ended");
    let answers = count_answers(&replies);
    assert!(
        answers >= CALLS / 2,
        "{answers} of {} calls were answered by the exits that were left",
        2 * CALLS
    );
    assert_books(&world, 1 + answers);
}

#[test]
fn an_exit_killed_in_mid_answer_is_gone_around_and_the_kept_answer_fetched() {
    let Some(network) = tornet::breaking() else { return };
    let world = world(&network, 1);
    let daemon = world.serve(&[]);
    world.front.treat_all(Manner::PauseInAnswer);
    let reply = thread::scope(|scope| {
        let asking = scope.spawn(|| daemon.ask("half an answer"));
        let paused = || world.front.connections().into_iter().find(|connection| connection.paused);
        assert!(tornet::poll(SOON, || paused().is_some()), "no answer was begun");
        let exit = network.exit_at(paused().unwrap().door).unwrap();
        world.front.treat_all(Manner::Pass);
        network.kill(exit);
        asking.join().unwrap()
    });
    assert_answers(&reply, "half an answer");
    assert!(world.front.calls().len() >= 2, "it was asked for again");
    assert_eq!(world.distinct_payments(), 1, "with the same token and the same bytes");
    let books = world.books();
    assert_eq!((books.spent, books.at_backend, books.in_doubt), (1, 1, 0));
}

#[test]
fn when_all_relays_stand_still_calls_fail_cleanly_and_succeed_again_when_they_go_on() {
    let Some(network) = tornet::breaking() else { return };
    let world = world(&network, 4 * CALLS);
    let daemon = world.serve(&[]);
    ask_all(&world, &daemon, &["up?"]);
    let replies = ask_under(&daemon, 1, || network.relays().for_each(|relay| network.stop(relay)));
    let answers = count_answers(&replies);
    assert!(answers < replies.len(), "nothing failed, so nothing was tested");
    network.mend_all();
    assert_recovers(&daemon);
    assert_books(&world, 1 + answers + 1);
}

#[test]
fn when_all_relays_end_and_others_start_in_their_place_the_daemon_goes_on() {
    let Some(network) = tornet::breaking() else { return };
    let world = world(&network, 4 * CALLS);
    let daemon = world.serve(&[]);
    ask_all(&world, &daemon, &["up?"]);
    let replies = ask_under(&daemon, 1, || network.kill_all());
    let answers = count_answers(&replies);
    assert!(answers < replies.len(), "nothing failed, so nothing was tested");
    network.mend_all();
    assert_recovers(&daemon);
    assert_books(&world, 1 + answers + 1);
}
