//! Everything on one machine: a reference backend and a daemon in one process, joined by real sockets.
//!
//! The client's home is the demo's; the backend's is `demo-backend` inside it. A demo started again in
//! the same home goes on where the last one stopped, and only adds what is missing.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, BackendError, ModelSettings, ProviderSettings, Settings};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::control::message::{ChangedKey, KeyFile, OtherAccount, Readiness, SecretText};
use crate::control::{Operation, Perform as _, ProgressSender, Refusal, RefusalKind};
use crate::datadir::{Home, HomeLock};
use crate::secret::Secret;
use crate::supervisor::{Ended, Signals};
use crate::wire::ModelName;

use super::daemon::Daemon;
use super::{AppError, Operations};

/// The models that a demo, and a backend made without settings, offers.
pub const MODELS: [&str; 2] = ["gpt-4.1", "gpt-4.1-mini"];
/// The demo's account at its backend.
const ACCOUNT: &str = "demo";
/// The backend's home inside the demo's.
const BACKEND: &str = "demo-backend";
/// The name of `--upstream` in the backend's settings.
const UPSTREAM: &str = "upstream";
/// The backend has nothing left to do once the daemon is down.
const BACKEND_GRACE: Duration = Duration::from_secs(2);

/// Who answers in place of the embedded model.
pub struct Upstream {
    /// An OpenAI-compatible base URL.
    pub base_url: String,
    /// The model asked for there; the same name when absent.
    pub model: Option<String>,
    /// The environment variable with its key.
    pub key_env: Option<String>,
}

/// The settings of a backend for which nobody has written any: [`MODELS`], answered by the embedded model.
pub fn backend_settings() -> Settings {
    settings(None)
}

fn settings(upstream: Option<&Upstream>) -> Settings {
    let mut settings = Settings::default();
    let model = ModelSettings {
        provider: if upstream.is_some() { UPSTREAM.into() } else { "embedded".into() },
        upstream_model: upstream.and_then(|upstream| upstream.model.clone()),
        roles: crate::backend::Roles::Any,
    };
    settings.models = models().map(|name| (name, model.clone())).collect();
    if let Some(upstream) = upstream {
        let provider = ProviderSettings {
            base_url: upstream.base_url.clone(),
            key_env: upstream.key_env.clone(),
            timeout_seconds: 580,
        };
        settings.providers.insert(UPSTREAM.into(), provider);
    }
    settings
}

fn models() -> impl Iterator<Item = ModelName> {
    MODELS.into_iter().filter_map(|name| ModelName::new(name).ok())
}

/// A demo's backend, running.
pub struct DemoBackend {
    backend: Backend,
    address: SocketAddr,
    stop: CancellationToken,
    ended: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), BackendError>>,
}

impl DemoBackend {
    /// Makes what is missing in `home` and starts the backend on a port of the system's choice. Refuses a home that
    /// is used in earnest.
    pub async fn start(home: &Home, upstream: Option<&Upstream>) -> Result<Self, AppError> {
        let root: PathBuf = home.root().join(BACKEND);
        if !root.exists() && (home.vault_path().exists() || home.config_path().exists()) {
            return Err(AppError::NotADemoHome(home.root().to_owned()));
        }
        let mut settings = settings(upstream);
        // One account mints everything at once here.
        settings.limits.per_session = 0;
        let backend = tokio::task::spawn_blocking(move || open(&root, settings))
            .await
            .map_err(|_| AppError::Internal)??;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listening = async {
            let listener = TcpListener::bind(any).await?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) =
            listening.await.map_err(|error| AppError::Listen { address: any, error })?;
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let serving = backend.clone().serve(listener, stop.clone(), BACKEND_GRACE);
        let guard = ended.clone().drop_guard();
        let task = tokio::spawn(async move {
            let _guard = guard;
            serving.await
        });
        Ok(Self { backend, address, stop, ended, task })
    }

    /// Both planes' base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn open(root: &Path, settings: Settings) -> Result<Backend, BackendError> {
    Backend::init(root, &settings)?;
    Backend::open(root, settings, SystemClock::shared())
}

