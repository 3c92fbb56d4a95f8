//! Every refusal of the anonymous plane, and which of two wins.

use llmtor::backend::{Generation, Moderation};
use llmtor::blind::TokenMessage;
use llmtor::wire::redemption::Epoch;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::house::{House, MODEL, NOW, OTHER, decode};

const GARBAGE: &str = "AAAA";

/// One thing that is wrong with a request: how to make it so, and what the backend says to it.
struct Wrong {
    name: &'static str,
    spoil: Box<dyn Fn(&mut Value)>,
    status: u16,
    says: &'static str,
}

fn wrong(name: &'static str, status: u16, says: &'static str, spoil: impl Fn(&mut Value) + 'static) -> Wrong {
    Wrong { name, spoil: Box::new(spoil), status, says }
}

fn mask(body: &mut Value) -> &mut Value {
    &mut body["extra_body"]["llmmask"]
}

/// An abuse token whose signature verifies, placed into a request.
fn place(kind: &'static str, (token, signature): (String, String)) -> impl Fn(&mut Value) {
    move |body| {
        mask(body)[format!("{kind}AbuseToken")] = json!(token);
        mask(body)[format!("{kind}AbuseTokenSig")] = json!(signature);
    }
}

/// In the order of the checks. Each spoils its own part of a good request and leaves the others'.
async fn everything_wrong(house: &House) -> Vec<Wrong> {
    let transient = |epoch| TokenMessage::transient_abuse(&mut rand::rng(), Epoch::from_number(epoch));
    let now = Epoch::at(NOW).number();
    let banned = house.abuse_token("permanent", TokenMessage::permanent_abuse(&mut rand::rng())).await;
    let old = house.abuse_token("transient", transient(now - 1)).await;
    let early = house.abuse_token("transient", transient(now + 1)).await;
    let banned_transient = house.abuse_token("transient", transient(now)).await;
    for token in [&banned.0, &banned_transient.0] {
        house.backend.blacklist_abuse(Sha256::digest(decode(&json!(token))).into()).unwrap();
    }
    let blank = |field: &'static str| move |body: &mut Value| mask(body)[field] = json!("");
    let garbage = |field: &'static str| move |body: &mut Value| mask(body)[field] = json!(GARBAGE);
    vec![
        wrong("size", 200, "size_limit_exceeded", |body| body["padding"] = json!("x".repeat(250_000))),
        wrong("json", 400, "the body is not the expected JSON", |body| body["messages"] = json!("text")),
        wrong("no token", 500, "missing token", blank("Token")),
        wrong("no signature", 500, "missing signed token", blank("SignedToken")),
        wrong("no permanent", 500, "missing permanent abuse token", blank("PermanentAbuseToken")),
        wrong(
            "no transient signature",
            500,
            "missing transient abuse token signature",
            blank("TransientAbuseTokenSig"),
        ),
        wrong("no model name", 500, "missing model name of the token", blank("ModelName")),
        wrong("mismatch", 500, "model in request body mismatch", |body| body["model"] = json!(OTHER)),
        wrong("unknown", 500, "no auth manager for intended model", |body| {
            body["model"] = json!("nope");
            mask(body)["ModelName"] = json!("nope");
        }),
        wrong("permanent signature", 200, "abuse_token_invalid", garbage("PermanentAbuseTokenSig")),
        wrong("permanent blacklist", 200, "abuse_token_blacklisted", place("Permanent", banned)),
        wrong("transient signature", 200, "abuse_token_invalid", garbage("TransientAbuseTokenSig")),
        wrong("epoch gone", 200, "abuse_token_expired", place("Transient", old)),
        wrong("epoch to come", 200, "abuse_token_expired", place("Transient", early)),
        wrong("transient blacklist", 200, "abuse_token_blacklisted", place("Transient", banned_transient)),
        wrong("token signature", 500, "invalid token for model gpt-4.1", garbage("SignedToken")),
        wrong("part type", 500, "failed to analyze text: unsupported content part type", |body| {
            body["messages"] = json!([{"role": "user", "content": [{"type": "input_audio"}]}]);
        }),
    ]
}

