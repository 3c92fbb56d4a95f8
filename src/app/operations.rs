//! What can be done with a home. One implementation, run by a command that holds the home's lock or by the
//! daemon that does.
//!
//! Invariants: one operation of the identity plane at a time; a session is kept only after the backend has
//! recognised it; keys are pinned all or none. Dropping an operation's future leaves nothing half done that the next one
//! does not finish.

mod account;
pub(in crate::app) mod backup;
mod keyring;
mod page;
mod passage;
mod purchase;
mod supply;
mod tokens;
mod watch;

use std::collections::BTreeMap;
use std::sync::{OnceLock, PoisonError, RwLock};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::blind::PublicKey;
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::control::message::{
    AbuseReport, DaemonReport, MintReport, NewIdentityReport, Readiness, StatusReport,
};
use crate::control::{Operation, Perform, Progress, ProgressSender, Refusal, Report};
use crate::datadir::{Home, HomeLock};
use crate::identity::{
    AbuseSetup, IdentityError, MintOrder, Minted, Obtained, Recovered, Schedule, SessionFile,
};
use crate::keys::{self, Keyring};
use crate::passage::{Gate, Passage};
use crate::tor::Tor;
use crate::vault::{Census, Deposits, Provenance, Stock, Vault, Withdrawals};
use crate::wire::ModelName;
use crate::wire::redemption::Epoch;

pub(super) use supply::unknown;

use super::identity::{IdentityWay, Unready};
use super::redemption::{WayOut, pinned};
use super::{AppError, SESSION, doctor};

/// Told whenever other keys are pinned.
type KeysWatcher = Box<dyn Fn(&Keyring) + Send + Sync>;

/// The daemon that the operations are part of, as far as they need it.
pub(super) struct RunningDaemon {
    /// For `status`.
    pub(super) report: Box<dyn Fn() -> DaemonReport + Send + Sync>,
    /// For `tor new-identity`.
    pub(super) new_identity: Box<dyn Fn() -> NewIdentityReport + Send + Sync>,
    /// For `doctor`; `None` while the daemon ends.
    pub(super) way_out: Box<dyn Fn() -> Option<WayOut> + Send + Sync>,
}

/// An open home and what can be done with it.
pub struct Operations {
    home: Home,
    config: Config,
    vault: Vault,
    deposits: Deposits,
    census: Census,
    session_file: SessionFile,
    way: IdentityWay,
    schedule: Schedule,
    keyring: RwLock<Keyring>,
    clock: SharedClock,
    gate: Gate,
    /// Two sagas at once would resume each other's requests.
    turn: Mutex<()>,
    /// The same for abuse tokens, which wait for no mint. Whoever needs both takes this one second.
    abuse_turn: Mutex<()>,
    /// Held by those who only ask, so that it is known when nobody does.
    looks: tokio::sync::RwLock<()>,
    /// Set once, by the daemon.
    daemon: RwLock<Option<RunningDaemon>>,
    watcher: RwLock<Option<KeysWatcher>>,
    /// Set once, by a daemon that has a page.
    page_links: OnceLock<page::PageLinks>,
}

impl Operations {
    /// Opens vault, session and keys of a home whose lock is held.
    pub async fn open(home: &Home, _lock: &HomeLock, config: &Config) -> Result<Self, AppError> {
        let clock = SystemClock::shared();
        let opening = (home.clone(), config.vault.key_store, clock.clone());
        // The keyring may ask somebody, and the disk may be slow.
        let (vault, session_key, keyring) = tokio::task::spawn_blocking(move || {
            let (home, store, clock) = opening;
            let master = home.master_key(store)?;
            let (vault, found) = Vault::open(&home.vault_path(), backup::vault_keys(&master), clock)?;
            tracing::info!(?found, "vault opened");
            match found.provenance {
                Provenance::Same => {}
                Provenance::PutBack => tracing::warn!(
                    "vault.db is older than what was here last, or lost the end of its log: tokens in it may have been spent \
                     since, so all of them rest for fifteen minutes and count as maybe spent"
                ),
                Provenance::Copied => tracing::warn!(
                    "vault.db is a copy, or was moved to another disk: it is paused, because the original may go on; \
                     `llmtor restore --take-over` when no other machine or copy uses its tokens any more"
                ),
            }
            Ok::<_, AppError>((vault, master.derive(SESSION), keys::store::load(&home)?))
        })
        .await
        .map_err(|_| AppError::Internal)??;
        let gate = Gate::new(home.passage()).with_note(home.paused_path());
        Ok(Self {
            home: home.clone(),
            config: config.clone(),
            schedule: supply::schedule(config, vault.deposits(), clock.clone()),
            deposits: vault.deposits(),
            census: vault.census(),
            vault,
            session_file: SessionFile::new(home.clone(), session_key),
            way: IdentityWay::new(home, config, clock.clone(), gate.clone()),
            keyring: RwLock::new(keyring),
            clock,
            gate,
            turn: Mutex::new(()),
            abuse_turn: Mutex::new(()),
            looks: tokio::sync::RwLock::default(),
            daemon: RwLock::new(None),
            watcher: RwLock::new(None),
            page_links: OnceLock::new(),
        })
    }

