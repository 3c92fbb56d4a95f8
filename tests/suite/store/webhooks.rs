//! What payment providers report, and what others would like the backend to believe.

use serde_json::{Value, json};

use super::shop::{MODEL, Shop, now, paddle_signature, paid, refunded};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_credited_once_and_only_on_the_provider_s_word() {
    let shop = Shop::open();
    let reference = shop.reference().await;
    let body = paid("evt_1", "txn_1", &reference);

    // Not the provider's word: forged, unsigned, cut short, changed, too old, of another day.
    let good = paddle_signature(&body, now());
    let forged = good.replace(|c: char| c.is_ascii_digit(), "0");
    for signature in
        ["", "ts=1", &forged, &paddle_signature(&body, now() - 400), &paddle_signature(&body, now() + 400)]
    {
        assert_eq!(shop.paddle_as(&body, signature).await, 401, "{signature}");
    }
    assert_eq!(shop.paddle_as(&body[..body.len() - 1], &good).await, 401);
    assert_eq!(shop.paddle_as(&body.replace("pri_small", "pri_large"), &good).await, 401);
    assert_eq!(shop.paddle("{\"event_id\":\"e\"}").await, 400, "signed, and no event");
    assert_eq!(shop.credits().await, 0);

    // Eight at once, each a report of its own of the same transaction.
    let bodies: Vec<_> = (0..8).map(|n| paid(&format!("evt_at_once_{n}"), "txn_1", &reference)).collect();
    let told = futures_util::future::join_all(bodies.iter().map(|body| shop.paddle(body))).await;
    assert_eq!(told, [200; 8]);
    assert_eq!(shop.credits().await, 100);
    // Replayed to the byte.
    assert_eq!(shop.paddle_as(&body, &good).await, 200);
    assert_eq!(shop.paddle_as(&body, &good).await, 200);
    assert_eq!(shop.credits().await, 100);
    let me = shop.me().await;
    let expected = json!([{ "TransactionID": "txn_1", "TokensGranted": { MODEL: 100 } }]);
    assert_eq!(me["SubscriptionInfo"]["PaymentLogs"], expected);

    // A refund before its payment, and one after.
    assert_eq!(shop.paddle(&refunded("evt_2", "txn_2")).await, 200);
    assert_eq!(shop.paddle(&paid("evt_3", "txn_2", &reference)).await, 200);
    assert_eq!(shop.credits().await, 100);
    assert_eq!(shop.paddle(&refunded("evt_4", "txn_1")).await, 200);
    assert_eq!(shop.credits().await, 0);
    assert!(shop.me().await["SubscriptionInfo"]["UsedAuthTokens"].is_null());

    // What does not fit is kept for the host.
    let odd = paid("evt_5", "txn_3", &reference).replace("pri_small", "pri_unheard_of");
    assert_eq!(shop.paddle(&odd).await, 200);
    let cheap = paid("evt_6", "txn_4", &reference).replace("595", "195");
    assert_eq!(shop.paddle(&cheap).await, 200);
    let stranger = paid("evt_7", "txn_5", "no-such-reference");
    assert_eq!(shop.paddle(&stranger).await, 200);
    assert_eq!(shop.credits().await, 0);
    let sales = shop.host(&["sales"]).json();
    let state = |transaction: &str| {
        let sales = sales["sales"].as_array().unwrap();
        sales.iter().find(|sale| sale["transaction"] == transaction).unwrap()["state"].clone()
    };
    assert_eq!(state("txn_1"), json!({ "state": "credited" }));
    assert_eq!(state("txn_3"), json!({ "state": "held", "because": "unknown_product" }));
    assert_eq!(state("txn_4"), json!({ "state": "held", "because": "amount_differs" }));
    assert_eq!(state("txn_5"), json!({ "state": "held", "because": "unknown_buyer" }));

    // Nothing of it is in the log, at its most talkative.
    let log = String::from_utf8(shop.program.stderr()).unwrap();
    for secret in ["pdl_ntfset_canary", "txn_1", &reference, &shop.session] {
        assert!(!log.contains(secret), "the log has {secret}");
    }
    assert!(log.contains("llmtor backend sales"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_provider_s_reports_count_as_well() {
    let shop = Shop::open();
    let reference = shop.reference().await;
    let payment = json!({
        "business_id": "b", "type": "payment.succeeded", "timestamp": "2026-11-22T00:00:00Z",
        "data": { "payment_id": "pay_1", "total_amount": 500, "tax": 0, "currency": "USD",
                  "metadata": { "reference": reference },
                  "product_cart": [{ "product_id": "pdt_small", "quantity": 1 }] },
    })
    .to_string();
    let refund = |amount: Value, partial: bool| {
        json!({
            "type": "refund.succeeded",
            "data": { "refund_id": format!("ref_{partial}"), "payment_id": "pay_1", "amount": amount, "is_partial": partial },
        })
        .to_string()
    };
    assert_eq!(shop.dodo("msg_1", &payment).await, 200);
    assert_eq!(shop.dodo("msg_1", &payment).await, 200);
    assert_eq!(shop.dodo("msg_2", &payment).await, 200);
    assert_eq!(shop.credits().await, 100);
    assert_eq!(shop.dodo("msg_3", &refund(json!(250), true)).await, 200);
    assert_eq!(shop.credits().await, 50);
    assert_eq!(shop.dodo("msg_4", &refund(json!(250), false)).await, 200);
    assert_eq!(shop.credits().await, 0);
    // Signed for one provider is not signed for the other.
    assert_eq!(shop.paddle_as(&payment, &paddle_signature("x", now())).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_sells_nothing_listens_to_nobody() {
    let shop = Shop::with("generation = \"older\"\n[models.\"gpt-4.1-mini\"]\n");
    assert_eq!(shop.paddle("{}").await, 404);
    assert_eq!(shop.dodo("msg_1", "{}").await, 404);
}

#[test]
fn a_secret_that_is_not_in_the_environment_is_named_at_the_start() {
    let room = tempfile::tempdir().unwrap();
    let settings =
        "[models.\"m\"]\n[store.paddle]\nclient_token = \"t\"\nwebhook_secret_envs = [\"NO_SUCH_SECRET\"]\n";
    std::fs::write(room.path().join("shop.toml"), settings).unwrap();
    let arguments = ["backend", "serve", "--home", "b", "--listen", "127.0.0.1:0", "--config", "shop.toml"];
    super::shop::end(room.path(), &arguments, "").refused(2, &["`NO_SUCH_SECRET`", "is not set"]);
}
