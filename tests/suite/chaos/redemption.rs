//! SIGKILL at every step of a call, one after the other in one home; the same request again; the books.

use std::ops::RangeInclusive;

use llmtor::failpoint::Point;

use super::books::{Books, Expected};
use super::client;
use super::stage::{Stage, await_death};
use crate::support::chaos::Act;

/// How a point is reached.
enum Course {
    /// By a call, if the proxy does this to its connections.
    Call(&'static [Act]),
    /// By a call whose token is in doubt.
    CallAgain,
    /// By a request for two answers, which are afforded before the first.
    CallForTwo,
    /// By a start after a call that was killed, on a vault changed so.
    Start(Option<&'static str>),
    /// By issuing: [`super::issuance`].
    Issuance,
}

/// What the backend says when it looked at the spent state and stored nothing.
const UNSPENT: Act = Act::Refuse("failed to analyze text: not today");
const FORGED: Act = Act::Refuse("invalid token for model gpt-4.1-mini");
const WEEK_AGO: &str = "UPDATE tokens SET presented_at = presented_at - 7 * 86400 WHERE state = 'presented'";

pub(super) fn is_of_issuance(point: Point) -> bool {
    matches!(course(point), Course::Issuance)
}

fn course(point: Point) -> Course {
    match point {
        Point::ReserveWritten
        | Point::ReserveCommitted
        | Point::PresentWritten
        | Point::PresentCommitted
        | Point::SettleWritten
        | Point::SettleCommitted
        | Point::StreamOpened
        | Point::Answered
        | Point::Landing
        | Point::Delivered => Course::Call(&[]),
        Point::ResumeWritten | Point::ResumeCommitted => Course::CallAgain,
        Point::ReleaseWritten | Point::ReleaseCommitted => Course::CallForTwo,
        Point::ReturnWritten | Point::ReturnCommitted => Course::Call(&[UNSPENT]),
        Point::DoubtWritten | Point::DoubtCommitted => {
            Course::Call(&[Act::CutBeforeAnswer, Act::CutBeforeAnswer])
        }
        Point::Repeating => Course::Call(&[Act::CutBeforeAnswer]),
        Point::SetAsideWritten | Point::SetAsideCommitted => Course::Call(&[FORGED]),
        Point::RecoverWritten | Point::RecoverCommitted => Course::Start(None),
        Point::LapseWritten => Course::Start(Some(WEEK_AGO)),
        Point::BeginWritten
        | Point::BeginCommitted
        | Point::RenewWritten
        | Point::RenewCommitted
        | Point::FinalizeWritten
        | Point::FinalizeCommitted
        | Point::AbandonWritten
        | Point::AbandonCommitted
        | Point::WriteOffWritten
        | Point::WriteOffCommitted
        | Point::BeginAbuseWritten
        | Point::BeginAbuseCommitted
        | Point::FinalizeAbuseWritten
        | Point::FinalizeAbuseCommitted
        | Point::LedgerMarked
        | Point::Blinded
        | Point::Signed
        | Point::Verified
        | Point::Judged => Course::Issuance,
    }
}

/// How often the prompt is asked upstream in the end.
fn asked(point: Point) -> RangeInclusive<usize> {
    match point {
        // The refused token and the good one are both in doubt about the prompt. Which one is resumed is not said if they
        // were presented in the same second; and the refused one was good after all.
        Point::SetAsideWritten => 1..=2,
        // Seven days later the backend is taken to have forgotten, and the prompt is paid for anew.
        Point::LapseWritten
        // Two answers were ordered.
        | Point::ReleaseWritten
        | Point::ReleaseCommitted => 2..=2,
        _ => 1..=1,
    }
}

#[test]
fn a_daemon_killed_at_any_step_of_a_call_loses_nothing_and_the_same_request_gets_its_answer() {
    let stage = Stage::set(60, 60);
    let mut expected = Expected::default();
    // Two tries and no more, so that a doubt is reached at once.
    let serving = ["--set", "anonymous.attempts=2"];
    for point in Point::ALL.iter().copied().filter(|point| !is_of_issuance(*point)) {
        let name = point.name();
        let canary = format!("killed at {name}");
        let mut body: serde_json::Value = serde_json::from_str(&client::prompt(&canary)).unwrap();
        let armed = format!("{name}=return");
        let before = match course(point) {
            Course::CallAgain | Course::Start(_) => Some("redeem.answered=return"),
            _ => None,
        };
        if matches!(course(point), Course::CallForTwo) {
            body["n"] = 2.into();
        }
        let body = body.to_string();
        let call = |failpoints: &str| {
            let mut daemon = stage.serve(failpoints, &serving);
            let reply = client::post(daemon.at, &daemon.key, 0, &body);
            await_death(&mut daemon.program, failpoints);
            reply.ok().and_then(|reply| reply.texts())
        };
        if let Some(before) = before {
            assert_eq!(call(before), None, "{name}");
        }
        let answered = match course(point) {
            Course::Call(acts) => {
                stage.chaos.script(acts);
                call(&armed)
            }
            Course::CallAgain | Course::CallForTwo => call(&armed),
            Course::Start(change) => {
                if let Some(change) = change {
                    stage.meddle(change);
                }
                await_death(&mut stage.start(&armed, &[]), name);
                None
            }
            Course::Issuance => unreachable!("filtered out above"),
        };
        // Who has the whole answer asks no more.
        let texts = answered.unwrap_or_else(|| stage.must_answer(&body));
        assert!(
            !texts.is_empty() && texts.iter().all(|text| *text == client::echo(&canary)),
            "{name}: {texts:?}"
        );
        expected.asked.insert(canary, asked(point));
        expected.maybe_spent += u64::from(point == Point::LapseWritten);
    }
    Books::balance(stage, expected);
}
