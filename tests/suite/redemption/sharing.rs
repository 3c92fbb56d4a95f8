//! Identical requests at once: two calls, unless the second says that it is a retry, or the token is one in doubt.

use std::sync::Arc;
use std::time::Duration;

use llmtor::anonymous::redeem::{Asking, Delivery, Prompt, RedeemError, Settings};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{Bench, first, parking, prompt, retry};
use crate::support::scripted::{Act, Scripted, completion};

type Call = JoinHandle<Result<Delivery, RedeemError>>;

fn patient() -> Settings {
    let mut settings = parking(Duration::from_secs(60));
    settings.deadlines.first_byte = Duration::from_secs(20);
    settings
}

fn ask(bench: &Bench, asking: Asking) -> Call {
    let redeemer = Arc::clone(&bench.redeemer);
    tokio::spawn(async move { redeemer.redeem(prompt("hello"), asking).await })
}

/// A bench whose first call waits at the backend until a permit is added, and that call.
async fn one_waiting(tokens: usize, rest: Vec<Act>) -> (Bench, Arc<Semaphore>, Call) {
    let gate = Arc::new(Semaphore::new(0));
    let acts = [vec![Act::completion("one").after(&gate)], rest].concat();
    let bench = Bench::with(tokens, Scripted::playing(acts).await, patient()).await;
    let call = ask(&bench, first());
    bench.backend.wait_for(1).await;
    (bench, gate, call)
}

/// With `count` tokens in doubt about the prompt, and so many others; whatever comes next waits for a permit.
async fn doubtful(count: usize, others: usize) -> (Bench, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let outage = vec![Act::text(502, ""); 4 * count];
    let answers = (0..9).map(|number| Act::completion(&format!("answer {number}")).after(&gate));
    let acts = outage.into_iter().chain(answers).collect();
    let bench = Bench::with(count + others, Scripted::playing(acts).await, patient()).await;
    let asking = first();
    let lost: Vec<Call> = (0..count).map(|_| ask(&bench, asking)).collect();
    for call in lost {
        assert!(call.await.unwrap().is_err());
    }
    bench.expect_stock("in doubt", [others as u64, count as u64, 0, 0]).await;
    (bench, gate)
}

async fn answer(call: Call) -> (String, Delivery) {
    let delivery = call.await.unwrap().unwrap();
    (String::from_utf8(delivery.answer().body.clone()).unwrap(), delivery)
}

#[tokio::test]
async fn a_retry_shares_the_call_of_a_caller_that_still_waits_and_the_token_is_settled_once() {
    let (bench, gate, call) = one_waiting(2, Vec::new()).await;
    let again = ask(&bench, retry());
    // Given time to do the wrong thing.
    tokio::time::sleep(Duration::from_millis(30)).await;
    gate.add_permits(1);
    let (one, two) = (answer(call).await, answer(again).await);
    assert_eq!((&one.0, &two.0), (&completion("one"), &completion("one")));
    bench.expect_presented().await;
    two.1.delivered();
    bench.expect_stock("settled once", [1, 0, 0, 1]).await;
    one.1.delivered();
    bench.expect_stock("settled once", [1, 0, 0, 1]).await;
    assert_eq!(bench.backend.seen().len(), 1);
}

#[tokio::test]
async fn a_shared_answer_that_one_caller_has_is_settled_though_the_other_hangs_up() {
    for delivered_first in [true, false] {
        let (bench, gate, call) = one_waiting(2, Vec::new()).await;
        let again = ask(&bench, retry());
        tokio::time::sleep(Duration::from_millis(30)).await;
        gate.add_permits(1);
        let ((_, one), (_, two)) = (answer(call).await, answer(again).await);
        if delivered_first {
            two.delivered();
            drop(one);
        } else {
            drop(one);
            two.delivered();
        }
        bench.expect_stock("settled", [1, 0, 0, 1]).await;
    }
}

#[tokio::test]
async fn a_shared_answer_that_nobody_takes_is_parked_once_and_found_again() {
    let (bench, gate, call) = one_waiting(2, Vec::new()).await;
    let again = ask(&bench, retry());
    tokio::time::sleep(Duration::from_millis(30)).await;
    gate.add_permits(1);
    drop((answer(call).await, answer(again).await));
    assert_eq!(bench.ask("hello").await.unwrap(), completion("one"));
    bench.expect_stock("one token", [1, 0, 0, 1]).await;
    assert_eq!(bench.backend.seen().len(), 1);
}

#[tokio::test]
async fn a_retry_is_handed_an_answer_that_is_still_on_its_way_to_another() {
    let (bench, gate, call) = one_waiting(2, Vec::new()).await;
    gate.add_permits(1);
    let (_, stalled) = answer(call).await;
    let (text, delivery) = answer(ask(&bench, retry())).await;
    assert_eq!(text, completion("one"));
    delivery.delivered();
    drop(stalled);
    bench.expect_stock("one token", [1, 0, 0, 1]).await;
    assert_eq!(bench.backend.seen().len(), 1);
}

#[tokio::test]
async fn a_caller_of_a_shared_call_may_hang_up_without_harm_to_the_other() {
    for hangs_up in [0, 1] {
        let (bench, gate, call) = one_waiting(2, Vec::new()).await;
        let again = ask(&bench, retry());
        tokio::time::sleep(Duration::from_millis(30)).await;
        let mut calls = vec![call, again];
        let gone = calls.remove(hangs_up);
        gone.abort();
        drop(gone.await);
        gate.add_permits(1);
        let (text, delivery) = answer(calls.remove(0)).await;
        assert_eq!(text, completion("one"));
        delivery.delivered();
        bench.expect_stock("one token", [1, 0, 0, 1]).await;
    }
}

