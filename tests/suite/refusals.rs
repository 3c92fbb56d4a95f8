//! The whole way over real sockets: an HTTP client, the endpoint, redemption, a real vault and the reference
//! backend. What the backend refuses, the client must see as the right error, and the token must be where it
//! belongs afterwards.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmtor::anonymous::face::catalog::{Catalog, Listing};
use llmtor::anonymous::http::{Conduct, Endpoint, Faces, Limits, serve};
use llmtor::anonymous::redeem::{Redeemer, Settings};
use llmtor::anonymous::transport::loopback::Loopback;
use llmtor::blind::{BlindedMessage, BlindingSecret, Fingerprint, Signature, TokenMessage};
use llmtor::clock::{ManualClock, Timestamp};
use llmtor::secret::Secret;
use llmtor::vault::{
    AbuseKind, AbuseRule, NewAbuseIssuance, NewIssuance, RequestId, Stock, Vault, VaultKeys,
};
use llmtor::wire::ModelName;
use llmtor::wire::redemption::Epoch;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::backend::house::{House, MODEL, NOW, OTHER};

const KEY: &str = "sk-llmtor-whole-way";
const DAY: i64 = 24 * 3600;

/// A daemon's parts around a reference backend. The vault's clock is the test's own.
struct Way {
    house: House,
    clock: Arc<ManualClock>,
    vault: Vault,
    endpoint: String,
    abuse: [(String, String); 2],
    shutdown: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Way {
    async fn open() -> Self {
        let house = House::open().await;
        house.upstream.say(200, &completion("the answer"));
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::shared(Timestamp::from_unix(NOW));
        let keys = VaultKeys { sealing: Secret::new([1; 32]), digest: Secret::new([2; 32]) };
        let (vault, _) = Vault::open(&dir.path().join("vault.db"), keys, clock.clone()).unwrap();
        let abuse = house.abuse_tokens(Epoch::at(NOW)).await;
        let shutdown = CancellationToken::new();
        let redeemer = Redeemer::new(
            vault.withdrawals(),
            Arc::new(Loopback::new(&house.base).unwrap()),
            Settings::new(AbuseRule::Required, [(model(MODEL), key())].into(), clock.clone()),
        );
        let catalog = Catalog::new([MODEL, OTHER].map(|name| Listing {
            name: model(name),
            created: Timestamp::from_unix(NOW),
            context_length: None,
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/chat/completions", listener.local_addr().unwrap());
        let serving = Endpoint {
            allowed_origins: Vec::new(),
            faces: Faces::ALL,
            redeemer: Box::new(redeemer),
            catalog,
            api_key: Secret::new(KEY.into()),
            limits: Limits::default(),
            heartbeat: Duration::from_secs(5),
            clock: clock.clone(),
            conduct: Conduct::default(),
            pictures: None,
            meter: None,
        };
        tokio::spawn(serve(vec![listener], serving, shutdown.clone(), Duration::from_secs(1)));
        let way = Self { house, clock, vault, endpoint, abuse, shutdown, _dir: dir };
        way.hold_abuse_tokens(&way.abuse).await;
        way
    }

    /// Puts a token and its signature, base64, into the vault for `name`.
    async fn hold(&self, name: &str, (token, signature): &(String, String)) {
        let deposits = self.vault.deposits();
        let request_id = RequestId(uuid::Uuid::new_v4().to_string());
        let issuance = NewIssuance {
            request_id: request_id.clone(),
            model: model(name),
            key: key(),
            message: TokenMessage::from_bytes(STANDARD.decode(token).unwrap()),
            blinded: BlindedMessage::from_bytes(vec![0; 256]),
            secret: BlindingSecret::from_bytes(vec![0; 256]),
            readiness: llmtor::vault::Readiness::Now,
        };
        deposits.begin(vec![issuance]).await.unwrap();
        let signature = Signature::from_bytes(STANDARD.decode(signature).unwrap());
        deposits.finalize(&request_id, signature, Timestamp::from_unix(NOW)).await.unwrap();
    }

    async fn hold_abuse_tokens(&self, [permanent, transient]: &[(String, String); 2]) {
        let deposits = self.vault.deposits();
        let kinds = [AbuseKind::Permanent, AbuseKind::Transient(Epoch::at(NOW))];
        for (kind, (token, signature)) in kinds.into_iter().zip([permanent, transient]) {
            let issuance = NewAbuseIssuance {
                kind,
                key: Fingerprint::from_bytes([0; 32]),
                message: TokenMessage::from_bytes(STANDARD.decode(token).unwrap()),
                blinded: BlindedMessage::from_bytes(vec![0; 256]),
                secret: BlindingSecret::from_bytes(vec![0; 256]),
            };
            deposits.begin_abuse(issuance).await.unwrap();
            let signature = Signature::from_bytes(STANDARD.decode(signature).unwrap());
            deposits.finalize_abuse(kind, signature).await.unwrap();
        }
    }

    /// One call; status, whether a retry is invited, and the body.
    async fn ask(&self, text: &str) -> (u16, Option<String>, Value) {
        let body = json!({"model": MODEL, "messages": [{"role": "user", "content": text}]});
        let request = self.house.client.post(&self.endpoint).bearer_auth(KEY);
        let response =
            request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
        let status = response.status().as_u16();
        let retry = response.headers().get("x-should-retry").map(|value| value.to_str().unwrap().to_owned());
        (status, retry, serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    /// An error with this status and code, after which no retry is invited.
    async fn refused(&self, text: &str, status: u16, code: &str) {
        let (got, retry, body) = self.ask(text).await;
        assert_eq!((got, body["error"]["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(retry.as_deref(), Some("false"), "{body}");
        for field in ["message", "type", "param", "code"] {
            assert!(body["error"].get(field).is_some(), "{field} is missing in {body}");
        }
    }

    async fn stock(&self) -> Stock {
        self.vault.census().stock().await.unwrap().get(&model(MODEL)).copied().unwrap_or_default()
    }
}

fn model(name: &str) -> ModelName {
    ModelName::new(name).unwrap()
}

fn key() -> Fingerprint {
    Fingerprint::from_bytes([0; 32])
}

fn completion(text: &str) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 9, "model": "upstream-name",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    })
    .to_string()
}

/// The redemption of `token` that somebody else makes, with other abuse tokens.
async fn spend_elsewhere(way: &Way, (token, signature): &(String, String)) {
    // A permanent abuse token may be signed again for ten minutes, so a second one is to be had.
    let mut body = way.house.paid(MODEL).await;
    body["extra_body"]["llmmask"]["Token"] = json!(token);
    body["extra_body"]["llmmask"]["SignedToken"] = json!(signature);
    let (status, answer) = way.house.redeem(&body).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_token_buys_an_answer_and_is_gone() {
    let way = Way::open().await;
    way.hold(MODEL, &way.house.token(MODEL).await).await;
    let (status, _, body) = way.ask("hello").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["choices"][0]["message"]["content"], "the answer");
    way.refused("hello again", 429, "insufficient_quota").await;
    assert_eq!(way.stock().await, Stock { spent: 1, ..Stock::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_token_is_refused_and_wiped() {
    let way = Way::open().await;
    let token = way.house.token(MODEL).await;
    spend_elsewhere(&way, &token).await;
    way.hold(MODEL, &token).await;
    let calls = way.house.upstream.count();
    way.refused("a second use", 502, "token_reused").await;
    assert_eq!(way.house.upstream.count(), calls, "the provider was not asked");
    assert_eq!(way.stock().await, Stock { spent: 1, ..Stock::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_replayed_after_its_answer_is_gone_is_refused_and_wiped() {
    let way = Way::open().await;
    let token = way.house.token(MODEL).await;
    spend_elsewhere(&way, &token).await;
    way.hold(MODEL, &token).await;
    way.house.clock.advance(5 * DAY + 3600);
    way.refused("a second use", 502, "answer_lost").await;
    assert_eq!(way.stock().await, Stock { spent: 1, ..Stock::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn another_models_token_is_refused_and_kept_for_nothing_says_that_it_is_at_fault() {
    let way = Way::open().await;
    way.hold(MODEL, &way.house.token(OTHER).await).await;
    way.refused("with the wrong key's token", 502, "token_refused").await;
    assert_eq!(way.house.upstream.count(), 0);
    assert_eq!(way.stock().await, Stock { available: 1, ..Stock::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_signature_is_set_aside_once_another_token_pays() {
    let way = Way::open().await;
    let (token, _) = way.house.token(MODEL).await;
    way.hold(MODEL, &(token, STANDARD.encode([7; 256]))).await;
    way.refused("with a forged token", 502, "token_refused").await;
    assert_eq!(way.stock().await, Stock { available: 1, ..Stock::default() });
    // Whichever of the two is drawn first, a good one is found, and at the latest the second call shows the other up.
    way.hold(MODEL, &way.house.token(MODEL).await).await;
    way.hold(MODEL, &way.house.token(MODEL).await).await;
    assert_eq!(way.ask("with a good one").await.0, 200);
    assert_eq!(way.ask("with another good one").await.0, 200);
    let stock = way.stock().await;
    assert_eq!((stock.available + stock.refused, stock.spent), (1, 2), "{stock:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blacklisted_abuse_token_is_refused_and_costs_no_token() {
    let way = Way::open().await;
    way.hold(MODEL, &way.house.token(MODEL).await).await;
    let permanent = STANDARD.decode(&way.abuse[0].0).unwrap();
    way.house.backend.blacklist_abuse(Sha256::digest(permanent).into()).unwrap();
    way.refused("from a blacklisted pseudonym", 403, "abuse_token_blacklisted").await;
    assert_eq!(way.house.upstream.count(), 0);
    assert_eq!(way.stock().await, Stock { available: 1, ..Stock::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_epoch_is_refused_and_costs_no_token() {
    let way = Way::open().await;
    way.hold(MODEL, &way.house.token(MODEL).await).await;
    // The backend's month has turned, the daemon's clock is behind.
    way.house.clock.advance(20 * DAY);
    way.refused("in the next month", 403, "abuse_token_expired").await;
    assert_eq!(way.house.upstream.count(), 0);
    assert_eq!(way.stock().await, Stock { available: 1, ..Stock::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn last_months_abuse_token_is_not_sent_at_all() {
    let way = Way::open().await;
    way.hold(MODEL, &way.house.token(MODEL).await).await;
    way.clock.advance(20 * DAY);
    way.refused("in the next month", 403, "abuse_token_missing").await;
    assert_eq!(way.house.upstream.count(), 0);
    assert_eq!(way.stock().await, Stock { available: 1, ..Stock::default() });
}
