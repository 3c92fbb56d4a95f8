//! Tokens in doubt: the same request resumes them with the same bytes, nothing else touches them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use llmtor::anonymous::redeem::{RedeemErrorKind, TokenFate};
use llmtor::vault::AbuseKind;
use llmtor::wire::redemption::Epoch;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{Bench, START, rotate_abuse, settings};
use crate::support::scripted::{Act, Scripted, completion};

const DAY: i64 = 24 * 3600;

fn outage() -> Vec<Act> {
    vec![Act::text(502, "bad gateway"); 4]
}

#[tokio::test]
async fn after_silence_the_same_bytes_go_out_on_a_fresh_stream() {
    let acts = vec![Act::Raw(Vec::new()), Act::text(503, "busy"), Act::Hang, Act::completion("at last")];
    let bench = Bench::new(2, Scripted::playing(acts).await).await;
    assert_eq!(bench.ask("hello").await.unwrap(), completion("at last"));
    bench.expect_stock("one token for four attempts", [1, 0, 0, 1]).await;
    let seen = bench.backend.seen();
    assert_eq!(seen.len(), 4);
    for pair in seen.windows(2) {
        assert!(pair[0].head == pair[1].head && pair[0].body == pair[1].body);
        assert_ne!(pair[0].from, pair[1].from);
    }
}

#[tokio::test]
async fn the_same_request_resumes_and_another_does_not() {
    let acts = [outage(), vec![Act::completion("other"), Act::completion("same")]].concat();
    let bench = Bench::new(3, Scripted::playing(acts).await).await;
    let error = bench.ask("first").await.unwrap_err();
    assert_eq!(error.token(), TokenFate::InDoubt);
    bench.ask("second").await.unwrap();
    bench.ask("first").await.unwrap();
    let seen = bench.backend.seen();
    assert_ne!(seen[0].token(), seen[4].token());
    assert!(seen[0].body == seen[5].body);
    bench.expect_stock("one token each", [1, 0, 0, 2]).await;
}

#[tokio::test]
async fn after_a_restart_and_a_rotation_the_same_bytes_go_out() {
    let gate = Arc::new(Semaphore::new(0));
    let bench = Bench::new(2, Scripted::playing(vec![Act::Hang.after(&gate)]).await).await;
    let redeemer = Arc::clone(&bench.redeemer);
    let call =
        tokio::spawn(async move { redeemer.redeem(super::prompt("hello"), super::first()).await.map(drop) });
    bench.backend.wait_for(1).await;
    let first = bench.backend.seen().remove(0);
    // The vault goes away under the call, as when the process dies.
    let bench = bench.restart(Scripted::playing(vec![Act::completion("stored")]).await).await;
    assert!(call.await.unwrap().is_err());
    assert_eq!(bench.stock().await.in_doubt, 1);
    bench.clock.advance(DAY);
    rotate_abuse(
        &bench.vault,
        AbuseKind::Transient(Epoch::from_number(Epoch::at(START.unix()).number() + 1)),
    )
    .await;
    bench.ask("hello").await.unwrap();
    assert!(bench.backend.seen()[0].body == first.body);
    bench.expect_stock("resumed", [1, 0, 0, 1]).await;
}

#[tokio::test]
async fn a_refusal_after_silence_does_not_free_the_token() {
    for act in [
        Act::data(&json!({"size_limit_exceeded": true})),
        Act::refusal("no auth manager for intended model"),
        Act::refusal("failed to analyze text: down"),
        Act::json(400, &json!({"status": "Invalid request."})),
        Act::refusal("invalid token for model gpt-4.1"),
    ] {
        // In the same call, and in a later one.
        for outage in [vec![Act::text(502, "")], outage()] {
            let bench = Bench::new(2, Scripted::playing([outage, vec![act.clone()]].concat()).await).await;
            let mut error = bench.ask("hello").await.unwrap_err();
            if bench.backend.seen().len() == 4 {
                error = bench.ask("hello").await.unwrap_err();
            }
            assert_eq!(error.token(), TokenFate::InDoubt, "{error:?}");
            bench.expect_stock("refused after silence", [1, 1, 0, 0]).await;
        }
    }
}

