//! Calls and their callers: who waits for what, who may share, and what is kept for those that come back.
//!
//! A call outlives its callers. When they go away the call keeps running, and a later request with the same digest
//! *adopts* it instead of spending a second token. While somebody waits for it, an identical request shares it only if
//! its client says that it is a retry, or if the call is the resumption of a token in doubt; otherwise two identical
//! requests get a token each, because a caller may well want two answers to one question. The several answers
//! that *one* request wants are never shared among themselves.
//!
//! | the call is | its callers | an identical retry | an identical first attempt | if none comes |
//! | --- | --- | --- | --- | --- |
//! | running, not known on which token yet | wait | shares | waits until it is known, which takes one look into the vault | |
//! | running on a token that was in doubt | wait | shares | shares | |
//! | running on a fresh token, also one taken because that in doubt brought nothing | wait | shares | draws its own token | |
//! | running | gone | takes the seat | takes the seat | it ends, and is parked |
//! | ended, being handed over | take it | as above, and is handed it at once | as above | |
//! | ended, and one caller has all of it | have it, or take it | draws its own token | draws its own token | settled, once |
//! | ended, parked | gone | is handed the result at once | the same | after [`ParkingRules::time`] the result is dropped and the token left in doubt (undelivered): the backend replays it |
//! | ended, too much parked | gone | resumes the token | the same | left in doubt (undelivered) at once |
//!
//! One short lock over everything, never held across an await. Nothing here touches the disk: after a crash
//! the vault finds the token presented, so in doubt, and an identical request resumes it.
//!
//! Deliberately absent: what becomes of a landing that is let go ([`Shared`](super::shared::Shared)).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::asking::{Asking, Attempt};
use super::delivery::Answer;
use super::error::RedeemError;
use super::share::Share;
use crate::vault::{CallId, Presented, RequestDigest};

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

/// What a call ended with: shared by its callers.
pub(super) type Outcome = Result<Arc<Answer>, RedeemError>;

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
    pub(super) result: Outcome,
}

impl Landing {
    fn bytes(&self) -> usize {
        self.result.as_ref().map_or(0, |answer| answer.body.len())
    }
}

/// One caller of one call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hand(u64);

/// Of what sort the token of a call is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    /// The vault has not been asked yet.
    Unknown,
    /// Drawn for this call.
    Fresh,
    /// It was in doubt about this very request.
    Resumed,
}

/// What a request finds.
pub(super) enum Boarding {
    /// A result.
    Ended(CallId, Hand, Outcome),
    /// A call that others wait for, or waited.
    Joined(CallId, Hand, oneshot::Receiver<Share>),
    /// Nothing: a call of its own has a seat now, and is to be run.
    Begun(Hand, oneshot::Receiver<Share>),
    /// A call of which it is not known yet whether it may be shared. Once this is cancelled, it is.
    Undecided(CancellationToken),
}

/// What became of a landing that nobody has a hand on.
pub(super) enum Left {
    /// It waits for an identical request; [`Parking::expire`] ends that.
    Parked(u64),
    /// There is too much already, or nothing worth keeping.
    Unwanted(Landing),
}

/// What became of a landing.
pub(super) enum Landed {
    /// These wait for it.
    Wanted(Vec<(Hand, oneshot::Sender<Share>)>, Outcome),
    /// Nobody does.
    Unclaimed(Left),
}

/// The running calls and what is kept of ended ones.
pub(super) struct Parking {
    lot: Mutex<Lot>,
    rules: ParkingRules,
    closing: CancellationToken,
}

#[derive(Default)]
struct Lot {
    running: HashMap<CallId, Seat>,
    /// Ended, and on their way to somebody.
    handed: HashMap<CallId, Ended>,
    /// Ended, and nobody's.
    parked: Vec<(u64, Ended)>,
    /// Of the answers in `parked`.
    bytes: usize,
    closed: bool,
    next: u64,
}

struct Seat {
    digest: RequestDigest,
    basis: Basis,
    /// Cancelled when the basis is known, or the call over.
    decided: CancellationToken,
    callers: Vec<Caller>,
}

