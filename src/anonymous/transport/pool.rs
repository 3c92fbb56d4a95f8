//! Streams kept warm ahead of need: circuit built, TLS shaken, nothing said.
//!
//! | a warm stream | leaves the shelf when |
//! | --- | --- |
//! | waits | a call takes it; from then on it is the call's alone |
//! | ends, or a byte comes unasked | at once: a watcher reads on every one, so a dead stream is not what a call meets |
//! | is old | after a time with jitter, shorter where the backend was seen to close idle streams early |
//! | was made before the machine slept, or the clock jumped | as soon as that is noticed, at the latest by the next take |
//! | is there when the user pauses | at once; until the user resumes there are no others |
//! | was made under an identity that the user gave up | at once |
//!
//! How many there are follows from the calls of the last minutes ([`policy`]). What an observer of the guard sees of it is
//! that this machine builds circuits now and then, whether or not a call follows. After an hour without a call nothing is
//! kept, and the dialler may doze.
//!
//! Deliberately absent: a second use of anything.

pub(super) mod policy;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::policy::{Demand, Patience};
use super::Opened;
use super::isolated::{self, Dialer, Settings};
use crate::clock::{Jumps, SharedClock};
use crate::passage::Passage;

/// How often the keeper looks at the clocks, and for work that nobody told it of.
const TICK: Duration = Duration::from_secs(5);
/// Dials at once, for the shelf.
const DIALS: usize = 4;
/// Between failed dials: doubles, with jitter, up to the second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The shelf and its keeper, who goes when this is dropped.
pub(super) struct Pool {
    shelf: Arc<Shelf>,
    _keeper: AbortOnDropHandle<()>,
}

struct Shelf {
    state: Mutex<State>,
    next: AtomicU64,
    changed: Notify,
    /// Something was put on it.
    made: Notify,
    clock: SharedClock,
}

struct State {
    warm: VecDeque<Warm>,
    demand: Demand,
    patience: Patience,
    /// Counts what makes everything made before unusable.
    generation: u64,
    passage: Passage,
    jumps: Jumps,
}

/// A warm stream lives in a task of its own, which watches it; this is how to ask for it.
struct Warm {
    id: u64,
    ask: oneshot::Sender<oneshot::Sender<Opened>>,
    _watcher: AbortOnDropHandle<()>,
}

impl Pool {
    /// Keeps at most `most`; with 0 it only tells when the dialler may doze.
    pub(super) fn start<D: Dialer>(dialer: Arc<D>, settings: &Settings, most: usize) -> Self {
        let now = Instant::now();
        let shelf = Arc::new(Shelf {
            state: Mutex::new(State {
                warm: VecDeque::new(),
                demand: Demand::new(now, most, settings.dormant_after),
                patience: Patience::default(),
                generation: 0,
                passage: settings.passage,
                jumps: Jumps::new(now, settings.clock.now()),
            }),
            next: AtomicU64::new(0),
            changed: Notify::new(),
            made: Notify::new(),
            clock: settings.clock.clone(),
        });
        let keeper = tokio::spawn(keep(Arc::clone(&shelf), dialer, settings.dial));
        Self { shelf, _keeper: AbortOnDropHandle::new(keeper) }
    }

    /// A warm stream, if there is one that lives. Counts as a call either way.
    pub(super) async fn take(&self) -> Option<Opened> {
        self.shelf.lock().demand.called(Instant::now());
        self.shelf.notice_jump();
        self.shelf.changed.notify_one();
        self.next().await
    }

    /// The next one that is put there, or is there. Counts as no call.
    pub(super) async fn made(&self) -> Opened {
        loop {
            if let Some(opened) = self.next().await {
                self.shelf.changed.notify_one();
                return opened;
            }
            self.shelf.made.notified().await;
        }
    }

    /// Another warm stream, for a call that is counted already.
    pub(super) async fn next(&self) -> Option<Opened> {
        loop {
            // The youngest is the likeliest to live.
            let Warm { ask, _watcher, .. } = self.shelf.lock().warm.pop_back()?;
            let (give, given) = oneshot::channel();
            if ask.send(give).is_ok()
                && let Ok(opened) = given.await
            {
                return Some(opened);
            }
        }
    }

    /// Drops all warm streams, and those on their way.
    pub(super) fn clear(&self) {
        self.shelf.clear();
        self.shelf.changed.notify_one();
    }

    /// Keeps nothing while nothing may leave.
    pub(super) fn follow(&self, passage: Passage) {
        self.shelf.lock().passage = passage;
        if passage == Passage::Paused {
            self.shelf.clear();
        }
        self.shelf.changed.notify_one();
    }

    pub(super) fn warm(&self) -> usize {
        self.shelf.lock().warm.len()
    }
}

