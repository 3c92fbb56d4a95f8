//! Copies: what is in one, and that no token is spent by two.

use llmtor::vault::backups::{SignedToken, Snapshot, Source, VerifiedAbuse};
use llmtor::vault::{Custody, Doubt, History, VaultErrorKind};
use proptest::prelude::*;

use super::*;
use crate::support::canary::contains;

/// Longer than the tokens of a vault rest that was taken over.
const REST: i64 = 901;

async fn snapshot(vault: &Vault, source: Source) -> Snapshot {
    vault.backups().snapshot(source).await.unwrap()
}

/// A vault out of a snapshot, in a place of its own, with the same clock.
fn restore(of: &Place, snapshot: &Snapshot) -> (Place, Vault) {
    let place = Place { dir: tempfile::tempdir().unwrap(), clock: Arc::clone(&of.clock) };
    std::fs::write(place.path(), snapshot.database.expose()).unwrap();
    let vault = place.open();
    (place, vault)
}

async fn custody(vault: &Vault) -> Custody {
    vault.backups().identification().await.unwrap().custody
}

#[tokio::test]
async fn a_copy_spends_nothing_before_it_is_taken_over_and_its_tokens_rest_afterwards() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 3).await;
    let copied = snapshot(&vault, Source::Kept).await;
    assert_eq!(custody(&vault).await, Custody::Ours);
    assert_eq!(copied.of.lineage, vault.backups().identification().await.unwrap().lineage);
    drop(reserve(&vault).await.unwrap());

    let (_elsewhere, copy) = restore(&place, &copied);
    assert_eq!((custody(&copy).await, stock(&copy).await.available), (Custody::Restored, 3));
    let refused = reserve(&copy).await.err().unwrap();
    assert_eq!(refused, VaultError::NotTakenOver);
    assert_eq!(refused.kind(), VaultErrorKind::Paused);
    assert!(refused.to_string().contains("llmtor restore --take-over"));
    let begun = copy.deposits().begin(vec![issuance("id", "canary-token")]).await;
    assert_eq!(begun, Err(VaultError::NotTakenOver));

    copy.backups().take_over().await.unwrap();
    let identification = copy.backups().identification().await.unwrap();
    assert_eq!(identification.generation, 1);
    assert_eq!(identification.rests_until, Some(START.plus_seconds(REST - 1)));
    assert_eq!(
        stock(&copy).await.maturing,
        3,
        "what was answered a moment ago could pass for an answer of now"
    );
    assert!(matches!(reserve(&copy).await, Err(VaultError::OutOfTokens { .. })));
    // A call that the other vault had under way may be answered this late.
    place.clock.advance(600 + 120);
    assert!(matches!(reserve(&copy).await, Err(VaultError::OutOfTokens { .. })));
    place.clock.advance(REST - 720);
    let withdrawals = copy.withdrawals();
    for _ in 0..3 {
        let digest = withdrawals.digest(&model(), b"[]");
        let presented = withdrawals.present(reserve(&copy).await.unwrap(), digest).await.unwrap();
        assert_eq!(presented.history(), History::MaybeSpent);
        withdrawals.settle(presented).await.unwrap();
    }
}

#[tokio::test]
async fn a_retired_vault_stops_at_once_even_with_a_token_in_hand() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    stock_up(&vault, 3).await;
    let digest = withdrawals.digest(&model(), b"[]");
    let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
    let reserved = reserve(&vault).await.unwrap();
    let copied = snapshot(&vault, Source::Retired).await;

    assert_eq!(reserve(&vault).await.err(), Some(VaultError::Retired));
    assert_eq!(withdrawals.present(reserved, digest).await.err(), Some(VaultError::Retired));
    // What was sent already comes to its end.
    withdrawals.settle(presented).await.unwrap();
    assert_eq!(withdrawals.resume(call(), digest).await.err(), Some(VaultError::Retired));
    vault.close().await.unwrap();
    let vault = place.open();
    assert_eq!(custody(&vault).await, Custody::Retired);
    assert!(vault.backups().snapshot(Source::Retired).await.is_err(), "it is not this vault's to give away");

    // Taken back, it trusts its own tokens no more than a copy would.
    vault.backups().take_over().await.unwrap();
    place.clock.advance(REST);
    let withdrawals = vault.withdrawals();
    let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
    assert_eq!(presented.history(), History::MaybeSpent);

    let (_elsewhere, copy) = restore(&place, &copied);
    let found = stock(&copy).await;
    assert_eq!((found.available, found.in_doubt, found.presented, found.reserved), (2, 1, 0, 0));
}

#[tokio::test]
async fn a_doubt_in_a_copy_is_resumed_only_after_the_rest_and_is_not_trusted() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    stock_up(&vault, 1).await;
    let digest = withdrawals.digest(&model(), b"[]");
    let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
    withdrawals.doubt(presented, Doubt::Unknown).await.unwrap();
    let (_elsewhere, copy) = restore(&place, &snapshot(&vault, Source::Kept).await);
    copy.backups().take_over().await.unwrap();
    assert!(copy.withdrawals().resume(call(), digest).await.unwrap().is_none());
    place.clock.advance(REST);
    let resumed = copy.withdrawals().resume(call(), digest).await.unwrap().unwrap();
    assert_eq!(resumed.history(), History::MaybeSpent);
    // In the vault where it belongs it is what it was.
    let resumed = withdrawals.resume(call(), digest).await.unwrap().unwrap();
    assert_eq!(resumed.history(), History::Fresh);
}

