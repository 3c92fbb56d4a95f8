//! One call, one token: reserve → present → settle.
//!
//! The path of a call: its wire body is measured ([`request`](self)), a result that an earlier identical call
//! left behind is adopted, else a token in doubt about this very request is resumed, else one is
//! drawn. A stream is opened, the token is durably marked as presented, and only then does the first byte
//! leave. What comes back is judged in one place ([`outcome`](self)), which decides what becomes of the
//! token and whether to go on.
//!
//! Invariants:
//! - A token that may be known to the backend is presented again only with the same messages and the same
//!   `llmmask`, byte for byte (protocol.md §5).
//! - Nothing leaves before the vault has the token down as presented, on disk.
//! - A call runs in a task of its own: a caller that goes away stops nothing, and loses nothing.
//! - What a maybe-spent token brings is shown only if it was provably made for this call.
//! - What leaves is built from model and messages alone, and is the same whoever asked.
//!
//! Deliberately absent: any knowledge of the local client, of accounts, and of how a stream reaches the
//! backend.

mod afford;
mod asking;
mod call;
mod delivery;
mod error;
mod exchange;
mod lapses;
mod outcome;
mod parking;
pub mod record;
mod request;
mod route;
mod share;
mod shared;
mod upstream;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::oneshot;

pub use asking::{Asking, Attempt};
pub use delivery::{Answer, Delivery, Ending};
pub use error::{Phase, RedeemError, RedeemErrorKind, TokenFate, UpstreamReason};
pub use parking::ParkingRules;

use crate::anonymous::transport::Transport;
use crate::clock::SharedClock;
use crate::passage::{Gate, Passage};
use crate::vault::{AbuseRule, CallId, PinnedKeys, RequestDigest, Withdrawals};
use crate::wire::ModelName;
use parking::{Boarding, Hand};
use record::{Begun, Nobody, Observer, Outcome, Trace};
use share::Share;
use shared::{Pins, Shared};

/// What the backend keeps of a call: model and messages, as the bytes that are digested and sent.
pub struct Prompt {
    /// The model that is asked, and whose token pays.
    pub model: ModelName,
    /// A JSON array of protocol.md §4 messages.
    pub messages: Box<RawValue>,
}

/// How long a call may wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For one stream to open.
    pub connect: Duration,
    /// From the first byte sent to the head of the answer.
    pub first_byte: Duration,
    /// For the whole call, its repeats included.
    pub call: Duration,
    /// Before the second attempt, about; doubles with each.
    pub pause: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            first_byte: Duration::from_secs(300),
            call: Duration::from_secs(590),
            pause: Duration::from_millis(500),
        }
    }
}

impl Deadlines {
    /// Before the attempt of this number, about; from 1, the first repeat.
    fn pause_before(&self, attempt: u32) -> Duration {
        self.pause.saturating_mul(1 << attempt.saturating_sub(1).min(6))
    }
}

/// Powers of two from 4 KiB on, below the backend's limit (protocol.md §4): few sizes for whoever watches.
pub const DEFAULT_PADDING: [usize; 6] = [4096, 8192, 16_384, 32_768, 65_536, 131_072];

/// What a call may cost before it is cut.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest body that the backend accepts, bytes (protocol.md §4).
    pub request: usize,
    /// Largest answer that is read, bytes of the HTTP body.
    pub answer: usize,
    /// How often one token is presented in one call; at least once.
    pub attempts: u32,
    /// The lengths that bodies are padded to, ascending, bytes; above the last one they are padded to `request`.
    /// Empty for no padding.
    pub padding: Arc<[usize]>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { request: 250_000, answer: 64 << 20, attempts: 8, padding: DEFAULT_PADDING.into() }
    }
}

/// How a [`Redeemer`] works.
#[derive(Clone)]
pub struct Settings {
    /// Whether the backend wants abuse tokens, to begin with.
    pub abuse: AbuseRule,
    /// Whose tokens are drawn, to begin with.
    pub keys: Arc<PinnedKeys>,
    /// Tells an answer made in this call from one that the backend kept.
    pub clock: SharedClock,
    /// Time.
    pub deadlines: Deadlines,
    /// Size and number.
    pub limits: Limits,
    /// What is kept for callers that went away.
    pub parking: ParkingRules,
    /// Told of every call that ends.
    pub observer: Arc<dyn Observer>,
    /// Whether calls may leave.
    pub gate: Gate,
}