/// A backend and a daemon.
pub struct Demo {
    backend: DemoBackend,
    daemon: Daemon,
}

impl Demo {
    /// Starts the daemon against `backend` (to whose URL `config` points), and brings `credits` tokens a model.
    pub async fn start(
        backend: DemoBackend,
        home: &Home,
        lock: HomeLock,
        config: &Config,
        credits: u32,
        progress: ProgressSender,
    ) -> Result<Self, AppError> {
        let mut daemon = Daemon::start(home, lock, config).await?;
        let (stopping, ended) = (daemon.stopping(), backend.ended.clone());
        daemon.part("the demo's backend", async move {
            tokio::select! {
                () = stopping.cancelled() => Ok(()),
                () = ended.cancelled() => Err("it stopped by itself"),
            }
        });
        let operations = daemon.operations();
        pin_keys(operations, &backend.backend, &progress).await?;
        sign_in(operations, &backend.backend, &progress).await?;
        operations.perform(Operation::AbuseSetup, progress.clone()).await?;
        stock_up(operations, &backend.backend, credits, &progress).await?;
        Ok(Self { backend, daemon })
    }

    /// The daemon.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Runs until a signal comes or a part ends; the backend is the last to stop.
    pub async fn run(self, signals: &mut impl Signals) -> Result<Ended, AppError> {
        let ended = self.daemon.run(signals).await;
        self.backend.stop.cancel();
        match self.backend.task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the demo's backend ended badly"),
            Err(_) => tracing::warn!("the demo's backend panicked"),
        }
        ended
    }
}

async fn pin_keys(
    operations: &Operations,
    backend: &Backend,
    progress: &ProgressSender,
) -> Result<(), AppError> {
    let text = serde_json::to_string(&backend.export_keys()).map_err(|_| AppError::Internal)?;
    let files = vec![KeyFile { name: "the demo's keys".into(), text }];
    operations
        .perform(Operation::KeysImport { files, changed: ChangedKey::Refuse }, progress.clone())
        .await?;
    Ok(())
}

/// Keeps the session of an earlier run if it is still good; else opens one, and an account if there is none.
async fn sign_in(
    operations: &Operations,
    backend: &Backend,
    progress: &ProgressSender,
) -> Result<(), AppError> {
    match operations.perform(Operation::Account, progress.clone()).await {
        Ok(_) => return Ok(()),
        Err(Refusal { kind: RefusalKind::NotLoggedIn, .. }) => {}
        Err(refusal) => return Err(refusal.into()),
    }
    let backend = backend.clone();
    let session = tokio::task::spawn_blocking(move || match backend.add_account(ACCOUNT, &BTreeMap::new()) {
        Err(BackendError::AccountExists) => backend.renew_session(ACCOUNT),
        other => other,
    })
    .await
    .map_err(|_| AppError::Internal)??;
    let session = SecretText(Secret::new(session.expose().to_owned()));
    operations.perform(Operation::Login { session, other: OtherAccount::Refuse }, progress.clone()).await?;
    Ok(())
}

/// Adds the credits that are missing for `target` usable tokens a model, and turns them into tokens.
async fn stock_up(
    operations: &Operations,
    backend: &Backend,
    target: u32,
    progress: &ProgressSender,
) -> Result<(), AppError> {
    let stock = operations.stock().await?;
    let credits = operations.credits().await?;
    for model in models() {
        let held = stock.get(&model).map_or(0, |stock| stock.available);
        let missing = u64::from(target).saturating_sub(held);
        let Ok(count @ 1..) = u32::try_from(missing) else { continue };
        let short = i64::from(count).saturating_sub(credits.get(model.as_str()).copied().unwrap_or(0));
        if short > 0 {
            let (backend, grant) = (backend.clone(), BTreeMap::from([(model.clone(), short)]));
            tokio::task::spawn_blocking(move || backend.add_credits(ACCOUNT, &grant))
                .await
                .map_err(|_| AppError::Internal)??;
        }
        let mint = Operation::Mint { model, count, readiness: Readiness::Now };
        operations.perform(mint, progress.clone()).await?;
    }
    Ok(())
}
