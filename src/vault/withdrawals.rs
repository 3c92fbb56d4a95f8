//! The anonymous plane's capability: it draws a token for one call and says what became of it.
//!
//! [`Reserved`] and [`Presented`] are held by exactly one call and are consumed by the verb that ends
//! them, so a token cannot be settled twice or presented after its release. If one is dropped without a word
//! (a cancelled future, a verb that failed), it says farewell to the vault thread: a `Reserved` becomes
//! Available, a `Presented` InDoubt. A `Presented` whose caller went away before getting it was sent
//! nowhere, and becomes what it was before.

use zeroize::Zeroize as _;

use super::books::Books;
use super::sealing::Digester;
use super::thread::{Durability, Mailbox};
use super::{AbuseRule, CallId, Doubt, History, RequestDigest, Trust, VaultError};
use crate::blind::Fingerprint;
use crate::clock::Timestamp;
use crate::failpoint::{Point, at};
use crate::wire::ModelName;
use crate::wire::redemption::LlmMask;

/// The anonymous plane's capability.
#[derive(Clone)]
pub struct Withdrawals {
    mailbox: Mailbox,
    digester: Digester,
}

/// Drawn for one call; nothing sent. Dropping it without a word releases it.
pub struct Reserved {
    guard: Guard,
    rule: AbuseRule,
    drawn: Timestamp,
    trust: Trust,
}

/// The first byte may leave. Holds the exact `llmmask`. Dropping it without a word leaves it in doubt.
pub struct Presented {
    guard: Guard,
    payment: Payment,
    history: History,
    attempt: Attempt,
    drawn: Timestamp,
    trust: Trust,
}

/// Whether an attempt with this token ended without an answer before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Resumed,
}

/// An `llmmask`, wiped on drop.
pub(super) struct Payment(pub(super) LlmMask);

impl Drop for Payment {
    fn drop(&mut self) {
        let mask = &mut self.0;
        mask.token.0.zeroize();
        mask.signed_token.0.zeroize();
        for part in [
            &mut mask.permanent_abuse_token,
            &mut mask.permanent_abuse_token_sig,
            &mut mask.transient_abuse_token,
            &mut mask.transient_abuse_token_sig,
        ]
        .into_iter()
        .flatten()
        {
            part.0.zeroize();
        }
    }
}

/// Which row is held, and for which call.
#[derive(Clone)]
pub(super) struct Grip {
    pub(super) id: i64,
    pub(super) model: ModelName,
    pub(super) call: CallId,
}

/// What to do about a token whose holder is gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LastWord {
    /// Reserved → Available.
    Release,
    /// Presented, but never handed over → what it was before.
    Withdraw,
    /// Presented → InDoubt.
    Doubt,
}

/// A last word on its way to the vault thread.
pub(super) struct Farewell {
    pub(super) grip: Grip,
    pub(super) last_word: LastWord,
}

/// Sends a farewell when dropped, unless the token has left the holder's hands.
struct Guard {
    mailbox: Mailbox,
    grip: Grip,
    last_word: Option<LastWord>,
}

impl Guard {
    fn disarm(&mut self) {
        self.last_word = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(last_word) = self.last_word {
            self.mailbox.farewell(Farewell { grip: self.grip.clone(), last_word });
        }
    }
}

impl Presented {
    /// What the redemption carries; the same bytes at every attempt, even if the abuse tokens were rotated since.
    pub fn llmmask(&self) -> &LlmMask {
        &self.payment.0
    }

    /// Whether the token may have been spent in an earlier life, so that `token expired` means: take another.
    pub fn history(&self) -> History {
        self.history
    }

    /// Which tokens it was drawn from.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// When it was drawn or resumed, by the vault's clock. Of a token that may be spent, an answer from before that is not
    /// this call's.
    pub fn drawn(&self) -> Timestamp {
        self.drawn
    }

    /// Whether an attempt with this token ended without an answer before. Then a "not spent" from the server
    /// proves nothing about that attempt, and [`Withdrawals::return_unspent`] leaves the token in doubt.
    pub fn resumed(&self) -> bool {
        self.attempt == Attempt::Resumed
    }
}

