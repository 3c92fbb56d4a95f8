//! The course of one call, from no token to what became of it.
//!
//! | step | the token is | if the process dies here |
//! | --- | --- | --- |
//! | resume | presented again, same bytes | in doubt, as before |
//! | reserve | reserved | back in the stock |
//! | open a stream | reserved | back in the stock: no byte has left |
//! | present | presented, on disk | in doubt |
//! | exchange, judge | presented | in doubt |
//! | repeat after silence | presented | in doubt |
//! | land | spent and claimed, or already returned, wiped, set aside, in doubt | in doubt; the backend replays |
//!
//! The stream is opened before the token is presented, so that a way out that is down costs nothing.
//! A token whose signature is refused is held, presented, until another token of the same key was judged. Accepted: the
//! first is at fault, and set aside. Refused as well, or nothing learnt (no other token, no answer): the backend's key may
//! be the wrong one, and a stock must not be lost to that; both go back, and the caller is told to compare keys.
//! A crash in between leaves them in doubt.
//!
//! A dropped call (the grace period is over) leaves the token to the vault's guards: a reserved one is released,
//! a presented one is in doubt.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{Instant, timeout};

use super::Prompt;
use super::delivery::Answer;
use super::error::{RedeemError, RedeemErrorKind, TokenFate};
use super::exchange::{self, Bounds};
use super::lapses::{Lapses, Onward};
use super::outcome::{self, Lapse, Past, Trail, Verdict, Window};
use super::parking::{Basis, Claim, Landing};
use super::record::{Begun, Outcome, Trace, Watch};
use super::request;
use super::route::Route;
use super::shared::{Pins, Shared};
use crate::anonymous::transport::{Conversation, Exit, Opened, TransportError, TransportErrorKind, Wish};
use crate::blind::Fingerprint;
use crate::failpoint::{Point, at};
use crate::passage::Passage;
use crate::vault::{CallId, Doubt, Presented, RequestDigest, Reserved, Shortage, Trust, VaultError};
use crate::wire::ModelName;

/// How often a way out is looked for before anything has left: the caller can ask again for nothing.
const MOST_OPENINGS: u32 = 5;
/// The longest pause between two attempts, whatever a `Retry-After` asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Runs a call to its end and lands it.
pub(super) async fn run(
    shared: Arc<Shared>,
    call: CallId,
    digest: RequestDigest,
    prompt: Prompt,
    begun: Begun,
) {
    let seat = Seat { shared: &shared, call };
    let deadline = Instant::now() + shared.settings.deadlines.call;
    let pins = shared.pins();
    let conversation = shared.conversations.of(&prompt);
    let trace = Trace::default();
    let course = Course {
        shared: &shared,
        pins: &pins,
        call,
        digest,
        prompt: &prompt,
        deadline,
        conversation,
        trace: &trace,
    };
    let (result, spent) = tokio::select! {
        biased;
        end = course.run() => end,
        () = shared.stop.cancelled() => {
            (Err(RedeemError::new(RedeemErrorKind::ShuttingDown, TokenFate::InDoubt)), None)
        }
    };
    let outcome = result.as_ref().map_or_else(Outcome::of, |_| Outcome::Answered);
    shared.note(begun.end(outcome, &trace, &shared.settings.clock));
    at(Point::Landing);
    shared.land(Landing { claim: Claim { call, digest, spent }, result: result.map(Arc::new) });
    drop(seat);
}

/// Frees the call's seat even if its task dies.
struct Seat<'a> {
    shared: &'a Shared,
    call: CallId,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.shared.parking.forget(self.call);
    }
}

/// A result, and the token that is spent for it and not yet settled.
type End = (Result<Answer, RedeemError>, Option<Box<Presented>>);

/// A token in this call's hands.
enum Held {
    Reserved(Reserved),
    Presented(Presented),
}

/// What became of one token.
enum Step {
    End(End),
    /// It was long spent and is wiped, or may have been.
    Lapsed(Lapse),
    /// Its signature was refused on a clean trail. The verdict on another says what becomes of it.
    Refused(Box<Presented>, RedeemErrorKind),
    /// Still in doubt, and not to be had out of it now.
    Barred(Box<Presented>, RedeemErrorKind),
}

/// Whether the backend is known to accept signatures of the pinned key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signatures {
    Accepted,
    Untold,
}

/// How soon the next attempt may be.
enum Pace {
    /// It goes another way.
    Now,
    /// As whoever failed asked for, or longer.
    After(Duration),
}