    /// Closes the vault.
    pub async fn close(self) -> Result<(), AppError> {
        self.way.close().await;
        Ok(self.vault.close().await?)
    }

    /// The anonymous plane's capability.
    pub(super) fn withdrawals(&self) -> Withdrawals {
        self.vault.withdrawals()
    }

    /// The pinned keys now.
    pub fn keyring(&self) -> Keyring {
        self.keyring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The running daemon's way out; `None` without a daemon.
    pub(super) fn way_out(&self) -> Option<WayOut> {
        let daemon = self.daemon.read().unwrap_or_else(PoisonError::into_inner);
        daemon.as_ref().and_then(|daemon| (daemon.way_out)())
    }

    /// The identity plane's way out.
    pub(super) fn identity_way(&self) -> &IdentityWay {
        &self.way
    }

    /// Whether a session is kept and can be read.
    pub(super) fn holds_session(&self) -> Result<bool, AppError> {
        Ok(self.session_file.load()?.is_some())
    }

    fn is_daemon(&self) -> bool {
        self.daemon.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    /// The daemon that this is part of.
    pub(super) fn announce(&self, daemon: RunningDaemon) {
        *self.daemon.write().unwrap_or_else(PoisonError::into_inner) = Some(daemon);
    }

    /// The identity plane goes through the daemon's client, if it goes through Tor.
    pub(super) fn adopt_tor(&self, tor: &Tor) {
        self.way.adopt(tor);
    }

    /// Has `watcher` told of every change of the pinned keys.
    pub(super) fn watch_keys(&self, watcher: KeysWatcher) {
        *self.watcher.write().unwrap_or_else(PoisonError::into_inner) = Some(watcher);
    }

    /// Finishes issuances that an earlier run left behind. Without a session or a backend there is nothing to do it with.
    pub(super) async fn recover(&self) -> Result<Option<Recovered>, AppError> {
        let _turn = self.turn.lock().await;
        match self.identity(Unready::Fails).await {
            Ok(identity) => {
                let recovered = identity.recover().await;
                let stopped = recovered.as_ref().map_or_else(Some, |recovered| recovered.stopped.as_ref());
                if matches!(stopped, Some(IdentityError::SessionExpired)) {
                    self.session_refused().await;
                }
                Ok(Some(recovered?))
            }
            Err(AppError::NoBackend | AppError::Identity(IdentityError::NotSignedIn)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Counts by model, under the pinned keys; models with one are always there.
    pub(super) async fn stock(&self) -> Result<BTreeMap<ModelName, Stock>, AppError> {
        let pinned = pinned(&self.keyring());
        let mut stock = self.census.stock_under(pinned.clone()).await?;
        for model in pinned.into_keys() {
            stock.entry(model).or_default();
        }
        Ok(stock)
    }

    /// Credits left by model, as the backend counts them.
    pub(super) async fn credits(&self) -> Result<BTreeMap<String, i64>, AppError> {
        let _look = self.looks.read().await;
        Ok(self.identity(Unready::Fails).await?.account().await?.active)
    }

    async fn dispatch(&self, operation: Operation, progress: ProgressSender) -> Result<Report, AppError> {
        let waits = matches!(operation, Operation::Mint { .. } | Operation::Login { .. } | Operation::Logout);
        if waits && self.turn.try_lock().is_err() {
            let waiting_for = "a mint that is under way".to_owned();
            progress.send_replace(Some(Progress::Waiting { waiting_for }));
        }
        match operation {
            Operation::Tokens => self.tokens().await.map(Report::Tokens),
            Operation::Explain { id } => self.explain(&id).await.map(Report::Explain),
            Operation::Losses => self.losses().await.map(Report::Losses),
            Operation::ForgetLosses => self.forget_losses().await.map(Report::Losses),
            Operation::Status => self.status().await.map(Report::Status),
            Operation::Watch { last } => self.watch(last.as_deref()).await.map(Report::Status),
            Operation::Mint { model, count, readiness } => {
                self.mint(model, count, readiness, &progress).await.map(Report::Mint)
            }
            Operation::Account => self.account().await.map(Report::Account),
            Operation::Offers => self.offers().await.map(Report::Offers),
            Operation::Checkout { package, redirect } => {
                self.checkout(&package, redirect.as_deref()).await.map(Report::Checkout)
            }
            Operation::Voucher { code } => self.redeem_voucher(&code).await.map(Report::Voucher),
            Operation::AbuseSetup => self.abuse_setup().await.map(Report::AbuseSetup),
            Operation::AbuseStatus => self.abuse_status().await.map(Report::AbuseStatus),
            Operation::AbuseRotate => self.abuse_rotate().await.map(Report::AbuseRotate),
            Operation::AbuseRotateLater => self.abuse_rotate_later().await.map(Report::AbuseRotateLater),
            Operation::AbuseBackup(order) => self.abuse_backup(order).await.map(Report::AbuseBackup),
            Operation::AbuseRestore(order) => self.abuse_restore(order).await.map(Report::AbuseRestore),
            Operation::Backup(order) => self.backup(order).await.map(Report::Backup),
            Operation::TakeOver { sentence } => self.take_over(&sentence).await.map(Report::TakeOver),
            Operation::Login { session, other } => self.login(&session.0, other).await.map(Report::Login),
            Operation::Logout => self.logout().await.map(Report::Logout),
            Operation::KeysImport { files, changed } => self.import(&files, changed).map(Report::KeysImport),
            Operation::KeysList => Ok(Report::KeysList(self.keys())),
            Operation::NewIdentity => {
                let daemon = self.daemon.read().unwrap_or_else(PoisonError::into_inner);
                let daemon = daemon.as_ref().ok_or(AppError::NoDaemon)?;
                self.way.new_identity();
                Ok(Report::NewIdentity((daemon.new_identity)()))
            }
            Operation::OpenPage => self.open_page().map(Report::Page),
            Operation::Pause => self.set_passage(Passage::Paused).map(Report::Passage),
            Operation::Resume => self.set_passage(Passage::Open).map(Report::Passage),
            Operation::Doctor => Ok(Report::Doctor(doctor::examine(self, &progress).await)),
        }
    }

    pub(super) async fn status(&self) -> Result<StatusReport, AppError> {
        let url = |url: Option<&url::Url>| url.map(ToString::to_string);
        let daemon = {
            let daemon = self.daemon.read().unwrap_or_else(PoisonError::into_inner);
            daemon.as_ref().map(|daemon| (daemon.report)())
        };
        let (custody, resting_until) = self.standing().await?;
        Ok(StatusReport {
            room: super::room::of(&self.home),
            daemon,
            home: self.home.root().to_owned(),
            identity_url: url(self.config.backend.identity_url()),
            anonymous_url: url(self.config.backend.anonymous_url()),
            passage: self.gate.passage(),
            logged_in: self.home.session_path().exists(),
            session: self.session_state().await?,
            custody,
            resting_until,
            models: self.stock().await?,
            supply: self.supply().await?,
            abuse: self.abuse().await?,
            credits_lost: self.credits_lost().await?,
        })
    }

    async fn mint(
        &self,
        model: ModelName,
        count: u32,
        readiness: Readiness,
        progress: &ProgressSender,
    ) -> Result<MintReport, AppError> {
        let _turn = self.turn.lock().await;
        let identity = self.identity(Unready::Fails).await?;
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let readiness = match readiness {
            Readiness::Now => crate::vault::Readiness::Now,
            Readiness::Delayed => crate::vault::Readiness::Delayed,
        };
        let order = MintOrder { model: model.clone(), count: count as usize, readiness };
        let tell = |latest: crate::identity::MintProgress| {
            let (done, total) = (narrow(latest.done), narrow(latest.total));
            progress.send_replace(Some(Progress::Minted { done, total }));
        };
        // Who asked may go away, which drops this; a pause lets what is in flight end.
        let never = CancellationToken::new();
        let minted =
            self.until_paused(&never, |stop| async move { identity.mint_until(order, &tell, &stop).await });
        let Minted { made, pending, recovered, stopped } = minted.await?;
        let is_cut = stopped.is_none() && made < count as usize;
        if let Some(error) = stopped.map(AppError::from).or_else(|| is_cut.then_some(AppError::Paused)) {
            if matches!(error, AppError::Identity(IdentityError::SessionExpired)) {
                self.session_refused().await;
            }
            let mut refusal = error.refusal();
            let begun = match made {
                0 => "",
                made if made == count as usize => "all were minted, but of one begun earlier: ",
                _ => &format!("minted {made} of {count}, then: "),
            };
            refusal.message = format!("{begun}{}", refusal.message);
            for note in notes(&recovered) {
                refusal.message.push_str("\nnote: ");
                refusal.message.push_str(&note);
            }
            if pending > 0 && refusal.advice.is_none() {
                refusal.advice = Some(format!(
                    "{pending} begun are kept; mint again within five minutes, which finishes them first (a running daemon does by \
                     itself): afterwards the backend forgets its answers, and credits that it took for them are lost"
                ));
            }
            return Err(refusal.into());
        }
        supply::noted(self.schedule.minted_by_hand(&model).await);
        let stock = self.stock().await?.remove(&model).unwrap_or_default();
        Ok(MintReport {
            model,
            minted: narrow(made),
            resumed: narrow(recovered.made),
            available: stock.available,
            maturing: stock.maturing,
            usable: self.usable(readiness),
            notes: notes(&recovered),
        })
    }

    async fn abuse_setup(&self) -> Result<AbuseReport, AppError> {
        let _turn = self.abuse_turn.lock().await;
        let identity = self.identity(Unready::Fails).await?;
        let AbuseSetup { permanent, transient, epoch: _ } = identity.abuse_setup().await?;
        let mut report = self.abuse().await?;
        report.obtained = [("permanent", permanent), ("transient", transient)]
            .into_iter()
            .filter(|(_, obtained)| *obtained != Obtained::Held)
            .map(|(name, _)| name.to_owned())
            .collect();
        Ok(report)
    }

    pub(super) async fn abuse(&self) -> Result<AbuseReport, AppError> {
        let held = self.census.abuse().await?;
        let keyring = self.keyring();
        // A token that another key signed than the pinned one is no token to the backend.
        let is_signed = |by, pinned: Option<&PublicKey>| pinned.is_none_or(|key| key.fingerprint() == by);
        let permanent = held.permanent.filter(|by| is_signed(*by, keyring.abuse_permanent()));
        let transient = held.transient.filter(|held| is_signed(held.key, keyring.abuse_transient()));
        let this = Epoch::at(self.clock.now().unix());
        let is_old = permanent.is_some() && transient.is_none_or(|held| held.epoch < this);
        Ok(AbuseReport {
            required: keyring.abuse_permanent().is_some() && keyring.abuse_transient().is_some(),
            permanent: permanent.is_some(),
            comes_before: if is_old { self.abuse_comes_before().await? } else { None },
            transient: transient.map(|held| month(held.epoch)),
            obtained: Vec::new(),
        })
    }
}

impl Perform for Operations {
    async fn perform(&self, operation: Operation, progress: ProgressSender) -> Result<Report, Refusal> {
        // A login's session is not the one that is kept.
        let is_login = matches!(operation, Operation::Login { .. });
        let result = self.dispatch(operation, progress).await;
        if let Err(AppError::Identity(IdentityError::SessionExpired)) = &result
            && !is_login
        {
            self.session_refused().await;
        }
        result.map_err(AppError::refusal)
    }
}

/// `YYYY-MM`. An epoch is year × 12 + month (1 to 12), so December belongs to the quotient before.
pub(super) fn month(epoch: Epoch) -> String {
    let months = epoch.number().saturating_sub(1);
    format!("{:04}-{:02}", months / 12, months % 12 + 1)
}

/// What the user should know of issuances that were found unfinished.
fn notes(recovered: &Recovered) -> Vec<String> {
    let Recovered { made: _, pending, refused, lost, unclear, stranded, alarms, stopped: _ } = recovered;
    let told = [
        (*pending, "begun earlier are still waiting for their signature; the next mint asks again"),
        (*refused, "begun earlier came to nothing; no credit was taken"),
        (
            *lost,
            "begun earlier are lost: their credit was taken, but the backend no longer repeats the signature",
        ),
        (*unclear, "begun earlier were given up: whether their credit was taken cannot be told"),
        (
            *stranded,
            "begun earlier wait for a key that is no longer pinned; while they are younger than five minutes, importing it again finishes \
             them, and afterwards the account tells whether their credits are lost",
        ),
    ];
    let counts =
        told.into_iter().filter(|(count, _)| *count > 0).map(|(count, text)| format!("{count} {text}"));
    counts.chain(alarms.iter().map(ToString::to_string)).collect()
}

/// Says it in the log, where nobody waits for a report.
pub(super) fn tell(recovered: &Recovered) {
    for note in notes(recovered) {
        tracing::warn!("{note}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_shown_as_its_month() {
        assert_eq!(month(Epoch::at(1_764_547_200)), "2025-12");
        assert_eq!(month(Epoch::at(1_767_225_600)), "2026-01");
    }
}
