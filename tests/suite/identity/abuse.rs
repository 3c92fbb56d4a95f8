//! The abuse tokens: once for good, once a month, and never lost for want of an answer.

use llmtor::identity::{ErrorKind, IdentityError, Obtained};
use llmtor::keys::{KeyName, Keyring};
use llmtor::wire::redemption::Epoch;

use super::issuer::{Fault, public_key};
use super::{START, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_setup_obtains_what_is_missing_and_nothing_twice() {
    let world = World::new(0).await;
    let process = world.start();
    assert!(!process.identity.abuse_status().await.expect("status").is_complete());
    let setup = process.identity.abuse_setup().await.expect("setup");
    assert_eq!((setup.permanent, setup.transient), (Obtained::Issued, Obtained::Issued));
    assert_eq!(setup.epoch, Epoch::at(START));
    assert!(process.identity.abuse_status().await.expect("status").is_complete());
    let again = process.identity.abuse_setup().await.expect("setup");
    assert_eq!((again.permanent, again.transient), (Obtained::Held, Obtained::Held));
    assert_eq!(world.issuer.seen(<[_]>::len), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_month_brings_a_new_transient_token_and_keeps_the_permanent_one() {
    let world = World::new(0).await;
    let process = world.start();
    process.identity.abuse_setup().await.expect("setup");
    let status = process.identity.abuse_status().await.expect("status");
    world.clock.advance(status.seconds_left - 1);
    assert!(process.identity.abuse_status().await.expect("status").is_complete());
    world.clock.advance(1);
    assert!(!process.identity.abuse_status().await.expect("status").is_complete());
    let setup = process.identity.abuse_setup().await.expect("setup");
    assert_eq!((setup.permanent, setup.transient), (Obtained::Held, Obtained::Issued));
    assert_eq!(setup.epoch.number(), Epoch::at(START).number() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_brings_another_token_of_the_month_and_says_when_there_are_no_more() {
    let world = World::new(0).await;
    let process = world.start();
    process.identity.abuse_setup().await.expect("setup");
    let transient = |process: &super::Process| {
        let backups = process.vault.backups();
        async move { backups.export_abuse().await.expect("read").expect("held").transient.expect("held").0.token }
    };
    let before = transient(&process).await;
    // Its answer is lost, and what was begun is finished by the next.
    world.issuer.script([Fault::AnswerLost, Fault::RateLimited, Fault::RateLimited]);
    process.identity.abuse_rotate().await.expect_err("not reachable");
    assert!(transient(&process).await.matches(before.expose()));
    assert_eq!(process.identity.abuse_rotate().await.expect("rotated"), Epoch::at(START));
    assert!(!transient(&process).await.matches(before.expose()));
    world.issuer.script([Fault::Exhausted]);
    let error = process.identity.abuse_rotate().await.expect_err("exhausted");
    assert!(matches!(error, IdentityError::AbuseExhausted), "{error}");
    // What is held is held.
    assert!(process.identity.abuse_status().await.expect("status").is_complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again_with_the_same_blinded_token() {
    let world = World::new(0).await;
    let process = world.start();
    process.identity.abuse_rotate().await.expect("the transient one");
    world.issuer.script([Fault::HangAfter]);
    tokio::select! {
        setup = process.identity.abuse_setup() => panic!("it ended: {setup:?}"),
        () = world.issuer.hung() => {}
    }
    drop(process);
    let process = world.start();
    let setup = process.identity.abuse_setup().await.expect("setup");
    assert_eq!((setup.permanent, setup.transient), (Obtained::Resumed, Obtained::Held));
    let blinded = world.issuer.field("abuse-token/permanent", "BlindedToken");
    assert_eq!((blinded.len(), &blinded[0]), (2, &blinded[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_row_of_a_month_that_is_over_is_not_finished() {
    let world = World::new(0).await;
    let process = world.start();
    world.issuer.script([Fault::AnswerLost, Fault::RateLimited, Fault::RateLimited, Fault::RateLimited]);
    // It was begun, and gets no answer through.
    world.issuer.script([Fault::RateLimited]);
    let error = process.identity.abuse_setup().await.expect_err("not reachable");
    assert_eq!(error.kind(), ErrorKind::Transient);
    world.clock.advance(31 * 86_400);
    let setup = process.identity.abuse_setup().await.expect("setup");
    assert_eq!(setup.transient, Obtained::Issued);
    assert_eq!(setup.epoch.number(), Epoch::at(START).number() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_protocol_are_told_apart() {
    let world = World::new(0).await;
    let process = world.start();
    process.identity.abuse_rotate().await.expect("the transient one");
    world.issuer.script([Fault::Conflict]);
    let error = process.identity.abuse_setup().await.expect_err("issued before");
    assert!(matches!(error, IdentityError::AbuseAlreadyIssued), "{error}");
    process.identity.abuse_setup().await.expect("a refusal leaves nothing behind");
    world.clock.advance(31 * 86_400);
    world.issuer.script([Fault::Exhausted]);
    let error = process.identity.abuse_setup().await.expect_err("exhausted");
    assert!(matches!(error, IdentityError::AbuseExhausted), "{error}");
    world.issuer.script([Fault::Unauthorized]);
    let error = process.identity.abuse_setup().await.expect_err("signed out");
    assert_eq!(error.kind(), ErrorKind::SignIn);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_abuse_signature_is_an_alarm_and_is_not_stored() {
    let world = World::new(0).await;
    let process = world.start();
    for key in ["abuse-transient", "abuse-permanent"] {
        world.issuer.script([Fault::Forged]);
        let error = process.identity.abuse_setup().await.expect_err("alarm");
        assert_eq!(error.kind(), ErrorKind::Alarm);
        assert!(error.to_string().contains(key), "{error}");
        assert!(!process.identity.abuse_status().await.expect("status").permanent);
        if key == "abuse-transient" {
            let asked = world.issuer.field("abuse-token/permanent", "BlindedToken");
            assert!(
                asked.is_empty(),
                "what is issued once is not asked for under keys that are not the backend's"
            );
            process.identity.abuse_rotate().await.expect("the transient one");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_does_not_sign_may_have_other_keys_and_that_is_said() {
    let world = World::new(0).await;
    let process = world.start();
    world.issuer.script([Fault::Strange; 3]);
    let error = process.identity.abuse_setup().await.expect_err("unsigned");
    assert_eq!(error.kind(), ErrorKind::Refused);
    for words in ["abuse-transient", "HTTP 500", "llmtor keys list", "llmtor keys import FILE --replace"] {
        assert!(error.to_string().contains(words), "{words} is not in {error}");
    }
    process.identity.abuse_setup().await.expect("signed after all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_without_further_tokens_does_not_keep_the_permanent_one_back() {
    let world = World::new(0).await;
    let process = world.start();
    world.issuer.script([Fault::Exhausted]);
    let error = process.identity.abuse_setup().await.expect_err("exhausted");
    assert!(matches!(error, IdentityError::AbuseExhausted), "{error}");
    let status = process.identity.abuse_status().await.expect("status");
    assert!(status.permanent && status.transient.is_none(), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_pinned_abuse_keys_nothing_is_asked_for() {
    let world = World::new(0).await;
    let process = world.start_with(Keyring::default());
    let error = process.identity.abuse_setup().await.expect_err("no key");
    assert!(error.to_string().contains("abuse-permanent"), "{error}");
    assert_eq!(world.issuer.seen(<[_]>::len), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_key_that_is_no_longer_pinned_are_obtained_anew() {
    let world = World::new(0).await;
    let mut before = world.issuer.keyring();
    before.insert(KeyName::AbusePermanent, public_key(1));
    before.insert(KeyName::AbuseTransient, public_key(1));
    let process = world.start_with(before);
    world.issuer.script([Fault::Forged; 2]);
    process.identity.abuse_setup().await.expect("under the old keys");
    assert!(process.identity.abuse_status().await.expect("status").is_complete());
    drop(process);

    let process = world.start();
    let status = process.identity.abuse_status().await.expect("status");
    assert!(!status.permanent && status.transient.is_none(), "{status:?}");
    let setup = process.identity.abuse_setup().await.expect("under the new keys");
    assert_eq!((setup.permanent, setup.transient), (Obtained::Issued, Obtained::Issued));
    assert!(process.identity.abuse_status().await.expect("status").is_complete());
    assert_eq!(process.identity.abuse_setup().await.expect("again").permanent, Obtained::Held);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_again_and_again_do_not_use_up_the_month() {
    let world = World::new(0).await;
    let process = world.start();
    process.identity.abuse_setup().await.expect("set up");
    world.issuer.script(vec![Fault::AnswerLost; 500]);
    let asked =
        || world.issuer.seen(|seen| seen.iter().filter(|one| one.path.ends_with("/transient")).count());
    for _ in 0..48 {
        process.identity.abuse_rotate().await.expect_err("no answer");
        world.clock.advance(1_800);
    }
    assert!((12..30).contains(&asked()), "{}", asked());
    let error = process.identity.abuse_rotate().await.expect_err("spared");
    assert!(matches!(error, IdentityError::AbuseSparing { .. }), "{error}");
    assert!(error.to_string().contains("2026-11-2"), "{error}");
    world.issuer.mend();
    world.clock.advance(86_400);
    process.identity.abuse_rotate().await.expect("there is one left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_once_ahead_costs_one_token_and_not_one_a_setup() {
    let world = World::new(0).await;
    let process = world.start();
    world.clock.advance(400 * 86_400);
    process.identity.abuse_setup().await.expect("a year ahead");
    world.clock.advance(-400 * 86_400);
    let setup = process.identity.abuse_setup().await.expect("put right");
    assert_eq!((setup.transient, setup.epoch), (Obtained::Issued, Epoch::at(START)));
    assert!(process.identity.abuse_status().await.expect("status").is_complete());
    assert_eq!(process.identity.abuse_setup().await.expect("again").transient, Obtained::Held);
}
