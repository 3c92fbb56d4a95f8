//! The identity plane's way out, as configured: direct, or through a Tor client, on circuits apart from every other's.
//!
//! The daemon's Tor client is used where there is one; else one is started the first time it is needed (by a command,
//! for itself). Two clients in one home would share its state directory, so there is never a second.
//!
//! Invariant: while llmtor is paused no way is given to anybody, and no client is started. Whoever was given one before asks the
//! gate again with each request ([`crate::identity::dial`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::SharedClock;
use crate::config::{Config, IdentityTransport};
use crate::datadir::Home;
use crate::identity::record::{RequestLog, Witness};
use crate::identity::{Deadlines, IdentityUrl, Route, TorRoute};
use crate::passage::{Gate, Passage};
use crate::tor::{Status, Tor};

use super::{AppError, tor};

/// The way out of the identity plane. There is none behind it.
pub(super) struct IdentityWay {
    home: Home,
    config: Config,
    clock: SharedClock,
    gate: Gate,
    tor: Mutex<Option<TorRoute>>,
    log: Arc<RequestLog>,
}

/// What is done while Tor is not ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unready {
    /// Nothing is begun.
    Fails,
    /// The operation goes on; what it cannot say to the backend it does not.
    GoesOn,
}

impl IdentityWay {
    pub(super) fn new(home: &Home, config: &Config, clock: SharedClock, gate: Gate) -> Self {
        let log = RequestLog::new(clock.clone());
        Self { home: home.clone(), config: config.clone(), clock, gate, tor: Mutex::new(None), log }
    }

    /// Sees what goes this way.
    pub(super) fn witness(&self) -> Arc<dyn Witness> {
        Arc::clone(&self.log) as Arc<dyn Witness>
    }

    /// What went this way.
    #[cfg(feature = "desktop")]
    pub(super) fn log(&self) -> Arc<RequestLog> {
        Arc::clone(&self.log)
    }

    /// Refuses while nothing may leave.
    pub(super) fn passable(&self) -> Result<(), AppError> {
        match self.gate.passage() {
            Passage::Open => Ok(()),
            Passage::Paused => Err(AppError::Paused),
        }
    }

    /// Whether it goes through Tor, and how far the client is then; one is started if there is none.
    pub(super) async fn tor_status(&self) -> Result<Option<Result<(), Status>>, AppError> {
        self.passable()?;
        match self.config.identity.transport {
            IdentityTransport::Direct => Ok(None),
            IdentityTransport::Tor => Ok(Some(self.tor()?.tor().ready(self.patience()).await)),
        }
    }

    /// Uses the daemon's client.
    pub(super) fn adopt(&self, tor: &Tor) {
        *self.kept() = Some(TorRoute::new(tor));
    }

    /// Nothing more is asked on it, nor of the daemon's client if that was adopted: every part has ended.
    pub(super) async fn close(&self) {
        let route = self.kept().take();
        if let Some(route) = route {
            route.tor().close().await;
        }
    }

    /// No later request shares a circuit with an earlier one.
    pub(super) fn new_identity(&self) {
        let mut kept = self.kept();
        *kept = kept.as_ref().map(TorRoute::renewed);
    }

    /// The route to `url`, once it can be gone, and how patient to be on it.
    pub(super) async fn route(
        &self,
        url: &IdentityUrl,
        unready: Unready,
    ) -> Result<(Route, Deadlines), AppError> {
        self.passable()?;
        match self.config.identity.transport {
            IdentityTransport::Direct => Ok((Route::Direct, Deadlines::default())),
            IdentityTransport::Tor => {
                url.check_tor()?;
                let route = self.tor()?;
                let ready = route.tor().ready(self.patience()).await;
                // That may have taken a while.
                self.passable()?;
                let deadlines = match (ready, unready) {
                    (Ok(()), _) => Deadlines::over_tor(),
                    (Err(status), Unready::Fails) => return Err(AppError::TorNotReady(status)),
                    // It was waited for already.
                    (Err(_), Unready::GoesOn) => {
                        Deadlines { connect: Duration::from_secs(1), ..Deadlines::over_tor() }
                    }
                };
                Ok((Route::Tor(route), deadlines))
            }
        }
    }

    /// The client, started if there is none.
    fn tor(&self) -> Result<TorRoute, AppError> {
        let mut kept = self.kept();
        if let Some(route) = kept.as_ref() {
            return Ok(route.clone());
        }
        let route =
            TorRoute::new(&Tor::launch(&tor::settings(&self.home, &self.config)?, self.clock.clone())?);
        *kept = Some(route.clone());
        Ok(route)
    }

    fn patience(&self) -> Duration {
        self.config.tor.bootstrap()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<TorRoute>> {
        self.tor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