fn assert_says(wrong: &Wrong, besides: &str, (status, answer): &(u16, Value)) {
    let context = format!("{} besides {besides}: {answer}", wrong.name);
    assert_eq!(*status, wrong.status, "{context}");
    if wrong.status == 200 {
        let flags = answer["data"].as_object().unwrap();
        let set: Vec<_> =
            flags.iter().filter(|(_, value)| **value == json!(true)).map(|(name, _)| name).collect();
        assert_eq!(set, [wrong.says], "{context}");
        assert_eq!(answer["data"]["proxy_response"], Value::Null, "{context}");
    } else {
        assert!(answer["error"].as_str().unwrap().ends_with(wrong.says), "{context}");
    }
}

#[tokio::test]
async fn the_first_failing_check_is_the_one_that_is_told_and_none_spends_the_token() {
    let house = House::open().await;
    let good = house.paid(MODEL).await;
    let all = everything_wrong(&house).await;
    // Those that spoil one and the same field cannot both be wrong.
    let apart = |first: &Wrong, second: &Wrong| {
        let (mut one, mut other) = (good.clone(), good.clone());
        (first.spoil)(&mut one);
        (second.spoil)(&mut other);
        let changed = |body: &Value| -> Vec<String> {
            let flat = |body: &Value| {
                let outer = body.as_object().unwrap().iter().filter(|(name, _)| *name != "extra_body");
                let inner = body["extra_body"]["llmmask"].as_object().unwrap().iter();
                outer.chain(inner).map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
            };
            let before = flat(&good);
            flat(body).into_iter().filter(|pair| !before.contains(pair)).map(|(name, _)| name).collect()
        };
        let other = changed(&other);
        changed(&one).iter().all(|name| !other.contains(name))
    };
    let mut pairs = 0;
    for (at, first) in all.iter().enumerate() {
        let mut body = good.clone();
        (first.spoil)(&mut body);
        assert_says(first, "nothing", &house.redeem(&body).await);
        for second in all[at + 1..].iter().filter(|second| apart(first, second)) {
            let mut body = good.clone();
            (second.spoil)(&mut body);
            (first.spoil)(&mut body);
            assert_says(first, second.name, &house.redeem(&body).await);
            pairs += 1;
        }
    }
    assert!(pairs > 100, "{pairs}");
    assert_eq!(house.upstream.count(), 0);
    assert_eq!(house.redeem(&good).await.0, 200);
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn what_is_no_json_or_has_no_payment_is_refused() {
    let house = House::open().await;
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    for body in ["", "{", "[]", "7", "\u{0}", "{\"model\":7}", deep.as_str()] {
        let (status, answer) = house.redeem_bytes(body.as_bytes().to_vec()).await;
        assert_eq!((status, &answer["status"]), (400, &json!("Invalid request.")), "{body}");
    }
    assert_eq!(house.redeem_bytes(vec![b'"', 0xff, b'"']).await.0, 400);
    for body in
        [json!({}), json!({"model": MODEL, "extra_body": null}), json!({"extra_body": {"llmmask": null}})]
    {
        let (status, answer) = house.redeem(&body).await;
        assert_eq!(status, 500);
        assert_eq!(answer["error"], "failed to sanitize proxy request: missing token");
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    let house = House::open().await;
    let good = house.paid(MODEL).await.to_string();
    let padded = |length: usize| {
        let mut body = good.clone().into_bytes();
        body.resize(length, b' ');
        body
    };
    for too_large in [250_001, 3_000_000] {
        let (status, answer) = house.redeem_bytes(padded(too_large)).await;
        assert_eq!((status, &answer["data"]["size_limit_exceeded"]), (200, &json!(true)));
    }
    // Before anything else: not even JSON.
    assert_eq!(house.redeem_bytes(vec![b'x'; 250_001]).await.1["data"]["size_limit_exceeded"], true);
    let (status, answer) = house.redeem_bytes(padded(250_000)).await;
    assert_eq!((status, &answer["data"]["size_limit_exceeded"]), (200, &json!(false)));
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn field_names_are_read_in_any_case() {
    let house = House::open().await;
    let text = house.paid(MODEL).await.to_string();
    let shouted = text.replace("\"SignedToken\"", "\"SIGNEDTOKEN\"").replace("\"messages\"", "\"Messages\"");
    let (status, answer) = house.redeem_bytes(shouted.replace("\"Token\"", "\"token\"").into_bytes()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(house.upstream.seen.lock().unwrap()[0]["messages"][0]["content"], "Hello");
}

#[tokio::test]
async fn another_models_token_and_an_abuse_token_buy_nothing() {
    let house = House::open().await;
    let mut body = house.paid(OTHER).await;
    body["model"] = json!(MODEL);
    mask(&mut body)["ModelName"] = json!(MODEL);
    assert_eq!(
        house.redeem(&body).await,
        (
            500,
            json!({
                "status": "Internal Server Error.", "error": "invalid token for model gpt-4.1",
            })
        )
    );
    let inner = mask(&mut body).clone();
    mask(&mut body)["Token"] = inner["PermanentAbuseToken"].clone();
    mask(&mut body)["SignedToken"] = inner["PermanentAbuseTokenSig"].clone();
    assert_eq!(house.redeem(&body).await.1["error"], "invalid token for model gpt-4.1");
    body["model"] = json!("abuse-permanent");
    mask(&mut body)["ModelName"] = json!("abuse-permanent");
    assert_eq!(house.redeem(&body).await.1["error"], "no auth manager for intended model");
}

#[tokio::test]
async fn a_blocked_prompt_never_reaches_the_provider_and_spends_the_token() {
    let words = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(words.path(), "forbidden\n").unwrap();
    let file = words.path().to_owned();
    let house = House::with(|settings| settings.moderation = Moderation::Words { file }).await;
    let mut body = house.paid(MODEL).await;
    body["messages"][0]["content"] = json!("a Forbidden thing");
    let (status, answer) = house.redeem(&body).await;
    assert_eq!((status, &answer["data"]["is_blocked"]), (200, &json!(true)));
    assert_eq!(answer["data"]["blocked_reason"], r#"{"word_list":true}"#);
    body["messages"][0]["content"] = json!("a harmless thing");
    assert_eq!(house.redeem(&body).await, (status, answer), "spent: the stored answer comes back");
    assert_eq!(house.upstream.count(), 0);
}

#[tokio::test]
async fn a_failing_moderation_service_leaves_the_token_unspent() {
    let house = House::with_upstream(|settings, url| {
        settings.moderation = Moderation::OpenAi { base_url: url.to_owned(), key_env: None };
    })
    .await;
    let judge = |status, text: &str| *house.upstream.verdict.lock().unwrap() = (status, text.into());
    let body = house.paid(MODEL).await;
    for (status, text) in [(503, "{}"), (200, "<html>"), (200, r#"{"results":[]}"#)] {
        judge(status, text);
        let (status, answer) = house.redeem(&body).await;
        assert_eq!(status, 500);
        assert_eq!(answer["error"], "failed to analyze text: the moderation service failed");
    }
    judge(200, r#"{"results":[{"flagged":false,"categories":{"hate":false}}]}"#);
    assert_eq!(house.redeem(&body).await.1["data"]["is_blocked"], false);
    assert_eq!(house.upstream.count(), 1);
}

#[tokio::test]
async fn the_older_generation_knows_three_fields_and_30000_bytes() {
    let house = House::with(|settings| settings.generation = Generation::Older).await;
    assert_eq!(house.keys.keys().collect::<Vec<_>>(), [OTHER, MODEL]);
    let paths = [
        ("POST", "/abuse-token/permanent"),
        ("POST", "/abuse-token/transient"),
        ("GET", "/abuse-token/backup"),
    ];
    for (method, path) in paths {
        assert_eq!(house.call(method, path, None).await.0, 404, "{path}");
    }
    let (token, signature) = house.token(MODEL).await;
    let mut body = json!({
        "model": MODEL, "messages": [],
        "extra_body": {"llmmask": {"Token": token, "SignedToken": signature, "ModelName": MODEL}},
    });
    let mut large = body.to_string().into_bytes();
    large.resize(30_001, b' ');
    assert_eq!(house.redeem_bytes(large.clone()).await.1["data"]["size_limit_exceeded"], true);
    large.truncate(30_000);
    assert_eq!(house.redeem_bytes(large).await.0, 200);
    // Fields that it does not know do not make it another request.
    mask(&mut body)["PermanentAbuseToken"] = json!(GARBAGE);
    assert_eq!(house.redeem(&body).await.0, 200);
    assert_eq!(house.upstream.count(), 1);
}
