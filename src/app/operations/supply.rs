//! The identity plane's schedule, as part of a home: what it may have done, and what is told of it.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::clock::{SharedClock, Timestamp};
use crate::config::{Config, PrivacyChoice};
use crate::control::message::{NextTopUp, SupplyLevel, SupplyReport, Usable};
use crate::identity::schedule::outlook::{Level, Next, Outlook};
use crate::identity::schedule::plan::{Plans, Stocking};
use crate::identity::schedule::policy::Privacy;
use crate::identity::{
    Activity, ErrorKind, IdentityError, MintOrder, Minted, Obstacle, Office, Readiness, Schedule,
    ScheduleParts,
};
use crate::keys::Keyring;
use crate::vault::{Custody, Deposits, VaultError};
use crate::wire::ModelName;

use super::{AppError, Operations, Unready};

/// Models of `topup.models` that no key is pinned for: a slip, most likely. Nothing, while nothing is pinned.
pub(in crate::app) fn unknown(config: &Config, keyring: &Keyring) -> Vec<ModelName> {
    let is_known = |model: &ModelName| keyring.is_empty() || keyring.model(model).is_some();
    config.topup.models.keys().filter(|model| !is_known(model)).cloned().collect()
}

/// The schedule as configured.
pub(super) fn schedule(config: &Config, deposits: Deposits, clock: SharedClock) -> Schedule {
    let privacy = match config.privacy {
        PrivacyChoice::Frugal => Privacy::Frugal,
        PrivacyChoice::Balanced => Privacy::Balanced,
        PrivacyChoice::Strong => Privacy::Strong,
    };
    let own = config.topup.models.iter();
    let own =
        own.map(|(model, stock)| (model.clone(), Stocking { target: stock.target, batch: stock.batch }));
    Schedule::new(ScheduleParts {
        activity: if config.topup.enabled { Activity::On } else { Activity::Off },
        plans: Plans::new(privacy, own.collect()),
        warn_days: config.topup.warn_days,
        deposits,
        clock,
    })
}

impl Operations {
    /// Keeps the schedule until `stop` is cancelled.
    pub(in crate::app) async fn keep_schedule(&self, stop: &CancellationToken) {
        for model in unknown(&self.config, &Self::keyring(self)) {
            tracing::warn!(%model, "`topup.models` names a model that no key is pinned for; it does nothing");
        }
        self.schedule.run(self, stop).await;
    }

    /// How long each stock lasts, and what happens next by itself.
    pub(super) async fn supply(&self) -> Result<BTreeMap<ModelName, SupplyReport>, AppError> {
        let outlook = self.schedule.outlook(self).await?;
        let is_running = self.is_daemon();
        let is_paused = self.custody().await? != Custody::Ours;
        let is_shut = self.passable().is_err();
        let told = |outlook| match report(outlook, is_running) {
            report if is_shut => SupplyReport { next: NextTopUp::Resume, ..report },
            report if is_paused => SupplyReport { next: NextTopUp::Paused, ..report },
            report => report,
        };
        Ok(outlook.into_iter().map(|(model, outlook)| (model, told(outlook))).collect())
    }

    /// By when this month's abuse token is here, if it is not and comes by itself.
    pub(super) async fn abuse_comes_before(&self) -> Result<Option<String>, AppError> {
        if !self.is_daemon() {
            return Ok(None);
        }
        Ok(self.schedule.abuse_due().await?.and_then(minute_after))
    }

    /// A paused vault asks nobody for anything: its account is another vault's business.
    async fn not_paused(&self) -> Result<(), Obstacle> {
        let paused = match self.custody().await.map_err(|error| obstacle(&error))? {
            Custody::Ours => return Ok(()),
            Custody::Restored => VaultError::NotTakenOver,
            Custody::Retired => VaultError::Retired,
        };
        Err(obstacle(&paused.into()))
    }

    /// From when on tokens may be used that are minted with a delay, or without.
    pub(super) fn usable(&self, readiness: Readiness) -> Usable {
        match readiness {
            Readiness::Now => Usable::Now,
            Readiness::Delayed => Usable::Later { mean_minutes: self.config.identity.delay().as_secs() / 60 },
        }
    }
}

impl Office for Operations {
    fn is_open(&self) -> bool {
        // When it may again, that is like a sign-in: what was missed is drawn anew.
        self.passable().is_ok()
            && self.config.backend.identity_url().is_some()
            && self.home.session_path().exists()
    }

    fn keyring(&self) -> Keyring {
        Self::keyring(self)
    }

    async fn credits(&self) -> Result<BTreeMap<String, i64>, Obstacle> {
        self.not_paused().await?;
        Self::credits(self).await.map_err(|error| obstacle(&error))
    }

    async fn mint(
        &self,
        model: &ModelName,
        count: u32,
        stop: &CancellationToken,
    ) -> Result<Minted, Obstacle> {
        let _turn = self.turn.lock().await;
        let identity = self.identity(Unready::Fails).await.map_err(|error| obstacle(&error))?;
        let order = MintOrder { model: model.clone(), count: count as usize, readiness: Readiness::Delayed };
        let minted =
            self.until_paused(stop, |stop| async move { identity.mint_until(order, &|_| (), &stop).await });
        let minted = minted.await.map_err(|error| Obstacle::from(&error))?;
        super::tell(&minted.recovered);
        Ok(minted)
    }

