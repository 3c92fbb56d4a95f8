//! Another account signs in, or the first one out: nothing begun under one account is sent under another.

use llmtor::identity::{
    Admit, Identity, IdentityError, MintOrder, Obtained, Predecessor, Readiness, Session,
};
use llmtor::vault::LossReason;

use super::issuer::Fault;
use super::{OTHER_SESSION, Process, SESSION, World, model};

impl World {
    /// The identity plane of whoever has `session`, beside the process's own.
    fn someone(&self, process: &Process, session: &str) -> Identity {
        let session = Session::parse(session).expect("session");
        self.identity(&process.vault, session, self.issuer.keyring(), &self.issuer.url())
    }

    /// Every BlindedToken sent in that session.
    fn blinded_in(&self, session: &str) -> Vec<String> {
        self.issuer.seen(|seen| {
            seen.iter()
                .filter(|seen| seen.headers["cookie"].to_str().expect("text").ends_with(session))
                .filter_map(|seen| Some(seen.body["BlindedToken"].as_str()?.to_owned()))
                .collect()
        })
    }
}

/// A process that has a credit's issuance pending, which was debited, and one of an abuse token.
async fn with_pending(world: &World) -> Process {
    let process = world.start();
    world.issuer.script([Fault::AnswerLost; 3]);
    assert_eq!(process.mint(1).await.pending, 1);
    world.issuer.script([Fault::AnswerLost; 3]);
    process.identity.abuse_setup().await.expect_err("no answer");
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_never_sends_what_was_blinded_under_the_first() {
    let world = World::new(9).await;
    let process = with_pending(&world).await;
    let other = world.someone(&process, OTHER_SESSION);
    let signed_in = other.sign_in(Admit::Anybody).await.expect("signed in");
    assert_eq!(signed_in.predecessor, Predecessor::Another);
    assert_eq!((signed_in.abandoned.credits, signed_in.abandoned.abuse), (1, 1));
    let losses = process.vault.census().losses().await.expect("losses");
    assert_eq!((losses[0].credits, losses[0].reason), (1, LossReason::GivenUp));
    assert_eq!(other.recover().await.expect("recovered").made, 0);
    let order = MintOrder { model: model(), count: 2, readiness: Readiness::Now };
    assert_eq!(other.mint(order, &|_| ()).await.expect("begun").made, 2);
    let setup = other.abuse_setup().await.expect("setup");
    assert_eq!((setup.permanent, setup.transient), (Obtained::Issued, Obtained::Issued));
    let (first, second) = (world.blinded_in(SESSION), world.blinded_in(OTHER_SESSION));
    assert_eq!((first.len(), second.len()), (6, 4));
    assert!(second.iter().all(|blinded| !first.contains(blinded)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_account_in_a_new_session_goes_on_with_what_is_pending() {
    let world = World::new(9).await;
    let process = with_pending(&world).await;
    // As if the first session had been another one of the same account.
    let file = world.session_file();
    file.store(&Session::parse(OTHER_SESSION).expect("session"), "u1", &mut rand::rng()).expect("stored");
    let again = world.someone(&process, SESSION);
    let signed_in = again.sign_in(Admit::Owner).await.expect("signed in");
    assert_eq!(signed_in.predecessor, Predecessor::Same);
    assert_eq!((signed_in.abandoned.credits, signed_in.abandoned.abuse), (0, 0));
    assert_eq!(again.recover().await.expect("recovered").made, 1);
    assert_eq!(again.abuse_setup().await.expect("setup").transient, Obtained::Resumed);
    assert_eq!(world.issuer.used(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_cannot_be_told_whose_they_are_pending_issuances_are_wiped() {
    let world = World::new(9).await;
    let process = with_pending(&world).await;
    world.session_file().wipe().expect("wiped");
    let signed_in = world.someone(&process, SESSION).sign_in(Admit::Owner).await.expect("signed in");
    assert_eq!(signed_in.predecessor, Predecessor::Unknown);
    assert_eq!((signed_in.abandoned.credits, signed_in.abandoned.abuse), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_the_tokens_are_is_known_after_a_sign_out_and_another_account_is_taken_only_if_told_to() {
    let world = World::new(9).await;
    let process = world.start();
    let someone = |session| world.someone(&process, session);
    someone(SESSION).sign_in(Admit::Owner).await.expect("signed in");
    process.identity.sign_out().await.expect("signed out");
    let refused = someone(OTHER_SESSION).sign_in(Admit::Owner).await.expect_err("another account");
    assert!(matches!(refused, IdentityError::OtherAccount), "{refused}");
    assert!(!world.home().session_path().exists(), "nothing is kept of it");
    assert_eq!(someone(SESSION).sign_in(Admit::Owner).await.expect("the owner").owner, Predecessor::Same);
    let taken = someone(OTHER_SESSION).sign_in(Admit::Anybody).await.expect("told to");
    assert_eq!(taken.owner, Predecessor::Another);
    let now = someone(OTHER_SESSION).sign_in(Admit::Owner).await.expect("the owner now");
    assert_eq!(now.owner, Predecessor::Same);
    let refused = someone(SESSION).sign_in(Admit::Owner).await.expect_err("the owner before");
    assert!(matches!(refused, IdentityError::OtherAccount), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_backend_does_not_know_changes_nothing() {
    let world = World::new(9).await;
    let process = with_pending(&world).await;
    let stranger = world.someone(&process, "ca9a41e5-0000-4000-8000-000000000000");
    stranger.sign_in(Admit::Anybody).await.expect_err("unknown");
    assert_eq!(process.identity.recover().await.expect("recovered").made, 1);
    assert_eq!(world.session_file().predecessor_of("u1"), Predecessor::Same);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_finishes_what_is_pending() {
    let world = World::new(9).await;
    let process = with_pending(&world).await;
    let signed_out = process.identity.sign_out().await.expect("signed out");
    assert!(signed_out.untold.is_none());
    assert_eq!(
        (signed_out.recovered.made, signed_out.abandoned.credits, signed_out.abandoned.abuse),
        (1, 0, 0)
    );
    assert_eq!((process.stock().await.available, process.stock().await.blinded), (1, 0));
    assert!(process.identity.abuse_status().await.expect("status").transient.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_wipes_what_it_cannot_finish_and_waits_no_longer_than_its_patience() {
    for fault in [Fault::RequestLost, Fault::HangBefore] {
        let world = World::new(9).await;
        let process = with_pending(&world).await;
        // Three sendings of each of the two, or one that never ends; then the sign-out itself.
        world.issuer.script(vec![fault; if fault == Fault::HangBefore { 1 } else { 6 }]);
        let signed_out = process.identity.sign_out().await.expect("signed out");
        assert!(signed_out.untold.is_none(), "{fault:?}");
        assert_eq!((signed_out.abandoned.credits, signed_out.abandoned.abuse), (1, 1), "{fault:?}");
        assert_eq!((signed_out.recovered.made, signed_out.recovered.pending), (0, 0), "{fault:?}");
        assert!(!world.home().session_path().exists());
        assert!(process.vault.deposits().pending().await.expect("pending").is_empty());
    }
}
