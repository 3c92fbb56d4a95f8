//! The life of a client: started, watched, put to sleep, and begun anew when the network seems to have gone.
//!
//! Arti takes a guard that fails for down, and asks it again after pauses that grow without a bound: after hours offline,
//! a client would stay dead for hours more. A client begun anew knows the same guards (they are on disk) and tries
//! them at once; with a directory in the cache that takes milliseconds.
//!
//! | what is seen | what follows |
//! | --- | --- |
//! | a stream found no circuit in time | the client is in doubt; the next who asks for a stream begins it anew |
//! | the machine slept, or its clock was set | the same |
//! | no relay can be reached, while somebody waits for a stream | it is begun anew every few seconds of the waiting, so that a network that returns is used at once |
//! | nothing may leave ([`crate::passage`]) | the client is ended, and begun anew when something may |
//! | nobody asks for anything | nothing: a machine that is offline and idle stays quiet |
//!
//! Each client has an *epoch*. Its directories can be locked by one client at a time: the old one is let go by everybody
//! before a new one is made, and whatever it still does in the background is ended if it goes to rest, or never came to a
//! directory. Else streams that are open keep the circuits that they have.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arti_client::config::TorClientConfig;
use arti_client::status::{BlockageKind, BootstrapStatus};
use arti_client::{BootstrapBehavior, DormantMode, HasKind as _, TorClient};
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use tor_error::ErrorKind;

use super::dial::{self, Reach, Runtime};
use super::{Blockage, Phase, Settings, Stage, Status, TorError};
use crate::clock::{Jumps, SharedClock};

/// How long one bootstrap may take before it is begun anew.
const ATTEMPT: Duration = Duration::from_secs(120);
/// Between attempts.
const PAUSE: Duration = Duration::from_secs(2);
/// A client younger than this is not begun anew: it would not fare better.
const YOUNG: Duration = Duration::from_secs(4);
/// How often somebody who waits looks whether relays can be reached.
const LOOK: Duration = Duration::from_secs(1);
/// Where, in the state directory, Arti keeps the guards.
const GUARDS: &str = "state/guards.json";
/// How long the end of a client is waited for; then a new one begins all the same, and Arti waits for the directories'
/// locks by itself.
const LETTING_GO: Duration = Duration::from_secs(1);
const LETTING_GO_STEP: Duration = Duration::from_millis(5);
/// A stream that was opened this lately speaks against a doubt.
const TRUSTED: Duration = Duration::from_secs(30);

/// Ends with the last handle.
pub(super) struct Life {
    config: TorClientConfig,
    guards: PathBuf,
    clock: SharedClock,
    status: watch::Sender<Status>,
    epoch: watch::Sender<Epoch>,
    running: Mutex<Running>,
    /// One renewal at a time.
    renewal: tokio::sync::Mutex<()>,
    /// For the tasks, which must not keep it alive.
    own: Weak<Self>,
}

/// Counts the clients of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u64);

/// Whether a client is begun at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// It is.
    #[default]
    Now,
    /// Nothing may leave yet.
    AtRest,
}

/// A client, and which.
pub(super) struct Current {
    pub(super) client: Arc<TorClient<Runtime>>,
    pub(super) epoch: Epoch,
}

struct Running {
    /// `None` between two clients, and after one could not be made.
    client: Option<Arc<TorClient<Runtime>>>,
    epoch: Epoch,
    facts: Facts,
    since: Instant,
    opened: Option<Instant>,
    jumps: Jumps,
    tasks: Vec<AbortOnDropHandle<()>>,
    /// Dropped, has the client dial no relay any more.
    dials: Option<DropGuard>,
    /// Cancelled, ends all that the client does, its streams with it.
    work: CancellationToken,
    /// Whether there is to be a client: the last word of [`Life::rest`] and [`Life::rise`], whichever of them comes to act first.
    wanted: Start,
}

/// What is known of the client, from whoever knows it.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    /// Arti's word.
    event: Event,
    /// A bootstrap has ended well.
    bootstrapped: bool,
    /// Our dialler's word.
    reach: Reach,
    mode: Mode,
}

/// What Arti says of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Event {
    percent: u8,
    stage: Stage,
    blockage: Option<Blockage>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Awake,
    Dormant,
    Doubted,
    /// Until it is begun anew by whoever ended it.
    AtRest,
    /// For good.
    Closed,
}