struct Caller {
    hand: Hand,
    asking: Asking,
    result: oneshot::Sender<Share>,
}

struct Ended {
    landing: Landing,
    basis: Basis,
    hands: Vec<(Hand, Asking)>,
}

impl Ended {
    /// Whether `asking` may have it too, while it is on its way to others.
    fn admits(&self, digest: RequestDigest, asking: Asking) -> bool {
        let callers = self.hands.iter().map(|(_, asking)| *asking);
        self.landing.claim.digest == digest && sharing(asking, self.basis, callers) == Sharing::Yes
    }
}

/// Whether a request may share a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Yes,
    No,
    /// It depends on what is not known yet.
    Later,
}

/// The table above.
fn sharing(asking: Asking, basis: Basis, mut callers: impl ExactSizeIterator<Item = Asking>) -> Sharing {
    if callers.len() == 0 {
        return Sharing::Yes;
    }
    if callers.any(|other| other.is_of(asking)) {
        return Sharing::No;
    }
    match (asking.attempt(), basis) {
        (Attempt::Retry, _) | (Attempt::First, Basis::Resumed) => Sharing::Yes,
        (Attempt::First, Basis::Fresh) => Sharing::No,
        (Attempt::First, Basis::Unknown) => Sharing::Later,
    }
}

impl Parking {
    pub(super) fn new(rules: ParkingRules) -> Self {
        Self { lot: Mutex::default(), rules, closing: CancellationToken::new() }
    }

    fn lot(&self) -> MutexGuard<'_, Lot> {
        // Every change below is complete before the lock is let go.
        self.lot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds what `asking` may have, or else gives it `call` to begin: one step, so that of two identical
    /// requests at once the second sees the first.
    pub(super) fn board(&self, digest: RequestDigest, asking: Asking, call: CallId) -> Boarding {
        let lot = &mut *self.lot();
        let hand = lot.hand();
        if let Some((call, result)) = lot.unpark(digest, hand, asking) {
            return Boarding::Ended(call, hand, result);
        }
        let mut undecided = None;
        let running = lot.running.iter_mut().filter(|(_, seat)| seat.digest == digest).filter(|(_, seat)| {
            let sharing = sharing(asking, seat.basis, seat.callers.iter().map(|caller| caller.asking));
            if sharing == Sharing::Later {
                undecided = Some(seat.decided.clone());
            }
            sharing == Sharing::Yes
        });
        // Of several, one with the fewest callers: two that were given up are then found by two retries.
        let running = running.min_by_key(|(_, seat)| seat.callers.len());
        let handed = lot.handed.iter_mut().filter(|(_, ended)| ended.admits(digest, asking));
        let fewest = running.as_ref().map_or(usize::MAX, |(_, seat)| seat.callers.len());
        let handed = handed.filter(|(_, ended)| ended.hands.len() <= fewest);
        if let Some((call, ended)) = handed.min_by_key(|(_, ended)| ended.hands.len()) {
            ended.hands.push((hand, asking));
            return Boarding::Ended(*call, hand, ended.landing.result.clone());
        }
        if let Some((call, seat)) = running {
            return Boarding::Joined(*call, hand, seat.take(hand, asking));
        }
        if let Some(decided) = undecided {
            return Boarding::Undecided(decided);
        }
        let seat = lot.running.entry(call).or_insert_with(|| Seat::new(digest));
        Boarding::Begun(hand, seat.take(hand, asking))
    }

    /// How many calls, running or ended, `asking` may have a part in.
    pub(super) fn open_to(&self, digest: RequestDigest, asking: Asking) -> usize {
        let lot = self.lot();
        let running = lot.running.values().filter(|seat| {
            let callers = seat.callers.iter().map(|caller| caller.asking);
            seat.digest == digest && sharing(asking, seat.basis, callers) == Sharing::Yes
        });
        let handed = lot.handed.values().filter(|ended| ended.admits(digest, asking));
        let parked = lot.parked.iter().filter(|(_, ended)| ended.landing.claim.digest == digest);
        running.count() + handed.count() + parked.count()
    }

