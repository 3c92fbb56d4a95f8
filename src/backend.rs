//! The reference backend: accounts, credits, blind signatures and redemption, as protocol.md has them.
//!
//! It speaks the deployed server's protocol, odd cases included, and can play the older one. Anyone can
//! host it; the tests and `llmtor demo` do. It shares with the client only the wire's vocabulary, the
//! newtypes of the blind signatures, the clock and the secrets.
//!
//! ```text
//! http/identity  → issuance → issuer, ledger        (ledger.db: accounts, sessions, credits)
//! http/anonymous → redemption → issuer, spent, seal (spent.db: hashes of tokens, sealed answers)
//!                             → moderation → provider
//! ```
//!
//! Invariants: the two databases have no column in common, so that nothing joins a redemption with an
//! account; what changed is on disk before the answer goes out; nothing of a request is logged.
//!
//! Deliberately absent: payment (the host adds credits), an identity provider, key rotation, TLS (a
//! reverse proxy or an onion service stands in front).

mod home;
mod http;
mod issuance;
mod issuer;
mod ledger;
mod limits;
mod locks;
mod moderation;
mod provider;
mod redemption;
mod seal;
pub mod settings;
mod spent;
mod sqlite;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::CryptoRng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::issuance::Issuance;
use self::issuer::Issuer;
use self::ledger::{Ledger, SqliteLedger};
use self::limits::Limiter;
use self::locks::KeyedLocks;
use self::moderation::{Moderator, NoModerator, WordList};
use self::provider::openai::OpenAiModerator;
use self::redemption::Redemption;
use self::seal::AnswerKey;
use self::spent::{SpentStore, SqliteSpent};
use crate::clock::SharedClock;
use crate::secret::Secret;
use crate::tor::{self, Host, TorError};
use crate::wire::ModelName;
pub use issuer::KeyStoreError;
pub use provider::ProviderError;
pub use settings::{
    Generation, ModelSettings, Moderation, PackageSettings, Planes, ProviderSettings, RateLimits, Roles,
    Settings, SettingsError, TorSettings,
};
pub use sqlite::StoreError;

/// The name of the settings file in a backend's home.
pub const SETTINGS_FILE: &str = "backend.toml";
/// What Arti files the onion service's keys under; another name would be another address.
const ONION_SERVICE: &str = "llmtor";
/// The onion service's port: HTTP's, so that the address is the whole URL.
const ONION_PORT: u16 = 80;
/// How often old answers are wiped and old RequestIDs forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(600);

/// A session: whoever knows it is the account. Shown once, kept only as a hash.
pub struct SessionId(Secret<String>);

/// Why the backend cannot do what it was asked to; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The key pairs.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// A database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A provider's settings.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The home.
    #[error("cannot use {path}: {source}", path = .path.display())]
    Home {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no backend in this home.
    #[error("{path} is not a backend's home; run `llmtor backend init` first", path = .0.display())]
    NotInitialised(PathBuf),
    /// `answers.key` has another length than it was written with.
    #[error("answers.key is damaged; restore it, or remove it (stored answers are lost then)")]
    DamagedAnswerKey,
    /// The Tor client under the onion service.
    #[error(transparent)]
    Tor(#[from] TorError),
    /// The onion service ended although nobody had asked it to.
    #[error("the onion service ended by itself; start it again")]
    OnionEnded,
    /// The name is taken.
    #[error("there is an account of that name already; choose another name")]
    AccountExists,
    /// No such account.
    #[error("there is no account of that name")]
    NoAccount,
    /// Credits for a model that is not served.
    #[error("this backend serves no model `{0}`; its models are in backend.toml")]
    UnknownModel(ModelName),
}

impl BackendError {
    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Settings(_) => "correct backend.toml; config/backend.example.toml shows every setting",
            Self::Tor(TorError::Settings(_) | TorError::File { .. }) => "correct `[tor]` in backend.toml",
            Self::Tor(TorError::Storage(_)) => {
                "see to the directory `tor` in the backend's home: it must be yours alone"
            }
            Self::Keys(_) => {
                "put the key files back from your backup; `llmtor backend init` makes those that never were"
            }
            Self::Store(_) => "check the disk, and that no other backend uses this home; then start it again",
            Self::Provider(_) => {
                "correct `[providers]` in backend.toml, and set the variables that its key_env name"
            }
            Self::Home { .. } => "check that it is there and yours, or name another home with --home DIR",
            Self::NotInitialised(_) => "name the backend's own home: --home DIR",
            Self::DamagedAnswerKey => "then start it again",
            Self::OnionEnded => "`--log info` tells more",
            Self::AccountExists => "`llmtor backend account --help` shows what an account needs",
            Self::NoAccount => "add it: llmtor backend account add NAME",
            Self::UnknownModel(_) => "name one of them, or add it under `[models]` there",
        }
    }
}

