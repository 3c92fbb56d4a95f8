//! The process dies at each step of an issuance; the next one finds what it left.

use llmtor::blind::{Signature, TokenMessage};
use llmtor::clock::{Clock as _, Timestamp};
use llmtor::identity::{MintOrder, Readiness};
use llmtor::keys::Keyring;
use llmtor::vault::backups::Source;
use llmtor::vault::{LossReason, RequestId, VaultError};

use super::issuer::{Fault, public_key};
use super::{MODEL, Process, World, model};

/// Mints until the issuer hangs `requests` of it, then dies: the future is dropped and the vault's file closed.
async fn die_in_flight(world: &World, fault: Fault, requests: usize) {
    world.issuer.script(vec![fault; requests]);
    let process = world.start();
    let order = MintOrder { model: model(), count: requests, readiness: Readiness::Now };
    tokio::select! {
        minted = process.identity.mint(order, &|_| ()) => panic!("it ended: {minted:?}"),
        () = async { for _ in 0..requests { world.issuer.hung().await } } => {}
    }
    drop(process);
}

async fn restart(world: &World) -> (Process, llmtor::identity::Recovered) {
    let process = world.start();
    let recovered = process.identity.recover().await.expect("recovered");
    (process, recovered)
}

/// Credits, why, and when it was found.
async fn losses(process: &Process) -> Vec<(u64, LossReason, Timestamp)> {
    let losses = process.vault.census().losses().await.expect("losses");
    losses.into_iter().map(|loss| (loss.credits, loss.reason, loss.found)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_before_or_after_the_debit_loses_no_credit_within_five_minutes() {
    for fault in [Fault::HangBefore, Fault::HangAfter] {
        let world = World::new(10).await;
        die_in_flight(&world, fault, 1).await;
        world.clock.advance(200);
        let (process, recovered) = restart(&world).await;
        assert_eq!((recovered.made, recovered.pending, recovered.lost), (1, 0, 0), "{fault:?}");
        assert_eq!(world.issuer.used(), 1, "{fault:?}");
        assert_eq!(process.stock().await.available, 1);
        let ids = world.issuer.field("auth-token", "RequestID");
        assert_eq!((ids.len(), &ids[0]), (2, &ids[1]), "{fault:?}: the same RequestID");
        let blinded = world.issuer.field("auth-token", "BlindedToken");
        assert_eq!(blinded[0], blinded[1], "{fault:?}: the same BlindedToken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_paused_repeats_what_is_young_and_orders_nothing_anew() {
    for (seconds, made) in [(200, 1), (1_000, 0)] {
        let world = World::new(10).await;
        world.start().mint(1).await;
        die_in_flight(&world, Fault::HangBefore, 1).await;
        world.clock.advance(seconds);
        let process = world.start();
        process.vault.backups().snapshot(Source::Retired).await.expect("copied");
        let asked = world.issuer.seen(<[_]>::len);
        let recovered = process.identity.recover().await.expect("recovered");
        assert_eq!((recovered.made, recovered.pending), (made, 1 - made));
        assert_eq!(recovered.stopped.is_some(), made == 0);
        assert_eq!(world.issuer.seen(<[_]>::len), asked + made, "nor is `/me` asked");
        assert_eq!(world.issuer.used(), 1 + i64::try_from(made).expect("few"));
        let ids = process.vault.deposits().pending().await.expect("pending");
        for row in ids {
            let new = RequestId("another".into());
            let renewed = process.vault.deposits().renew(&row.issuance.request_id, new).await;
            assert_eq!(renewed.err(), Some(VaultError::Retired));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_after_finalizing_leaves_a_token() {
    let world = World::new(10).await;
    let process = world.start();
    process.mint(3).await;
    drop(process);
    let (process, recovered) = restart(&world).await;
    assert_eq!((recovered.made, recovered.pending), (0, 0));
    assert_eq!(process.stock().await.available, 3);
    assert_eq!(world.issuer.used(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_finished_with_the_readiness_it_was_ordered_with() {
    for (ordered, available) in [(Readiness::Now, 1), (Readiness::Delayed, 0)] {
        let world = World::new(10).await;
        world.issuer.script([Fault::HangAfter]);
        let process = world.start();
        let order = MintOrder { model: model(), count: 1, readiness: ordered };
        tokio::select! {
            minted = process.identity.mint(order, &|_| ()) => panic!("it ended: {minted:?}"),
            () = world.issuer.hung() => {}
        }
        drop(process);
        // By the start-up, or by a mint that is ordered otherwise.
        let process = world.start();
        if ordered == Readiness::Now {
            assert_eq!(process.identity.recover().await.expect("recovered").made, 1);
        } else {
            assert_eq!(process.mint(0).await.recovered.made, 1);
        }
        let stock = process.stock().await;
        assert_eq!((stock.available, stock.maturing), (available, 1 - available), "{ordered:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn later_a_debited_credit_is_reported_lost_and_not_paid_twice() {
    let world = World::new(10).await;
    die_in_flight(&world, Fault::HangAfter, 1).await;
    world.clock.advance(3_600);
    world.issuer.forget();
    let (process, recovered) = restart(&world).await;
    assert_eq!((recovered.made, recovered.lost, recovered.unclear), (0, 1, 0));
    assert_eq!(world.issuer.used(), 1, "no second debit");
    assert_eq!(process.stock().await.blinded, 0);
    let found = world.clock.now();
    assert_eq!(losses(&process).await, [(1, LossReason::Lost, found)], "it is on record");
    drop(process);
    let (process, _) = restart(&world).await;
    assert_eq!(losses(&process).await, [(1, LossReason::Lost, found)], "and is said once");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mark_a_credit_that_may_be_gone_is_on_record_as_unclear() {
    let world = World::new(10).await;
    die_in_flight(&world, Fault::HangAfter, 1).await;
    // Another session of the same account forgets the marks.
    world.session_file().wipe().expect("wiped");
    world.clock.advance(3_600);
    let (process, recovered) = restart(&world).await;
    assert_eq!((recovered.lost, recovered.unclear), (0, 1));
    assert_eq!(losses(&process).await, [(1, LossReason::Unclear, world.clock.now())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_that_is_on_record_as_lost_does_not_make_another_look_lost() {
    let world = World::new(10).await;
    // Of two that die in flight one is debited.
    world.issuer.script([Fault::HangAfter, Fault::HangBefore]);
    let process = world.start();
    let order = MintOrder { model: model(), count: 2, readiness: Readiness::Now };
    tokio::select! {
        minted = process.identity.mint(order, &|_| ()) => panic!("it ended: {minted:?}"),
        () = async { for _ in 0..2 { world.issuer.hung().await } } => {}
    }
    drop(process);
    world.clock.advance(3_600);
    world.issuer.forget();
    // The other one is ordered anew, and dies once more before it is debited.
    world.issuer.script([Fault::HangBefore]);
    let process = world.start();
    tokio::select! {
        recovered = process.identity.recover() => panic!("it ended: {recovered:?}"),
        () = world.issuer.hung() => {}
    }
    assert_eq!(losses(&process).await, [(1, LossReason::Lost, world.clock.now())]);
    drop(process);
    world.clock.advance(3_600);
    let (process, recovered) = restart(&world).await;
    assert_eq!((recovered.made, recovered.lost), (1, 0));
    assert_eq!((world.issuer.used(), process.stock().await.available), (2, 1));
    assert_eq!(losses(&process).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn later_a_credit_that_was_not_debited_is_asked_for_under_a_new_request() {
    let world = World::new(10).await;
    // Tokens made before, by this home, explain the debits that the ledger shows.
    assert_eq!(world.start().mint(4).await.made, 4);
    die_in_flight(&world, Fault::HangBefore, 1).await;
    world.clock.advance(3_600);
    world.issuer.forget();
    let (process, recovered) = restart(&world).await;
    assert_eq!((recovered.made, recovered.lost, recovered.unclear), (1, 0, 0));
    assert_eq!((world.issuer.used(), process.stock().await.available), (5, 5));
    let ids = world.issuer.field("auth-token", "RequestID");
    assert_ne!(ids[ids.len() - 2], ids[ids.len() - 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debit_of_another_device_never_leads_to_a_second_one_here() {
    let world = World::new(10).await;
    die_in_flight(&world, Fault::HangBefore, 1).await;
    world.issuer.debit_elsewhere(1);
    world.clock.advance(3_600);
    let (_process, recovered) = restart(&world).await;
    assert_eq!((recovered.made, recovered.lost), (0, 1));
    assert_eq!(world.issuer.used(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_row_waits_while_the_ledger_cannot_be_asked() {
    let world = World::new(10).await;
    die_in_flight(&world, Fault::HangAfter, 1).await;
    world.clock.advance(3_600);
    // Nobody listens any more where the backend was.
    let url = world.issuer.url();
    let gone = World { issuer: super::Issuer::start(0).await, ..world };
    let process = gone.start_elsewhere("http://127.0.0.1:9");
    let recovered = process.identity.recover().await.expect("recovered");
    assert_eq!((recovered.made, recovered.pending, recovered.lost), (0, 1, 0));
    let stopped = recovered.stopped.expect("a reason");
    assert!(stopped.to_string().contains("cannot be reached"), "{stopped}");
    drop(process);
    let process = gone.start_elsewhere(&url);
    let recovered = process.identity.recover().await.expect("recovered");
    assert_eq!((recovered.pending, recovered.lost), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_blinded_under_a_key_that_was_replaced_waits_for_that_key() {
    let world = World::new(10).await;
    die_in_flight(&world, Fault::HangAfter, 1).await;
    let mut other = Keyring::default();
    other.insert(MODEL.parse().expect("name"), public_key(1));
    let process = world.start_with(other);
    let recovered = process.identity.recover().await.expect("recovered");
    assert_eq!((recovered.made, recovered.stranded, recovered.lost), (0, 1, 0));
    assert!(recovered.stopped.is_none());
    drop(process);
    let (process, recovered) = restart(&world).await;
    assert_eq!((recovered.made, recovered.stranded), (1, 0));
    assert_eq!((world.issuer.used(), process.stock().await.available), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_taken_before_a_change_of_the_key_are_told_to_be_lost_once_nothing_brings_their_tokens() {
    for (fault, lost, refused) in [(Fault::HangAfter, 1, 0), (Fault::HangBefore, 0, 1)] {
        let world = World::new(10).await;
        world.start().mint(1).await;
        die_in_flight(&world, fault, 1).await;
        world.clock.advance(600);
        let mut other = Keyring::default();
        other.insert(MODEL.parse().expect("name"), public_key(1));
        let process = world.start_with(other);
        let recovered = process.identity.recover().await.expect("recovered");
        assert_eq!((recovered.stranded, recovered.lost, recovered.refused), (0, lost, refused), "{fault:?}");
        assert_eq!(losses(&process).await.len(), lost, "{fault:?}");
        assert_eq!(process.stock().await.blinded, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deaths_in_a_row_end_with_one_token_a_credit() {
    let world = World::new(3).await;
    for fault in [Fault::HangBefore, Fault::HangAfter, Fault::HangAfter] {
        world.issuer.script([fault]);
        let process = world.start();
        let order = MintOrder { model: model(), count: 1, readiness: Readiness::Now };
        tokio::select! {
            minted = process.identity.mint(order, &|_| ()) => panic!("it ended: {minted:?}"),
            () = world.issuer.hung() => {}
        }
        drop(process);
        world.clock.advance(60);
    }
    let (process, _) = restart(&world).await;
    let stock = process.stock().await;
    assert_eq!((i64::try_from(stock.available).expect("few"), stock.blinded), (world.issuer.used(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_verifies_under_the_pinned_key() {
    let world = World::new(2).await;
    let process = world.start();
    process.mint(1).await;
    let withdrawals = process.vault.withdrawals();
    let call = llmtor::vault::CallId(7);
    let (key, rule) = (public_key(0).fingerprint(), llmtor::vault::AbuseRule::Omitted);
    let reserved = withdrawals.reserve(call, &model(), key, rule).await.expect("reserved");
    let digest = withdrawals.digest(&model(), b"[]");
    let presented = withdrawals.present(reserved, digest).await.expect("presented");
    let mask = presented.llmmask();
    let message = TokenMessage::from_bytes(mask.token.0.clone());
    let signature = Signature::from_bytes(mask.signed_token.0.clone());
    assert_eq!(message.expose().len(), 36);
    assert_eq!(public_key(0).verify(message.expose(), signature.expose()), Ok(()));
    withdrawals.settle(presented).await.expect("settled");
}
