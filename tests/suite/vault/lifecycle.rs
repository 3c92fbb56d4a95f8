//! A token's way through its states, and an issuance's.

use llmtor::vault::{Abandoned, Doubt, History, PinnedKeys, Shortage, VaultErrorKind};
use llmtor::wire::redemption::{Epoch, LlmMask};

use super::*;

const NONE: Stock = Stock {
    available: 0,
    maturing: 0,
    reserved: 0,
    presented: 0,
    in_doubt: 0,
    blinded: 0,
    other_key: 0,
    refused: 0,
    spent: 0,
};

fn token_of(mask: &LlmMask) -> String {
    String::from_utf8(mask.token.0.clone()).unwrap()
}

#[tokio::test]
async fn a_token_goes_from_blinded_to_wiped_and_is_counted_at_each_step() {
    let place = Place::new();
    let vault = place.open();
    let (deposits, withdrawals) = (vault.deposits(), vault.withdrawals());
    deposits.begin(vec![issuance("id", "canary-token")]).await.unwrap();
    assert_eq!(stock(&vault).await, Stock { blinded: 1, ..NONE });
    deposits.finalize(&RequestId("id".into()), signature(), START).await.unwrap();
    assert_eq!(stock(&vault).await, Stock { available: 1, ..NONE });
    let reserved = reserve(&vault).await.unwrap();
    assert_eq!(stock(&vault).await, Stock { reserved: 1, ..NONE });
    let presented = withdrawals.present(reserved, withdrawals.digest(&model(), b"[]")).await.unwrap();
    assert_eq!(stock(&vault).await, Stock { presented: 1, ..NONE });
    let mask = presented.llmmask();
    assert_eq!(token_of(mask), "canary-token");
    assert_eq!(mask.signed_token.0, signature().expose());
    assert_eq!(mask.model_name, model());
    assert!(mask.permanent_abuse_token.is_none() && mask.transient_abuse_token_sig.is_none());
    assert_eq!((presented.history(), presented.resumed()), (History::Fresh, false));
    withdrawals.settle(presented).await.unwrap();
    assert_eq!(stock(&vault).await, Stock { spent: 1, ..NONE });
}

#[tokio::test]
async fn release_and_return_make_a_token_available_again_and_set_aside_does_not() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    stock_up(&vault, 1).await;
    let digest = withdrawals.digest(&model(), b"[]");
    withdrawals.release(reserve(&vault).await.unwrap()).await.unwrap();
    assert_eq!(stock(&vault).await, Stock { available: 1, ..NONE });
    let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
    withdrawals.return_unspent(presented).await.unwrap();
    assert_eq!(stock(&vault).await, Stock { available: 1, ..NONE });
    let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
    withdrawals.set_aside(presented).await.unwrap();
    assert_eq!(stock(&vault).await, Stock { refused: 1, ..NONE });
    assert_eq!(reserve(&vault).await.err().unwrap().kind(), VaultErrorKind::Shortage);
}

#[tokio::test]
async fn guards_dropped_without_a_word_strand_no_token() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    stock_up(&vault, 1).await;
    drop(reserve(&vault).await.unwrap());
    assert_eq!(stock(&vault).await, Stock { available: 1, ..NONE });
    let digest = withdrawals.digest(&model(), b"[]");
    drop(withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap());
    assert_eq!(stock(&vault).await, Stock { in_doubt: 1, ..NONE });
}