impl Withdrawals {
    pub(super) fn new(mailbox: Mailbox, digester: Digester) -> Self {
        Self { mailbox, digester }
    }

    /// HMAC-SHA256 under the vault's digest key over `model` and `messages`, each with its length in front.
    /// `messages` must be the very bytes that are sent.
    pub fn digest(&self, model: &ModelName, messages: &[u8]) -> RequestDigest {
        self.digester.digest(model, messages)
    }

    /// Available → Reserved: draws one matured token of `model` that `key` signed, uniformly at random. Not
    /// synced: a lost Reserved is Available. [`VaultError::OutOfTokens`], [`VaultError::NoAbuseTokens`]. What was kept of
    /// the model's answers ([`Withdrawals::trust_times`]) may leave only certain
    /// ones.
    pub async fn reserve(
        &self,
        call: CallId,
        model: &ModelName,
        key: Fingerprint,
        abuse: AbuseRule,
    ) -> Result<Reserved, VaultError> {
        self.reserve_trusting(call, model, key, abuse, Trust::Any).await
    }

    /// [`Withdrawals::reserve`], of such tokens as `trust` lets.
    pub async fn reserve_trusting(
        &self,
        call: CallId,
        model: &ModelName,
        key: Fingerprint,
        abuse: AbuseRule,
        trust: Trust,
    ) -> Result<Reserved, VaultError> {
        let draw = self.draw(call, model, key, abuse, trust);
        self.mailbox.call(Durability::Relaxed, draw).await.inspect(|_| at(Point::ReserveCommitted))
    }

    /// [`Withdrawals::reserve`], unless a token is in doubt about this very request: then None, and
    /// [`Withdrawals::resume`] is the verb. One round trip for the common call, which has nothing to resume.
    pub async fn reserve_unless_in_doubt(
        &self,
        call: CallId,
        digest: RequestDigest,
        model: &ModelName,
        key: Fingerprint,
        abuse: AbuseRule,
    ) -> Result<Option<Reserved>, VaultError> {
        let draw = self.draw(call, model, key, abuse, Trust::Any);
        let work = move |books: &mut Books| {
            if books.doubts(digest)? > 0 { Ok(None) } else { draw(books).map(Some) }
        };
        self.mailbox.call(Durability::Relaxed, work).await.inspect(|_| at(Point::ReserveCommitted))
    }

    /// Keeps whether what the answers for `model` say of their time tells an old one from a new one: if not, only certain
    /// tokens are drawn.
    pub async fn trust_times(&self, model: &ModelName, trust: Trust) -> Result<(), VaultError> {
        let model = model.clone();
        self.mailbox.call(Durability::Relaxed, move |books| books.trust_times(&model, trust)).await
    }

    /// How many tokens are in doubt about this very request.
    pub async fn doubts(&self, digest: RequestDigest) -> Result<usize, VaultError> {
        self.mailbox.call(Durability::Relaxed, move |books| books.doubts(digest)).await
    }

    fn draw(
        &self,
        call: CallId,
        model: &ModelName,
        key: Fingerprint,
        rule: AbuseRule,
        trust: Trust,
    ) -> impl FnOnce(&mut Books) -> Result<Reserved, VaultError> + Send + use<> {
        let (mailbox, model) = (self.mailbox.clone(), model.clone());
        move |books: &mut Books| {
            let (id, drawn, trust) = books.reserve(call, &model, key, rule, trust)?;
            at(Point::ReserveWritten);
            let grip = Grip { id, model, call };
            let guard = Guard { mailbox, grip, last_word: Some(LastWord::Release) };
            Ok(Reserved { guard, rule, drawn, trust })
        }
    }