/// A backend with its home open. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Backend {
    shared: Arc<Shared>,
    planes: Planes,
}

/// What every request may use.
struct Shared {
    settings: Settings,
    ledger: Arc<dyn Ledger>,
    spent: Arc<dyn SpentStore>,
    issuer: Arc<Issuer>,
    issuance: Issuance,
    redemption: Redemption,
    limits: Limiter,
    clock: SharedClock,
    tasks: TaskTracker,
}

impl SessionId {
    /// The text after `sessionID=`.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(Secret::new(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()))
    }

    fn hash(&self) -> ledger::SessionHash {
        http::session_hash(self.expose())
    }
}

impl Backend {
    /// Creates the home (0700), the missing key pairs, and `backend.toml` if there is none. Blocks for about a
    /// second per key and core. Running it again makes keys for models that were added since.
    pub fn init(home: &Path, settings: &Settings) -> Result<(), BackendError> {
        settings.check()?;
        home::ensure_private_directory(home).map_err(unusable(home))?;
        issuer::generate_missing(home, &key_names(settings))?;
        let answers = home.join("answers.key");
        if !answers.exists() {
            let key = AnswerKey::generate(&mut rand::rng());
            home::write_private(&answers, key.expose()).map_err(unusable(&answers))?;
        }
        let file = home.join(SETTINGS_FILE);
        if !file.exists() {
            home::write_private(&file, settings.to_toml()?.as_bytes()).map_err(unusable(&file))?;
        }
        Ok(())
    }

    /// Opens an initialised home. Blocks for a moment. Another process may have it open as well; RequestIDs and
    /// per-token locks are each process's own, so only one of them should serve.
    pub fn open(home: &Path, settings: Settings, clock: SharedClock) -> Result<Self, BackendError> {
        settings.check()?;
        let answers = home.join("answers.key");
        let key = match std::fs::read(&answers) {
            Ok(bytes) => zeroize::Zeroizing::new(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(BackendError::NotInitialised(home.to_owned()));
            }
            Err(error) => return Err(unusable(&answers)(error)),
        };
        let issuer = Arc::new(Issuer::load(home, &key_names(&settings))?);
        let spent: Arc<dyn SpentStore> = Arc::new(SqliteSpent::open(&home.join("spent.db"))?);
        let redemption = Redemption {
            issuer: Arc::clone(&issuer),
            spent: Arc::clone(&spent),
            catalog: provider::catalog(&settings, &clock)?,
            moderator: moderator(&settings.moderation)?,
            answers: AnswerKey::from_bytes(&key).ok_or(BackendError::DamagedAnswerKey)?,
            generation: settings.generation,
            answer_days: settings.answer_days,
            clock: clock.clone(),
            locks: KeyedLocks::new(),
        };
        let planes = settings.planes.unwrap_or_default();
        let shared = Shared {
            ledger: Arc::new(SqliteLedger::open(&home.join("ledger.db"))?),
            spent,
            issuer,
            issuance: Issuance::new(clock.clone()),
            redemption,
            limits: Limiter::new(settings.limits, clock.clone()),
            clock,
            tasks: TaskTracker::new(),
            settings,
        };
        Ok(Self { shared: Arc::new(shared), planes })
    }

    /// The same backend, answering only these planes: one listener for each, say.
    #[must_use]
    pub fn with_planes(&self, planes: Planes) -> Self {
        Self { shared: Arc::clone(&self.shared), planes }
    }

    /// Creates an account with the settings' free credits and `credits`. Blocks for a moment.
    pub fn add_account(
        &self,
        name: &str,
        credits: &BTreeMap<ModelName, i64>,
    ) -> Result<SessionId, BackendError> {
        self.check_models(credits)?;
        let mut all = self.shared.settings.free_credits.clone();
        for (model, count) in credits {
            let all = all.entry(model.clone()).or_default();
            *all = all.saturating_add(*count);
        }
        let session = SessionId::generate(&mut rand::rng());
        let created = self.shared.ledger.create(name, &all, session.hash())?;
        created.then_some(session).ok_or(BackendError::AccountExists)
    }

    /// Adds credits to an account. Blocks for a moment.
    pub fn add_credits(&self, name: &str, credits: &BTreeMap<ModelName, i64>) -> Result<(), BackendError> {
        self.check_models(credits)?;
        let found = self.shared.ledger.grant(name, credits)?;
        found.then_some(()).ok_or(BackendError::NoAccount)
    }