#[tokio::test]
async fn a_token_in_doubt_is_resumed_by_the_same_request_alone_with_the_same_bytes() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    let epoch = Epoch::at(START.unix());
    hold_abuse(&vault, AbuseKind::Permanent, "canary-permanent").await;
    hold_abuse(&vault, AbuseKind::Transient(epoch), "canary-transient").await;
    stock_up(&vault, 2).await;
    let digest = withdrawals.digest(&model(), b"[1]");
    let reserved = withdrawals.reserve(call(), &model(), key(), AbuseRule::Required).await.unwrap();
    let presented = withdrawals.present(reserved, digest).await.unwrap();
    let sent = serde_json::to_string(presented.llmmask()).unwrap();
    assert!(sent.contains("TransientAbuseTokenSig"));
    withdrawals.doubt(presented, Doubt::Unknown).await.unwrap();

    // Rotation in between, then another request, then a restart.
    let next = Epoch::from_number(epoch.number() + 1);
    hold_abuse(&vault, AbuseKind::Transient(next), "canary-next-transient").await;
    assert!(withdrawals.resume(call(), withdrawals.digest(&model(), b"[2]")).await.unwrap().is_none());
    vault.close().await.unwrap();
    let vault = place.open();
    let withdrawals = vault.withdrawals();

    let resumed = withdrawals.resume(call(), digest).await.unwrap().unwrap();
    assert_eq!(serde_json::to_string(resumed.llmmask()).unwrap(), sent);
    assert!(resumed.resumed());
    // In one call's hands it is not there for a second.
    assert!(withdrawals.resume(call(), digest).await.unwrap().is_none());
    // What this attempt was told says nothing of the first.
    withdrawals.return_unspent(resumed).await.unwrap();
    assert_eq!(stock(&vault).await, Stock { in_doubt: 1, available: 1, ..NONE });
    withdrawals.settle(withdrawals.resume(call(), digest).await.unwrap().unwrap()).await.unwrap();
    assert_eq!(stock(&vault).await, Stock { spent: 1, available: 1, ..NONE });

    // New redemptions carry the new one.
    let reserved = withdrawals.reserve(call(), &model(), key(), AbuseRule::Required).await.unwrap();
    let presented = withdrawals.present(reserved, digest).await.unwrap();
    let transient = presented.llmmask().transient_abuse_token.clone().unwrap();
    assert_eq!(transient.0, b"canary-next-transient");
}

#[tokio::test]
async fn of_several_in_doubt_the_one_presented_longest_ago_is_resumed() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    stock_up(&vault, 5).await;
    let digest = withdrawals.digest(&model(), b"[]");
    let mut tokens = Vec::new();
    for _ in 0..5 {
        place.clock.advance(60);
        let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
        tokens.push((token_of(presented.llmmask()), presented));
    }
    // The order in which they came into doubt does not matter.
    let order: Vec<String> = tokens.iter().map(|(name, _)| name.clone()).collect();
    for (_, presented) in tokens.into_iter().rev() {
        withdrawals.doubt(presented, Doubt::Unknown).await.unwrap();
    }
    let mut held = Vec::new();
    for expected in order {
        let resumed = withdrawals.resume(call(), digest).await.unwrap().unwrap();
        assert_eq!(token_of(resumed.llmmask()), expected);
        held.push(resumed);
    }
}

#[tokio::test]
async fn after_its_term_an_unknown_doubt_is_maybe_spent_and_an_undelivered_one_is_wiped() {
    for reopen in [false, true] {
        let place = Place::new();
        let mut vault = place.open();
        stock_up(&vault, 2).await;
        let withdrawals = vault.withdrawals();
        let digest = |text: &[u8]| withdrawals.digest(&model(), text);
        for (text, doubt) in [(&b"[1]"[..], Doubt::Unknown), (b"[2]", Doubt::Undelivered)] {
            let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest(text)).await.unwrap();
            withdrawals.doubt(presented, doubt).await.unwrap();
        }
        place.clock.advance(6 * DAY - 1);
        assert_eq!(stock(&vault).await, Stock { in_doubt: 2, ..NONE });
        place.clock.advance(3600);
        if reopen {
            vault.close().await.unwrap();
            let (reopened, report) = place.open_with_report();
            assert_eq!(report, RecoveryReport { lapsed: 1, wiped: 1, ..RecoveryReport::default() });
            vault = reopened;
        }
        assert_eq!(stock(&vault).await, Stock { available: 1, spent: 1, ..NONE });
        let withdrawals = vault.withdrawals();
        assert!(withdrawals.resume(call(), withdrawals.digest(&model(), b"[1]")).await.unwrap().is_none());
        let other = withdrawals.digest(&model(), b"[3]");
        let presented = withdrawals.present(reserve(&vault).await.unwrap(), other).await.unwrap();
        assert_eq!((presented.history(), presented.resumed()), (History::MaybeSpent, false));
    }
}