#[tokio::test]
async fn a_shared_failure_is_told_to_both() {
    let gate = Arc::new(Semaphore::new(0));
    let acts = (0..4).map(|_| Act::text(502, "").after(&gate)).collect();
    let bench = Bench::with(2, Scripted::playing(acts).await, patient()).await;
    let call = ask(&bench, first());
    bench.backend.wait_for(1).await;
    let again = ask(&bench, retry());
    tokio::time::sleep(Duration::from_millis(30)).await;
    gate.add_permits(4);
    let errors = [call.await.unwrap().err().unwrap(), again.await.unwrap().err().unwrap()];
    assert_eq!(errors[0], errors[1]);
    bench.expect_stock("one token in doubt", [1, 1, 0, 0]).await;
}

#[tokio::test]
async fn of_two_identical_requests_at_once_the_second_shares_the_token_in_doubt_that_the_first_resumes() {
    let (bench, gate) = doubtful(1, 2).await;
    let both = [ask(&bench, first()), ask(&bench, first())];
    bench.backend.wait_for(5).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    gate.add_permits(9);
    for call in both {
        let (text, delivery) = answer(call).await;
        assert_eq!(text, completion("answer 0"));
        delivery.delivered();
    }
    bench.expect_stock("no second token", [2, 0, 0, 1]).await;
    assert_eq!(bench.backend.seen().len(), 5);
}

#[tokio::test]
async fn one_request_for_several_answers_resumes_as_many_tokens_and_shares_none_with_itself() {
    for asking in [first(), retry()] {
        let (bench, gate) = doubtful(3, 1).await;
        let calls: Vec<Call> = (0..3).map(|_| ask(&bench, asking)).collect();
        gate.add_permits(9);
        let mut texts = Vec::new();
        for call in calls {
            let (text, delivery) = answer(call).await;
            texts.push(text);
            delivery.delivered();
        }
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 3);
        bench.expect_stock("three resumed", [1, 0, 0, 3]).await;
    }
}

#[tokio::test]
async fn what_is_in_doubt_or_parked_for_a_request_need_not_be_afforded_again() {
    let (bench, gate) = doubtful(2, 1).await;
    let Prompt { model, messages } = prompt("hello");
    let afford =
        async |count: usize| bench.redeemer.afford(&model, &vec![&*messages; count], first()).await.is_ok();
    assert!(afford(3).await && !afford(4).await);
    // One of the two is answered, and waits for somebody.
    gate.add_permits(1);
    drop(answer(ask(&bench, first())).await);
    assert!(afford(3).await && !afford(4).await);
    let Prompt { messages: other, .. } = prompt("other");
    assert!(bench.redeemer.afford(&model, &[&*other; 2], first()).await.is_err(), "of another request");
    let stock = bench.stock().await;
    assert_eq!((stock.available, stock.in_doubt, stock.presented), (1, 1, 1));
}

#[tokio::test]
async fn calls_that_a_retry_may_share_need_not_be_afforded_again() {
    let (bench, gate, call) = one_waiting(2, vec![Act::Hang]).await;
    let second = ask(&bench, first());
    bench.backend.wait_for(2).await;
    let Prompt { model, messages } = prompt("hello");
    let afford = async |count: usize, asking| {
        bench.redeemer.afford(&model, &vec![&*messages; count], asking).await.is_ok()
    };
    assert!(afford(2, retry()).await, "both still run, with their callers");
    assert!(!afford(3, retry()).await && !afford(1, first()).await, "the stock is empty");
    gate.add_permits(1);
    answer(call).await.1.delivered();
    second.abort();
}

/// Fails the first token until it is in doubt, calls it expired from then on; every other is answered once `gate` opens.
async fn lapsing(gate: &Arc<Semaphore>) -> Scripted {
    let (gate, mut first) = (Arc::clone(gate), None);
    Scripted::start(move |number, seen| {
        let first = first.get_or_insert_with(|| seen.token());
        match seen.token() == *first {
            true if number < 4 => Act::text(502, ""),
            true => Act::refusal("token expired, this token was already used 6 days ago"),
            false => Act::completion("fresh").after(&gate),
        }
    })
    .await
}

#[tokio::test]
async fn a_call_whose_token_in_doubt_made_way_for_a_fresh_one_is_shared_no_more_than_others() {
    let gate = Arc::new(Semaphore::new(0));
    let bench = Bench::with(1, lapsing(&gate).await, patient()).await;
    bench.ask("hello").await.unwrap_err();
    super::stock_up(&bench.vault, 2).await;
    let one = ask(&bench, first());
    bench.backend.wait_for(6).await;
    let two = ask(&bench, first());
    bench.backend.wait_for(7).await;
    gate.add_permits(2);
    answer(one).await.1.delivered();
    answer(two).await.1.delivered();
    bench.expect_stock("a token each", [0, 0, 0, 3]).await;
}

#[tokio::test]
async fn another_prompt_never_shares_even_as_a_retry() {
    let (bench, gate, call) = one_waiting(2, vec![Act::completion("two")]).await;
    let delivery = bench.redeemer.redeem(prompt("other"), retry()).await.unwrap();
    assert!(delivery.answer().body == completion("two").into_bytes());
    delivery.delivered();
    gate.add_permits(1);
    answer(call).await.1.delivered();
    bench.expect_stock("a token each", [0, 0, 0, 2]).await;
}