    /// InDoubt with this digest → Presented under `call`, with the same bytes; durable on return. None if there
    /// is none, or if each is in another call's hands. Of several, the one that was presented longest ago.
    pub async fn resume(&self, call: CallId, digest: RequestDigest) -> Result<Option<Presented>, VaultError> {
        let mailbox = self.mailbox.clone();
        let work = move |books: &mut Books| {
            let drawn = books.clock.now();
            Ok(books.resume(call, digest)?.map(|(grip, payment, history)| {
                at(Point::ResumeWritten);
                let guard = Guard { mailbox, grip, last_word: Some(LastWord::Withdraw) };
                Presented { guard, payment, history, attempt: Attempt::Resumed, drawn, trust: Trust::Any }
            }))
        };
        let resumed = self.mailbox.call(Durability::Synced, work).await?;
        Ok(resumed.map(hand_over).inspect(|_| at(Point::ResumeCommitted)))
    }

    /// Reserved → Presented with the abuse tokens held now; durable on return. On an error the token is
    /// released.
    pub async fn present(&self, reserved: Reserved, digest: RequestDigest) -> Result<Presented, VaultError> {
        let work = move |books: &mut Books| {
            let Reserved { mut guard, rule, drawn, trust } = reserved;
            let (payment, history) = books.present(&guard.grip, rule, digest)?;
            at(Point::PresentWritten);
            guard.last_word = Some(LastWord::Withdraw);
            Ok(Presented { guard, payment, history, attempt: Attempt::First, drawn, trust })
        };
        let presented = self.mailbox.call(Durability::Synced, work).await?;
        at(Point::PresentCommitted);
        Ok(hand_over(presented))
    }

    /// Reserved → Available.
    pub async fn release(&self, reserved: Reserved) -> Result<(), VaultError> {
        let work = move |books: &mut Books| {
            books.release(&reserved.guard.grip)?;
            at(Point::ReleaseWritten);
            Ok(reserved)
        };
        self.mailbox.call(Durability::Relaxed, work).await.map(|mut done| {
            at(Point::ReleaseCommitted);
            done.guard.disarm();
        })
    }

    /// Presented → Available: the server said that it is not spent, or no byte left. A resumed one goes
    /// back to InDoubt instead: what was said of this attempt does not settle the one before.
    pub async fn return_unspent(&self, presented: Presented) -> Result<(), VaultError> {
        self.finish(presented, [Point::ReturnWritten, Point::ReturnCommitted], Books::return_unspent).await
    }

    /// Presented → Refused: not this server's signature. Kept aside, never drawn.
    pub async fn set_aside(&self, presented: Presented) -> Result<(), VaultError> {
        self.finish(presented, [Point::SetAsideWritten, Point::SetAsideCommitted], Books::set_aside).await
    }

    /// Presented → InDoubt. Once known to be spent (`Undelivered`), a token stays so.
    pub async fn doubt(&self, presented: Presented, doubt: Doubt) -> Result<(), VaultError> {
        let points = [Point::DoubtWritten, Point::DoubtCommitted];
        self.finish(presented, points, move |books, grip| books.doubt(grip, doubt)).await
    }

    /// Presented → wiped; a counter goes up. Not synced: if a power cut brings the row back, it is in doubt.
    pub async fn settle(&self, presented: Presented) -> Result<(), VaultError> {
        self.finish(presented, [Point::SettleWritten, Point::SettleCommitted], Books::settle).await
    }

    async fn finish(
        &self,
        presented: Presented,
        [written, committed]: [Point; 2],
        verb: impl FnOnce(&mut Books, &Grip) -> Result<(), VaultError> + Send + 'static,
    ) -> Result<(), VaultError> {
        // The guard travels along and is disarmed only after the commit.
        let work = move |books: &mut Books| {
            verb(books, &presented.guard.grip)?;
            at(written);
            Ok(presented)
        };
        self.mailbox.call(Durability::Relaxed, work).await.map(|mut done| {
            at(committed);
            done.guard.disarm();
        })
    }
}

/// From here on the caller may send it.
fn hand_over(mut presented: Presented) -> Presented {
    presented.guard.last_word = Some(LastWord::Doubt);
    presented
}
