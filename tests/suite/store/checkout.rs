//! The purchase page, as text and in a real browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::shop::{MODEL, Shop, attribute, paid};

/// What a browser saw; `None`, and a line that says so, where there is none.
fn browse(url: &str, code: Option<&str>) -> Option<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let chromium = PathBuf::from(std::env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into()));
    let needed = [directory.join("node_modules/playwright-core/package.json"), chromium];
    if let Some(missing) = needed.iter().find(|needed| !needed.exists()) {
        assert!(std::env::var_os("CI").is_none(), "{} is missing", missing.display());
        eprintln!("SKIPPED: no browser was asked ({} is missing)", missing.display());
        return None;
    }
    let output =
        Command::new("node").arg(directory.join("checkout.mjs")).arg(url).args(code).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}")))
}

#[track_caller]
fn assert_accessible(seen: &Value) {
    for (scheme, violations) in seen["violations"].as_object().unwrap() {
        assert_eq!(violations, &json!([]), "{scheme}");
    }
    assert_eq!(seen["overflows"], false, "it does not fit a narrow screen");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_for_its_account_for_a_while_and_leads_nowhere_else() {
    let shop = Shop::open();
    let (status, policy, body) = shop.page(&format!("{}/api/v1/purchase", shop.url)).await;
    assert_eq!(status, 200);
    assert!(body.contains("llmtor buy") && policy.starts_with("default-src 'none'"), "{policy} {body}");
    let good = shop.page_url("&paddlePriceID=pri_small").await;
    assert_eq!(shop.page(&good).await.0, 200);
    assert_eq!(shop.page(&good).await.0, 200, "a page may be loaded again");
    let (status, _, body) = shop.page(&good.replace("userID=", "userID=0")).await;
    assert_eq!(status, 403);
    assert!(body.contains("five minutes"), "{body}");
    assert_eq!(shop.page(&good.replace("transientToken=", "transientToken=0")).await.0, 403);
    assert_eq!(shop.page(&good.replace("pri_small", "pri_other")).await.0, 404);
    for (redirect, expected) in [
        ("http%3A%2F%2F127.0.0.1%3A5139%2Fcallback", 200),
        ("https%3A%2F%2Fapp.example%2Fpaid", 200),
        ("https%3A%2F%2Fevil.example%2F", 400),
        ("javascript%3Aalert(1)", 400),
        ("%2F%2Fevil.example", 400),
    ] {
        for name in ["redirect", "redirectURL"] {
            let (status, policy, body) = shop.page(&format!("{good}&{name}={redirect}")).await;
            assert_eq!(status, expected, "{redirect}");
            assert!(!policy.contains("evil") && (expected == 200 || !body.contains("evil")), "{body}");
        }
    }
    // A name with markup in it stays a name.
    let (_, _, body) = shop.page(&format!("{good}&packageID=%3Cscript%3E")).await;
    assert!(!body.contains("<script>"), "{body}");
    // A page that is loaded again is the same checkout, and its reference is not the account's id.
    let id = shop.me().await["id"].as_str().unwrap().to_owned();
    let (first, second) = (shop.reference().await, shop.reference().await);
    assert_eq!(first, second);
    assert_ne!(first, id);
    // The page that a foreign script runs in is that of a checkout, and holds nobody else's redirect.
    let of = |reference: &str, more: &str| {
        format!("{}/api/v1/purchase/checkout/{reference}?packageID=small{more}", shop.url)
    };
    assert_eq!(shop.page(&of(&first, "")).await.0, 200);
    assert_eq!(shop.page(&of(&id, "")).await.0, 404, "an account is no reference");
    assert_eq!(shop.page(&of(&first, "&redirect=https%3A%2F%2Fevil.example%2F")).await.0, 400);
    assert_eq!(
        shop.page(&of(&first, "").replace("small", "by-hand")).await.0,
        404,
        "Paddle does not sell it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_paddle_s_window_opens_and_learns_a_reference_and_no_token() {
    let shop = Shop::open();
    let url =
        shop.page_url("&paddlePriceID=pri_small&redirect=http%3A%2F%2F127.0.0.1%3A5139%2Fcallback").await;
    let Some(seen) = browse(&url, None) else { return };
    assert_eq!(seen["status"], 200);
    assert_accessible(&seen);
    assert_eq!(seen["pay"], "Pay $5.00 with Paddle");
    // Neither token nor account is anywhere that the script can look, and they go along with no request.
    let begin = format!("{}/api/v1/purchase/checkout/", shop.url);
    assert!(seen["address"].as_str().unwrap().starts_with(&begin), "{}", seen["address"]);
    assert_eq!(seen["address"], seen["paddle"]["address"]);
    let traces = seen["paddle"]["traces"].to_string();
    assert!(traces.contains(&begin), "it did look: {traces}");
    let url = url::Url::parse(&url).unwrap();
    let secrets: Vec<_> =
        url.query_pairs().filter(|(name, _)| name == "transientToken" || name == "userID").collect();
    assert_eq!(secrets.len(), 2);
    for (name, secret) in secrets {
        assert!(!traces.contains(&*secret) && !traces.contains(&*name), "{name} is in {traces}");
    }
    let origin = format!("{}/", shop.url);
    let referers = seen["referers"].as_array().unwrap();
    assert!(referers.len() >= 2 && referers.iter().all(|referer| *referer == origin), "{referers:?}");
    // Only Paddle gets in.
    assert_eq!(seen["outside"], json!([]));
    assert!(
        seen["refused"].as_array().unwrap().len() >= 2,
        "the policy stops the strangers: {}",
        seen["refused"]
    );
    let refused = seen["refused"].to_string();
    assert!(refused.contains("evil.example") && !refused.contains("paddle.com/checkout"), "{refused}");
    let paddle = &seen["paddle"];
    assert_eq!(
        (&paddle["environment"], &paddle["initialized"]),
        (&"sandbox".into(), &"test_0123456789".into())
    );
    let opened = &paddle["opened"][0];
    assert_eq!(opened["items"], json!([{ "priceId": "pri_small", "quantity": 1 }]));
    assert_eq!(opened["settings"]["successUrl"], "http://127.0.0.1:5139/callback");
    assert_eq!(opened["customData"]["package"], "small");
    assert_eq!(opened["customData"].as_object().unwrap().len(), 2);
    assert!(seen["state"].as_str().unwrap().contains("is open"));
    assert!(seen["closed"].as_str().unwrap().contains("Nothing was bought"));
    assert_eq!(seen["opened"], 2);
    assert!(seen["completed"].as_str().unwrap().contains("Thank you"));
    // And the reference is worth its credits.
    let reference = opened["customData"]["reference"].as_str().unwrap();
    assert_eq!(shop.paddle(&paid("evt_1", "txn_1", reference)).await, 200);
    assert_eq!(shop.credits().await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_the_other_checkout_is_a_link_and_a_voucher_a_form() {
    let shop = Shop::open();
    let url =
        shop.page_url("&dodoProductID=pdt_small&redirectURL=http%3A%2F%2F127.0.0.1%3A5139%2Fcallback").await;
    let (_, policy, body) = shop.page(&url).await;
    assert!(!policy.contains("https://"), "nobody else gets in: {policy}");
    let link = attribute(&body, "href").replace("&amp;", "&");
    let begin = "https://test.checkout.dodopayments.com/buy/pdt_small?quantity=1&metadata_reference=";
    assert!(
        link.starts_with(begin) && link.contains("&redirect_url=http%3A%2F%2F127.0.0.1%3A5139%2F"),
        "{link}"
    );
    assert!(!link.contains("transientToken"), "{link}");
    let credits = format!("{MODEL}=7");
    let code = shop.host(&["voucher", "create", "--credits", &credits]).json()["codes"][0].clone();
    let Some(seen) = browse(&url, code.as_str()) else { return };
    assert_accessible(&seen);
    assert_eq!((&seen["pay"], &seen["outside"]), (&"Pay $5.00 at Dodo Payments".into(), &json!([])));
    assert_eq!(seen["after"]["title"], "The voucher is redeemed", "{}", seen["after"]);
    assert!(seen["after"]["text"].as_str().unwrap().contains("7 credits for gpt-4.1-mini"));
    assert_eq!(shop.credits().await, 7);
    // A second time the form comes back, with what is wrong.
    let url = shop.page_url("&packageID=by-hand").await;
    let Some(seen) = browse(&url, code.as_str()) else { return };
    assert_accessible(&seen);
    assert!(seen["after"]["text"].as_str().unwrap().contains("was used before"), "{}", seen["after"]);
}