impl Settings {
    /// The defaults, for a backend with these keys that wants abuse tokens or does not.
    pub fn new(abuse: AbuseRule, keys: PinnedKeys, clock: SharedClock) -> Self {
        Self {
            abuse,
            keys: Arc::new(keys),
            clock,
            deadlines: Deadlines::default(),
            limits: Limits::default(),
            parking: ParkingRules::default(),
            observer: Arc::new(Nobody),
            gate: Gate::default(),
        }
    }
}

/// What [`Redeem::redeem`] returns.
pub type Redemption<'a> = Pin<Box<dyn Future<Output = Result<Delivery, RedeemError>> + Send + 'a>>;

/// What [`Redeem::afford`] returns.
pub type Affording<'a> = Pin<Box<dyn Future<Output = Result<(), RedeemError>> + Send + 'a>>;

/// The seam between the local endpoint and redemption: a prompt in, an answer or a reason out.
pub trait Redeem: Send + Sync + 'static {
    /// Whether calls may leave now; asked before anything is done for one.
    fn admit(&self) -> Result<(), RedeemError> {
        Ok(())
    }

    /// Spends at most one token on `prompt`. Dropping the future does not stop the call: it is parked, and
    /// the next identical prompt adopts it.
    fn redeem(&self, prompt: Prompt, asking: Asking) -> Redemption<'_>;

    /// Whether a call for each of these messages could be paid for now, or is already. Nothing is kept for them: it is asked
    /// so that a request for several answers fails before some of them are paid for.
    fn afford<'a>(
        &'a self,
        model: &'a ModelName,
        messages: &'a [&'a RawValue],
        asking: Asking,
    ) -> Affording<'a> {
        let _ = (model, messages, asking);
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Redeem for Arc<Redeemer> {
    fn admit(&self) -> Result<(), RedeemError> {
        Redeemer::admit(self)
    }

    fn redeem(&self, prompt: Prompt, asking: Asking) -> Redemption<'_> {
        Box::pin(Redeemer::redeem(self, prompt, asking))
    }

    fn afford<'a>(
        &'a self,
        model: &'a ModelName,
        messages: &'a [&'a RawValue],
        asking: Asking,
    ) -> Affording<'a> {
        Box::pin(Redeemer::afford(self, model, messages, asking))
    }
}

/// Redeems tokens at the backend.
pub struct Redeemer {
    shared: Arc<Shared>,
}

impl Redeemer {
    /// Must be called inside a Tokio runtime, on which the calls will run.
    pub fn new(withdrawals: Withdrawals, transport: Arc<dyn Transport>, settings: Settings) -> Arc<Self> {
        Arc::new(Self { shared: Shared::new(withdrawals, transport, settings) })
    }

    /// Whether calls may leave now.
    pub fn admit(&self) -> Result<(), RedeemError> {
        match self.shared.settings.gate.passage() {
            Passage::Open => Ok(()),
            Passage::Paused => Err(RedeemError::new(RedeemErrorKind::Paused, TokenFate::Unspent)),
        }
    }

