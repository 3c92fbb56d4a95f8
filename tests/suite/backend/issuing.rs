//! The identity plane: accounts, signatures for credits, abuse tokens, backups.

use llmtor::backend::{BackendError, RateLimits};
use llmtor::blind::TokenMessage;
use llmtor::wire::redemption::Epoch;
use serde_json::{Value, json};

use super::house::{House, MODEL, NOW, OTHER};

#[tokio::test]
async fn a_signature_costs_one_credit_of_the_bodys_model() {
    let house = House::open().await;
    let (body, message, blinding) = house.issue_request(OTHER);
    let answer = house.call("POST", &format!("/auth-token/{MODEL}"), Some(body)).await;
    assert_eq!(answer.1["data"]["ModelName"], OTHER);
    house.finalized(OTHER, answer, &message, &blinding);
    assert_eq!(house.credits(OTHER).await, (49, 1));
    assert_eq!(house.credits(MODEL).await, (50, 0));
}

#[tokio::test]
async fn a_repeated_request_id_costs_nothing_for_five_minutes_and_a_credit_afterwards() {
    let house = House::open().await;
    let (body, ..) = house.issue_request(MODEL);
    let issue = || house.call("POST", "/auth-token/x", Some(body.clone()));
    let first = issue().await;
    assert_eq!(first.0, 200);
    house.clock.advance(299);
    assert_eq!(issue().await, first);
    assert_eq!(house.credits(MODEL).await, (49, 1));
    house.clock.advance(1);
    assert_eq!(issue().await.0, 200);
    assert_eq!(house.credits(MODEL).await, (48, 2));
}

#[tokio::test]
async fn two_at_once_with_one_request_id_cost_one_credit() {
    let house = House::open().await;
    let (body, ..) = house.issue_request(MODEL);
    let issue = || house.call("POST", "/auth-token/x", Some(body.clone()));
    let (first, second, third) = tokio::join!(issue(), issue(), issue());
    assert_eq!(first.0, 200);
    assert_eq!(first, second);
    assert_eq!(first, third);
    assert_eq!(house.credits(MODEL).await, (49, 1));
}

#[tokio::test]
async fn a_restart_forgets_request_ids_but_not_debits() {
    let house = House::open().await;
    let (body, ..) = house.issue_request(MODEL);
    assert_eq!(house.call("POST", "/auth-token/x", Some(body.clone())).await.0, 200);
    let house = house.restart().await;
    assert_eq!(house.credits(MODEL).await, (49, 1));
    assert_eq!(house.call("POST", "/auth-token/x", Some(body)).await.0, 200);
    assert_eq!(house.credits(MODEL).await, (48, 2));
}

#[tokio::test]
async fn issuance_is_refused_with_the_deployed_servers_texts() {
    let house = House::open().await;
    let no_key = json!({"RequestID": uuid::Uuid::new_v4(), "BlindedToken": "AAAA", "ModelName": "nope"});
    let (good, ..) = house.issue_request(MODEL);
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let cases = [
        (no_key, 500, "no auth manager found"),
        (with("ModelName", json!("abuse-permanent")), 500, "no auth manager found"),
        (with("BlindedToken", json!("AAAA")), 500, "failed to sign blinded token"),
        (with("BlindedToken", json!("not base64")), 400, "the body is not the expected JSON"),
        (with("RequestID", json!("7")), 400, "RequestID is not a UUID"),
        (json!([]), 400, "the body is not the expected JSON"),
    ];
    for (body, status, error) in cases {
        let answer = house.call("POST", "/auth-token/x", Some(body)).await;
        let text = if status == 500 { "Internal Server Error." } else { "Invalid request." };
        assert_eq!(answer, (status, json!({"status": text, "error": error})));
    }
    assert_eq!(house.credits(MODEL).await, (50, 0));
}