/// An abuse token that is refused once is refused for ever, for the token that went with it; not for the next one.
#[tokio::test]
async fn a_token_in_doubt_whose_abuse_tokens_are_refused_is_left_alone_and_another_pays() {
    for flag in ["abuse_token_expired", "abuse_token_blacklisted", "abuse_token_invalid"] {
        let refusal = Act::data(&json!({ flag: true }));
        // In the call that it was drawn for, it is the only one.
        let acts = vec![Act::text(502, ""), refusal.clone()];
        let bench = Bench::new(2, Scripted::playing(acts).await).await;
        assert_eq!(bench.ask("hello").await.unwrap_err().token(), TokenFate::InDoubt);
        bench.expect_stock("refused after silence", [1, 1, 0, 0]).await;

        // In a later one the next pays, and the first stays in doubt about its own request.
        let acts = [outage(), vec![refusal.clone(), Act::completion("fine")]].concat();
        let bench = Bench::new(2, Scripted::playing(acts).await).await;
        bench.ask("hello").await.unwrap_err();
        assert_eq!(bench.ask("hello").await.unwrap(), completion("fine"));
        bench.expect_stock("paid by another", [0, 1, 0, 1]).await;
        let seen = bench.backend.seen();
        assert!(seen[0].body == seen[4].body && seen[4].token() != seen[5].token());

        // Each that is in doubt about the request is asked about once; if none is left, the refusal is what is told.
        let acts = [outage(), outage(), vec![refusal.clone(), refusal.clone()]].concat();
        let bench = Bench::new(2, Scripted::playing(acts).await).await;
        let (one, two) = tokio::join!(bench.ask("hello"), bench.ask("hello"));
        assert!(one.is_err() && two.is_err());
        bench.expect_stock("both in doubt", [0, 2, 0, 0]).await;
        let error = bench.ask("hello").await.unwrap_err();
        assert_eq!(error.token(), TokenFate::InDoubt);
        assert!(error.to_string().contains("abuse"), "{error}");
        bench.expect_stock("both in doubt", [0, 2, 0, 0]).await;
        let seen = bench.backend.seen();
        assert_eq!(seen.len(), 10);
        assert_ne!(seen[8].token(), seen[9].token());
    }
}

#[tokio::test]
async fn a_request_in_doubt_is_answered_after_the_month_has_turned() {
    let acts = [outage(), vec![Act::completion("fine")]].concat();
    let bench = Bench::new(2, Scripted::playing(acts).await).await;
    // A day before the month's end (START is the 15th of January).
    bench.clock.advance(16 * DAY);
    bench.ask("hello").await.unwrap_err();
    bench.clock.advance(DAY);
    let next = Epoch::from_number(Epoch::at(START.unix()).number() + 1);
    rotate_abuse(&bench.vault, AbuseKind::Transient(next)).await;
    assert_eq!(bench.ask("hello").await.unwrap(), completion("fine"));
    bench.expect_stock("the first waits for its term", [0, 1, 0, 1]).await;
    let seen = bench.backend.seen();
    assert_ne!(seen[0].token(), seen[4].token());
    assert_eq!(seen.len(), 5, "the backend is not asked about the first");
    // Nothing has begun its term anew.
    bench.clock.advance(5 * DAY + 3600);
    bench.expect_stock("back after six days", [1, 0, 0, 1]).await;
}

/// Fails the first token four times, calls it expired ever after, and answers for every other.
async fn forgetful() -> Scripted {
    let mut first: Option<String> = None;
    Scripted::start(move |number, seen| {
        let first = first.get_or_insert_with(|| seen.token());
        match seen.token() == *first {
            true if number < 4 => Act::text(502, ""),
            true => Act::refusal("token expired, this token was already used 6 days ago"),
            false => Act::completion("fine"),
        }
    })
    .await
}

#[tokio::test]
async fn a_token_that_may_be_spent_and_is_makes_way_for_another_silently() {
    let bench = Bench::new(1, forgetful().await).await;
    bench.ask("lost").await.unwrap_err();
    bench.clock.advance(7 * DAY);
    super::stock_up(&bench.vault, 2).await;
    bench.expect_stock("lapsed", [3, 0, 0, 0]).await;
    // Drawn at random: the old token turns up in one of the three, and nobody notices.
    bench.ask("one").await.unwrap();
    bench.ask("two").await.unwrap();
    let error = bench.ask("three").await.unwrap_err();
    assert!(matches!(error.kind(), RedeemErrorKind::OutOfTokens { .. }));
    bench.expect_stock("all gone", [0, 0, 0, 3]).await;
    assert_eq!(bench.backend.seen().len(), 4 + 3);
}

