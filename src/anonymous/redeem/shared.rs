//! What every call of one [`Redeemer`](super::Redeemer) shares.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Settings;
use super::parking::{Landing, Parking};
use crate::anonymous::transport::Transport;
use crate::vault::Withdrawals;

pub(super) struct Shared {
    pub(super) withdrawals: Withdrawals,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) settings: Settings,
    pub(super) parking: Parking,
    /// Calls, settlements and parked answers: what a drain waits for.
    pub(super) tasks: TaskTracker,
    /// Cancelled when the grace period is over: calls leave their tokens in doubt.
    pub(super) stop: CancellationToken,
    runtime: Handle,
}

impl Shared {
    /// Must be called inside a runtime, whose tasks the calls become.
    pub(super) fn new(
        withdrawals: Withdrawals,
        transport: Arc<dyn Transport>,
        settings: Settings,
    ) -> Arc<Self> {
        Arc::new(Self {
            withdrawals,
            transport,
            parking: Parking::new(settings.parking),
            settings,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            runtime: Handle::current(),
        })
    }

    /// Runs `work` to its end whoever goes away; from any thread, also outside the runtime.
    pub(super) fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn_on(work, &self.runtime)
    }

    /// Keeps a result that nobody took, for the next identical request; for a bounded time and size.
    pub(super) fn park(self: &Arc<Self>, landing: Landing) {
        let shared = Arc::clone(self);
        match self.parking.park(landing) {
            Ok(call) => drop(self.spawn(async move {
                tokio::select! {
                    () = tokio::time::sleep(shared.settings.parking.time) => {}
                    () = shared.parking.closed() => {}
                }
                if let Some(landing) = shared.parking.expire(call) {
                    landing.claim.leave(&shared).await;
                }
            })),
            Err(landing) => drop(self.spawn(async move { landing.claim.leave(&shared).await })),
        }
    }
}