#[tokio::test]
async fn an_account_without_credit_gets_no_signature() {
    let mut house = House::open().await;
    house.session = house.backend.add_account("poor", &[].into()).unwrap().expose().to_owned();
    let (body, ..) = house.issue_request(MODEL);
    let (status, answer) = house.call("POST", "/auth-token/x", Some(body.clone())).await;
    assert_eq!((status, &answer["error"]), (500, &json!("no quota left")));
    house.backend.add_credits("poor", &[(MODEL.parse().unwrap(), 1)].into()).unwrap();
    assert_eq!(house.call("POST", "/auth-token/x", Some(body)).await.0, 200);
    let (body, ..) = house.issue_request(MODEL);
    assert_eq!(house.call("POST", "/auth-token/x", Some(body)).await.1["error"], "no quota left");
}

#[tokio::test]
async fn concurrent_requests_cannot_spend_more_credits_than_there_are() {
    let mut house = House::open().await;
    let three = [(MODEL.parse().unwrap(), 3)].into();
    house.session = house.backend.add_account("three", &three).unwrap().expose().to_owned();
    let calls = (0..8).map(|_| {
        let (body, ..) = house.issue_request(MODEL);
        house.call("POST", "/auth-token/x", Some(body))
    });
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 3);
    assert_eq!(house.credits(MODEL).await, (0, 3));
}

#[tokio::test]
async fn only_a_valid_session_is_answered_and_a_new_one_ends_the_earlier() {
    let mut house = House::open().await;
    let (status, me) = house.call("GET", "/me", None).await;
    assert_eq!((status, &me["status"], &me["data"]["Name"]), (200, &json!("Ok."), &json!("alice")));
    let old = std::mem::replace(
        &mut house.session,
        house.backend.renew_session("alice").unwrap().expose().to_owned(),
    );
    assert_eq!(house.call("GET", "/me", None).await.0, 200);
    let new = std::mem::replace(&mut house.session, old);
    let (status, answer) = house.call("GET", "/me", None).await;
    assert_eq!((status, &answer["status"]), (401, &json!("Unauthorized")));
    house.session = new;
    assert_eq!(house.call("POST", "/users/signout", None).await.0, 200);
    assert_eq!(house.call("GET", "/me", None).await.0, 401);
    let again = house.backend.add_account("alice", &[].into());
    assert!(matches!(again, Err(BackendError::AccountExists)));
    assert!(matches!(house.backend.renew_session("bob"), Err(BackendError::NoAccount)));
}

#[tokio::test]
async fn a_permanent_abuse_token_is_signed_again_for_ten_minutes_only() {
    let house = House::open().await;
    let blinded = || {
        let message = TokenMessage::permanent_abuse(&mut rand::rng());
        let blinding = house.keys["abuse-permanent"].blind(&mut rand::rng(), &message).unwrap();
        json!({"BlindedToken": llmtor::wire::Base64Bytes(blinding.blinded.as_bytes().to_vec())})
    };
    let issue = || house.call("POST", "/abuse-token/permanent", Some(blinded()));
    assert_eq!(issue().await.0, 200);
    house.clock.advance(600);
    assert_eq!(issue().await.0, 200);
    house.clock.advance(1);
    assert_eq!(issue().await.0, 409);
    let (_, me) = house.call("GET", "/me", None).await;
    assert_eq!(me["data"]["PermanentAbuseTokenIssuedAt"], "2026-11-22T00:00:00Z");
}

#[tokio::test]
async fn thirty_transient_abuse_tokens_are_signed_in_a_month() {
    let house = House::open().await;
    let blinding = house.keys["abuse-transient"]
        .blind(&mut rand::rng(), &TokenMessage::transient_abuse(&mut rand::rng(), Epoch::at(NOW)))
        .unwrap();
    let body = json!({"BlindedToken": llmtor::wire::Base64Bytes(blinding.blinded.as_bytes().to_vec())});
    let issue = || house.call("POST", "/abuse-token/transient", Some(body.clone()));
    for _ in 0..30 {
        assert_eq!(issue().await.0, 200);
    }
    let (status, answer) = issue().await;
    assert_eq!(status, 429);
    assert!(answer["error"].is_string());
    house.clock.advance(10 * 86_400);
    assert_eq!(issue().await.0, 200);
    let (_, me) = house.call("GET", "/me", None).await;
    assert_eq!(me["data"]["TransientAbuseTokenEpoch"], 2026 * 12 + 12);
}