    async fn recover(&self) -> Result<(), Obstacle> {
        let recovered = Self::recover(self).await.map_err(|error| obstacle(&error))?.unwrap_or_default();
        super::tell(&recovered);
        Ok(())
    }

    async fn rotate_abuse(&self) -> Result<(), Obstacle> {
        self.not_paused().await?;
        let _turn = self.abuse_turn.lock().await;
        let identity = self.identity(Unready::Fails).await.map_err(|error| obstacle(&error))?;
        identity.abuse_rotate().await.map(drop).map_err(|error| Obstacle::from(&error))
    }

    async fn renew_abuse(&self) -> Result<(), Obstacle> {
        self.not_paused().await?;
        let _turn = self.abuse_turn.lock().await;
        let identity = self.identity(Unready::Fails).await.map_err(|error| obstacle(&error))?;
        identity.abuse_setup().await.map(drop).map_err(|error| Obstacle::from(&error))
    }
}

/// What was asked for is done; that the agenda does not know of it costs a look at most.
pub(super) fn noted(kept: Result<(), IdentityError>) {
    if let Err(error) = kept {
        tracing::warn!(%error, "the agenda of top-ups could not be kept");
    }
}

fn obstacle(error: &AppError) -> Obstacle {
    let kind = match error {
        AppError::Identity(error) => error.kind(),
        AppError::NoBackend => ErrorKind::Configuration,
        AppError::Vault(_) | AppError::Home(_) => ErrorKind::Storage,
        _ => ErrorKind::Transient,
    };
    Obstacle { kind, message: error.to_string() }
}

fn report(Outlook { level, days, next }: Outlook, is_running: bool) -> SupplyReport {
    let level = match level {
        Level::Ample => SupplyLevel::Ample,
        Level::Low => SupplyLevel::Low,
        Level::Empty => SupplyLevel::Empty,
    };
    let before = day_after;
    let next = match next {
        Next::Off => NextTopUp::Off,
        Next::SignIn => NextTopUp::SignIn,
        Next::Stopped => NextTopUp::Stopped,
        Next::NoCredit(due) => NextTopUp::NoCredit { before: due.filter(|_| is_running).map(before) },
        Next::Look(_) | Next::Refused(_) | Next::Unplanned if !is_running => NextTopUp::NotRunning,
        Next::Look(due) => NextTopUp::Look { before: before(due) },
        Next::Refused(due) => NextTopUp::Refused { before: before(due) },
        Next::Unplanned => NextTopUp::Unplanned,
    };
    SupplyReport { level, days, next }
}

/// `YYYY-MM-DD` of the day after.
fn day_after(due: Timestamp) -> String {
    let day = time::OffsetDateTime::from_unix_timestamp(due.plus_seconds(86_400).unix());
    day.map_or_else(|_| "a far day".to_owned(), |day| day.date().to_string())
}

/// RFC 3339 of the next whole minute.
fn minute_after(due: Timestamp) -> Option<String> {
    let whole = due.plus_seconds(60 - due.unix().rem_euclid(60));
    let at = time::OffsetDateTime::from_unix_timestamp(whole.unix()).ok()?;
    at.format(&time::format_description::well_known::Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_their_day_and_the_abuse_token_s_by_its_minute() {
        // 2026-11-30T23:59:59Z
        let due = Timestamp::from_unix(1_796_083_199);
        assert_eq!(day_after(due), "2026-12-01");
        assert_eq!(minute_after(due).as_deref(), Some("2026-12-01T00:00:00Z"));
    }

    #[test]
    fn a_model_that_is_mistyped_among_the_stocks_is_found_once_keys_are_pinned() {
        let mut layers = crate::config::Layers::defaults();
        let text = "[topup.models]\n\"gpt-4.1\" = { target = 5 }\n\"gtp-4.1\" = { batch = 5 }\n";
        layers.file(std::path::Path::new("config.toml"), text).unwrap();
        let config = layers.finish().unwrap();
        assert!(unknown(&config, &Keyring::default()).is_empty(), "nothing is known of any");
        let text = format!("# gpt-4.1\n{}", include_str!("../../../tests/vectors/rsa2048-a.pem"));
        let pinned = crate::keys::import::parse(&text).unwrap().keys;
        let found: Vec<_> = unknown(&config, &pinned).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["gtp-4.1"]);
    }

    #[test]
    fn without_a_daemon_nothing_happens_by_itself() {
        let outlook = |next| Outlook { level: Level::Ample, days: None, next };
        let due = Timestamp::from_unix(1_796_083_199);
        assert_eq!(report(outlook(Next::Look(due)), false).next, NextTopUp::NotRunning);
        let look = NextTopUp::Look { before: "2026-12-01".into() };
        assert_eq!(report(outlook(Next::Look(due)), true).next, look);
        assert_eq!(report(outlook(Next::SignIn), false).next, NextTopUp::SignIn);
        assert_eq!(
            report(outlook(Next::NoCredit(Some(due))), false).next,
            NextTopUp::NoCredit { before: None }
        );
        let before = Some("2026-12-01".into());
        assert_eq!(report(outlook(Next::NoCredit(Some(due))), true).next, NextTopUp::NoCredit { before });
    }
}