#[tokio::test]
async fn a_doubt_that_rests_because_the_clock_was_set_back_is_neither_resumed_nor_said_to_be_there() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 1).await;
    let withdrawals = vault.withdrawals();
    for (text, term) in [(&b"[1]"[..], 6 * DAY + 3600), (b"[2]", 0)] {
        let digest = withdrawals.digest(&model(), text);
        let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
        withdrawals.doubt(presented, Doubt::Unknown).await.unwrap();
        place.clock.advance(term);
        stock(&vault).await;
    }
    stock_up(&vault, 1).await;
    let second = withdrawals.digest(&model(), b"[2]");
    let begin = async || {
        withdrawals.reserve_unless_in_doubt(call(), second, &model(), key(), AbuseRule::Omitted).await
    };
    place.clock.advance(-2 * DAY);
    assert!(begin().await.unwrap().is_some(), "another token");
    assert!(withdrawals.resume(call(), second).await.unwrap().is_none());
    place.clock.advance(2 * DAY);
    assert!(begin().await.unwrap().is_none());
    assert!(withdrawals.resume(call(), second).await.unwrap().is_some());
}

#[tokio::test]
async fn a_doubt_that_went_with_a_past_months_abuse_token_waits_for_its_term_and_another_pays() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 2).await;
    let epoch = Epoch::at(START.unix());
    hold_abuse(&vault, AbuseKind::Permanent, "canary-permanent").await;
    hold_abuse(&vault, AbuseKind::Transient(epoch), "canary-january").await;
    let withdrawals = vault.withdrawals();
    let digest = withdrawals.digest(&model(), b"[]");
    let begin = async || {
        withdrawals
            .reserve_unless_in_doubt(call(), digest, &model(), key(), AbuseRule::Required)
            .await
            .unwrap()
    };
    // The last day of the month, since START is the 15th of January.
    place.clock.advance(16 * DAY);
    let reserved = begin().await.unwrap();
    withdrawals.doubt(withdrawals.present(reserved, digest).await.unwrap(), Doubt::Unknown).await.unwrap();
    // Rotated within the month it is resumed with what it went with.
    hold_abuse(&vault, AbuseKind::Transient(epoch), "canary-rotated").await;
    assert!(begin().await.is_none());
    place.clock.advance(DAY);
    hold_abuse(&vault, AbuseKind::Transient(Epoch::from_number(epoch.number() + 1)), "canary-february").await;
    assert_eq!(withdrawals.doubts(digest).await.unwrap(), 0);
    assert!(withdrawals.resume(call(), digest).await.unwrap().is_none());
    assert!(begin().await.is_some());
    assert_eq!(stock(&vault).await, Stock { available: 1, in_doubt: 1, ..NONE });
    place.clock.advance(5 * DAY + 3600);
    assert_eq!(stock(&vault).await, Stock { available: 2, ..NONE });
}

#[tokio::test]
async fn what_a_start_wipes_counts_among_the_uses() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 1).await;
    let withdrawals = vault.withdrawals();
    let digest = withdrawals.digest(&model(), b"[]");
    let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
    withdrawals.doubt(presented, Doubt::Undelivered).await.unwrap();
    vault.close().await.unwrap();
    place.clock.advance(7 * DAY);
    let (vault, report) = place.open_with_report();
    assert_eq!(report.wiped, 1);
    let uses = async |vault: &Vault| {
        let habits = vault.deposits().habits().await.unwrap();
        habits[&model()].per_day(place.clock.now())
    };
    let noted = uses(&vault).await;
    assert!(noted.is_some());
    // Durably, with the wiping: nothing else has happened since.
    drop(vault);
    assert_eq!(uses(&place.open()).await, noted);
}

#[tokio::test]
async fn the_term_counts_from_the_last_attempt_not_the_first() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    stock_up(&vault, 1).await;
    let digest = withdrawals.digest(&model(), b"[]");
    drop(withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap());
    place.clock.advance(5 * DAY);
    // If the first attempt never arrived, the server keeps this one's answer for five days from now.
    drop(withdrawals.resume(call(), digest).await.unwrap().unwrap());
    place.clock.advance(5 * DAY);
    assert_eq!(stock(&vault).await, Stock { in_doubt: 1, ..NONE });
    place.clock.advance(2 * DAY);
    assert_eq!(stock(&vault).await, Stock { available: 1, ..NONE });
}

#[tokio::test]
async fn what_is_known_to_be_spent_does_not_become_unknown_again() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    stock_up(&vault, 1).await;
    let digest = withdrawals.digest(&model(), b"[]");
    let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
    withdrawals.doubt(presented, Doubt::Undelivered).await.unwrap();
    drop(withdrawals.resume(call(), digest).await.unwrap().unwrap());
    assert_eq!(stock(&vault).await, Stock { in_doubt: 1, ..NONE });
    place.clock.advance(7 * DAY);
    assert_eq!(stock(&vault).await, Stock { spent: 1, ..NONE });
}

