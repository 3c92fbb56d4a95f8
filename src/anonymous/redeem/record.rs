//! What is remembered of finished calls, for the user's own eyes: in memory, bounded, and never content.
//!
//! | kept of a call | not kept |
//! | --- | --- |
//! | when it ended, to the second; how long it took | messages, answer, and their digests |
//! | the API that was spoken, the model, the outcome, the attempts | the local client, its headers, its key |
//! | what left, each time: the head as it was written, the number of bytes behind it | the bytes behind it |
//! | the way out, and who shares its circuit | exits, addresses, tokens |
//!
//! The head is not composed for the record: a [`Witness`] stands in the stream and keeps what was really written, up to the
//! empty line. Everything behind that it only counts.
//!
//! Deliberately absent: a file. The record ends with the process.

mod witness;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::asking::Asking;
use super::error::{RedeemError, RedeemErrorKind, TokenFate};
use crate::anonymous::transport::{Departure, Stream};
use crate::clock::{SharedClock, Timestamp};
use crate::wire::ModelName;
use witness::Witness;

/// How many calls are remembered.
const MOST_CALLS: usize = 500;
/// How many sendings of one call are remembered; a call over its limits of attempts and tokens has more at most by count.
const MOST_SENDINGS: usize = 16;
/// Upper ends of the classes of durations, seconds: coarse, because exact durations tell lengths of answers.
pub const DURATION_CLASSES: [u64; 4] = [5, 15, 60, 300];

/// The API that a client spoke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// OpenAI's chat completions.
    #[default]
    Chat,
    /// OpenAI's older completions.
    Completions,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// Ollama's.
    Ollama,
}

/// How a call ended, in classes; the order is that of [`Outcome::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// With an answer.
    Answered,
    /// With the answer of an identical call; nothing left for this one.
    Shared,
    /// The backend's moderation refused the messages; the token is spent.
    Blocked,
    /// The model's provider failed, or what came was unusable; the token is spent.
    ProviderFailed,
    /// Without an answer, and the token waits for the same request.
    InDoubt,
    /// There was no token to pay with.
    NoToken,
    /// No way out was open; nothing left.
    NoWayOut,
    /// Refused, here or by the backend, before anything was spent.
    Refused,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Answered,
        Self::Shared,
        Self::Blocked,
        Self::ProviderFailed,
        Self::InDoubt,
        Self::NoToken,
        Self::NoWayOut,
        Self::Refused,
    ];

    /// The class of a failure.
    pub fn of(error: &RedeemError) -> Self {
        use RedeemErrorKind as Kind;
        match (error.kind(), error.token()) {
            (_, TokenFate::InDoubt) => Self::InDoubt,
            (Kind::Blocked { .. }, _) => Self::Blocked,
            (_, TokenFate::Spent) => Self::ProviderFailed,
            (Kind::OutOfTokens { .. } | Kind::AbuseTokensMissing, _) => Self::NoToken,
            (
                Kind::TransportNotReady { .. }
                | Kind::Unreachable
                | Kind::CertificateRefused
                | Kind::ProxyNotTor,
                _,
            ) => Self::NoWayOut,
            (_, TokenFate::Unspent) => Self::Refused,
        }
    }

    fn index(self) -> usize {
        Self::ALL.iter().position(|outcome| *outcome == self).unwrap_or(0)
    }
}

/// What left this machine in one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// The request line and the header lines, as written; `None` if the stream took less than them.
    pub head: Option<Arc<str>>,
    /// How many bytes followed: the body, with its padding.
    pub body: u64,
    /// How it left.
    pub departure: Departure,
}

/// One finished call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// When it ended.
    pub ended: Timestamp,
    /// What was spoken.
    pub api: Api,
    /// The model.
    pub model: ModelName,
    /// From its beginning to its end.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// How often something left; more than there are `sendings` if these are too many to remember.
    pub attempts: u32,
    /// What left, in order.
    pub sendings: Vec<Sending>,
}

/// Told of every call when it has ended.
pub trait Observer: Send + Sync + 'static {
    /// A call has ended. Must not block.
    fn ended(&self, call: CallRecord);
}

/// Looks away.
pub struct Nobody;

impl Observer for Nobody {
    fn ended(&self, _call: CallRecord) {}
}

/// What left for one call so far.
#[derive(Default)]
pub(super) struct Trace(Mutex<Traced>);

#[derive(Default)]
struct Traced {
    attempts: u32,
    sendings: Vec<Sending>,
}

impl Trace {
    /// Something left.
    pub(super) fn add(&self, sending: Sending) {
        let mut traced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        traced.attempts = traced.attempts.saturating_add(1);
        if traced.sendings.len() < MOST_SENDINGS {
            traced.sendings.push(sending);
        }
    }

    /// All that left.
    pub(super) fn take(&self) -> (u32, Vec<Sending>) {
        let traced = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        (traced.attempts, traced.sendings)
    }
}

/// Adds to a trace what leaves on one stream, when that is over: also if it is cut short.
pub(super) struct Watch<'a> {
    trace: &'a Trace,
    departure: Departure,
    witness: Witness,
}

impl<'a> Watch<'a> {
    pub(super) fn new(trace: &'a Trace, departure: Departure) -> Self {
        Self { trace, departure, witness: Witness::default() }
    }

    /// `stream`, seen.
    pub(super) fn over(&self, stream: Box<dyn Stream>) -> Box<dyn Stream> {
        self.witness.watch(stream)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(sending) = self.witness.testify(self.departure) {
            self.trace.add(sending);
        }
    }
}

