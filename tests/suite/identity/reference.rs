//! The identity plane against the reference backend: its real ledger, refusal texts and RequestIDs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use llmtor::backend::{Backend, ModelSettings, RateLimits, Settings};
use llmtor::clock::{ManualClock, Timestamp};
use llmtor::datadir::{Home, KeyStore};
use llmtor::identity::record::Nobody;
use llmtor::identity::{
    Deadlines, ErrorKind, Identity, IdentityError, IdentityUrl, MintOrder, Obtained, Pace, Parts, Readiness,
    Route, Session, SessionFile,
};
use llmtor::keys::{KeyName, Keyring, import};
use llmtor::passage::Gate;
use llmtor::vault::{Stock, Vault, VaultKeys};
use tokio_util::sync::CancellationToken;

use super::{MODEL, START, model};

struct Reference {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    url: String,
    session: String,
    keyring: Keyring,
    shutdown: CancellationToken,
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Reference {
    async fn start(credits: i64) -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let settings = Settings {
            models: [(model(), ModelSettings { provider: "embedded".into(), ..ModelSettings::default() })]
                .into(),
            limits: RateLimits { per_session: 0, per_address: 0 },
            ..Settings::default()
        };
        let home = dir.path().join("backend");
        Backend::init(&home, &settings).expect("initialised");
        let clock = ManualClock::shared(Timestamp::from_unix(START));
        let backend = Backend::open(&home, settings, clock.clone()).expect("backend");
        let credits = [(model(), credits)].into();
        let session = backend.add_account("alice", &credits).expect("account").expose().to_owned();
        let exported: BTreeMap<String, String> = backend.export_keys().into_iter().collect();
        let exported = serde_json::to_string(&exported).expect("JSON");
        let keyring = import::parse(&exported).expect("keys").keys;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let url = format!("http://localhost:{}", listener.local_addr().expect("address").port());
        let shutdown = CancellationToken::new();
        tokio::spawn(backend.serve(listener, shutdown.clone(), Duration::from_secs(1)));
        Self { dir, clock, url, session, keyring, shutdown }
    }

    fn process(&self, keyring: Keyring) -> (Identity, Vault) {
        let home = Home::open(&self.dir.path().join("home")).expect("home");
        let master = home.master_key(KeyStore::File).expect("master key");
        let keys = VaultKeys { sealing: master.derive("sealing"), digest: master.derive("digest") };
        let (vault, _) = Vault::open(&home.vault_path(), keys, self.clock.clone()).expect("vault");
        let session = Session::parse(&self.session).expect("session");
        let file = SessionFile::new(home, master.derive("session"));
        file.store(&session, "alice", &mut rand::rng()).expect("stored");
        let identity = Identity::new(Parts {
            url: IdentityUrl::parse(&self.url).expect("url"),
            route: Route::Direct,
            gate: Gate::default(),
            deadlines: Deadlines::default(),
            pace: Pace::default(),
            delay: Duration::from_secs(21_600),
            session,
            file,
            keyring,
            deposits: vault.deposits(),
            clock: self.clock.clone(),
            witness: Arc::new(Nobody),
        });
        (identity.expect("identity"), vault)
    }
}

async fn stock(vault: &Vault) -> Stock {
    vault.census().stock().await.expect("stock").get(&model()).copied().unwrap_or_default()
}

fn order(count: usize) -> MintOrder {
    MintOrder { model: model(), count, readiness: Readiness::Now }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_emptied_into_the_vault() {
    let reference = Reference::start(12).await;
    let (identity, vault) = reference.process(reference.keyring.clone());
    let minted = identity.mint(order(20), &|_| ()).await.expect("begun");
    assert_eq!((minted.made, minted.pending), (12, 0));
    assert!(matches!(minted.stopped, Some(IdentityError::NoQuota(_))), "{:?}", minted.stopped);
    assert_eq!((stock(&vault).await.available, stock(&vault).await.blinded), (12, 0));
    let account = identity.account().await.expect("account");
    assert_eq!(account.used[MODEL], 12);
    assert_eq!(account.active.get(MODEL).copied().unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn abuse_tokens_are_issued_once_and_monthly() {
    let reference = Reference::start(0).await;
    let (identity, _vault) = reference.process(reference.keyring.clone());
    let setup = identity.abuse_setup().await.expect("setup");
    assert_eq!((setup.permanent, setup.transient), (Obtained::Issued, Obtained::Issued));
    let account = identity.account().await.expect("account");
    assert!(account.permanent_abuse_issued_at.is_some());
    // Another home on the same account, after the ten minutes.
    reference.clock.advance(601);
    std::fs::rename(reference.dir.path().join("home"), reference.dir.path().join("first")).expect("moved");
    let (identity, _vault) = reference.process(reference.keyring.clone());
    let error = identity.abuse_setup().await.expect_err("issued before");
    assert!(matches!(error, IdentityError::AbuseAlreadyIssued), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mint_that_dies_anywhere_loses_no_credit() {
    let reference = Reference::start(100).await;
    for deaths in [1usize, 3, 9] {
        let (identity, vault) = reference.process(reference.keyring.clone());
        let made = AtomicUsize::new(0);
        let reached = tokio::sync::Notify::new();
        let count = |_| {
            if made.fetch_add(1, Ordering::Relaxed) + 1 == deaths {
                reached.notify_one();
            }
        };
        tokio::select! {
            biased;
            () = reached.notified() => {}
            minted = identity.mint(order(20), &count) => panic!("it ended: {minted:?}"),
        }
        drop((identity, vault));
        reference.clock.advance(120);
        let (identity, vault) = reference.process(reference.keyring.clone());
        let recovered = identity.recover().await.expect("recovered");
        assert_eq!((recovered.pending, recovered.lost, recovered.unclear), (0, 0, 0));
        let held = i64::try_from(stock(&vault).await.available).expect("few");
        assert_eq!(identity.account().await.expect("account").used[MODEL], held);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_the_backend_does_not_sign_for_is_said_so() {
    let reference = Reference::start(5).await;
    let mut keyring = reference.keyring.clone();
    let name: KeyName = "o1".parse().expect("name");
    keyring.insert(name, keyring.model(&model()).expect("key").clone());
    let (identity, vault) = reference.process(keyring);
    let order = MintOrder { model: "o1".parse().expect("model"), count: 2, readiness: Readiness::Now };
    let minted = identity.mint(order, &|_| ()).await.expect("begun");
    let stopped = minted.stopped.expect("refused");
    // The ledger is looked at before the keys, or after: either way nothing is debited and nothing pends.
    assert!(matches!(stopped, IdentityError::NotOffered(_) | IdentityError::NoQuota(_)), "{stopped}");
    assert_eq!((minted.made, minted.pending), (0, 0));
    assert!(vault.deposits().pending().await.expect("pending").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_signed_out_is_expired() {
    let reference = Reference::start(5).await;
    let (identity, _vault) = reference.process(reference.keyring.clone());
    identity.sign_out().await.expect("signed out");
    let error = identity.account().await.expect_err("signed out");
    assert_eq!(error.kind(), ErrorKind::SignIn);
}
