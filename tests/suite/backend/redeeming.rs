//! The anonymous plane when all is well, and what becomes of a token.

use llmtor::backend::{Planes, Roles};
use serde_json::{Value, json};

use super::house::{House, MODEL, NOW, OTHER, said};
use llmtor::wire::redemption::Epoch;

const DAY: i64 = 86_400;

#[tokio::test]
async fn a_token_buys_one_answer_and_only_model_and_messages_go_upstream() {
    let house = House::open().await;
    house.upstream.say(200, r#"{"object":"chat.completion","ä":1}"#);
    let mut body = house.paid(MODEL).await;
    body["temperature"] = json!(0.5);
    body["stream"] = json!(true);
    body["user"] = json!("me");
    let (status, answer) = house.redeem(&body).await;
    assert_eq!((status, &answer["status"]), (200, &json!("Ok.")));
    assert_eq!(said(&answer), r#"{"object":"chat.completion","ä":1}"#);
    let seen = house.upstream.seen.lock().unwrap().clone();
    assert_eq!(seen, [json!({"model": "upstream-name", "messages": [{"role": "user", "content": "Hello"}]})]);
}

#[tokio::test]
async fn the_embedded_model_answers_with_a_completion() {
    let house = House::open().await;
    let mut body = house.paid(OTHER).await;
    body["messages"] = json!([{"role": "user", "content": "count to 3"}]);
    let (_, answer) = house.redeem(&body).await;
    let completion: Value = serde_json::from_str(&said(&answer)).unwrap();
    assert_eq!(completion["choices"][0]["message"]["content"], "1, 2, 3");
    assert_eq!(completion["model"], OTHER);
}

#[tokio::test]
async fn a_repeat_gets_the_stored_answer_whatever_its_messages_and_makes_no_call() {
    let house = House::open().await;
    house.upstream.say(200, "first");
    let mut body = house.paid(MODEL).await;
    let first = house.redeem(&body).await;
    house.upstream.say(200, "second");
    body["messages"] = json!([{"role": "user", "content": "another prompt"}]);
    assert_eq!(house.redeem(&body).await, first);
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn a_spent_token_with_other_abuse_tokens_is_another_request() {
    let house = House::open().await;
    let body = house.paid(MODEL).await;
    assert_eq!(house.redeem(&body).await.0, 200);
    let mut other = body.clone();
    let [_, (transient, signature)] = house.abuse_tokens(Epoch::at(NOW)).await;
    other["extra_body"]["llmmask"]["TransientAbuseToken"] = json!(transient);
    other["extra_body"]["llmmask"]["TransientAbuseTokenSig"] = json!(signature);
    assert_eq!(house.redeem(&other).await.1["error"], "cannot reuse token for different request.");
    assert_eq!(house.redeem(&body).await.0, 200);
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn two_at_once_with_one_token_make_one_call_and_get_one_answer() {
    let house = House::open().await;
    house.upstream.gate.forget_permits(usize::MAX);
    let body = house.paid(MODEL).await;
    let calls = futures_util::future::join_all((0..4).map(|_| house.redeem(&body)));
    let release = async {
        while house.upstream.count() == 0 {
            tokio::task::yield_now().await;
        }
        // As many answers as there are redemptions: a second call would get one too, and be counted.
        house.upstream.gate.add_permits(4);
    };
    let (answers, ()) = tokio::join!(calls, release);
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == 200));
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn an_answer_whose_client_hung_up_is_stored_for_the_repeat() {
    let house = House::open().await;
    house.upstream.gate.forget_permits(usize::MAX);
    house.upstream.say(200, "for the patient");
    let body = house.paid(MODEL).await;
    {
        let call = house.redeem(&body);
        let arrived = async {
            while house.upstream.count() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { _ = call => panic!("the gate is closed"), () = arrived => {} }
    }
    house.upstream.gate.add_permits(1);
    let (status, answer) = house.redeem(&body).await;
    assert_eq!((status, said(&answer).as_str()), (200, "for the patient"));
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn an_upstream_error_body_comes_inside_a_200_and_spends_the_token() {
    let house = House::open().await;
    let error = r#"{"error":{"message":"overloaded","type":"server_error","code":null}}"#;
    house.upstream.say(503, error);
    let body = house.paid(MODEL).await;
    let first = house.redeem(&body).await;
    assert_eq!((first.0, said(&first.1).as_str()), (200, error));
    house.upstream.say(200, "recovered");
    assert_eq!(house.redeem(&body).await, first);
}

#[tokio::test]
async fn an_unreachable_upstream_leaves_the_token_unspent() {
    let house = House::open().await;
    let body = house.paid(MODEL).await;
    house.cut_upstream().await;
    for _ in 0..2 {
        let (status, answer) = house.redeem(&body).await;
        assert_eq!((status, &answer["error"]), (500, &json!("the upstream provider cannot be reached")));
    }
}

#[tokio::test]
async fn an_answer_is_kept_five_days_and_the_token_stays_spent_for_good() {
    let house = House::open().await;
    let body = house.paid(MODEL).await;
    let first = house.redeem(&body).await;
    house.clock.advance(5 * DAY - 1);
    assert_eq!(house.redeem(&body).await, first);
    house.clock.advance(1);
    let (status, answer) = house.redeem(&body).await;
    assert_eq!(status, 500);
    assert!(answer["error"].as_str().unwrap().starts_with("token expired, this token was already used"));
    // A start wipes what is too old; the hash that says "spent" stays.
    let house = house.restart().await;
    let database = rusqlite::Connection::open(house.home.path().join("spent.db")).unwrap();
    let rows = |table: &str| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    let wiped = async {
        while rows("answers") > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), wiped).await.expect("wiped at the start");
    assert_eq!(rows("spent"), 1);
    let (_, answer) = house.redeem(&body).await;
    assert!(answer["error"].as_str().unwrap().starts_with("token expired"));
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn strict_roles_are_refused_in_band_as_gemini_does_and_spend_the_token() {
    let house = House::with(|settings| {
        settings.models.values_mut().for_each(|model| model.roles = Roles::Strict);
    })
    .await;
    let abuse = house.abuse_tokens(Epoch::at(NOW)).await;
    let cases = [
        json!([{"role": "developer", "content": "x"}]),
        json!([{"role": "user", "content": "x"}, {"role": "tool", "content": "x"}]),
        json!([{"role": "assistant", "content": null}]),
        json!([{"role": "user", "content": ""}]),
    ];
    for messages in cases {
        let mut body = house.paid_with(MODEL, &abuse).await;
        body["messages"] = messages;
        let (status, answer) = house.redeem(&body).await;
        assert_eq!(status, 200);
        let error: Value = serde_json::from_str(&said(&answer)).unwrap();
        assert_eq!(error["error"]["status"], "INVALID_ARGUMENT");
    }
    assert_eq!(house.upstream.count(), 0);
    let body = house.paid_with(MODEL, &abuse).await;
    assert_eq!(house.redeem(&body).await.0, 200);
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn a_listener_answers_only_the_planes_it_was_given() {
    let house = House::with(|settings| settings.planes = Some(Planes::Anonymous)).await;
    assert_eq!(house.call("GET", "/me", None).await.0, 404);
    assert_eq!(house.redeem(&json!({})).await.0, 500);
    let house = House::with(|settings| settings.planes = Some(Planes::Identity)).await;
    assert_eq!(house.call("GET", "/me", None).await.0, 200);
    assert_eq!(house.redeem(&json!({})).await.0, 404);
}