/// A call that has begun, as far as the record is concerned.
pub(super) struct Begun {
    api: Api,
    model: ModelName,
    at: Instant,
}

impl Begun {
    pub(super) fn now(asking: Asking, model: &ModelName) -> Self {
        Self { api: asking.api(), model: model.clone(), at: Instant::now() }
    }

    /// It ends now.
    pub(super) fn end(&self, outcome: Outcome, trace: &Trace, clock: &SharedClock) -> CallRecord {
        let (attempts, sendings) = trace.take();
        CallRecord {
            ended: clock.now(),
            api: self.api,
            model: self.model.clone(),
            took: self.at.elapsed(),
            outcome,
            attempts,
            sendings,
        }
    }
}

/// The last calls, and counts of all.
#[derive(Default)]
pub struct CallLog(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    calls: VecDeque<CallRecord>,
    counts: Counts,
}

/// How many calls there were since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    outcomes: [u64; Outcome::ALL.len()],
    /// Of calls that were answered: per class of [`DURATION_CLASSES`], and the rest.
    durations: [u64; DURATION_CLASSES.len() + 1],
}

impl CallLog {
    /// The last calls, the newest first.
    pub fn latest(&self) -> Vec<CallRecord> {
        self.kept().calls.iter().rev().cloned().collect()
    }

    /// Counts of all calls, those that are forgotten included.
    pub fn counts(&self) -> Counts {
        self.kept().counts.clone()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for CallLog {
    fn ended(&self, call: CallRecord) {
        let mut kept = self.kept();
        kept.counts.add(&call);
        if kept.calls.len() >= MOST_CALLS {
            kept.calls.pop_front();
        }
        kept.calls.push_back(call);
    }
}

impl Counts {
    /// Calls that ended so.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome.index()]
    }

    /// Answered calls that took at most as long as each of [`DURATION_CLASSES`] and longer than the class before; then the
    /// rest.
    pub fn durations(&self) -> &[u64] {
        &self.durations
    }

    fn add(&mut self, call: &CallRecord) {
        self.outcomes[call.outcome.index()] += 1;
        if call.outcome == Outcome::Answered {
            let class = DURATION_CLASSES.iter().position(|end| call.took <= Duration::from_secs(*end));
            self.durations[class.unwrap_or(DURATION_CLASSES.len())] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::anonymous::transport::{Company, Way};

    fn call(number: i64, outcome: Outcome, seconds: u64) -> CallRecord {
        CallRecord {
            ended: Timestamp::from_unix(number),
            api: Api::Chat,
            model: ModelName::new("gpt-4.1").unwrap(),
            took: Duration::from_secs(seconds),
            outcome,
            attempts: 1,
            sendings: Vec::new(),
        }
    }

    #[test]
    fn the_oldest_calls_are_forgotten_and_still_counted() {
        let log = CallLog::default();
        for number in 0..600 {
            log.ended(call(number, Outcome::Answered, 1));
        }
        let latest = log.latest();
        assert_eq!((latest.len(), latest[0].ended, latest[499].ended), {
            (MOST_CALLS, Timestamp::from_unix(599), Timestamp::from_unix(100))
        });
        assert_eq!(log.counts().of(Outcome::Answered), 600);
    }

    #[test]
    fn a_failure_is_told_by_what_became_of_the_token_first() {
        use RedeemErrorKind as Kind;
        let of = |kind, token| Outcome::of(&RedeemError::new(kind, token));
        let model = ModelName::new("gpt-4.1").unwrap();
        for (kind, token, outcome) in [
            (Kind::OutOfTokens { model, maturing: None }, TokenFate::Unspent, Outcome::NoToken),
            (Kind::AbuseTokensMissing, TokenFate::Unspent, Outcome::NoToken),
            (Kind::Unreachable, TokenFate::Unspent, Outcome::NoWayOut),
            (Kind::Unreachable, TokenFate::InDoubt, Outcome::InDoubt),
            (Kind::Blocked { categories: Vec::new() }, TokenFate::Spent, Outcome::Blocked),
            (Kind::AnswerUnreadable, TokenFate::Spent, Outcome::ProviderFailed),
            (Kind::TooLarge { limit: None }, TokenFate::Unspent, Outcome::Refused),
            (Kind::ConnectionLost, TokenFate::InDoubt, Outcome::InDoubt),
        ] {
            assert_eq!(of(kind.clone(), token), outcome, "{kind:?}");
        }
    }

    #[test]
    fn a_call_of_very_many_attempts_is_counted_and_not_kept_whole() {
        let trace = Trace::default();
        let departure = Departure { way: Way::Tor, company: Company::Nobody };
        for _ in 0..100 {
            trace.add(Sending { head: None, body: 4096, departure });
        }
        let (attempts, sendings) = trace.take();
        assert_eq!((attempts, sendings.len()), (100, MOST_SENDINGS));
    }

    proptest! {
        #[test]
        fn every_call_is_in_one_class(ends in prop::collection::vec((0..8usize, 0u64..1000), 0..200)) {
            let log = CallLog::default();
            for (outcome, seconds) in &ends {
                log.ended(call(0, Outcome::ALL[*outcome], *seconds));
            }
            let counts = log.counts();
            prop_assert_eq!(Outcome::ALL.iter().map(|o| counts.of(*o)).sum::<u64>(), ends.len() as u64);
            prop_assert_eq!(counts.durations().iter().sum::<u64>(), counts.of(Outcome::Answered));
        }
    }
}