#[tokio::test]
async fn a_blinded_abuse_token_over_1024_bytes_is_refused() {
    let house = House::open().await;
    for kind in ["permanent", "transient"] {
        let body = |length: usize| json!({"BlindedToken": llmtor::wire::Base64Bytes(vec![1; length])});
        let path = format!("/abuse-token/{kind}");
        let issue = |length| house.call("POST", &path, Some(body(length)));
        assert_eq!(issue(1025).await.0, 400);
        assert_eq!(issue(1024).await.0, 500, "no signature over another length, but no 400 either");
    }
}

#[tokio::test]
async fn a_backup_comes_back_as_it_was_put() {
    let house = House::open().await;
    let (status, answer) = house.call("GET", "/abuse-token/backup", None).await;
    assert_eq!((status, answer), (404, json!({"status": "Resource not found."})));
    let put =
        |length| house.call("PUT", "/abuse-token/backup", Some(json!({"EncryptedBlob": "A".repeat(length)})));
    assert_eq!(put(100 << 10).await.0, 200);
    assert_eq!(put((100 << 10) + 1).await.0, 400);
    let (_, answer) = house.call("GET", "/abuse-token/backup", None).await;
    assert_eq!(answer["data"]["EncryptedBlob"].as_str().unwrap().len(), 100 << 10);
}

#[tokio::test]
async fn a_session_that_asks_too_often_gets_a_plain_text_429() {
    let house = House::with(|settings| settings.limits = RateLimits { per_session: 3, per_address: 5 }).await;
    for _ in 0..3 {
        assert_eq!(house.call("GET", "/me", None).await.0, 200);
    }
    let (status, text) = house.call_text("GET", "/me", None).await;
    assert_eq!((status, text.starts_with("Too many requests")), (429, true));
    // By address, any endpoint counts: this is the fifth request, the next is the sixth.
    assert_eq!(house.call("GET", "/model-pricing", None).await.0, 200);
    assert_eq!(house.call("GET", "/model-pricing", None).await.0, 429);
    house.clock.advance(1);
    assert_eq!(house.call("GET", "/me", None).await.0, 200);
}

#[tokio::test]
async fn a_browser_signs_in_only_where_a_development_account_is_configured() {
    let house = House::open().await;
    assert_eq!(house.call("GET", "/users/signin?redirect=http://127.0.0.1:1/", None).await.0, 404);
    let house = House::with(|settings| settings.development_account = Some("alice".into())).await;
    let url = format!("{}/api/v1/users/signin?redirect=http://127.0.0.1:5139/callback", house.base);
    let response = house.client.get(url).send().await.unwrap();
    assert_eq!(response.status(), 308);
    assert_eq!(response.headers()["location"], "http://127.0.0.1:5139/callback");
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    let id = cookie.strip_prefix("sessionID=").unwrap().split(';').next().unwrap();
    assert!(uuid::Uuid::parse_str(id).is_ok());
    assert_eq!(house.call("GET", "/me", None).await.0, 401, "the earlier session has ended");
    let other = house.call("GET", "/users/signin?redirect=https://evil.example/", None).await;
    assert_eq!(other.0, 400);
}

#[tokio::test]
async fn an_unknown_path_or_method_is_a_404_without_an_error_text() {
    let house = House::open().await;
    for (method, path) in [("GET", "/nothing"), ("GET", "/llm-proxy"), ("DELETE", "/me")] {
        let answer = house.call(method, path, None).await;
        assert_eq!(answer, (404, json!({"status": "Resource not found."})), "{method} {path}");
    }
}