struct Course<'a> {
    shared: &'a Shared,
    pins: &'a Pins,
    call: CallId,
    digest: RequestDigest,
    prompt: &'a Prompt,
    deadline: Instant,
    conversation: Option<Conversation>,
    trace: &'a Trace,
}

impl Course<'_> {
    async fn run(&self) -> End {
        // Held to the end, so that this call does not find them in doubt again.
        let mut barred = Vec::new();
        let end = self.pay(&mut barred).await;
        for presented in barred {
            note(self.shared.withdrawals.doubt(presented, Doubt::Unknown).await);
        }
        end
    }

    async fn pay(&self, barred: &mut Vec<Presented>) -> End {
        let (mut lapses, mut trust) = (Lapses::default(), Trust::Any);
        // Why nothing of what came for the last token is shown.
        let mut lost: Option<RedeemErrorKind> = None;
        // What the backend said of the last token that is held in `barred`.
        let mut bar: Option<RedeemErrorKind> = None;
        // Refused as invalid, and held until another token of the key tells which of the two is at fault.
        let mut suspect: Option<(Box<Presented>, RedeemErrorKind)> = None;
        let mut next = self.first().await;
        loop {
            let held = match next {
                Ok(held) => held,
                Err(error) => {
                    // That the backend refused the last one says more than that there is no other.
                    let only_uncertain = matches!(error.kind(), RedeemErrorKind::OnlyUncertain { .. });
                    return failed(match (suspect, bar, lost) {
                        (Some((presented, kind)), ..) => self.acquit(presented, kind).await,
                        (None, Some(kind), _) => RedeemError::new(kind, TokenFate::InDoubt),
                        // That they are there and not drawn says less than what came of those that were.
                        (None, None, Some(kind)) if only_uncertain => {
                            RedeemError::new(kind, TokenFate::Spent)
                        }
                        (None, None, _) => error,
                    });
                }
            };
            let mut signatures = Signatures::Untold;
            let step = self.spend(held, &mut signatures).await;
            if signatures == Signatures::Accepted
                && let Some((presented, _)) = suspect.take()
            {
                tracing::error!(
                    model = %self.prompt.model,
                    "the backend does not accept a token's signature, though it accepts another's; the token is set aside"
                );
                note(self.shared.withdrawals.set_aside(*presented).await);
            }
            match step {
                Step::End(end) => {
                    if let Some((presented, kind)) = suspect {
                        self.acquit(presented, kind).await;
                    }
                    return end;
                }
                Step::Lapsed(lapse) => {
                    let kind = lapse.kind(&self.prompt.model);
                    let onward = self.look_on(lapses.count(lapse)).await;
                    if onward.is_none() || Instant::now() >= self.deadline {
                        if let Some((presented, kind)) = suspect {
                            self.acquit(presented, kind).await;
                        }
                        return failed(RedeemError::new(kind, TokenFate::Spent));
                    }
                    trust = onward.unwrap_or(trust);
                    lost = Some(kind);
                }
                Step::Refused(presented, kind) => match suspect.take() {
                    None if Instant::now() < self.deadline => suspect = Some((presented, kind)),
                    first => {
                        if let Some((presented, kind)) = first {
                            self.acquit(presented, kind).await;
                        }
                        return failed(self.acquit(presented, kind).await);
                    }
                },
                Step::Barred(presented, kind) => {
                    barred.push(*presented);
                    if Instant::now() >= self.deadline {
                        return failed(RedeemError::new(kind, TokenFate::InDoubt));
                    }
                    bar = Some(kind);
                    // There may be another in doubt about this request.
                    next = self.first().await;
                    continue;
                }
            }
            next = self.reserve(trust).await.map(Held::Reserved);
            if next.is_ok() {
                // Whatever it began with: from here on it is a call like any other.
                self.shared.parking.decide(self.call, Basis::Fresh);
            }
        }
    }

    /// The token in doubt about this request, if there is one, else a fresh one.
    async fn first(&self) -> Result<Held, RedeemError> {
        let held = self.resume_or_reserve().await?;
        let basis = match held {
            Held::Reserved(_) => Basis::Fresh,
            Held::Presented(_) => Basis::Resumed,
        };
        self.shared.parking.decide(self.call, basis);
        Ok(held)
    }

    async fn resume_or_reserve(&self) -> Result<Held, RedeemError> {
        let (vault, abuse) = (&self.shared.withdrawals, self.pins.abuse);
        let (model, key) = (&self.prompt.model, self.key()?);
        let drawn = vault.reserve_unless_in_doubt(self.call, self.digest, model, key, abuse).await;
        if let Some(reserved) = drawn.map_err(|error| vault_error(error, TokenFate::Unspent))? {
            return Ok(Held::Reserved(reserved));
        }
        match vault.resume(self.call, self.digest).await {
            Ok(Some(presented)) => Ok(Held::Presented(presented)),
            // Another call was faster, or the record is damaged.
            Ok(None) => self.reserve(Trust::Any).await.map(Held::Reserved),
            Err(error) => Err(vault_error(error, TokenFate::Unspent)),
        }
    }

    /// Which tokens may be drawn next, if any.
    async fn look_on(&self, onward: Onward) -> Option<Trust> {
        if matches!(onward, Onward::CertainFromNowOn | Onward::EndAndCertainFromNowOn) {
            let model = &self.prompt.model;
            tracing::warn!(
                %model,
                "what the backend's answers say of their time cannot be relied on, so tokens that may be spent are not drawn"
            );
            if let Err(error) = self.shared.withdrawals.trust_times(model, Trust::Certain).await {
                tracing::error!(%error, "that could not be kept");
            }
        }
        match onward {
            Onward::Another(trust) => Some(trust),
            Onward::CertainFromNowOn => Some(Trust::Certain),
            Onward::End | Onward::EndAndCertainFromNowOn => None,
        }
    }

    async fn reserve(&self, trust: Trust) -> Result<Reserved, RedeemError> {
        let (model, abuse) = (&self.prompt.model, self.pins.abuse);
        let vault = &self.shared.withdrawals;
        let drawn = vault.reserve_trusting(self.call, model, self.key()?, abuse, trust).await;
        drawn.map_err(|error| vault_error(error, TokenFate::Unspent))
    }

    fn key(&self) -> Result<Fingerprint, RedeemError> {
        key(self.pins, &self.prompt.model)
    }

    /// Nothing shows that the refused token rather than the backend's key is at fault: it goes back to the stock.
    async fn acquit(&self, presented: Box<Presented>, kind: RedeemErrorKind) -> RedeemError {
        tracing::error!(
            model = %self.prompt.model,
            "the backend does not accept a token's signature: its key is not the pinned one; the token is kept"
        );
        RedeemError::new(kind, self.return_unspent(*presented).await)
    }

    /// Presents one token until something is known of it.
    async fn spend(&self, mut held: Held, signatures: &mut Signatures) -> Step {
        let resumed = matches!(held, Held::Presented(_));
        let mut trail = if resumed { Trail::Silent } else { Trail::Clean };
        let mut last = RedeemErrorKind::Unreachable;
        let mut pause = None;
        // Each attempt goes another way: an exit that failed this call is not asked again.
        let mut route = Route::new(self.conversation);
        let drawn = Instant::now();
        for attempt in 0..self.shared.settings.limits.attempts.max(1) {
            let is_hopeless = attempt >= MOST_OPENINGS && matches!(held, Held::Reserved(_));
            if is_hopeless || (attempt > 0 && !self.wait(attempt, pause.take()).await) {
                break;
            }
            let wish = route.wish();
            let departure = self.shared.transport.departure(&wish);
            let Opened { stream, exit } = match self.open_unless_paused(wish).await {
                Some(Ok(opened)) => opened,
                None => return self.give_up(held, trail, RedeemErrorKind::Paused).await,
                Some(Err(error)) => match error.kind() {
                    // Waiting is the client's business: it may be minutes.
                    TransportErrorKind::NotReady(reason) => {
                        let retry_after = error.retry_hint();
                        let kind = RedeemErrorKind::TransportNotReady { reason, retry_after };
                        return self.give_up(held, trail, kind).await;
                    }
                    TransportErrorKind::NotTor => {
                        return self.give_up(held, trail, RedeemErrorKind::ProxyNotTor).await;
                    }
                    TransportErrorKind::NotLoopback => {
                        return self.give_up(held, trail, RedeemErrorKind::Unreachable).await;
                    }
                    TransportErrorKind::Certificate => {
                        route.distrust(error.exit());
                        if route.distrusts() {
                            return self.give_up(held, trail, RedeemErrorKind::CertificateRefused).await;
                        }
                        // There may be no second exit to ask.
                        last = RedeemErrorKind::CertificateRefused;
                        pause = Some(Pace::Now);
                        continue;
                    }
                    TransportErrorKind::Refused
                    | TransportErrorKind::Timeout
                    | TransportErrorKind::Connect => {
                        route.failed(error.exit());
                        pause = error.retry_hint().map(Pace::After);
                        continue;
                    }
                },
            };
            at(Point::StreamOpened);
            let presented = match self.present(held).await {
                Ok(presented) => presented,
                Err(error) => return Step::End(failed(error)),
            };
            // What was begun ends; but of this attempt not a byte has left.
            if self.is_paused() {
                return self.give_up(Held::Presented(presented), trail, RedeemErrorKind::Paused).await;
            }
            let limits = &self.shared.settings.limits;
            let body = request::body(self.prompt, presented.llmmask(), limits.request, &limits.padding);
            let body = match body {
                Ok(body) => body,
                Err(error) => {
                    return self.give_up(Held::Presented(presented), trail, error.kind().clone()).await;
                }
            };
            let authority = self.shared.transport.authority();
            let watch = Watch::new(self.trace, departure);
            let reply = exchange::exchange(watch.over(stream), authority, body, self.bounds()).await;
            drop(watch);
            at(Point::Answered);
            let told = reply.as_ref().ok().and_then(|reply| reply.date);
            let by_us = || Window::by_us(presented.drawn(), self.shared.settings.clock.now());
            let window = told.map_or_else(by_us, |told| Window::by_backend(told, drawn.elapsed()));
            let outcome = outcome::read_aside(reply, &self.prompt.model).await;
            if outcome.accepts_signature() {
                *signatures = Signatures::Accepted;
            }
            let past = Past { trail, history: presented.history(), resumed, window };
            self.learn(&presented, &outcome, past).await;
            match outcome.judge(past, &self.prompt.model) {
                Verdict::Repeat(kind, hint) => {
                    at(Point::Repeating);
                    tracing::debug!(attempt, "no usable answer; the token's state is unknown");
                    trail = Trail::Silent;
                    last = kind;
                    pause = pace(attempt, hint, exit);
                    route.failed(exit);
                    held = Held::Presented(presented);
                }
                Verdict::Await(kind, hint) => {
                    tracing::debug!(attempt, "the backend takes no more requests for now");
                    last = kind;
                    pause = pace(attempt, hint, exit);
                    route.failed(exit);
                    held = Held::Presented(presented);
                }
                verdict => return self.carry_out(verdict, presented, trail).await,
            }
        }
        self.give_up(held, trail, last).await
    }

    /// What an answer to a certain token says of its time may make the uncertain ones worth something again.
    async fn learn(&self, presented: &Presented, outcome: &outcome::Outcome, past: Past) {
        if presented.trust() == Trust::Certain && outcome.is_in_time(past) {
            note(self.shared.withdrawals.trust_times(&self.prompt.model, Trust::Any).await);
        }
    }

    /// Does to the token what the verdict says.
    async fn carry_out(&self, verdict: Verdict, presented: Presented, trail: Trail) -> Step {
        let vault = &self.shared.withdrawals;
        match verdict {
            Verdict::Deliver(answer) => Step::End((Ok(answer), Some(Box::new(presented)))),
            Verdict::Fail(kind) => {
                Step::End((Err(RedeemError::new(kind, TokenFate::Spent)), Some(Box::new(presented))))
            }
            Verdict::Wipe(kind) => {
                note(vault.settle(presented).await);
                Step::End(failed(RedeemError::new(kind, TokenFate::Spent)))
            }
            Verdict::WipeAndTakeAnother(lapse) => {
                note(vault.settle(presented).await);
                Step::Lapsed(lapse)
            }
            Verdict::Refused(kind) => Step::Refused(Box::new(presented), kind),
            Verdict::DoubtAndTakeAnother(kind) => Step::Barred(Box::new(presented), kind),
            Verdict::Return(kind) => self.give_up(Held::Presented(presented), trail, kind).await,
            // The last two are carried out where there are attempts left.
            Verdict::Doubt(kind) | Verdict::Repeat(kind, _) | Verdict::Await(kind, _) => {
                self.give_up(Held::Presented(presented), Trail::Silent, kind).await
            }
        }
    }

    async fn return_unspent(&self, presented: Presented) -> TokenFate {
        match self.shared.withdrawals.return_unspent(presented).await {
            Ok(()) => TokenFate::Unspent,
            // Its guard leaves it in doubt.
            Err(error) => {
                note(Err(error));
                TokenFate::InDoubt
            }
        }
    }

    /// Ends the call with what is known of the token: on a clean trail it is not spent.
    async fn give_up(&self, held: Held, trail: Trail, kind: RedeemErrorKind) -> Step {
        let vault = &self.shared.withdrawals;
        let fate = match held {
            Held::Reserved(reserved) => {
                note(vault.release(reserved).await);
                TokenFate::Unspent
            }
            Held::Presented(presented) if trail == Trail::Clean => self.return_unspent(presented).await,
            Held::Presented(presented) => {
                note(vault.doubt(presented, Doubt::Unknown).await);
                TokenFate::InDoubt
            }
        };
        Step::End(failed(RedeemError::new(kind, fate)))
    }

    /// Durable before the first byte.
    async fn present(&self, held: Held) -> Result<Presented, RedeemError> {
        match held {
            Held::Presented(presented) => Ok(presented),
            Held::Reserved(reserved) => {
                let presented = self.shared.withdrawals.present(reserved, self.digest).await;
                presented.map_err(|error| vault_error(error, TokenFate::Unspent))
            }
        }
    }

    fn is_paused(&self) -> bool {
        self.shared.settings.gate.passage() == Passage::Paused
    }

    /// `None` once nothing may leave: what is being dialled is called off.
    async fn open_unless_paused(&self, wish: Wish) -> Option<Result<Opened, TransportError>> {
        tokio::select! {
            biased;
            () = self.shared.settings.gate.shut() => None,
            opened = self.open(wish) => Some(opened),
        }
    }

    async fn open(&self, wish: Wish) -> Result<Opened, TransportError> {
        let transport = &self.shared.transport;
        let late = |_| Err(TransportError::new(TransportErrorKind::Timeout));
        timeout(self.remaining(), transport.ready()).await.unwrap_or_else(late)?;
        let patience = self.shared.settings.deadlines.connect.min(self.remaining());
        match timeout(patience, transport.open(wish)).await {
            Ok(opened) => opened,
            Err(_) => Err(TransportError::new(TransportErrorKind::Timeout)),
        }
    }

    fn bounds(&self) -> Bounds {
        let head_by = Instant::now() + self.shared.settings.deadlines.first_byte;
        Bounds {
            head_by: head_by.min(self.deadline),
            whole_by: self.deadline,
            answer: self.shared.settings.limits.answer,
        }
    }

    /// Waits before the next attempt, or until the user pauses; false if there is no time left for one.
    async fn wait(&self, attempt: u32, pace: Option<Pace>) -> bool {
        let hint = match pace {
            Some(Pace::Now) => return !self.remaining().is_zero(),
            Some(Pace::After(hint)) => hint,
            None => Duration::ZERO,
        };
        // Jitter, so that calls that failed together do not come back together.
        let jittered =
            self.shared.settings.deadlines.pause_before(attempt).mul_f64(rand::rng().random_range(0.5..1.5));
        let pause = hint.max(jittered).min(LONGEST_PAUSE);
        if pause >= self.remaining() {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.shared.settings.gate.shut() => {}
        }
        true
    }

    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// The pinned key, without which no token of `model` is drawn.