#[tokio::test]
async fn a_snapshot_holds_no_token_in_plain_and_no_issuance_that_is_under_way() {
    let place = Place::new();
    let vault = place.open();
    let tokens = stock_up(&vault, 20).await;
    hold_abuse(&vault, AbuseKind::Permanent, "canary-permanent").await;
    vault.deposits().begin(vec![issuance("canary-request", "canary-pending")]).await.unwrap();
    let copied = snapshot(&vault, Source::Kept).await;
    assert_eq!(copied.left_behind, 1);
    let image = copied.database.expose();
    for canary in
        tokens.iter().map(String::as_str).chain(["canary-permanent", "canary-signature", "canary-request"])
    {
        assert!(!contains(image, canary.as_bytes()), "{canary}");
    }
    assert!(contains(image, b"abuse_tokens"), "the search finds what is there");
    let (_elsewhere, copy) = restore(&place, &copied);
    assert!(copy.deposits().pending().await.unwrap().is_empty());
    assert_eq!(stock(&vault).await.blinded, 1, "here it goes on");
    // Under another key the copy is as closed as the vault.
    let other = Vault::open(&place.path(), keys(2), Arc::clone(&place.clock) as SharedClock).err();
    assert!(other.is_some());
}

#[tokio::test]
async fn abuse_tokens_go_out_and_come_in_and_doubts_keep_the_ones_they_went_with() {
    let place = Place::new();
    let vault = place.open();
    assert!(vault.backups().export_abuse().await.unwrap().is_none());
    let epoch = Epoch::at(START.unix());
    hold_abuse(&vault, AbuseKind::Permanent, "canary-permanent").await;
    hold_abuse(&vault, AbuseKind::Transient(epoch), "canary-transient").await;
    let held = vault.backups().export_abuse().await.unwrap().unwrap();
    assert!(held.permanent.token.matches(b"canary-permanent"));
    assert!(held.transient.unwrap().0.token.matches(b"canary-transient"));

    stock_up(&vault, 2).await;
    let withdrawals = vault.withdrawals();
    let digest = withdrawals.digest(&model(), b"[]");
    let reserved = withdrawals.reserve(call(), &model(), key(), AbuseRule::Required).await.unwrap();
    let presented = withdrawals.present(reserved, digest).await.unwrap();
    withdrawals.doubt(presented, Doubt::Unknown).await.unwrap();
    let token = SignedToken {
        token: Secret::new(b"canary-replaced".to_vec()),
        signature: Secret::new(signature().expose().to_vec()),
    };
    let replacement = VerifiedAbuse { kind: AbuseKind::Transient(epoch), key: key(), token };
    vault.backups().import_abuse(vec![replacement]).await.unwrap();
    let resumed = withdrawals.resume(call(), digest).await.unwrap().unwrap();
    assert_eq!(resumed.llmmask().transient_abuse_token.as_ref().unwrap().0, b"canary-transient");
    let reserved = withdrawals.reserve(call(), &model(), key(), AbuseRule::Required).await.unwrap();
    let fresh = withdrawals.present(reserved, withdrawals.digest(&model(), b"[1]")).await.unwrap();
    assert_eq!(fresh.llmmask().transient_abuse_token.as_ref().unwrap().0, b"canary-replaced");
}

/// What may befall a token before a snapshot.
#[derive(Clone, Copy, Debug)]
enum Step {
    Reserve,
    Present,
    Settle,
    Return,
    Doubt,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever state the vault is in, its copy has no token that it would trust, and none is lost on the way.
    #[test]
    fn no_copy_trusts_a_token(steps in proptest::collection::vec(
        prop_oneof![
            Just(Step::Reserve), Just(Step::Present), Just(Step::Settle), Just(Step::Return), Just(Step::Doubt),
        ],
        0..12,
    )) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            let vault = place.open();
            let withdrawals = vault.withdrawals();
            stock_up(&vault, 4).await;
            let (mut reserved, mut presented, mut settled) = (Vec::new(), Vec::new(), 0);
            for (number, step) in steps.iter().enumerate() {
                match step {
                    Step::Reserve => reserved.extend(reserve(&vault).await),
                    Step::Present => if let Some(token) = reserved.pop() {
                        let digest = withdrawals.digest(&model(), format!("[{number}]").as_bytes());
                        presented.push(withdrawals.present(token, digest).await.unwrap());
                    }
                    Step::Settle => if let Some(token) = presented.pop() {
                        withdrawals.settle(token).await.unwrap();
                        settled += 1;
                    }
                    Step::Return => if let Some(token) = presented.pop() {
                        withdrawals.return_unspent(token).await.unwrap();
                    }
                    Step::Doubt => if let Some(token) = presented.pop() {
                        withdrawals.doubt(token, Doubt::Unknown).await.unwrap();
                    }
                }
            }
            let (_elsewhere, copy) = restore(&place, &snapshot(&vault, Source::Kept).await);
            let found = stock(&copy).await;
            assert_eq!(found.available + found.in_doubt + settled, 4);
            copy.backups().take_over().await.unwrap();
            place.clock.advance(REST);
            for number in 0..found.available {
                let digest = copy.withdrawals().digest(&model(), format!("[new {number}]").as_bytes());
                let token = copy.withdrawals().present(reserve(&copy).await.unwrap(), digest).await.unwrap();
                assert_eq!(token.history(), History::MaybeSpent);
                copy.withdrawals().settle(token).await.unwrap();
            }
        });
    }
}
