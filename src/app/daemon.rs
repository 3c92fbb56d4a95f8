//! The daemon: an open home, the local endpoint on top of it, and the control socket beside it.
//!
//! It listens before it opens anything slow, so that clients started together with it wait instead of failing.
//! At the end the endpoint goes first (calls under way get the grace period), then redemption, then the vault.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::anonymous::face::catalog::Catalog;
use crate::anonymous::face::{Images, Rules};
use crate::anonymous::http::{self, Endpoint, Faces, Presence};
use crate::anonymous::redeem::Redeemer;
use crate::anonymous::redeem::record::CallLog;
use crate::anonymous::transport::Transport;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::control::Server;
use crate::control::message::{DaemonReport, NewIdentityReport};
use crate::datadir::{Home, HomeLock};
use crate::passage::Passage;
use crate::secret::Secret;
use crate::supervisor::{Ended, Signals, Supervisor};
use crate::tor::Tor;

use super::meter::Gauges;
use super::operations::RunningDaemon;
use super::redemption::{self, WayOut};
use super::{AppError, Operations, api_key, listen};

/// After the grace period: for the last answers to reach their clients. Shorter than the supervisor's own margin.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How long calls under way have to end when the user pauses; then Tor's client is ended under them. A call whose token was shown by
/// then is in doubt, and the same request asks for its answer after the pause.
const PAUSE_GRACE: Duration = Duration::from_secs(5);

/// A running daemon. Dropping it without [`Daemon::run`] ends it at once.
pub struct Daemon {
    supervisor: Supervisor,
    operations: Arc<Operations>,
    base_url: String,
    api_key: Secret<String>,
    tor: Option<Tor>,
    /// The last to go.
    _lock: HomeLock,
}

impl Daemon {
    /// Starts everything; on return the endpoint answers.
    pub async fn start(home: &Home, lock: HomeLock, config: &Config) -> Result<Self, AppError> {
        let (listeners, base_url) = listen::listeners(config.server.listen)?;
        let api_key = api_key::read_or_make(home, &lock, &mut rand::rng())?;
        let operations = Arc::new(Operations::open(home, &lock, config).await?);
        super::sign_in::sweep(home);
        if operations.custody().await? != crate::vault::Custody::Ours {
            tracing::warn!("the vault is paused and spends nothing; `llmtor status` says why and what to do");
        }
        let control = Server::bind(&home.control_path())?;
        let WayOut { transport, tor, name, pictures } =
            redemption::way_out(home, config, operations.clock(), operations.gate())?;
        #[cfg(feature = "leak")]
        let transport = crate::anonymous::transport::leak::Leaking::over(transport);

        if let Some(tor) = &tor {
            operations.adopt_tor(tor);
        }

        let keyring = operations.keyring();
        let (withdrawals, clock) = (operations.withdrawals(), operations.clock());
        let log = Arc::new(CallLog::default());
        let redeemer = redemption::redeemer(
            withdrawals,
            transport.clone(),
            config,
            &keyring,
            clock,
            operations.gate().clone(),
            Arc::clone(&log),
        );
        let now = operations.clock().now();
        let context = context_length(config);
        let catalog =
            Catalog::new(Catalog::listings(&keyring, now, context)).with_aliases(config.api.aliases());
        operations.announce(running(base_url.clone(), name, &transport, tor.as_ref()));
        operations.watch_keys(watcher(&redeemer, &catalog, now, context));

        let endpoint = Endpoint {
            redeemer: Box::new(redeemer.clone()),
            catalog,
            api_key: api_key.clone(),
            limits: limits(config),
            allowed_origins: config.server.allowed_origins.clone(),
            faces: faces(config),
            heartbeat: config.anonymous.heartbeat(),
            clock: operations.clock(),
            conduct: conduct(config),
            pictures,
            meter: Some(Box::new(Gauges::new(&operations, Arc::clone(&log)))),
        };
        let guarding = guard(operations.clone(), redeemer.clone(), transport.clone(), tor.clone());
        let grace = config.server.grace();
        let mut supervisor = Supervisor::new(grace);
        #[cfg(feature = "desktop")]
        super::page::start(&mut supervisor, config, &operations, log);
        let stop = supervisor.stop();
        supervisor.part("the local endpoint", async move {
            // Calls that do not end in time are answered before their connections are cut.
            let serving = http::serve(listeners, endpoint, stop.clone(), grace + LAST_ANSWERS);
            let giving_up = async {
                stop.cancelled().await;
                tokio::time::sleep(grace).await;
                redeemer.give_up();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = serving => {}
                () = giving_up => {}
            }
            redeemer.drain(Duration::ZERO).await;
            Ok::<_, AppError>(())
        });
        supervisor.part("the control socket", control.serve(operations.clone(), supervisor.stop()));
        crate::browse::sweep(operations.home(), std::time::SystemTime::now());
        supervisor.helper(recover(operations.clone()));
        supervisor.helper(guarding);
        let (keeper, stop) = (operations.clone(), supervisor.stop());
        supervisor.part("the schedule of top-ups", async move {
            keeper.keep_schedule(&stop).await;
            Ok::<_, AppError>(())
        });
        Ok(Self { supervisor, operations, base_url, api_key, tor, _lock: lock })
    }

    /// What clients are pointed at: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// What clients authenticate with.
    pub fn api_key(&self) -> &Secret<String> {
        &self.api_key
    }