impl Shelf {
    /// Every change under the lock is complete before it is let go.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        let mut state = self.lock();
        state.generation += 1;
        state.warm.clear();
    }

    /// A stream that was open while the machine slept looks alive and is not.
    fn notice_jump(&self) {
        let mut state = self.lock();
        if state.jumps.notice(Instant::now(), self.clock.now()) {
            state.generation += 1;
            state.warm.clear();
        }
    }

    fn put(self: &Arc<Self>, opened: Opened, generation: u64) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        let life = state.patience.life(rand::rng().random_range(0.6..1.0));
        let (ask, asked) = oneshot::channel();
        let watcher = tokio::spawn(watch(Arc::clone(self), id, opened, asked, life));
        state.warm.push_back(Warm { id, ask, _watcher: AbortOnDropHandle::new(watcher) });
        self.made.notify_one();
    }

    fn gone(&self, id: u64, how: Gone, age: Duration) {
        let mut state = self.lock();
        match how {
            Gone::Closed => state.patience.closed_after(age),
            Gone::Old => state.patience.outlived(),
        }
        state.warm.retain(|warm| warm.id != id);
        drop(state);
        self.changed.notify_one();
    }
}

#[derive(Clone, Copy)]
enum Gone {
    Closed,
    Old,
}

/// Holds one stream until it is asked for, ends, or is old.
async fn watch(
    shelf: Arc<Shelf>,
    id: u64,
    mut opened: Opened,
    asked: oneshot::Receiver<oneshot::Sender<Opened>>,
    life: Duration,
) {
    let made = Instant::now();
    let mut byte = [0];
    let how = tokio::select! {
        biased;
        // Whatever comes on a stream on which nothing was said, or its end.
        _ = opened.stream.read(&mut byte) => Gone::Closed,
        give = asked => {
            if let Ok(give) = give {
                // Dropped unused if the caller went away.
                let _: Result<(), Opened> = give.send(opened);
            }
            return;
        }
        () = tokio::time::sleep(life) => Gone::Old,
    };
    shelf.gone(id, how, made.elapsed());
}

/// Keeps as many warm as the calls of late ask for.
async fn keep<D: Dialer>(shelf: Arc<Shelf>, dialer: Arc<D>, limit: Duration) {
    let mut dials: JoinSet<Result<(), ()>> = JoinSet::new();
    let mut pause = None;
    let mut not_before = Instant::now();
    let mut dozing = false;
    loop {
        shelf.notice_jump();
        let (idle, target, warm, generation) = {
            let mut state = shelf.lock();
            let is_paused = state.passage == Passage::Paused;
            let idle = is_paused || state.demand.is_idle(Instant::now());
            let target = if is_paused { 0 } else { state.demand.target(Instant::now()) };
            // What is no longer wanted goes; the oldest first.
            while state.warm.len() > target {
                state.warm.pop_front();
            }
            if is_paused {
                dials.abort_all();
            }
            (idle, target, state.warm.len(), state.generation)
        };
        if idle && !dozing {
            dialer.doze();
        }
        dozing = idle;
        let wanted = target.saturating_sub(warm + dials.len()).min(DIALS - dials.len().min(DIALS));
        if wanted > 0 && Instant::now() >= not_before {
            let is_ready = tokio::select! {
                ready = dialer.ready() => ready.is_ok(),
                // A pause, perhaps; what is wanted is counted anew.
                () = shelf.changed.notified() => continue,
            };
            if shelf.lock().generation != generation {
                continue;
            }
            for _ in 0..if is_ready { wanted } else { 0 } {
                let (shelf, dialer) = (Arc::clone(&shelf), Arc::clone(&dialer));
                dials.spawn(async move {
                    let lane = dialer.lane();
                    let opened = isolated::dial(&*dialer, &lane, &[], limit).await.map_err(|_| ())?;
                    shelf.put(opened, generation);
                    Ok(())
                });
            }
        }
        let wake = if wanted > 0 && not_before > Instant::now() { not_before } else { Instant::now() + TICK };
        tokio::select! {
            () = shelf.changed.notified() => {}
            () = tokio::time::sleep_until(wake) => {}
            Some(dialled) = dials.join_next(), if !dials.is_empty() => {
                // One that was called off says nothing of the network.
                if matches!(dialled, Ok(Ok(())) | Err(_)) {
                    pause = None;
                    not_before = Instant::now();
                } else {
                    let next = pause.map_or(FIRST_PAUSE, |pause: Duration| (pause * 2).min(LONGEST_PAUSE));
                    pause = Some(next);
                    not_before = Instant::now() + next.mul_f64(rand::rng().random_range(0.5..1.5));
                }
            }
        }
    }
}
