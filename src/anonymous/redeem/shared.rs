//! What every call of one [`Redeemer`](super::Redeemer) shares.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Settings;
use super::parking::{Landed, Landing, Left, Parking};
use super::record::CallRecord;
use super::route::Conversations;
use super::share::Share;
use crate::anonymous::transport::Transport;
use crate::vault::{AbuseRule, PinnedKeys, Withdrawals};

/// What follows from the backend's pinned keys. A call keeps to what was pinned when it began.
pub(super) struct Pins {
    pub(super) abuse: AbuseRule,
    pub(super) keys: Arc<PinnedKeys>,
}

pub(super) struct Shared {
    pub(super) withdrawals: Withdrawals,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) settings: Settings,
    pub(super) parking: Parking,
    pub(super) conversations: Conversations,
    /// Calls, settlements and parked answers: what a drain waits for.
    pub(super) tasks: TaskTracker,
    /// Calls alone; closed from the beginning, so that one can wait for there to be none.
    pub(super) calls: TaskTracker,
    /// Cancelled when the grace period is over: calls leave their tokens in doubt.
    pub(super) stop: CancellationToken,
    pins: RwLock<Arc<Pins>>,
    runtime: Handle,
}

impl Shared {
    /// Must be called inside a runtime, whose tasks the calls become.
    pub(super) fn new(
        withdrawals: Withdrawals,
        transport: Arc<dyn Transport>,
        settings: Settings,
    ) -> Arc<Self> {
        let calls = TaskTracker::new();
        calls.close();
        Arc::new(Self {
            withdrawals,
            transport,
            parking: Parking::new(settings.parking),
            conversations: Conversations::new(&mut rand::rng()),
            pins: RwLock::new(Arc::new(Pins { abuse: settings.abuse, keys: Arc::clone(&settings.keys) })),
            settings,
            tasks: TaskTracker::new(),
            calls,
            stop: CancellationToken::new(),
            runtime: Handle::current(),
        })
    }

    /// What is pinned now.
    pub(super) fn pins(&self) -> Arc<Pins> {
        Arc::clone(&self.pins.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on calls begin under `pins`.
    pub(super) fn pin(&self, pins: Pins) {
        *self.pins.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pins);
    }

    /// A call has ended.
    pub(super) fn note(&self, call: CallRecord) {
        self.settings.observer.ended(call);
    }

    /// Runs `work` to its end whoever goes away; from any thread, also outside the runtime.
    pub(super) fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn_on(work, &self.runtime)
    }

    /// A call ends: its result goes to whoever waits for it.
    pub(super) fn land(self: &Arc<Self>, landing: Landing) {
        let call = landing.claim.call;
        match self.parking.land(landing) {
            Landed::Unclaimed(left) => self.keep(left),
            Landed::Wanted(callers, result) => {
                for (hand, caller) in callers {
                    // One that went away meanwhile drops its share, and so lets go of it.
                    drop(caller.send(Share::new(Arc::clone(self), call, hand, result.clone())));
                }
            }
        }
    }

    /// Keeps a result that nobody took, for the next identical request; for a bounded time.
    pub(super) fn keep(self: &Arc<Self>, left: Left) {
        let shared = Arc::clone(self);
        match left {
            Left::Parked(number) => drop(self.spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(shared.settings.parking.time) => {}
                    () = shared.parking.closed() => {}
                }
                if let Some(landing) = shared.parking.expire(number) {
                    landing.claim.leave(&shared).await;
                }
            })),
            Left::Unwanted(landing) if landing.claim.spent.is_some() => {
                drop(self.spawn(async move { landing.claim.leave(&shared).await }));
            }
            Left::Unwanted(_) => {}
        }
    }
}