impl Mode {
    /// Whether there is no client on purpose.
    fn is_ended(self) -> bool {
        matches!(self, Self::AtRest | Self::Closed)
    }
}

impl Facts {
    /// What follows from it all.
    fn status(self) -> Status {
        let offline = self.reach == Reach::Nobody;
        let phase = match self.mode {
            Mode::Closed => Phase::Blocked(Blockage::Unreachable),
            Mode::AtRest => Phase::AtRest,
            Mode::Doubted if offline => Phase::Blocked(Blockage::Offline),
            Mode::Doubted => Phase::Blocked(self.event.blockage.unwrap_or(Blockage::Unreachable)),
            Mode::Dormant if self.bootstrapped => Phase::Dormant,
            Mode::Awake | Mode::Dormant => match self.event.blockage {
                _ if self.bootstrapped => Phase::Ready,
                Some(blockage) => Phase::Blocked(blockage),
                None if offline => Phase::Blocked(Blockage::Offline),
                None => Phase::Bootstrapping(self.event.stage),
            },
        };
        let percent = if self.bootstrapped { 100 } else { self.event.percent };
        Status { percent, phase }
    }
}

impl Life {
    pub(super) fn launch(
        settings: &Settings,
        clock: SharedClock,
        start: Start,
    ) -> Result<Arc<Self>, TorError> {
        // Arti's feature installs none, and panics without one. An earlier one, by whomever, is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = settings.resolve()?;
        super::bridges::forget_moved(&settings.state.join(GUARDS), &settings.arti);
        let mode = match start {
            Start::Now => Mode::Awake,
            Start::AtRest => Mode::AtRest,
        };
        let facts = Facts { mode, ..Facts::default() };
        let (status, _) = watch::channel(facts.status());
        let first = Epoch(0);
        let running = Running {
            client: None,
            epoch: first,
            facts,
            since: Instant::now(),
            opened: None,
            jumps: Jumps::new(Instant::now(), clock.now()),
            tasks: Vec::new(),
            dials: None,
            work: CancellationToken::new(),
            wanted: start,
        };
        let life = Arc::new_cyclic(|own| Self {
            config,
            guards: settings.state.join(GUARDS),
            clock,
            status,
            epoch: watch::channel(first).0,
            running: Mutex::new(running),
            renewal: tokio::sync::Mutex::default(),
            own: own.clone(),
        });
        if start == Start::Now {
            life.begin(&mut life.lock())?;
        }
        Ok(life)
    }

    /// A client that knows only what is on disk. The one before must be gone.
    fn begin(&self, running: &mut Running) -> Result<(), TorError> {
        let (ended, work) = (CancellationToken::new(), CancellationToken::new());
        let (runtime, reach) = dial::runtime(ended.clone(), work.clone())
            .map_err(|error| TorError::Storage(error.to_string()))?;
        let client = TorClient::with_runtime(runtime)
            .config(self.config.clone())
            .bootstrap_behavior(BootstrapBehavior::Manual)
            .create_unbootstrapped()
            .map_err(|error| refused(&error))?;
        let (own, epoch) = (self.own.clone(), running.epoch);
        running.dials = Some(ended.drop_guard());
        running.work = work;
        running.tasks = vec![
            AbortOnDropHandle::new(tokio::spawn(follow(
                own.clone(),
                epoch,
                client.bootstrap_events(),
                reach,
            ))),
            AbortOnDropHandle::new(tokio::spawn(bootstrap(own, epoch, Arc::clone(&client)))),
        ];
        running.client = Some(client);
        running.since = Instant::now();
        Ok(())
    }

    /// Puts another client in the place of the one of `epoch`, unless that was done already. Goes on if the caller goes
    /// away.
    async fn renew(&self, epoch: Epoch) {
        if let Some(life) = self.own.upgrade() {
            // A panic in it would be Arti's; the next who asks tries again.
            let _ = tokio::spawn(async move { life.replace(epoch).await }).await;
        }
    }