#[tokio::test]
async fn a_maturing_token_is_counted_apart_and_drawn_only_from_its_time_on() {
    let place = Place::new();
    let vault = place.open();
    stock_up_from(&vault, 1, START.plus_seconds(100)).await;
    assert_eq!(stock(&vault).await, Stock { maturing: 1, ..NONE });
    let error = reserve(&vault).await.err().unwrap();
    let next = START.plus_seconds(100);
    let expected = VaultError::OutOfTokens { model: model(), shortage: Shortage::Maturing { next } };
    assert_eq!(error, expected);
    place.clock.advance(100);
    let reserved = reserve(&vault).await.unwrap();
    assert_eq!(
        reserve(&vault).await.err(),
        Some(VaultError::OutOfTokens { model: model(), shortage: Shortage::Empty })
    );
    drop(reserved);
}

#[tokio::test]
async fn a_token_of_another_model_is_not_drawn() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 1).await;
    let other = ModelName::new("gpt-4.1-mini").unwrap();
    let drawn = vault.withdrawals().reserve(call(), &other, key(), AbuseRule::Omitted).await;
    let expected = VaultError::OutOfTokens { model: other, shortage: Shortage::Empty };
    assert_eq!(drawn.err(), Some(expected));
}

#[tokio::test]
async fn a_token_keeps_its_key_through_every_return_and_is_drawn_under_no_other() {
    let place = Place::new();
    let mut vault = place.open();
    stock_up(&vault, 1).await;
    let other = Fingerprint::from_bytes([9; 32]);
    for step in 0..4 {
        let withdrawals = vault.withdrawals();
        let digest = withdrawals.digest(&model(), b"[]");
        match step {
            0 => withdrawals.release(reserve(&vault).await.unwrap()).await.unwrap(),
            1 => {
                let presented = withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap();
                withdrawals.return_unspent(presented).await.unwrap();
            }
            2 => {
                drop(withdrawals.present(reserve(&vault).await.unwrap(), digest).await.unwrap());
                assert_eq!(stock(&vault).await, Stock { in_doubt: 1, ..NONE });
                place.clock.advance(7 * DAY);
            }
            _ => {
                vault.close().await.unwrap();
                vault = place.open();
            }
        }
        let drawn = vault.withdrawals().reserve(call(), &model(), other, AbuseRule::Omitted).await;
        let expected = VaultError::OutOfTokens { model: model(), shortage: Shortage::Empty };
        assert_eq!(drawn.err(), Some(expected), "step {step}");
        assert!(reserve(&vault).await.is_ok(), "step {step}");
    }
}

#[tokio::test]
async fn tokens_of_another_key_or_of_none_that_is_pinned_are_counted_apart() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 2).await;
    stock_up_from(&vault, 1, START.plus_seconds(100)).await;
    let under = async |pinned: PinnedKeys| vault.census().stock_under(pinned).await.unwrap()[&model()];
    let usable = Stock { available: 2, maturing: 1, ..NONE };
    assert_eq!(under([(model(), key())].into()).await, usable);
    let apart = Stock { other_key: 3, ..NONE };
    assert_eq!(under([(model(), Fingerprint::from_bytes([9; 32]))].into()).await, apart);
    assert_eq!(under(PinnedKeys::new()).await, apart);
}

#[tokio::test]
async fn nothing_is_drawn_while_a_token_is_in_doubt_about_the_very_request() {
    let place = Place::new();
    let vault = place.open();
    let withdrawals = vault.withdrawals();
    stock_up(&vault, 2).await;
    let draw = async |text: &[u8]| {
        let digest = withdrawals.digest(&model(), text);
        let name = model();
        withdrawals.reserve_unless_in_doubt(call(), digest, &name, key(), AbuseRule::Omitted).await.unwrap()
    };
    let reserved = draw(b"[1]").await.expect("drawn");
    drop(withdrawals.present(reserved, withdrawals.digest(&model(), b"[1]")).await.unwrap());
    assert!(draw(b"[1]").await.is_none());
    assert_eq!(stock(&vault).await, Stock { available: 1, in_doubt: 1, ..NONE });
    assert!(draw(b"[2]").await.is_some());
    // In another call's hands it is not in doubt: two equal calls at once take a token each.
    let resumed = withdrawals.resume(call(), withdrawals.digest(&model(), b"[1]")).await.unwrap();
    assert!(resumed.is_some() && draw(b"[1]").await.is_some());
}