#[tokio::test]
async fn a_resumed_request_whose_stored_answer_is_gone_takes_another_token() {
    let bench = Bench::new(1, forgetful().await).await;
    bench.ask("lost").await.unwrap_err();
    super::stock_up(&bench.vault, 1).await;
    bench.ask("lost").await.unwrap();
    bench.expect_stock("both gone", [0, 0, 0, 2]).await;
}

/// A completion made at a time, Unix seconds.
fn dated(text: &str, created: i64) -> Act {
    let mut body: serde_json::Value = serde_json::from_str(&completion(text)).unwrap();
    body["created"] = json!(created);
    Act::provider(&body.to_string())
}

/// Loses the first answer, lets our clock jump, and gives `replay` to whatever then shows the first token, "fresh" for
/// any other. Returns what another prompt was told.
async fn after_a_jump(
    jump: i64,
    others: usize,
    replay: Act,
) -> (Result<String, llmtor::anonymous::redeem::RedeemError>, Bench) {
    let mut first: Option<String> = None;
    let backend = Scripted::start(move |number, seen| {
        let first = first.get_or_insert_with(|| seen.token());
        match seen.token() == *first {
            true if number < 4 => Act::text(502, ""),
            true => replay.clone(),
            false => Act::completion("fresh"),
        }
    });
    let bench = Bench::new(1, backend.await).await;
    bench.ask("old").await.unwrap_err();
    bench.clock.advance(jump);
    // Looking lapses it.
    assert_eq!(bench.stock().await.available, 1);
    super::stock_up(&bench.vault, others).await;
    (bench.ask("new").await, bench)
}

