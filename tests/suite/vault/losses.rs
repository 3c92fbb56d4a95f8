//! Credits that no token came of: written down with the wiping, or not at all.

use llmtor::vault::{Abandoned, Loss, LossReason};

use super::*;

async fn losses(vault: &Vault) -> Vec<Loss> {
    vault.census().losses().await.unwrap()
}

fn loss(credits: u64, reason: LossReason, found: Timestamp) -> Loss {
    Loss { model: model(), found, credits, reason }
}

fn id(name: &str) -> RequestId {
    RequestId(name.into())
}

async fn begin(vault: &Vault, names: &[&str]) {
    vault.deposits().begin(names.iter().map(|name| issuance(name, name)).collect()).await.unwrap();
}

#[tokio::test]
async fn what_is_written_off_is_wiped_and_its_credits_stay_on_record_across_a_restart() {
    let place = Place::new();
    let vault = place.open();
    assert!(losses(&vault).await.is_empty());
    begin(&vault, &["a", "b", "c"]).await;
    vault.deposits().write_off(vec![id("a"), id("b")], LossReason::Lost).await.unwrap();
    assert_eq!(stock(&vault).await.blinded, 1);
    vault.close().await.unwrap();
    let vault = place.open();
    assert_eq!(losses(&vault).await, [loss(2, LossReason::Lost, START)]);
    assert_eq!(vault.deposits().forget_losses().await, Ok(1));
    assert!(losses(&vault).await.is_empty());
}

#[tokio::test]
async fn if_one_is_not_pending_none_is_written_off() {
    let place = Place::new();
    let vault = place.open();
    begin(&vault, &["a"]).await;
    let error = vault.deposits().write_off(vec![id("a"), id("gone")], LossReason::Lost).await;
    assert_eq!(error, Err(VaultError::UnknownIssuance));
    assert_eq!(stock(&vault).await.blinded, 1);
    assert!(losses(&vault).await.is_empty());
}

#[tokio::test]
async fn losses_of_one_day_and_reason_are_one_row_and_those_of_another_are_not() {
    let place = Place::new();
    let vault = place.open();
    let write_off = async |name: &str, reason| {
        begin(&vault, &[name]).await;
        vault.deposits().write_off(vec![id(name)], reason).await.unwrap();
    };
    write_off("a", LossReason::Lost).await;
    place.clock.advance(60);
    write_off("b", LossReason::Lost).await;
    write_off("c", LossReason::Unclear).await;
    place.clock.advance(DAY);
    write_off("d", LossReason::Lost).await;
    let expected = [
        loss(2, LossReason::Lost, START),
        loss(1, LossReason::Unclear, START.plus_seconds(60)),
        loss(1, LossReason::Lost, START.plus_seconds(60 + DAY)),
    ];
    assert_eq!(losses(&vault).await, expected);
}

#[tokio::test]
async fn what_leaves_with_its_account_is_written_down_as_given_up() {
    let place = Place::new();
    let vault = place.open();
    begin(&vault, &["a", "b"]).await;
    assert_eq!(vault.deposits().abandon_all().await.unwrap(), Abandoned { credits: 2, abuse: 0 });
    assert_eq!(losses(&vault).await, [loss(2, LossReason::GivenUp, START)]);
    // A refusal before any debit is no loss.
    begin(&vault, &["c"]).await;
    vault.deposits().abandon(&id("c")).await.unwrap();
    assert_eq!(losses(&vault).await.len(), 1);
}
