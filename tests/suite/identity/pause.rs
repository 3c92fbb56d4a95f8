//! The user pauses in the middle of something: what was sent is waited for, and no further request is begun.

use std::time::Duration;

use llmtor::identity::IdentityError;
use llmtor::passage::Passage;
use llmtor::wire::voucher::VoucherCode;

use super::issuer::Fault;
use super::{Process, World};

/// As many as may be in flight at once ([`World`]).
const AT_ONCE: usize = 4;

/// What the user may have begun.
#[derive(Clone, Copy, Debug)]
enum Begun {
    Account,
    SignIn,
    SignOut,
    Mint,
    Recovery,
    AbuseSetup,
    AbuseRotation,
    Checkout,
    Voucher,
    StoreBackup,
    FetchBackup,
}

impl Begun {
    const ALL: [Self; 11] = [
        Self::Account,
        Self::SignIn,
        Self::SignOut,
        Self::Mint,
        Self::Recovery,
        Self::AbuseSetup,
        Self::AbuseRotation,
        Self::Checkout,
        Self::Voucher,
        Self::StoreBackup,
        Self::FetchBackup,
    ];

    /// To its end, whatever that is.
    async fn run(self, process: &Process) {
        let identity = &process.identity;
        match self {
            Self::Account => drop(identity.account().await),
            Self::SignIn => drop(identity.sign_in(llmtor::identity::Admit::Anybody).await),
            Self::SignOut => drop(identity.sign_out().await),
            Self::Mint => {
                let order = llmtor::identity::MintOrder {
                    model: super::model(),
                    count: 40,
                    readiness: llmtor::identity::Readiness::Now,
                };
                drop(identity.mint(order, &|_| ()).await);
            }
            Self::Recovery => drop(identity.recover().await),
            Self::AbuseSetup => drop(identity.abuse_setup().await),
            Self::AbuseRotation => drop(identity.abuse_rotate().await),
            Self::Checkout => drop(identity.checkout("small", None).await),
            Self::Voucher => {
                drop(identity.redeem_voucher(&VoucherCode::generate(&mut rand::rng())).await);
            }
            Self::StoreBackup => drop(identity.store_backup("sealed".into()).await),
            Self::FetchBackup => drop(identity.fetch_backup().await),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_under_way_begins_no_request_after_a_pause() {
    for begun in Begun::ALL {
        let world = World::new(100).await;
        // For a recovery, and for a sign-out: more than are in flight at once.
        world.issuer.script(vec![Fault::Html(502); 500]);
        let process = world.start();
        if matches!(begun, Begun::Recovery | Begun::SignOut) {
            assert!(process.mint(40).await.pending > 0);
            world.issuer.gather(AT_ONCE);
        }
        let before = world.issuer.seen(<[_]>::len);
        world.issuer.shut_at_the_next(world.gate.clone());
        tokio::time::timeout(Duration::from_secs(8), begun.run(&process)).await.expect("it ends");
        assert_eq!(world.gate.passage(), Passage::Paused, "{begun:?} asked nobody");
        let sent = world.issuer.seen(<[_]>::len) - before;
        let most = if matches!(begun, Begun::Recovery | Begun::SignOut) { AT_ONCE } else { 1 };
        assert!((1..=most).contains(&sent), "{begun:?}: {sent} requests");
        // And none is begun while it lasts.
        begun.run(&process).await;
        assert_eq!(world.issuer.seen(<[_]>::len) - before, sent, "{begun:?}");
        let refused = process.identity.account().await;
        assert!(matches!(refused, Err(IdentityError::Paused)), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mint_that_a_pause_cuts_short_costs_nothing_that_the_next_one_does_not_bring() {
    let world = World::new(100).await;
    let process = world.start();
    world.issuer.shut_at_the_issuance(world.gate.clone());
    let minted = process.mint(40).await;
    assert!(matches!(minted.stopped, Some(IdentityError::Paused)), "{:?}", minted.stopped);
    let (made, used) = (minted.made, world.issuer.used());
    assert!((1..=AT_ONCE).contains(&made) && minted.pending == 0, "{minted:?}");
    assert_eq!(usize::try_from(used).expect("count"), made, "what was not sent is not debited, nor kept");
    assert_eq!(process.stock().await.blinded, 0);
    world.gate.set(Passage::Open);
    assert_eq!(process.mint(3).await.made, 3);
    assert_eq!(world.issuer.used(), used + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_run_began_stays_for_after_the_pause() {
    let world = World::new(100).await;
    world.issuer.script(vec![Fault::AnswerLost; 12]);
    let pending = world.start().mint(4).await.pending;
    assert_eq!(pending, 4);
    world.issuer.mend();
    let process = world.start();
    world.gate.set(Passage::Paused);
    let recovered = process.identity.recover().await.expect("judged");
    assert_eq!((recovered.made, recovered.pending), (0, 4));
    world.clock.advance(1_000);
    assert_eq!(process.identity.recover().await.expect("judged").pending, 4, "nor is an old one given up");
    world.gate.set(Passage::Open);
    let recovered = process.identity.recover().await.expect("judged");
    assert_eq!((recovered.lost, recovered.pending), (4, 0), "debited, and forgotten by now");
}
