//! The reference backend: accounts, credits, blind signatures and redemption, as protocol.md has them.
//!
//! It speaks the deployed server's protocol, odd cases included, and can play the older one. Anyone can
//! host it; the tests and `llmtor demo` do. It shares with the client only the wire's vocabulary, the
//! newtypes of the blind signatures, the clock and the secrets.
//!
//! ```text
//! http/identity  → issuance → issuer, ledger        (ledger.db: accounts, sessions, credits)
//! http/store     → store → ledger                   (the same: sales, vouchers)
//! http/anonymous → redemption → issuer, spent, seal (spent.db: hashes of tokens, sealed answers)
//!                             → moderation → provider
//! ```
//!
//! Invariants: the two databases have no column in common, so that nothing joins a redemption with an
//! account; what changed is on disk before the answer goes out; nothing of a request is logged.
//!
//! People sign in with invite codes or with an OpenID Connect provider (`http/sign_in`, `oidc`).
//!
//! Deliberately absent: calls to payment providers (they report, the backend listens), passwords, key rotation, TLS (a
//! reverse proxy or an onion service stands in front).

mod home;
mod http;
mod invite;
mod issuance;
mod issuer;
mod ledger;
mod limits;
mod locks;
mod moderation;
mod oidc;
mod provider;
mod redemption;
mod seal;
pub mod settings;
mod spent;
mod sqlite;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::CryptoRng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::issuance::Issuance;
use self::issuer::Issuer;
use self::ledger::{Ledger, NewInvite, SignIns, SqliteLedger};
use self::limits::Limiter;
use self::locks::KeyedLocks;
use self::moderation::{Moderator, NoModerator, WordList};
use self::oidc::Oidc;
use self::provider::openai::OpenAiModerator;
use self::redemption::Redemption;
use self::seal::AnswerKey;
use self::spent::{SpentStore, SqliteSpent};
use self::store::Store;
use crate::clock::SharedClock;
use crate::secret::Secret;
use crate::tor::{self, Host, TorError};
use crate::wire::ModelName;
use crate::wire::voucher::VoucherCode;
pub use invite::InviteCode;
pub use issuer::KeyStoreError;
pub use ledger::Invite;
pub use oidc::OidcSettingsError;
pub use provider::ProviderError;
pub use settings::{
    DodoSettings, Environment, Generation, ModelSettings, Moderation, OidcSettings, PackageSettings,
    PaddleSettings, Planes, ProviderSettings, RateLimits, Roles, Settings, SettingsError, SignInSettings,
    StoreSettings, TorSettings,
};
pub use sqlite::StoreError;
pub use store::{HeldBecause, Provider, Sale, SaleState, Voucher, VoucherState};

/// The name of the settings file in a backend's home.
pub const SETTINGS_FILE: &str = "backend.toml";
/// What Arti files the onion service's keys under; another name would be another address.
const ONION_SERVICE: &str = "llmtor";
/// The onion service's port: HTTP's, so that the address is the whole URL.
const ONION_PORT: u16 = 80;
/// How often old answers are wiped and old RequestIDs forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(600);