    /// Ends an account's sessions and opens a new one. Blocks for a moment.
    pub fn renew_session(&self, name: &str) -> Result<SessionId, BackendError> {
        let session = SessionId::generate(&mut rand::rng());
        let found = self.shared.ledger.renew_session_blocking(name, session.hash())?;
        found.then_some(session).ok_or(BackendError::NoAccount)
    }

    /// Key name (model ids, `abuse-permanent`, `abuse-transient`) → SPKI PEM.
    pub fn export_keys(&self) -> BTreeMap<String, String> {
        self.shared.issuer.export()
    }

    /// Refuses an abuse token, permanent or transient, by its SHA-256, from now on. Blocks for a moment.
    pub fn blacklist_abuse(&self, sha256: [u8; 32]) -> Result<(), BackendError> {
        Ok(self.shared.spent.blacklist(sha256)?)
    }

    /// Serves until `shutdown`, then lets calls in flight end for at most `grace`.
    pub async fn serve(
        self,
        listener: tokio::net::TcpListener,
        shutdown: CancellationToken,
        grace: Duration,
    ) -> Result<(), BackendError> {
        let router = http::router(&self.shared, self.planes);
        let serving = async {
            http::serve_listener(router, listener, shutdown.clone()).await;
            Ok(())
        };
        self.until_the_end(serving, &shutdown, grace).await
    }

    /// The onion service of a home: its address, and a Tor client that starts at once. Must be called inside a Tokio
    /// runtime; blocks for a moment.
    pub fn onion(home: &Path, settings: &TorSettings, clock: SharedClock) -> Result<Host, BackendError> {
        let file = settings.arti_config.as_deref();
        let settings = tor::Settings::in_home(home, file, settings.arti.clone())?;
        Ok(Host::open(&settings, ONION_SERVICE, clock)?)
    }

    /// As [`Backend::serve`], for the anonymous plane alone, to the clients of an onion service: from when Tor is up, and
    /// while descriptors are still being published.
    pub async fn serve_onion(
        self,
        host: Host,
        shutdown: CancellationToken,
        grace: Duration,
    ) -> Result<(), BackendError> {
        let router = http::router(&self.shared, Planes::Anonymous);
        let serving = async {
            let published = tokio::select! {
                published = host.publish(ONION_PORT) => published?,
                () = shutdown.cancelled() => return Ok(()),
            };
            let asked_to = http::serve_onion(router, published, shutdown.clone()).await;
            asked_to.then_some(()).ok_or(BackendError::OnionEnded)
        };
        self.until_the_end(serving, &shutdown, grace).await
    }

    async fn until_the_end(
        &self,
        serving: impl Future<Output = Result<(), BackendError>>,
        shutdown: &CancellationToken,
        grace: Duration,
    ) -> Result<(), BackendError> {
        let housekeeping = tokio::spawn(keep_house(Arc::clone(&self.shared), shutdown.clone()));
        let work = async {
            let served = serving.await;
            // Redemptions whose client hung up still end, so that their answers are there for a repeat.
            self.shared.tasks.close();
            self.shared.tasks.wait().await;
            served
        };
        let deadline = async {
            shutdown.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        let served = tokio::select! {
            served = work => served,
            () = deadline => {
                tracing::warn!("cut off after the grace period");
                Ok(())
            }
        };
        housekeeping.abort();
        served
    }

    fn check_models(&self, credits: &BTreeMap<ModelName, i64>) -> Result<(), BackendError> {
        let unknown = credits.keys().find(|model| !self.shared.settings.models.contains_key(*model));
        unknown.map_or(Ok(()), |model| Err(BackendError::UnknownModel(model.clone())))
    }
}

async fn keep_house(shared: Arc<Shared>, shutdown: CancellationToken) {
    let mut rounds = tokio::time::interval(HOUSEKEEPING);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = rounds.tick() => {}
        }
        shared.redemption.wipe_old().await;
        shared.issuance.forget_old();
    }
}

fn key_names(settings: &Settings) -> Vec<String> {
    let abuse = settings.generation == Generation::Current;
    issuer::key_names(settings.models.keys().map(ModelName::as_str), abuse)
}

fn moderator(settings: &Moderation) -> Result<Box<dyn Moderator>, BackendError> {
    Ok(match settings {
        Moderation::None => Box::new(NoModerator),
        Moderation::Words { file } => {
            Box::new(WordList::parse(&std::fs::read_to_string(file).map_err(unusable(file))?))
        }
        Moderation::OpenAi { base_url, key_env } => {
            Box::new(OpenAiModerator::new(base_url, key_env.as_deref())?)
        }
    })
}

fn unusable(path: &Path) -> impl FnOnce(std::io::Error) -> BackendError {
    let path = path.to_owned();
    move |source| BackendError::Home { path, source }
}