#[tokio::test]
async fn a_lapsed_tokens_stored_answer_is_never_shown_to_another_prompt() {
    let start = START.unix();
    let replays = [
        // Our clock jumped: the answer is a minute old for the backend.
        (7 * DAY, dated("old", start + 60)),
        // Our clock was behind, and was put right a moment ago: the answer is a few minutes old for both.
        (7 * DAY, dated("old", start + 7 * DAY - 300)),
        (7 * DAY, dated("old", start + 9 * DAY)),
        (7 * DAY, Act::completion("old")),
        (7 * DAY, Act::data(&json!({"is_blocked": true}))),
        (7 * DAY, Act::provider(r#"{"error":{"message":"old","type":"requests"}}"#)),
        (7 * DAY, Act::refusal("cannot reuse token for different request.")),
    ];
    for (jump, replay) in replays {
        let (told, bench) = after_a_jump(jump, 0, replay.clone()).await;
        let error = told.unwrap_err();
        assert!(matches!(error.kind(), RedeemErrorKind::OutOfTokens { .. }), "{error:?}");
        bench.expect_stock("wiped", [0, 0, 0, 1]).await;

        // With others in stock the caller notices nothing.
        let (told, bench) = after_a_jump(jump, 3, replay).await;
        assert_eq!(told.unwrap(), completion("fresh"));
        for text in ["two", "three"] {
            assert_eq!(bench.ask(text).await.unwrap(), completion("fresh"));
        }
        assert!(matches!(bench.ask("four").await.unwrap_err().kind(), RedeemErrorKind::OutOfTokens { .. }));
        bench.expect_stock("all gone", [0, 0, 0, 4]).await;
    }
}

#[tokio::test]
async fn a_lapsed_tokens_fresh_answer_is_shown() {
    for drift in [-50, 0, 50] {
        let (told, bench) = after_a_jump(7 * DAY, 0, dated("new", START.unix() + 7 * DAY + drift)).await;
        assert!(told.unwrap().contains("new"));
        bench.expect_stock("paid", [0, 0, 0, 1]).await;
    }
}

/// The same, by a backend whose clock shows [`START`].
fn timed(text: &str, created: i64) -> Act {
    let Act::Answer { status, body, .. } = dated(text, created) else { panic!("an answer") };
    let headers = "content-type: application/json\r\ndate: Fri, 15 Jan 2027 08:00:00 GMT\r\n";
    Act::Answer { status, headers, body }
}

#[tokio::test]
async fn where_the_backend_tells_its_time_a_wrong_clock_here_costs_nothing_and_shows_nothing_old() {
    for drift in [-50, 0, 50] {
        let (told, bench) = after_a_jump(7 * DAY, 0, timed("new", START.unix() + drift)).await;
        assert!(told.unwrap().contains("new"));
        bench.expect_stock("paid", [0, 0, 0, 1]).await;
    }
    // Old ones are looked through, however many there are.
    let stale = timed("old", START.unix() - 300);
    let backend = Scripted::start(move |number, seen| match number {
        0..20 => Act::text(502, ""),
        _ if seen.messages().contains("new") && number < 25 => stale.clone(),
        _ => Act::completion("fresh"),
    });
    let bench = Bench::new(5, backend.await).await;
    for number in 0..5 {
        bench.ask(&format!("lost {number}")).await.unwrap_err();
    }
    bench.clock.advance(7 * DAY);
    bench.expect_stock("lapsed", [5, 0, 0, 0]).await;
    super::stock_up(&bench.vault, 1).await;
    assert!(bench.ask("new").await.is_ok());

    for created in [START.unix() - 300, START.unix() + 300, START.unix() + 7 * DAY] {
        let (told, bench) = after_a_jump(7 * DAY, 1, timed("old", created)).await;
        assert_eq!(told.unwrap(), completion("fresh"));
        let more = bench.ask("more").await;
        assert!(more.is_err() || more.unwrap() == completion("fresh"));
    }
}

#[tokio::test]
async fn a_call_that_only_finds_stored_answers_ends_with_an_error() {
    let backend =
        Scripted::start(|number, _| if number < 9 * 4 { Act::text(502, "") } else { Act::completion("old") });
    let bench = Bench::new(9, backend.await).await;
    for number in 0..9 {
        bench.ask(&format!("old {number}")).await.unwrap_err();
    }
    bench.clock.advance(7 * DAY);
    let error = bench.ask("new").await.unwrap_err();
    let unproven = RedeemErrorKind::AnswerUnproven { model: super::model() };
    assert_eq!((error.kind(), error.token()), (&unproven, TokenFate::Spent));
    bench.expect_stock("bounded", [7, 0, 0, 2]).await;

    // From then on none is used up for nothing, whatever is asked.
    for text in ["new", "other"] {
        let error = bench.ask(text).await.unwrap_err();
        let kept = RedeemErrorKind::OnlyUncertain { model: super::model() };
        assert_eq!((error.kind(), error.token()), (&kept, TokenFate::Unspent));
    }
    bench.expect_stock("kept", [7, 0, 0, 2]).await;
}

/// What a structure prints that nobody filled, or that knows no time.
#[tokio::test]
async fn a_stock_that_may_be_spent_is_not_burnt_at_a_backend_whose_answers_have_no_time() {
    for created in [json!(0), Value::Null, json!(1), json!("now")] {
        let answer = move |text: &str, created: &Value| {
            let mut body: Value = serde_json::from_str(&completion(text)).unwrap();
            body["created"] = created.clone();
            Act::provider(&body.to_string())
        };
        let (silent, told) = (40 * 4, json!(START.unix() + 7 * DAY));
        let backend = Scripted::start(move |number, seen| match number {
            _ if number < silent => Act::text(502, ""),
            _ if seen.messages().contains("timed") => answer("timed", &told),
            _ => answer("fresh", &created),
        });
        let bench = Bench::new(40, backend.await).await;
        for number in 0..40 {
            bench.ask(&format!("lost {number}")).await.unwrap_err();
        }
        bench.clock.advance(7 * DAY);
        for text in ["one", "two", "three"] {
            bench.ask(text).await.unwrap_err();
        }
        bench.expect_stock("kept", [38, 0, 0, 2]).await;
        assert_eq!(bench.backend.seen().len(), silent + 2);

        // Certain ones are drawn, and no other.
        super::stock_up(&bench.vault, 3).await;
        for text in ["four", "five"] {
            assert!(bench.ask(text).await.unwrap().contains("fresh"));
        }
        // An answer that says its time makes the others worth something again.
        assert!(bench.ask("timed").await.unwrap().contains("timed"));
        bench.expect_stock("paid", [38, 0, 0, 5]).await;
        assert!(bench.ask("timed too").await.unwrap().contains("timed"));
        bench.expect_stock("paid", [37, 0, 0, 6]).await;
    }
}

/// Each answer is a call upstream, and the provider's clock is behind.
#[tokio::test]
async fn a_provider_whose_clock_is_behind_costs_eight_tokens_once() {
    let late = timed("fresh", START.unix() - 90);
    let backend = Scripted::start(move |number, _| match number {
        0..80 => Act::text(502, ""),
        _ => late.clone(),
    });
    let bench = Bench::new(20, backend.await).await;
    for number in 0..20 {
        bench.ask(&format!("lost {number}")).await.unwrap_err();
    }
    bench.clock.advance(7 * DAY);
    let error = bench.ask("new").await.unwrap_err();
    assert_eq!((error.kind(), error.token()), (&RedeemErrorKind::AnswerOlder, TokenFate::Spent));
    let error = bench.ask("more").await.unwrap_err();
    assert_eq!(error.token(), TokenFate::Unspent);
    bench.expect_stock("kept", [12, 0, 0, 8]).await;
}

#[tokio::test]
async fn a_retry_after_is_honoured_within_bounds() {
    let busy = Act::Answer { status: 429, headers: "retry-after: 1\r\n", body: b"slow down".to_vec() };
    let bench = Bench::new(1, Scripted::playing(vec![busy, Act::completion("now")]).await).await;
    let begun = std::time::Instant::now();
    bench.ask("hello").await.unwrap();
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1));

    // Longer than the call may take: not waited for.
    let mut settings = settings();
    settings.deadlines.call = std::time::Duration::from_secs(3);
    let busy = Act::Answer { status: 503, headers: "retry-after: 999999\r\n", body: Vec::new() };
    let bench = Bench::with(1, Scripted::playing(vec![busy]).await, settings).await;
    let error = bench.ask("hello").await.unwrap_err();
    let hour = Some(std::time::Duration::from_secs(3600));
    assert_eq!(error.kind(), &RedeemErrorKind::BackendFailing { status: 503, retry_after: hour });
}