    /// The Tor client built in, where it is the way out.
    pub fn tor(&self) -> Option<&Tor> {
        self.tor.as_ref()
    }

    /// What can be done with the home while this runs.
    pub fn operations(&self) -> &Arc<Operations> {
        &self.operations
    }

    /// Cancelled when the daemon is stopping.
    pub fn stopping(&self) -> CancellationToken {
        self.supervisor.stop()
    }

    /// Another part, whose end is the daemon's.
    pub fn part<E: std::fmt::Display>(
        &mut self,
        name: &'static str,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.supervisor.part(name, future);
    }

    /// Runs until a signal comes or a part ends, then stops all and closes the vault.
    pub async fn run(self, signals: &mut impl Signals) -> Result<Ended, AppError> {
        let ended = self.supervisor.run(signals).await;
        if let Some(operations) = Arc::into_inner(self.operations) {
            operations.close().await?;
        } else {
            // Cannot be while every part has ended; the vault recovers from a missing close anyway.
            tracing::warn!("the vault was left open");
        }
        Ok(ended)
    }
}

fn faces(config: &Config) -> Faces {
    let presence = |enabled| if enabled { Presence::On } else { Presence::Off };
    Faces { ollama: presence(config.ollama.enabled), anthropic: presence(config.anthropic.enabled) }
}

/// What the operations need of the daemon. Weak where the endpoint owns: they outlive it.
fn running(
    base_url: String,
    name: &'static str,
    transport: &Arc<dyn Transport>,
    tor: Option<&Tor>,
) -> RunningDaemon {
    let [warm, dropped, examined] = [(); 3].map(|()| Arc::downgrade(transport));
    let client = tor.cloned();
    let tor = tor.map(Tor::changes);
    RunningDaemon {
        report: Box::new(move || DaemonReport {
            pid: std::process::id(),
            base_url: base_url.clone(),
            transport: name.to_owned(),
            tor: tor.as_ref().map(|status| super::tor::report(&status.borrow())),
            warm: warm.upgrade().map_or(0, |transport| transport.warm()),
        }),
        new_identity: Box::new(move || {
            let transport = dropped.upgrade();
            let dropped = transport.as_ref().map_or(0, |transport| transport.warm());
            if let Some(transport) = transport {
                transport.new_identity();
            }
            NewIdentityReport { dropped }
        }),
        way_out: Box::new(move || {
            let transport = examined.upgrade()?;
            Some(WayOut { transport, tor: client.clone(), name, pictures: None })
        }),
    }
}

/// How much fits into one call, in tokens of four bytes: the backend's limit is far below any model's window, and clients
/// that are told the window learn of the limit only by being refused.
pub fn context_length(config: &Config) -> Option<u32> {
    u32::try_from(config.backend.body_limit / 4).ok()
}

fn limits(config: &Config) -> http::Limits {
    http::Limits {
        body_bytes: config.server.body_limit,
        // In base64 it fits into one call, if there is little else.
        picture_bytes: config.backend.body_limit / 4 * 3,
        ..http::Limits::default()
    }
}

fn conduct(config: &Config) -> http::Conduct {
    let images = if config.images.fetch_over_tor { Images::Fetched } else { Images::InlineOnly };
    http::Conduct {
        rules: Rules { most_choices: config.api.most_choices, images },
        strictness: if config.strict { http::Strictness::Refusing } else { http::Strictness::Reporting },
        second_try: if config.api.second_try { http::SecondTry::Once } else { http::SecondTry::Never },
    }
}

fn watcher(
    redeemer: &Arc<Redeemer>,
    catalog: &Catalog,
    started: Timestamp,
    context: Option<u32>,
) -> Box<dyn Fn(&crate::keys::Keyring) + Send + Sync> {
    // Weak: the redeemer belongs to the endpoint, and the operations outlive it.
    let (redeemer, catalog) = (Arc::downgrade(redeemer), catalog.clone());
    Box::new(move |keyring| {
        catalog.replace(Catalog::listings(keyring, started, context));
        if let Some(redeemer) = redeemer.upgrade() {
            redemption::follow(&redeemer, keyring);
        }
    })
}

/// Has everything follow the gate. What is under way has a moment to end first.
async fn guard(
    operations: Arc<Operations>,
    redeemer: Arc<Redeemer>,
    transport: Arc<dyn Transport>,
    tor: Option<Tor>,
) {
    let mut changes = operations.gate().changes();
    loop {
        let passage = *changes.borrow_and_update();
        if passage == Passage::Open
            && let Some(tor) = &tor
        {
            tor.rise().await;
        }
        transport.follow(passage);
        let rest = async {
            if let (Passage::Paused, Some(tor)) = (passage, &tor) {
                let _ = tokio::time::timeout(PAUSE_GRACE, redeemer.quiet()).await;
                let _quiet = operations.quiet().await;
                tor.rest().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            told = changes.changed() => if told.is_err() { return },
            () = rest => {}
        }
    }
}

/// In the background: the backend may be slow or away, and nobody waits for this.
async fn recover(operations: Arc<Operations>) {
    match operations.recover().await {
        Ok(Some(recovered)) => super::operations::tell(&recovered),
        Ok(None) => {}
        Err(error) => tracing::info!(%error, "issuances begun earlier wait for the next mint"),
    }
}