    async fn replace(&self, epoch: Epoch) {
        let _turn = self.renewal.lock().await;
        {
            let running = self.lock();
            if running.epoch != epoch || running.facts.mode.is_ended() {
                return;
            }
        }
        tracing::info!("the Tor client is begun anew");
        self.end(Mode::Awake).await;
        if let Err(error) = self.begin(&mut self.lock()) {
            tracing::error!(%error, "the Tor client could not be begun anew");
        }
    }

    /// Ends the client, until [`Life::rise`]. Goes on if the caller goes away.
    pub(super) async fn rest(&self) {
        let Some(life) = self.own.upgrade() else { return };
        self.lock().wanted = Start::AtRest;
        let resting = tokio::spawn(async move {
            let _turn = life.renewal.lock().await;
            let is_due = {
                let running = life.lock();
                running.wanted == Start::AtRest && !running.facts.mode.is_ended()
            };
            if is_due {
                tracing::info!("the Tor client is put to rest");
                life.end(Mode::AtRest).await;
            }
        });
        let _ = resting.await;
    }

    /// Begins a client that was put to rest.
    pub(super) async fn rise(&self) {
        self.lock().wanted = Start::Now;
        let _turn = self.renewal.lock().await;
        let mut running = self.lock();
        if running.facts.mode != Mode::AtRest {
            return;
        }
        self.change(&mut running, |facts| facts.mode = Mode::Awake);
        if let Err(error) = self.begin(&mut running) {
            tracing::error!(%error, "the Tor client could not be begun anew");
        }
    }

    /// Ends the client for good; what it knows of its guards is then on disk.
    pub(super) async fn close(&self) {
        let _turn = self.renewal.lock().await;
        self.end(Mode::Closed).await;
    }

    /// Ends the client, and waits until all of it is gone. The caller has the turn.
    async fn end(&self, mode: Mode) {
        let (old, tasks) = {
            let mut running = self.lock();
            // One that never got as far has no stream to spare, and would hold the directories.
            let is_abandoned = mode.is_ended() || !running.facts.bootstrapped;
            running.epoch = Epoch(running.epoch.0 + 1);
            // Whoever waits on the old one lets go of it.
            self.epoch.send_replace(running.epoch);
            self.change(&mut running, |facts| *facts = Facts { mode, ..Facts::default() });
            drop(running.dials.take());
            if is_abandoned {
                running.work.cancel();
            }
            (running.client.take(), std::mem::take(&mut running.tasks))
        };
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        let Some(old) = old else { return };
        let written = || std::fs::metadata(&self.guards).and_then(|found| found.modified()).ok();
        let before = written();
        drop(old);
        // Circuits that are just being built keep the inner parts for a moment; the last to go writes the guards down.
        let begun = Instant::now();
        while written() == before && begun.elapsed() < LETTING_GO {
            tokio::time::sleep(LETTING_GO_STEP).await;
        }
    }

    /// Returns when another client stands in the place of the one of `epoch`; sees to that when no relay can be
    /// reached. Cancel-safe.
    pub(super) async fn replaced(&self, epoch: Epoch) {
        let mut epochs = self.epoch.subscribe();
        loop {
            if *epochs.borrow_and_update() != epoch {
                return;
            }
            if self.is_cut_off(epoch) {
                self.renew(epoch).await;
                return;
            }
            let _ = tokio::time::timeout(LOOK, epochs.changed()).await;
        }
    }