    /// What the token of `call` is.
    pub(super) fn decide(&self, call: CallId, basis: Basis) {
        if let Some(seat) = self.lot().running.get_mut(&call) {
            seat.basis = basis;
            seat.decided.cancel();
        }
    }

    /// A caller of a running call went away.
    pub(super) fn leave(&self, call: CallId, hand: Hand) {
        if let Some(seat) = self.lot().running.get_mut(&call) {
            seat.callers.retain(|caller| caller.hand != hand);
        }
    }

    /// A call ends.
    pub(super) fn land(&self, landing: Landing) -> Landed {
        let mut lot = self.lot();
        let call = landing.claim.call;
        let (basis, callers) = match lot.running.remove(&call) {
            Some(Seat { basis, callers, decided, .. }) => {
                decided.cancel();
                (basis, callers)
            }
            None => (Basis::Unknown, Vec::new()),
        };
        let hands: Vec<_> = callers.iter().map(|caller| (caller.hand, caller.asking)).collect();
        let ended = Ended { landing, basis, hands };
        if callers.is_empty() {
            return Landed::Unclaimed(lot.park(ended, &self.rules));
        }
        let result = ended.landing.result.clone();
        lot.handed.insert(call, ended);
        Landed::Wanted(callers.into_iter().map(|caller| (caller.hand, caller.result)).collect(), result)
    }

    /// The task of `call` died: whoever waits for it learns so.
    pub(super) fn forget(&self, call: CallId) {
        if let Some(seat) = self.lot().running.remove(&call) {
            seat.decided.cancel();
        }
    }

    /// A caller has all of the result of `call`. The claim, unless another caller was first.
    pub(super) fn deliver(&self, call: CallId) -> Option<Claim> {
        Some(self.lot().handed.remove(&call)?.landing.claim)
    }

    /// A caller to whom the result of `call` was handed gives up. What became of it, if that was the last.
    pub(super) fn let_go(&self, call: CallId, hand: Hand) -> Option<Left> {
        let mut lot = self.lot();
        let ended = lot.handed.get_mut(&call)?;
        ended.hands.retain(|(other, _)| *other != hand);
        if !ended.hands.is_empty() {
            return None;
        }
        let ended = lot.handed.remove(&call)?;
        Some(lot.park(ended, &self.rules))
    }

    /// Nobody came for what was parked under this number.
    pub(super) fn expire(&self, number: u64) -> Option<Landing> {
        let mut lot = self.lot();
        let at = lot.parked.iter().position(|(parked, _)| *parked == number)?;
        let (_, ended) = lot.parked.remove(at);
        lot.bytes -= ended.landing.bytes();
        Some(ended.landing)
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

impl Lot {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn hand(&mut self) -> Hand {
        Hand(self.number())
    }

    fn unpark(&mut self, digest: RequestDigest, hand: Hand, asking: Asking) -> Option<(CallId, Outcome)> {
        let at = self.parked.iter().position(|(_, ended)| ended.landing.claim.digest == digest)?;
        let (_, mut ended) = self.parked.remove(at);
        self.bytes -= ended.landing.bytes();
        ended.hands.push((hand, asking));
        let (call, result) = (ended.landing.claim.call, ended.landing.result.clone());
        self.handed.insert(call, ended);
        Some((call, result))
    }

    fn park(&mut self, ended: Ended, rules: &ParkingRules) -> Left {
        let bytes = self.bytes.saturating_add(ended.landing.bytes());
        if ended.landing.claim.spent.is_none()
            || self.closed
            || self.parked.len() >= rules.count
            || bytes > rules.bytes
        {
            return Left::Unwanted(ended.landing);
        }
        self.bytes = bytes;
        let number = self.number();
        self.parked.push((number, ended));
        Left::Parked(number)
    }
}

impl Seat {
    fn new(digest: RequestDigest) -> Self {
        Self { digest, basis: Basis::Unknown, decided: CancellationToken::new(), callers: Vec::new() }
    }

    fn take(&mut self, hand: Hand, asking: Asking) -> oneshot::Receiver<Share> {
        let (caller, result) = oneshot::channel();
        self.callers.push(Caller { hand, asking, result: caller });
        result
    }
}

#[cfg(test)]
mod tests;