    /// Spends at most one token on `prompt`, or finishes or shares what an identical prompt began. Dropping the
    /// future does not stop the call: it goes on, and the next identical prompt adopts it.
    pub async fn redeem(self: &Arc<Self>, prompt: Prompt, asking: Asking) -> Result<Delivery, RedeemError> {
        let shared = &self.shared;
        let begun = Begun::now(asking, &prompt.model);
        // Before the question, so that who waits for quiet after closing the gate misses no call.
        let under_way = shared.calls.token();
        if let Err(error) = self.admit() {
            shared.note(begun.end(Outcome::of(&error), &Trace::default(), &shared.settings.clock));
            return Err(error);
        }
        if shared.tasks.is_closed() {
            return Err(RedeemError::new(RedeemErrorKind::ShuttingDown, TokenFate::Unspent));
        }
        if let Err(error) = request::check_size(&prompt, shared.pins().abuse, shared.settings.limits.request)
        {
            shared.note(begun.end(Outcome::of(&error), &Trace::default(), &shared.settings.clock));
            return Err(error);
        }
        let digest = shared.withdrawals.digest(&prompt.model, prompt.messages.get().as_bytes());
        let own = CallId(rand::random());
        let (call, hand, result) = loop {
            match shared.parking.board(digest, asking, own) {
                Boarding::Ended(call, hand, result) => {
                    shared.note(begun.end(Outcome::Shared, &Trace::default(), &shared.settings.clock));
                    return Share::new(Arc::clone(shared), call, hand, result).hand_over();
                }
                Boarding::Joined(call, hand, result) => {
                    shared.note(begun.end(Outcome::Shared, &Trace::default(), &shared.settings.clock));
                    break (call, hand, result);
                }
                Boarding::Begun(hand, result) => {
                    let (under_way, shared) = (under_way.clone(), Arc::clone(shared));
                    drop(self.shared.spawn(async move {
                        let _under_way = under_way;
                        call::run(shared, own, digest, prompt, begun).await;
                    }));
                    break (own, hand, result);
                }
                Boarding::Undecided(decided) => decided.cancelled().await,
            }
        };
        let mut waiting = Waiting { shared: Arc::clone(shared), call, hand, result };
        match (&mut waiting.result).await {
            Ok(share) => share.hand_over(),
            Err(_) => Err(RedeemError::new(RedeemErrorKind::Interrupted, TokenFate::InDoubt)),
        }
    }

    /// Whether a call for each of these messages could be paid for now, or is already: calls that `asking` may
    /// share, answers that wait for somebody, and tokens in doubt about the very request cost nothing more.
    pub async fn afford(
        &self,
        model: &ModelName,
        messages: &[&RawValue],
        asking: Asking,
    ) -> Result<(), RedeemError> {
        self.admit()?;
        let shared = &self.shared;
        let mut wanted: HashMap<RequestDigest, usize> = HashMap::new();
        for messages in messages {
            *wanted.entry(shared.withdrawals.digest(model, messages.get().as_bytes())).or_default() += 1;
        }
        afford::afford(shared, &shared.pins(), model, wanted, asking).await
    }

    /// Other keys are pinned: calls that begin from now on follow them. Those under way, and what is parked for an
    /// identical request, stay as they are.
    pub fn pin(&self, abuse: AbuseRule, keys: PinnedKeys) {
        self.shared.pin(Pins { abuse, keys: Arc::new(keys) });
    }

    /// Returns when no call is under way. What is parked for an identical request does not count: nothing of it leaves.
    pub async fn quiet(&self) {
        self.shared.calls.wait().await;
    }

    /// Ends the calls under way: each says that the same request resumes it, and leaves its token in doubt.
    pub fn give_up(&self) {
        self.shared.stop.cancel();
    }

    /// Takes no new calls, waits for those under way up to `grace`, then leaves the rest in doubt.
    pub async fn drain(&self, grace: Duration) {
        let shared = &self.shared;
        shared.tasks.close();
        shared.parking.close();
        if tokio::time::timeout(grace, shared.tasks.wait()).await.is_err() {
            shared.stop.cancel();
            shared.tasks.wait().await;
        }
    }
}

/// A caller waiting for its call; dropped early, it gives its seat up.
struct Waiting {
    shared: Arc<Shared>,
    call: CallId,
    hand: Hand,
    result: oneshot::Receiver<Share>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // A share that came between the last poll and now is dropped with the channel, and so let go.
        self.shared.parking.leave(self.call, self.hand);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repeats_of_one_call_go_on_for_about_a_minute_and_end_well_before_its_deadline() {
        let (deadlines, limits) = (Deadlines::default(), Limits::default());
        let waited: Duration = (1..limits.attempts).map(|attempt| deadlines.pause_before(attempt)).sum();
        assert!((45..=90).contains(&waited.as_secs()), "{waited:?}");
        assert!(waited * 2 < deadlines.call);
    }
}