    fn is_cut_off(&self, epoch: Epoch) -> bool {
        let running = self.lock();
        running.epoch == epoch
            && running.since.elapsed() >= YOUNG
            && !running.facts.mode.is_ended()
            && (running.facts.reach == Reach::Nobody || running.client.is_none())
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.lock().epoch
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// The client, awake.
    pub(super) fn awake(&self) -> Option<Current> {
        let mut running = self.lock();
        if running.facts.mode == Mode::Dormant {
            self.change(&mut running, |facts| facts.mode = Mode::Awake);
        }
        let client = running.client.clone()?;
        Some(Current { client, epoch: running.epoch })
    }

    /// A stream was opened.
    pub(super) fn trust(&self) {
        let mut running = self.lock();
        running.opened = Some(Instant::now());
        if running.facts.mode == Mode::Doubted {
            self.change(&mut running, |facts| facts.mode = Mode::Awake);
        }
    }

    /// A stream found no circuit in time.
    pub(super) fn doubt(&self) {
        let mut running = self.lock();
        let trusted = running.opened.is_some_and(|opened| opened.elapsed() < TRUSTED);
        if !trusted && !running.facts.mode.is_ended() {
            self.change(&mut running, |facts| facts.mode = Mode::Doubted);
        }
    }

    /// Begins the client anew if it is in doubt, or if the machine slept.
    pub(super) async fn settle_doubt(&self) {
        let stale = {
            let mut running = self.lock();
            let slept = running.jumps.notice(Instant::now(), self.clock.now());
            let doubted = running.facts.mode == Mode::Doubted;
            if slept || (doubted && running.since.elapsed() >= YOUNG) {
                Some(running.epoch)
            } else {
                if doubted {
                    self.change(&mut running, |facts| facts.mode = Mode::Awake);
                }
                None
            }
        };
        if let Some(epoch) = stale {
            self.renew(epoch).await;
        }
    }

    pub(super) fn doze(&self) {
        let mut running = self.lock();
        if running.facts.status().phase == Phase::Ready
            && let Some(client) = &running.client
        {
            // A stream ends that by itself.
            client.set_dormant(DormantMode::Soft);
            self.change(&mut running, |facts| facts.mode = Mode::Dormant);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, running: &mut Running, change: impl FnOnce(&mut Facts)) {
        change(&mut running.facts);
        let latest = running.facts.status();
        self.status.send_if_modified(|current| {
            let changed = *current != latest;
            *current = latest;
            changed
        });
    }

    /// What the client of `epoch` says; the word of one that is gone does not count.
    fn learn(&self, epoch: Epoch, change: impl FnOnce(&mut Facts)) {
        let mut running = self.lock();
        if running.epoch == epoch {
            self.change(&mut running, change);
        }
    }
}

async fn bootstrap(life: Weak<Life>, epoch: Epoch, client: Arc<TorClient<Runtime>>) {
    loop {
        match tokio::time::timeout(ATTEMPT, client.bootstrap()).await {
            Ok(Ok(())) => {
                if let Some(life) = life.upgrade() {
                    life.learn(epoch, |facts| facts.bootstrapped = true);
                }
                return;
            }
            Ok(Err(error)) => tracing::info!(kind = ?error.kind(), "Tor did not start; trying again"),
            Err(_) => tracing::info!("Tor did not start in time; trying again"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Keeps the status true.
async fn follow(
    life: Weak<Life>,
    epoch: Epoch,
    mut events: arti_client::status::BootstrapEvents,
    mut reach: watch::Receiver<Reach>,
) {
    loop {
        tokio::select! {
            event = events.next() => {
                let (Some(event), Some(life)) = (event, life.upgrade()) else { return };
                life.learn(epoch, |facts| facts.event = read(&event));
            }
            changed = reach.changed() => {
                let (Ok(()), Some(life)) = (changed, life.upgrade()) else { return };
                let latest = *reach.borrow_and_update();
                life.learn(epoch, |facts| facts.reach = latest);
            }
        }
    }
}

fn read(event: &BootstrapStatus) -> Event {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
    let percent = (event.as_frac() * 100.0).clamp(0.0, 100.0) as u8;
    let blockage = event.blocked().and_then(|blockage| match blockage.kind() {
        // It has not begun yet.
        BlockageKind::Disabled => None,
        BlockageKind::Offline => Some(Blockage::Offline),
        BlockageKind::Filtering => Some(Blockage::Filtered),
        BlockageKind::ClockSkewed => Some(Blockage::Clock),
        BlockageKind::CantBootstrap => Some(Blockage::Directory),
        _ => Some(Blockage::Unreachable),
    });
    // Arti has no other way of telling; a text that says something else leaves the vaguest stage.
    let text = event.to_string();
    let stage = if text.contains("handshaking") {
        Stage::Handshaking
    } else if text.contains("connecting successfully") {
        Stage::Directory
    } else {
        Stage::Connecting
    };
    Event { percent, stage, blockage }
}

pub(super) fn refused(error: &arti_client::Error) -> TorError {
    match error.kind() {
        ErrorKind::InvalidConfig | ErrorKind::InvalidConfigTransition | ErrorKind::FeatureDisabled => {
            TorError::Settings(error.to_string())
        }
        _ => TorError::Storage(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
