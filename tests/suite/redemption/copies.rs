//! A vault and its copy before one backend that keeps every answer under its token, as the real one does.

use std::collections::HashMap;
use std::sync::Arc;

use llmtor::anonymous::redeem::{RedeemErrorKind, TokenFate};
use llmtor::clock::{Clock as _, ManualClock};
use llmtor::vault::backups::Source;

use super::*;
use crate::support::scripted::{Act, completion};

/// Answers each token once, with the messages and the time; whoever shows it again is told the same.
async fn faithful(clock: &Arc<ManualClock>) -> Scripted {
    let clock = Arc::clone(clock);
    let mut stored: HashMap<String, String> = HashMap::new();
    Scripted::start(move |_, seen| {
        let body = stored.entry(seen.token()).or_insert_with(|| {
            let mut body: serde_json::Value = serde_json::from_str(&completion(&seen.messages())).unwrap();
            body["created"] = json!(clock.now().unix());
            body.to_string()
        });
        Act::provider(body)
    })
    .await
}

#[tokio::test]
async fn what_the_source_spent_after_the_backup_is_dropped_by_the_copy_and_no_answer_is_crossed() {
    const TOKENS: u64 = 8;
    const SPENT_MEANWHILE: u64 = 3;
    // The backend's clock and the source's.
    let clock = ManualClock::shared(START);
    let backend = faithful(&clock).await;
    let dir = tempfile::tempdir().unwrap();
    let vault = open(&dir, &clock);
    stock_up(&vault, usize::try_from(TOKENS).unwrap()).await;
    let snapshot = vault.backups().snapshot(Source::Kept).await.unwrap();
    let source = redeemer(&vault, &backend, settings_at(&clock));
    let ask = async |redeemer: &Arc<Redeemer>, text: &str| {
        let delivery = redeemer.redeem(prompt(text), first()).await?;
        let told = String::from_utf8(delivery.answer().body.clone()).unwrap();
        delivery.delivered();
        Ok::<_, RedeemError>(told)
    };
    for number in 0..SPENT_MEANWHILE {
        ask(&source, &format!("of the source, {number}")).await.unwrap();
    }

    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("vault.db"), snapshot.database.expose()).unwrap();
    let copied = open(&elsewhere, &clock);
    let copy = redeemer(&copied, &backend, settings_at(&clock));
    let refused = ask(&copy, "too early").await.unwrap_err();
    assert!(matches!(refused.kind(), RedeemErrorKind::VaultPaused { .. }), "{refused}");
    assert_eq!(refused.token(), TokenFate::Unspent);
    copied.backups().take_over().await.unwrap();
    // The source's last answer is of this second: it would pass for an answer to a call of now.
    let refused = ask(&copy, "too early").await.unwrap_err();
    assert!(matches!(refused.kind(), RedeemErrorKind::OutOfTokens { maturing: Some(_), .. }), "{refused}");
    clock.advance(901);

    let mut answered = 0;
    let error = loop {
        let text = format!("of the copy, {answered}");
        match ask(&copy, &text).await {
            Ok(told) => assert!(told.contains(&text), "another prompt's answer: {told}"),
            Err(error) => break error,
        }
        answered += 1;
    };
    assert!(matches!(error.kind(), RedeemErrorKind::OutOfTokens { .. }), "{error}");
    assert_eq!(answered, TOKENS - SPENT_MEANWHILE, "each of the others is good for one call");
}