/// Whatever the backend says, in whatever order: every request that carried one token carried the same messages,
/// unless the backend itself said in between that the token was not spent.
#[derive(Clone, Debug)]
enum Say {
    Answer,
    Outage,
    Cut,
    Refuse,
    NoModeration,
    InvalidToken,
    Limited,
    Blocked,
    Odd,
}

fn act(say: &Say) -> Act {
    match say {
        Say::Answer => Act::completion("answer"),
        Say::Outage => Act::text(502, ""),
        Say::Cut => Act::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec()),
        Say::Refuse => Act::data(&json!({"abuse_token_invalid": true})),
        Say::NoModeration => Act::refusal("failed to analyze text: x"),
        Say::InvalidToken => Act::refusal("invalid token for model gpt-4.1"),
        Say::Limited => Act::text(429, "slow down"),
        Say::Blocked => Act::data(&json!({"is_blocked": true})),
        Say::Odd => Act::refusal("panic: runtime error"),
    }
}

fn says() -> impl Strategy<Value = Vec<Say>> {
    let say = prop_oneof![
        3 => Just(Say::Outage),
        3 => Just(Say::Cut),
        2 => Just(Say::Odd),
        2 => Just(Say::Answer),
        1 => Just(Say::Refuse),
        1 => Just(Say::NoModeration),
        1 => Just(Say::InvalidToken),
        1 => Just(Say::Limited),
        1 => Just(Say::Blocked),
    ];
    prop::collection::vec(say, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_token_in_doubt_is_never_shown_another_prompt(
        says in says(),
        prompts in prop::collection::vec(0u8..3, 1..10),
        deliver in prop::collection::vec(any::<bool>(), 10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let said = Arc::new(Mutex::new(Vec::new()));
            let (log, script) = (Arc::clone(&said), says.clone());
            let backend = Scripted::start(move |number, _| {
                let say = script[number % script.len()].clone();
                log.lock().unwrap().push(say.clone());
                act(&say)
            });
            let mut settings = super::parking(std::time::Duration::ZERO);
            settings.limits.attempts = 2;
            let bench = Bench::with(12, backend.await, settings).await;
            for (prompt, deliver) in prompts.iter().zip(&deliver) {
                if let Ok(delivery) = bench.redeem(&format!("prompt {prompt}")).await {
                    if *deliver { delivery.delivered() } else { drop(delivery) }
                }
            }
            bench.redeemer.drain(std::time::Duration::from_secs(5)).await;
            let stock = bench.stock().await;
            assert_eq!(stock.available + stock.in_doubt + stock.refused + stock.spent, 12, "{stock:?}");

            // Messages that the backend may hold an answer to, per token.
            let mut held: HashMap<String, String> = HashMap::new();
            for (seen, say) in bench.backend.seen().iter().zip(said.lock().unwrap().iter()) {
                if let Some(messages) = held.get(&seen.token()) {
                    assert_eq!(messages, &seen.messages());
                } else if !matches!(say, Say::Refuse | Say::NoModeration | Say::InvalidToken | Say::Limited) {
                    held.insert(seen.token(), seen.messages());
                }
            }
        });
    }
}