#[tokio::test]
async fn without_both_abuse_tokens_a_call_that_needs_them_is_refused_before_a_token_is_drawn() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 1).await;
    let withdrawals = vault.withdrawals();
    let epoch = Epoch::at(START.unix());
    for step in 0..3 {
        match step {
            1 => hold_abuse(&vault, AbuseKind::Transient(epoch), "canary-transient").await,
            2 => hold_abuse(&vault, AbuseKind::Permanent, "canary-permanent").await,
            _ => {}
        }
        let drawn = withdrawals.reserve(call(), &model(), key(), AbuseRule::Required).await;
        if step < 2 {
            let error = drawn.err().unwrap();
            assert_eq!(error, VaultError::NoAbuseTokens);
            assert!(error.to_string().contains("llmtor abuse setup"));
            assert_eq!(stock(&vault).await, Stock { available: 1, ..NONE });
        } else {
            assert!(drawn.is_ok());
        }
    }
    let holdings = holdings(epoch);
    assert_eq!(vault.census().abuse().await.unwrap(), holdings);
    assert_eq!(vault.deposits().abuse().await.unwrap(), holdings);
}

#[tokio::test]
async fn pending_issuances_come_back_whole_and_renew_changes_only_the_id() {
    let place = Place::new();
    let vault = place.open();
    let deposits = vault.deposits();
    deposits.begin(vec![issuance("old", "canary-token")]).await.unwrap();
    vault.close().await.unwrap();
    place.clock.advance(600);
    let (vault, report) = place.open_with_report();
    assert_eq!(report, RecoveryReport { blinded: 1, ..RecoveryReport::default() });
    let deposits = vault.deposits();
    let check = async |id: &str, sent: Timestamp| {
        let pending = deposits.pending().await.unwrap();
        assert_eq!(pending.len(), 1);
        let (found, made) = (&pending[0].issuance, issuance(id, "canary-token"));
        assert_eq!(pending[0].first_sent, Some(sent));
        assert!(found.request_id == made.request_id && found.model == made.model && found.key == made.key);
        assert!(found.message.expose() == made.message.expose());
        assert!(found.blinded == made.blinded && found.secret.expose() == made.secret.expose());
    };
    check("old", START).await;
    let (old, new) = (RequestId("old".into()), RequestId("new".into()));
    deposits.renew(&old, new.clone()).await.unwrap();
    check("new", place.clock.now()).await;
    assert_eq!(deposits.renew(&old, new.clone()).await, Err(VaultError::UnknownIssuance));
    assert_eq!(deposits.finalize(&old, signature(), START).await, Err(VaultError::UnknownIssuance));
    deposits.finalize(&new, signature(), START).await.unwrap();
    assert_eq!(deposits.finalize(&new, signature(), START).await, Err(VaultError::UnknownIssuance));
    assert_eq!(stock(&vault).await, Stock { available: 1, ..NONE });
}

#[tokio::test]
async fn a_request_id_is_pending_once_and_a_refused_batch_leaves_nothing_behind() {
    let place = Place::new();
    let vault = place.open();
    let deposits = vault.deposits();
    let twice = vec![issuance("a", "1"), issuance("b", "2"), issuance("a", "3")];
    assert_eq!(deposits.begin(twice).await, Err(VaultError::DuplicateIssuance));
    assert_eq!(stock(&vault).await, NONE);
    deposits.begin(vec![issuance("a", "1")]).await.unwrap();
    let again = vec![issuance("b", "2"), issuance("a", "3")];
    assert_eq!(deposits.begin(again).await, Err(VaultError::DuplicateIssuance));
    assert_eq!(stock(&vault).await, Stock { blinded: 1, ..NONE });
    let id = RequestId("a".into());
    deposits.abandon(&id).await.unwrap();
    assert_eq!(deposits.abandon(&id).await, Err(VaultError::UnknownIssuance));
    assert_eq!(stock(&vault).await, NONE);
}

