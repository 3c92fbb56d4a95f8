//! Results that nobody waits for (any more), and how the next identical request finds them.
//!
//! A call outlives its caller. When the caller goes away the call keeps running, and a later request with
//! the same digest *adopts* it instead of spending a second token. Only what has no live caller can be
//! adopted: two identical requests with two live callers get a token each, because a caller may
//! well want two answers to one question.
//!
//! | the call is | its caller | an identical request | if none comes |
//! | --- | --- | --- | --- |
//! | running | waits | draws its own token | |
//! | running | gone | takes the caller's seat | it ends, and is parked |
//! | ended, parked | gone | is given the result at once | after [`ParkingRules::time`] the result is dropped and the token left in doubt (undelivered): the backend replays it |
//! | ended, too much parked | gone | resumes the token | left in doubt (undelivered) at once |
//!
//! One short lock over everything, never held across an await. Nothing here touches the disk: after a crash
//! the vault finds the token presented, so in doubt, and an identical request resumes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::delivery::Answer;
use super::error::RedeemError;
use super::shared::Shared;
use crate::vault::{CallId, Doubt, Presented, RequestDigest};

/// How much is kept for callers that went away.
#[derive(Clone, Copy, Debug)]
pub struct ParkingRules {
    /// How long a result waits.
    pub time: Duration,
    /// How many results wait at once.
    pub count: usize,
    /// Bytes of all waiting answers together.
    pub bytes: usize,
}

impl Default for ParkingRules {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), count: 64, bytes: 16 << 20 }
    }
}

/// A call's hold on its token, once the call itself is over.
pub(super) struct Claim {
    pub(super) call: CallId,
    pub(super) digest: RequestDigest,
    /// Spent for certain and not yet settled; `None` when the call has already said what becomes of it.
    pub(super) spent: Option<Box<Presented>>,
}

/// The end of a call: its result, and the claim on the token that paid for it.
pub(super) struct Landing {
    pub(super) claim: Claim,
    pub(super) result: Result<Answer, RedeemError>,
}

impl Claim {
    /// The caller has the result.
    pub(super) async fn settle(self, shared: Arc<Shared>) {
        if let Some(presented) = self.spent
            && let Err(error) = shared.withdrawals.settle(*presented).await
        {
            tracing::error!(%error, "a spent token could not be settled; it is kept in doubt");
        }
    }

    /// Nobody took the result: the backend still has it.
    pub(super) async fn leave(self, shared: &Shared) {
        if let Some(presented) = self.spent
            && let Err(error) = shared.withdrawals.doubt(*presented, Doubt::Undelivered).await
        {
            tracing::error!(%error, "an undelivered answer's token could not be marked; it is kept in doubt");
        }
    }
}

impl Landing {
    fn bytes(&self) -> usize {
        self.result.as_ref().map_or(0, |answer| answer.body.len())
    }
}

/// What an identical request finds.
pub(super) enum Found {
    /// A result, ready.
    Landed(Landing),
    /// A running call whose caller is gone: its seat.
    Running(CallId, oneshot::Receiver<Landing>),
}

struct Seat {
    digest: RequestDigest,
    /// `None` when the caller is gone.
    caller: Option<oneshot::Sender<Landing>>,
}

#[derive(Default)]
struct Lot {
    running: HashMap<CallId, Seat>,
    /// In order of arrival; never more than `count`, so searched one by one.
    parked: Vec<Landing>,
    bytes: usize,
    closed: bool,
}

pub(super) struct Parking {
    lot: Mutex<Lot>,
    rules: ParkingRules,
    closing: CancellationToken,
}

impl Parking {
    pub(super) fn new(rules: ParkingRules) -> Self {
        Self { lot: Mutex::default(), rules, closing: CancellationToken::new() }
    }

    fn lot(&self) -> MutexGuard<'_, Lot> {
        // Every change below is complete before the lock is let go.
        self.lot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins, with a caller who waits for it.
    pub(super) fn begin(&self, call: CallId, digest: RequestDigest) -> oneshot::Receiver<Landing> {
        let (caller, result) = oneshot::channel();
        self.lot().running.insert(call, Seat { digest, caller: Some(caller) });
        result
    }

    /// The caller of a running call went away.
    pub(super) fn leave(&self, call: CallId) {
        if let Some(seat) = self.lot().running.get_mut(&call) {
            seat.caller = None;
        }
    }

    /// Looks for something that an identical request may have.
    pub(super) fn adopt(&self, digest: RequestDigest) -> Option<Found> {
        let mut lot = self.lot();
        if let Some(at) = lot.parked.iter().position(|landing| landing.claim.digest == digest) {
            let landing = lot.parked.remove(at);
            lot.bytes -= landing.bytes();
            return Some(Found::Landed(landing));
        }
        let orphan = lot.running.iter_mut().find(|(_, seat)| seat.digest == digest && seat.caller.is_none());
        orphan.map(|(call, seat)| {
            let (caller, result) = oneshot::channel();
            seat.caller = Some(caller);
            Found::Running(*call, result)
        })
    }

    /// A call ends. Gives the landing back when nobody waits for it.
    pub(super) fn land(&self, landing: Landing) -> Option<Landing> {
        let seat = self.lot().running.remove(&landing.claim.call);
        match seat.and_then(|seat| seat.caller) {
            Some(caller) => caller.send(landing).err(),
            None => Some(landing),
        }
    }

    /// The task of `call` died: whoever waits for it learns so.
    pub(super) fn forget(&self, call: CallId) {
        self.lot().running.remove(&call);
    }

    /// Keeps `landing`, unless there is too much already or nothing worth keeping.
    pub(super) fn park(&self, landing: Landing) -> Result<CallId, Landing> {
        let mut lot = self.lot();
        let bytes = lot.bytes.saturating_add(landing.bytes());
        if landing.claim.spent.is_none()
            || lot.closed
            || lot.parked.len() >= self.rules.count
            || bytes > self.rules.bytes
        {
            return Err(landing);
        }
        lot.bytes = bytes;
        let call = landing.claim.call;
        lot.parked.push(landing);
        Ok(call)
    }

    /// Nobody came for the result of `call`.
    pub(super) fn expire(&self, call: CallId) -> Option<Landing> {
        let mut lot = self.lot();
        let at = lot.parked.iter().position(|landing| landing.claim.call == call)?;
        let landing = lot.parked.remove(at);
        lot.bytes -= landing.bytes();
        Some(landing)
    }

    /// From now on nothing is parked, and what is, is let go.
    pub(super) fn close(&self) {
        self.lot().closed = true;
        self.closing.cancel();
    }

    /// Waits for [`Parking::close`].
    pub(super) async fn closed(&self) {
        self.closing.cancelled().await;
    }
}
