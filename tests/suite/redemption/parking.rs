//! Callers that go away, and those that come back.

use std::sync::Arc;
use std::time::Duration;

use llmtor::anonymous::redeem::{Prompt, RedeemErrorKind, TokenFate};
use serde_json::json;
use tokio::sync::Semaphore;

use super::{Bench, first, parking, prompt};
use crate::support::scripted::{Act, Scripted, completion};

/// Begins a call, waits until the backend has it, and hangs up.
async fn hang_up(bench: &Bench, text: &str, requests: usize) {
    let redeemer = Arc::clone(&bench.redeemer);
    let prompt = prompt(text);
    let call = tokio::spawn(async move { redeemer.redeem(prompt, first()).await.map(drop) });
    bench.backend.wait_for(requests).await;
    call.abort();
    assert!(call.await.is_err());
}

#[tokio::test]
async fn a_call_whose_caller_hung_up_is_adopted_while_it_runs() {
    let gate = Arc::new(Semaphore::new(0));
    let mut settings = parking(Duration::from_secs(60));
    settings.deadlines.first_byte = Duration::from_secs(20);
    let backend = Scripted::playing(vec![Act::completion("one").after(&gate)]).await;
    let bench = Bench::with(2, backend, settings).await;
    hang_up(&bench, "hello", 1).await;
    let redeemer = Arc::clone(&bench.redeemer);
    let again = tokio::spawn(async move { redeemer.redeem(prompt("hello"), first()).await });
    tokio::task::yield_now().await;
    gate.add_permits(1);
    let delivery = again.await.unwrap().unwrap();
    assert!(delivery.answer().body == completion("one").into_bytes());
    delivery.delivered();
    bench.expect_stock("one token", [1, 0, 0, 1]).await;
    assert_eq!(bench.backend.seen().len(), 1);
}