#[tokio::test]
async fn an_abuse_issuance_is_pending_once_and_a_late_one_does_not_replace_a_newer() {
    let place = Place::new();
    let vault = place.open();
    let deposits = vault.deposits();
    let kind = |number| AbuseKind::Transient(Epoch::from_number(number));
    let new = |number| NewAbuseIssuance {
        kind: kind(number),
        key: Fingerprint::from_bytes([8; 32]),
        message: TokenMessage::from_bytes(b"canary-transient".to_vec()),
        blinded: BlindedMessage::from_bytes(vec![1]),
        secret: BlindingSecret::from_bytes(vec![2]),
    };
    deposits.begin_abuse(new(5)).await.unwrap();
    assert_eq!(deposits.begin_abuse(new(5)).await, Err(VaultError::DuplicateIssuance));
    assert!(deposits.pending_abuse(kind(5)).await.unwrap().is_some());
    assert!(deposits.pending_abuse(kind(6)).await.unwrap().is_none());
    deposits.begin_abuse(new(6)).await.unwrap();
    deposits.finalize_abuse(kind(6), signature()).await.unwrap();
    deposits.finalize_abuse(kind(5), signature()).await.unwrap();
    assert!(deposits.pending_abuse(kind(5)).await.unwrap().is_none());
    assert_eq!(deposits.abuse().await.unwrap().transient.unwrap().epoch, Epoch::from_number(6));
    assert_eq!(deposits.finalize_abuse(kind(6), signature()).await, Err(VaultError::UnknownIssuance));
    assert_eq!(deposits.abandon_abuse(kind(6)).await, Err(VaultError::UnknownIssuance));
}

#[tokio::test]
async fn the_current_months_token_takes_the_place_of_one_from_when_the_clock_was_ahead() {
    let place = Place::new();
    let vault = place.open();
    let now = Epoch::at(START.unix());
    let ahead = Epoch::from_number(now.number() + 14);
    hold_abuse(&vault, AbuseKind::Transient(ahead), "canary-ahead").await;
    hold_abuse(&vault, AbuseKind::Transient(now), "canary-now").await;
    assert_eq!(vault.deposits().abuse().await.unwrap().transient.unwrap().epoch, now);
}

#[tokio::test]
async fn abandoning_all_wipes_what_is_pending_and_leaves_what_is_held() {
    let place = Place::new();
    let vault = place.open();
    let deposits = vault.deposits();
    let epoch = Epoch::at(START.unix());
    stock_up(&vault, 2).await;
    hold_abuse(&vault, AbuseKind::Permanent, "canary-permanent").await;
    hold_abuse(&vault, AbuseKind::Transient(epoch), "canary-transient").await;
    deposits.begin(vec![issuance("a", "1"), issuance("b", "2"), issuance("c", "3")]).await.unwrap();
    let later = AbuseKind::Transient(Epoch::from_number(epoch.number() + 1));
    let new = NewAbuseIssuance {
        kind: later,
        key: Fingerprint::from_bytes([8; 32]),
        message: TokenMessage::from_bytes(b"canary-transient".to_vec()),
        blinded: BlindedMessage::from_bytes(vec![1]),
        secret: BlindingSecret::from_bytes(vec![2]),
    };
    deposits.begin_abuse(new).await.unwrap();
    assert_eq!(deposits.abandon_all().await.unwrap(), Abandoned { credits: 3, abuse: 1 });
    assert!(deposits.pending().await.unwrap().is_empty());
    assert!(deposits.pending_abuse(later).await.unwrap().is_none());
    assert_eq!(deposits.abandon_all().await.unwrap(), Abandoned::default());
    assert_eq!(stock(&vault).await, Stock { available: 2, ..NONE });
    assert_eq!(deposits.abuse().await.unwrap(), holdings(epoch));
}

#[tokio::test]
async fn a_closed_vault_says_so() {
    let place = Place::new();
    let vault = place.open();
    stock_up(&vault, 1).await;
    let (census, withdrawals) = (vault.census(), vault.withdrawals());
    let reserved = reserve(&vault).await.unwrap();
    vault.close().await.unwrap();
    assert_eq!(census.stock().await.err(), Some(VaultError::Closed));
    assert_eq!(withdrawals.release(reserved).await, Err(VaultError::Closed));
    let (vault, report) = place.open_with_report();
    assert_eq!(report, RecoveryReport { released: 1, ..RecoveryReport::default() });
    assert_eq!(stock(&vault).await, Stock { available: 1, ..NONE });
}
