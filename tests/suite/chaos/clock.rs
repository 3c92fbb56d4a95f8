//! A clock that is set back and forth between one start and the next, while the backend's goes on.

use llmtor::failpoint::Point;

use super::books::{Books, Expected, held, lost};
use super::client;
use super::stage::{Stage, await_death};

const HOUR: i64 = 3600;
/// After which a token is in doubt no longer.
const TERM: i64 = 6 * 24 * HOUR;
/// Where the clock stands when a call is begun, and when the same request comes again: seconds from the right time.
const JUMPS: [[i64; 2]; 5] =
    [[0, HOUR], [HOUR, -HOUR], [-HOUR, 0], [-400 * 24 * HOUR, 0], [0, -400 * 24 * HOUR]];

fn clock(shift: i64) -> String {
    format!("clock=return({shift})")
}

#[test]
fn a_clock_that_jumps_costs_no_token_and_shows_no_other_prompts_answer() {
    let stage = Stage::set(20, 20);
    // Or a clock that is set back makes them wait.
    stage.meddle("UPDATE tokens SET not_before = 0");
    let mut expected = Expected::default();
    for (round, [begun, again]) in JUMPS.into_iter().enumerate() {
        let canary = format!("jump {round}");
        let body = client::prompt(&canary);
        let failpoints = format!("{};{}=return", clock(begun), Point::Answered.name());
        let mut daemon = stage.serve(&failpoints, &[]);
        assert!(client::post(daemon.at, &daemon.key, 0, &body).is_err());
        await_death(&mut daemon.program, &failpoints);

        let mut daemon = stage.serve(&clock(again), &[]);
        // Seen from there the doubt is past its term: the prompt is paid for anew, and its token is maybe spent.
        let lapsed = again - begun >= TERM;
        expected.maybe_spent += u64::from(lapsed);
        let times = if lapsed { 2..=2 } else { 1..=1 };
        // Another prompt first: it must not be given the answer that is waiting.
        for (canary, times) in [(format!("another after jump {round}"), 1..=1), (canary, times)] {
            let reply = client::post(daemon.at, &daemon.key, 1, &client::prompt(&canary)).unwrap();
            assert_eq!(reply.texts(), Some(vec![client::echo(&canary)]), "{}", reply.body);
            expected.asked.insert(canary, times);
        }
        // In peace: an answer that is not written down as delivered would be long in doubt by the next clock.
        assert!(daemon.program.stop().success());
    }
    Books::balance(stage, expected);
}

#[test]
fn a_clock_that_jumps_while_an_issuance_is_unanswered_costs_a_credit_that_is_written_down() {
    let stage = Stage::set(20, 1);
    let mut expected = Expected::default();
    for jump in [HOUR, -HOUR] {
        stage.die_minting("1", "issuance.signed=return");
        // It cannot be told whether the backend still remembers; a second debit would be silent, this one is not.
        assert!(stage.mint("1", &clock(jump)).status.success());
        expected.lost += 1;
        assert_eq!((held(&stage, "blinded"), lost(&stage)), (0, expected.lost));
    }
    Books::balance(stage, expected);
}
