//! The life of a client: started, watched, put to sleep, and begun anew when the network seems to have gone.
//!
//! Arti takes a guard that fails for down, and asks it again after pauses that grow without a bound: after hours offline,
//! a client would stay dead for hours more. A client begun anew knows the same guards (they are on disk) and tries
//! them at once; with a directory in the cache that takes milliseconds. So a stream that found no circuit in time, and
//! a machine that slept, put the client in doubt, and the next one that asks for a stream begins it anew. Nothing
//! happens in between: a machine that is offline and idle does nothing.
//!
//! Calls under way keep the circuits that they have.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arti_client::config::TorClientConfig;
use arti_client::status::{BlockageKind, BootstrapStatus};
use arti_client::{BootstrapBehavior, DormantMode, HasKind as _, TorClient};
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
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
const YOUNG: Duration = Duration::from_secs(20);
/// A stream that was opened this lately speaks against a doubt.
const TRUSTED: Duration = Duration::from_secs(30);

/// Ends with the last handle.
pub(super) struct Life {
    config: TorClientConfig,
    clock: SharedClock,
    status: watch::Sender<Status>,
    running: Mutex<Running>,
    /// For the tasks, which must not keep it alive.
    own: Weak<Self>,
}

struct Running {
    /// `None` only between two clients: their directories are locked by one at a time.
    client: Option<Arc<TorClient<Runtime>>>,
    facts: Facts,
    since: Instant,
    opened: Option<Instant>,
    jumps: Jumps,
    tasks: Vec<AbortOnDropHandle<()>>,
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
}

impl Facts {
    /// What follows from it all.
    fn status(self) -> Status {
        let offline = self.reach == Reach::Nobody;
        let phase = match self.mode {
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
    pub(super) fn launch(settings: &Settings, clock: SharedClock) -> Result<Arc<Self>, TorError> {
        // Arti's feature installs none, and panics without one. An earlier one, by whomever, is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = settings.resolve()?;
        let (status, _) = watch::channel(Facts::default().status());
        let running = Running {
            client: None,
            facts: Facts::default(),
            since: Instant::now(),
            opened: None,
            jumps: Jumps::new(Instant::now(), clock.now()),
            tasks: Vec::new(),
        };
        let life = Arc::new_cyclic(|own| Self {
            config,
            clock,
            status,
            running: Mutex::new(running),
            own: own.clone(),
        });
        life.begin(&mut life.lock())?;
        Ok(life)
    }

    /// A client that knows only what is on disk, in place of the one before.
    fn begin(&self, running: &mut Running) -> Result<(), TorError> {
        running.client = None;
        let (runtime, reach) = dial::runtime().map_err(|error| TorError::Storage(error.to_string()))?;
        let client = TorClient::with_runtime(runtime)
            .config(self.config.clone())
            .bootstrap_behavior(BootstrapBehavior::Manual)
            .create_unbootstrapped()
            .map_err(|error| refused(&error))?;
        let tasks = [
            tokio::spawn(follow(self.own.clone(), client.bootstrap_events(), reach)),
            tokio::spawn(bootstrap(self.own.clone(), Arc::clone(&client))),
        ];
        running.client = Some(client);
        running.facts = Facts::default();
        running.since = Instant::now();
        // Those of the client before end here.
        running.tasks = tasks.map(AbortOnDropHandle::new).into();
        self.status.send_replace(running.facts.status());
        Ok(())
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// The client, awake.
    pub(super) fn awake(&self) -> Option<Arc<TorClient<Runtime>>> {
        let mut running = self.lock();
        if running.facts.mode == Mode::Dormant {
            self.change(&mut running, |facts| facts.mode = Mode::Awake);
        }
        running.client.clone()
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
        if running.opened.is_none_or(|opened| opened.elapsed() >= TRUSTED) {
            self.change(&mut running, |facts| facts.mode = Mode::Doubted);
        }
    }

    /// Begins the client anew if it is in doubt, or if the machine slept.
    pub(super) fn settle_doubt(&self) {
        let mut running = self.lock();
        let slept = running.jumps.notice(Instant::now(), self.clock.now());
        let doubted = running.facts.mode == Mode::Doubted;
        if slept || (doubted && running.since.elapsed() >= YOUNG) {
            tracing::info!("the Tor client is begun anew");
            if let Err(error) = self.begin(&mut running) {
                tracing::error!(%error, "the Tor client could not be begun anew");
            }
        } else if doubted {
            self.change(&mut running, |facts| facts.mode = Mode::Awake);
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

    fn learn(&self, change: impl FnOnce(&mut Facts)) {
        self.change(&mut self.lock(), change);
    }
}

async fn bootstrap(life: Weak<Life>, client: Arc<TorClient<Runtime>>) {
    loop {
        match tokio::time::timeout(ATTEMPT, client.bootstrap()).await {
            Ok(Ok(())) => {
                if let Some(life) = life.upgrade() {
                    life.learn(|facts| facts.bootstrapped = true);
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
    mut events: arti_client::status::BootstrapEvents,
    mut reach: watch::Receiver<Reach>,
) {
    loop {
        tokio::select! {
            event = events.next() => {
                let (Some(event), Some(life)) = (event, life.upgrade()) else { return };
                life.learn(|facts| facts.event = read(&event));
            }
            changed = reach.changed() => {
                let (Ok(()), Some(life)) = (changed, life.upgrade()) else { return };
                let latest = *reach.borrow_and_update();
                life.learn(|facts| facts.reach = latest);
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
mod tests {
    use super::*;

    fn phase(change: impl FnOnce(&mut Facts)) -> Phase {
        let mut facts = Facts::default();
        change(&mut facts);
        facts.status().phase
    }

    #[test]
    fn what_is_known_of_the_client_makes_one_phase() {
        assert_eq!(phase(|_| ()), Phase::Bootstrapping(Stage::Connecting));
        assert_eq!(phase(|facts| facts.bootstrapped = true), Phase::Ready);
        assert_eq!(phase(|facts| facts.reach = Reach::Nobody), Phase::Blocked(Blockage::Offline));
        let skewed = |facts: &mut Facts| facts.event.blockage = Some(Blockage::Clock);
        assert_eq!(phase(skewed), Phase::Blocked(Blockage::Clock));
        // What hindered the start hinders no more.
        assert_eq!(
            phase(|facts| {
                skewed(facts);
                facts.bootstrapped = true;
            }),
            Phase::Ready
        );
    }

    #[test]
    fn a_doubted_client_is_blocked_and_a_dormant_one_is_ready() {
        let doubted = |reach| {
            phase(|facts| {
                *facts = Facts { bootstrapped: true, reach, mode: Mode::Doubted, ..Facts::default() }
            })
        };
        assert_eq!(doubted(Reach::Somebody), Phase::Blocked(Blockage::Unreachable));
        assert_eq!(doubted(Reach::Nobody), Phase::Blocked(Blockage::Offline));
        let dormant = phase(|facts| {
            *facts = Facts { bootstrapped: true, mode: Mode::Dormant, ..Facts::default() };
        });
        assert_eq!(dormant, Phase::Dormant);
        assert!(Status { percent: 100, phase: dormant }.is_ready());
    }
}