/// An invite to be made.
pub struct InviteOrder {
    /// The account that it is for, made at the first use; a new one at each use if there is none.
    pub account: Option<String>,
    /// How often it may be used.
    pub uses: u32,
    /// For how many days.
    pub days: u32,
    /// What each use gives, beside the free credits of a new account.
    pub credits: BTreeMap<ModelName, i64>,
}

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
    /// An identity provider's settings.
    #[error(transparent)]
    Oidc(#[from] OidcSettingsError),
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
    /// No such invite.
    #[error("there is no invite of that id; `llmtor backend invite list` shows those that can still be used")]
    NoInvite,
    /// Credits for a model that is not served.
    #[error("this backend serves no model `{0}`; its models are in backend.toml")]
    UnknownModel(ModelName),
    /// A voucher for nothing.
    #[error("a voucher without credits is good for nothing; say what it is good for: --credits MODEL=N")]
    EmptyVoucher,
    /// No open voucher has that id.
    #[error("no open voucher has the id `{0}`; `llmtor backend voucher list` shows them")]
    NoVoucher(String),
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
            Self::Oidc(_) => {
                "correct `[sign_in.oidc]` in backend.toml, and set the variables that client_secret_env names"
            }
            Self::NoInvite => {
                "a code that was used up is not listed; `llmtor backend invite create` makes another"
            }
            Self::EmptyVoucher => "`llmtor backend voucher create --help` has an example",
            Self::NoVoucher(_) => "one that was redeemed cannot be taken back",
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
    sign_ins: SignIns,
    oidc: Oidc,
    spent: Arc<dyn SpentStore>,
    issuer: Arc<Issuer>,
    issuance: Issuance,
    redemption: Redemption,
    limits: Limiter,
    store: Store,
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
        let ledger = SqliteLedger::open(&home.join("ledger.db"))?;
        let store = Store::open(&settings, ledger.database(), clock.clone(), webhook_secrets);
        let shared = Shared {
            sign_ins: ledger.sign_ins(),
            ledger: Arc::new(ledger),
            oidc: Oidc::new(&settings.sign_in.oidc, clock.clone())?,
            store,
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

    /// Makes vouchers, each good for `credits`, for so many days. Their codes are nowhere else. Blocks for a moment.
    pub fn create_vouchers(
        &self,
        credits: &BTreeMap<ModelName, i64>,
        count: u32,
        days: Option<u32>,
    ) -> Result<Vec<VoucherCode>, BackendError> {
        self.check_models(credits)?;
        if credits.values().all(|count| *count < 1) {
            return Err(BackendError::EmptyVoucher);
        }
        Ok(self.shared.store.create_vouchers(credits, count, days, &mut rand::rng())?)
    }

    /// Every voucher. Blocks for a moment.
    pub fn vouchers(&self) -> Result<Vec<Voucher>, BackendError> {
        Ok(self.shared.store.vouchers()?)
    }

    /// Takes back a voucher that was not redeemed. Blocks for a moment.
    pub fn revoke_voucher(&self, id: &str) -> Result<(), BackendError> {
        let revoked = self.shared.store.revoke_voucher(id)?;
        if revoked == 0 { Err(BackendError::NoVoucher(id.to_owned())) } else { Ok(()) }
    }

    /// What payment providers reported. Blocks for a moment.
    pub fn sales(&self) -> Result<Vec<Sale>, BackendError> {
        Ok(self.shared.store.sales()?)
    }

    /// Makes an invite code. Blocks for a moment.
    pub fn invite(&self, order: InviteOrder) -> Result<(Invite, InviteCode), BackendError> {
        let InviteOrder { account, uses, days, credits } = order;
        self.check_models(&credits)?;
        let code = InviteCode::generate(&mut rand::rng());
        let expires_at = self.shared.clock.now().plus_seconds(i64::from(days) * 86_400);
        // Long enough to tell invites apart, short enough to be typed.
        let id = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let told = credits.iter().map(|(model, count)| (model.to_string(), *count)).collect();
        let invite = Invite {
            id: id.clone(),
            account: account.clone(),
            uses_left: uses,
            expires_at: expires_at.unix(),
            credits: told,
        };
        let kept = NewInvite { id, code: code.hash(), account_name: account, uses, expires_at, credits };
        self.shared.sign_ins.invite(kept)?;
        Ok((invite, code))
    }

    /// The invites that can still be used. Blocks for a moment.
    pub fn invites(&self) -> Result<Vec<Invite>, BackendError> {
        Ok(self.shared.sign_ins.invites(self.shared.clock.now())?)
    }

    /// Withdraws an invite. Blocks for a moment.
    pub fn revoke_invite(&self, id: &str) -> Result<(), BackendError> {
        self.shared.sign_ins.revoke(id)?.then_some(()).ok_or(BackendError::NoInvite)
    }

    /// Key name (model ids, `abuse-permanent`, `abuse-transient`) → SPKI PEM.
    pub fn export_keys(&self) -> BTreeMap<String, String> {
        self.shared.issuer.export()
    }

    /// Refuses an abuse token, permanent or transient, by its SHA-256, from now on. Blocks for a moment.
    pub fn blacklist_abuse(&self, sha256: [u8; 32]) -> Result<(), BackendError> {
        Ok(self.shared.spent.blacklist(sha256)?)
    }

    /// Whether everything that serving needs is in the environment; the host's other commands do without.
    pub fn check_secrets(&self) -> Result<(), BackendError> {
        Ok(self.shared.store.check_secrets()?)
    }

    /// Serves until `shutdown`, then lets calls in flight end for at most `grace`.
    pub async fn serve(
        self,
        listener: tokio::net::TcpListener,
        shutdown: CancellationToken,
        grace: Duration,
    ) -> Result<(), BackendError> {
        if self.planes != Planes::Anonymous {
            self.check_secrets()?;
            self.shared.oidc.check()?;
        }
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
        shared.store.forget_old().await;
    }
}

fn webhook_secrets(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
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
