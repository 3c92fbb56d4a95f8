//! Vouchers, from the host who makes them to the account that has the credits.

use serde_json::json;

use super::shop::{MODEL, Shop};

fn codes(shop: &Shop, count: &str) -> Vec<String> {
    let credits = format!("{MODEL}=7");
    let made =
        shop.host(&["voucher", "create", "--credits", &credits, "--count", count, "--expires", "30"]).json();
    let codes = made["codes"].as_array().unwrap();
    codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_is_money_once() {
    let shop = Shop::open();
    shop.furnish();
    let codes = codes(&shop, "3");
    assert_eq!(codes.len(), 3);

    // A slip is found here, and sent nowhere; whatever the case and the hyphens.
    let slip = codes[0].replace(&codes[0][..1], if codes[0].starts_with('A') { "B" } else { "A" });
    shop.client(&["buy", "--voucher", &slip], "").refused(2, &["mistyped", "nothing was sent"]);
    shop.client(&["buy", "--voucher", &codes[0][..20]], "").refused(2, &["24 letters and digits"]);
    let sloppy = codes[0].to_lowercase().replace('-', " ") + "\n";
    let ended = shop.client(&["buy", "--voucher", "-", "--json"], &sloppy).json();
    assert_eq!(ended["granted"], json!({ MODEL: 7 }));
    assert_eq!(ended["supply"][MODEL]["next"]["what"], "not_running");
    assert_eq!(shop.credits().await, 7);
    shop.client(&["buy", "--voucher", &codes[0]], "").refused(1, &["used already", "llmtor account"]);

    // The log names a random number, and the account got no token by itself.
    let me = shop.me().await;
    let log = &me["SubscriptionInfo"]["PaymentLogs"][0];
    assert!(log["TransactionID"].as_str().unwrap().starts_with("voucher-"), "{log}");
    assert!(me["SubscriptionInfo"]["UsedAuthTokens"].is_null());
    let text = shop.client(&["buy", "--voucher", &codes[1]], "");
    assert_eq!(text.code, Some(0), "{}", text.stderr);
    for words in
        ["7 credits for gpt-4.1-mini are in your account", "They become tokens by themselves", "llmtor serve"]
    {
        assert!(text.stdout.contains(words), "{}", text.stdout);
    }

    // What the host sees of them names neither codes nor accounts; one that is left can be taken back.
    let list = shop.host(&["voucher", "list"]);
    for code in &codes {
        assert!(!list.stdout.contains(code.as_str()) && !list.stdout.contains("alice"), "{}", list.stdout);
    }
    let list = list.json();
    let open: Vec<_> =
        list["vouchers"].as_array().unwrap().iter().filter(|one| one["state"] == "open").collect();
    assert_eq!(open.len(), 1);
    let id = open[0]["id"].as_str().unwrap();
    assert_eq!(shop.host(&["voucher", "revoke", id]).code, Some(0));
    assert_eq!(shop.host(&["voucher", "revoke", id]).code, Some(1));
    shop.client(&["buy", "--voucher", &codes[2]], "").refused(1, &["taken back"]);
    let wrong = shop.host(&["voucher", "create", "--credits", "no-such-model=7"]);
    assert_eq!(wrong.code, Some(1), "{}", wrong.stdout);
    assert!(wrong.stdout.contains("serves no model"), "{}", wrong.stdout);

    // No code, used or not, is in a file or a log.
    let log = String::from_utf8(shop.program.stderr()).unwrap();
    for code in &codes {
        let bare = code.replace('-', "");
        assert!(!log.contains(code.as_str()) && !log.contains(&bare));
        for file in ["ledger.db", "ledger.db-wal"] {
            let bytes = std::fs::read(shop.room.path().join("backend").join(file)).unwrap_or_default();
            for form in [code.as_bytes(), bare.as_bytes()] {
                assert!(!bytes.windows(form.len()).any(|window| window == form), "{file} has a code");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_ended_after_ten_wrong_codes_by_whichever_door() {
    let shop = Shop::open();
    shop.furnish();
    let code = codes(&shop, "1").remove(0);
    // A right form and no voucher: the model's own code of another house.
    let stranger = "0000-0000-0000-0000-0000-".to_owned() + &check_of_zeros();
    let (status, told) = shop.voucher(&stranger).await;
    assert_eq!((status, told["error"].as_str()), (500, Some("unknown voucher code")), "{told}");
    shop.client(&["buy", "--voucher", &stranger], "").refused(1, &["gave out no voucher", "llmtor status"]);
    for _ in 0..8 {
        assert_eq!(shop.voucher("garbage").await.0, 500);
    }
    let (status, told) = shop.voucher(&code).await;
    assert_eq!(status, 429, "{told}");
    shop.client(&["buy", "--voucher", &code], "").refused(1, &["too many wrong codes", "in an hour"]);
    let page = shop.page_url("").await;
    let fields = page.split_once('?').unwrap().1.to_owned() + "&Code=" + &code;
    let (status, body) = shop.voucher_form(&fields).await;
    assert_eq!(status, 422);
    assert!(body.contains("Too many wrong codes"), "{body}");
    assert_eq!(shop.credits().await, 0);
}

/// Twenty zeros are drawn as rarely as anything else; their check is computed as anybody would.
fn check_of_zeros() -> String {
    use sha2::{Digest as _, Sha256};
    let hash = Sha256::new().chain_update(b"llmtor voucher check\0").chain_update("0".repeat(20)).finalize();
    let alphabet = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    hash[..4].iter().map(|byte| char::from(alphabet[usize::from(*byte) % 32])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_with_the_page_redeems_for_its_account_and_without_the_token_for_nobody() {
    let shop = Shop::open();
    let code = codes(&shop, "1").remove(0);
    let page = shop.page_url("").await;
    let fields = page.split_once('?').unwrap().1.to_owned();
    let (status, body) = shop.voucher_form(&format!("userID=somebody&transientToken=x&Code={code}")).await;
    assert_eq!(status, 403, "{body}");
    let (status, body) = shop.voucher_form(&format!("{fields}&Code=ABCD")).await;
    assert_eq!(status, 422);
    assert!(body.contains("24 letters and digits") && body.contains("role=\"alert\""), "{body}");
    assert!(!body.contains("ABCD"), "what was typed is not said back");
    let (status, body) = shop.voucher_form(&format!("{fields}&Code={code}")).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("7 credits for gpt-4.1-mini"), "{body}");
    assert_eq!(shop.credits().await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_vouchers_is_told_apart_from_a_wrong_code() {
    let shop = Shop::open();
    shop.furnish();
    let code = codes(&shop, "1").remove(0);
    // A server that answers `/me` and nothing else, as the deployed one where it knows no path.
    let me = shop.me().await.to_string();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().route(
        "/api/v1/me",
        axum::routing::get(move || async move { format!("{{\"status\":\"Ok.\",\"data\":{me}}}") }),
    );
    let app =
        app.fallback(async || (axum::http::StatusCode::NOT_FOUND, "{\"status\":\"Resource not found.\"}"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let setting = format!("backend.identity_url={url}");
    let ended = shop.client(&["buy", "--voucher", &code, "--set", &setting], "");
    ended.refused(1, &["has no vouchers", "llmtor buy"]);
}