#[tokio::test]
async fn a_change_of_pinned_keys_leaves_what_is_running_and_parked_where_it_is_found() {
    let gate = Arc::new(Semaphore::new(0));
    let mut settings = parking(Duration::from_secs(60));
    settings.deadlines.first_byte = Duration::from_secs(20);
    let (rule, keys) = (settings.abuse, settings.keys.as_ref().clone());
    let backend = Scripted::playing(vec![Act::completion("one").after(&gate)]).await;
    let bench = Bench::with(2, backend, settings).await;
    hang_up(&bench, "hello", 1).await;
    bench.redeemer.pin(rule, keys);
    gate.add_permits(1);
    assert_eq!(bench.ask("hello").await.unwrap(), completion("one"));
    bench.expect_stock("one token", [1, 0, 0, 1]).await;
    assert_eq!(bench.backend.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_that_nobody_took_is_given_to_the_next_identical_request() {
    let backend = Scripted::playing(vec![Act::completion("one"), Act::completion("two")]).await;
    let bench = Bench::with(2, backend, parking(Duration::from_secs(60))).await;
    drop(bench.redeem("hello").await.unwrap());
    assert_eq!(bench.ask("other").await.unwrap(), completion("two"));
    assert_eq!(bench.ask("hello").await.unwrap(), completion("one"));
    bench.expect_stock("one token each", [0, 0, 0, 2]).await;
}

#[tokio::test]
async fn an_error_that_cost_a_token_is_not_lost_either() {
    let gate = Arc::new(Semaphore::new(0));
    let blocked = Act::data(&json!({"is_blocked": true, "blocked_reason": ""}));
    let backend = Scripted::playing(vec![blocked.after(&gate)]).await;
    let mut settings = parking(Duration::from_secs(60));
    settings.deadlines.first_byte = Duration::from_secs(20);
    let bench = Bench::with(2, backend, settings).await;
    hang_up(&bench, "hello", 1).await;
    gate.add_permits(1);
    let error = bench.ask("hello").await.unwrap_err();
    assert_eq!(error.kind(), &RedeemErrorKind::Blocked { categories: Vec::new() });
    assert_eq!(error.token(), TokenFate::Spent);
    bench.expect_stock("one token", [1, 0, 0, 1]).await;
    assert_eq!(bench.backend.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_that_nobody_comes_for_leaves_the_token_in_doubt_and_is_replayed() {
    let backend = Scripted::playing(vec![Act::completion("one"), Act::completion("replayed")]).await;
    let bench = Bench::with(2, backend, parking(Duration::from_millis(20))).await;
    drop(bench.redeem("hello").await.unwrap());
    bench.expect_stock("in doubt", [1, 1, 0, 0]).await;
    assert_eq!(bench.ask("hello").await.unwrap(), completion("replayed"));
    bench.expect_stock("settled", [1, 0, 0, 1]).await;
    let seen = bench.backend.seen();
    assert!(seen[0].body == seen[1].body);
}

#[tokio::test]
async fn more_answers_than_may_wait_are_left_to_the_backend_at_once() {
    for (count, bytes) in [(0, 1 << 20), (9, 10)] {
        let backend = Scripted::playing(vec![Act::completion("one")]).await;
        let mut settings = parking(Duration::from_secs(60));
        (settings.parking.count, settings.parking.bytes) = (count, bytes);
        let bench = Bench::with(1, backend, settings).await;
        drop(bench.redeem("hello").await.unwrap());
        bench.expect_stock("in doubt", [0, 1, 0, 0]).await;
    }
}

#[tokio::test]
async fn two_identical_requests_with_live_callers_get_a_token_each() {
    let gate = Arc::new(Semaphore::new(0));
    let acts = vec![Act::completion("one").after(&gate), Act::completion("two").after(&gate)];
    let mut settings = parking(Duration::from_secs(60));
    settings.deadlines.first_byte = Duration::from_secs(20);
    let bench = Bench::with(2, Scripted::playing(acts).await, settings).await;
    let both = async { tokio::join!(bench.ask("hello"), bench.ask("hello")) };
    let open = async {
        bench.backend.wait_for(2).await;
        gate.add_permits(2);
    };
    let ((first, second), ()) = tokio::join!(both, open);
    assert_ne!(first.unwrap(), second.unwrap());
    bench.expect_stock("two tokens", [0, 0, 0, 2]).await;
    let seen = bench.backend.seen();
    assert_ne!(seen[0].token(), seen[1].token());
}

#[tokio::test]
async fn a_drain_waits_for_what_can_end_and_leaves_the_rest_in_doubt() {
    let gate = Arc::new(Semaphore::new(0));
    let acts = vec![Act::completion("parked"), Act::Hang];
    let mut settings = parking(Duration::from_secs(60));
    settings.deadlines.first_byte = Duration::from_secs(20);
    let bench = Bench::with(3, Scripted::playing(acts).await, settings).await;
    drop(bench.redeem("parked").await.unwrap());
    let redeemer = Arc::clone(&bench.redeemer);
    let hanging = tokio::spawn(async move { redeemer.redeem(prompt("hanging"), first()).await.map(drop) });
    bench.backend.wait_for(2).await;
    bench.redeemer.drain(Duration::from_millis(50)).await;
    let error = hanging.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.token()), (&RedeemErrorKind::ShuttingDown, TokenFate::InDoubt));
    let error = bench.ask("late").await.unwrap_err();
    assert_eq!((error.kind(), error.token()), (&RedeemErrorKind::ShuttingDown, TokenFate::Unspent));
    bench.expect_stock("two in doubt", [1, 2, 0, 0]).await;
    drop(gate);
}

#[tokio::test]
async fn a_drain_lets_a_call_finish_within_its_grace() {
    let gate = Arc::new(Semaphore::new(0));
    let mut settings = parking(Duration::from_secs(60));
    settings.deadlines.first_byte = Duration::from_secs(20);
    let bench =
        Bench::with(1, Scripted::playing(vec![Act::completion("one").after(&gate)]).await, settings).await;
    let redeemer = Arc::clone(&bench.redeemer);
    let call = tokio::spawn(async move {
        let delivery = redeemer.redeem(prompt("hello"), first()).await.unwrap();
        delivery.delivered();
    });
    bench.backend.wait_for(1).await;
    let open = async { gate.add_permits(1) };
    tokio::join!(bench.redeemer.drain(Duration::from_secs(20)), open);
    call.await.unwrap();
    bench.expect_stock("delivered", [0, 0, 0, 1]).await;
}

#[tokio::test]
async fn what_several_answers_would_cost_is_looked_at_before_the_first_is_paid_for() {
    let bench = Bench::with(2, Scripted::playing(Vec::new()).await, parking(Duration::from_secs(60))).await;
    let Prompt { model, messages } = prompt("hello");
    assert!(bench.redeemer.afford(&model, &[&*messages; 2], first()).await.is_ok());
    let error = bench.redeemer.afford(&model, &[&*messages; 3], first()).await.unwrap_err();
    assert!(matches!(error.kind(), RedeemErrorKind::OutOfTokens { .. }));
    assert_eq!(error.token(), TokenFate::Unspent);
    bench.expect_stock("nothing was kept", [2, 0, 0, 0]).await;
    assert!(bench.backend.seen().is_empty());
}