pub(super) fn key(pins: &Pins, model: &ModelName) -> Result<Fingerprint, RedeemError> {
    pins.keys.get(model).copied().ok_or_else(|| {
        let kind = RedeemErrorKind::OutOfTokens { model: model.clone(), maturing: None };
        RedeemError::new(kind, TokenFate::Unspent)
    })
}

/// How soon after an attempt without an answer the next may be.
fn pace(attempt: u32, hint: Option<Duration>, exit: Option<Exit>) -> Option<Pace> {
    match (hint, exit) {
        (Some(hint), _) => Some(Pace::After(hint)),
        // It may have been the exit, and another answers at once. If that one does not either, it is the backend, and
        // that takes time.
        (None, Some(_)) if attempt == 0 => Some(Pace::Now),
        (None, _) => None,
    }
}

fn failed(error: RedeemError) -> End {
    (Err(error), None)
}

/// The token's guard does what is safe; this only says so.
pub(super) fn note(result: Result<(), VaultError>) {
    if let Err(error) = result {
        tracing::error!(%error, "the vault could not take a token back; it is kept in doubt");
    }
}

pub(super) fn vault_error(error: VaultError, fate: TokenFate) -> RedeemError {
    let kind = match error {
        VaultError::OutOfTokens { model, shortage: Shortage::Uncertain } => {
            RedeemErrorKind::OnlyUncertain { model }
        }
        VaultError::OutOfTokens { model, shortage } => RedeemErrorKind::OutOfTokens {
            model,
            maturing: match shortage {
                Shortage::Empty | Shortage::Uncertain => None,
                Shortage::Maturing { next } => Some(next),
            },
        },
        VaultError::NoAbuseTokens => RedeemErrorKind::AbuseTokensMissing,
        VaultError::Closed => RedeemErrorKind::ShuttingDown,
        paused @ (VaultError::NotTakenOver | VaultError::Retired) => {
            RedeemErrorKind::VaultPaused { message: paused.to_string() }
        }
        other => RedeemErrorKind::Vault { message: other.to_string() },
    };
    RedeemError::new(kind, fate)
}
