//! The identity plane over real sockets and a real vault. The backend at the network's edge is scripted
//! ([`issuer`]); it signs for real and keeps a ledger, so a lost or a doubled credit shows.

mod abuse;
mod cross;
mod https;
mod issuer;
mod mint;
mod pause;
mod reference;
mod resume;
mod session;
mod switch;
mod topup;

use std::sync::Arc;
use std::time::Duration;

use llmtor::clock::{ManualClock, Timestamp};
use llmtor::datadir::{Home, KeyStore};
use llmtor::identity::record::Nobody;
use llmtor::identity::{
    Deadlines, Identity, IdentityUrl, MintOrder, Minted, Pace, Parts, Readiness, Route, Session, SessionFile,
};
use llmtor::keys::Keyring;
use llmtor::passage::Gate;
use llmtor::vault::{Stock, Vault, VaultKeys};
use llmtor::wire::ModelName;

use issuer::Issuer;

/// 2026-11-22T12:00:00Z.
const START: i64 = 1_795_348_800;
const SESSION: &str = "ca9a41e5-0000-4000-8000-5e5510ca9a41";
/// Of another account.
const OTHER_SESSION: &str = "ca9a41e5-0000-4000-8000-07e5510ca9a4";
const MODEL: &str = "gpt-4.1";

fn model() -> ModelName {
    MODEL.parse().expect("model")
}

/// A home, a clock and a backend; the process that uses them may die and come back.
struct World {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    issuer: Issuer,
    gate: Gate,
}

/// One process.
struct Process {
    identity: Identity,
    vault: Vault,
}

impl World {
    async fn new(credits: i64) -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let clock = ManualClock::shared(Timestamp::from_unix(START));
        Self { dir, clock, issuer: Issuer::start(credits).await, gate: Gate::default() }
    }

    fn home(&self) -> Home {
        Home::open(&self.dir.path().join("home")).expect("home")
    }

    fn session_file(&self) -> SessionFile {
        let master = self.home().master_key(KeyStore::File).expect("master key");
        SessionFile::new(self.home(), master.derive("session"))
    }

    /// Starts a process with the issuer's own keys.
    fn start(&self) -> Process {
        self.start_with(self.issuer.keyring())
    }

    fn start_with(&self, keyring: Keyring) -> Process {
        self.start_at(keyring, &self.issuer.url())
    }

    /// Starts a process that looks for the backend elsewhere.
    fn start_elsewhere(&self, url: &str) -> Process {
        self.start_at(self.issuer.keyring(), url)
    }

    fn start_at(&self, keyring: Keyring, url: &str) -> Process {
        let master = self.home().master_key(KeyStore::File).expect("master key");
        let keys = VaultKeys { sealing: master.derive("sealing"), digest: master.derive("digest") };
        let (vault, _) = Vault::open(&self.home().vault_path(), keys, self.clock.clone()).expect("vault");
        let session = Session::parse(SESSION).expect("session");
        self.session_file().store(&session, "u1", &mut rand::rng()).expect("stored");
        Process { identity: self.identity(&vault, session, keyring, url), vault }
    }

    fn identity(&self, vault: &Vault, session: Session, keyring: Keyring, url: &str) -> Identity {
        Identity::new(Parts {
            url: IdentityUrl::parse(url).expect("url"),
            route: Route::Direct,
            gate: self.gate.clone(),
            deadlines: Deadlines { call: Duration::from_secs(10), ..Deadlines::default() },
            pace: Pace {
                concurrency: 4,
                attempts: 3,
                first_pause: Duration::from_millis(1),
                ceiling: Duration::from_millis(2),
                parting: Duration::from_secs(5),
            },
            delay: Duration::from_secs(21_600),
            session,
            file: self.session_file(),
            keyring,
            deposits: vault.deposits(),
            clock: self.clock.clone(),
            witness: Arc::new(Nobody),
        })
        .expect("identity")
    }
}

impl Process {
    async fn mint(&self, count: usize) -> Minted {
        let order = MintOrder { model: model(), count, readiness: Readiness::Now };
        self.identity.mint(order, &|_| ()).await.expect("begun")
    }

    async fn stock(&self) -> Stock {
        self.vault.census().stock().await.expect("stock").get(&model()).copied().unwrap_or_default()
    }
}
