//! What came back, what it says of the token, and what follows: the table of protocol.md §5.
//!
//! The backend checks in this order (protocol.md §4): size, JSON, payment complete, model, abuse tokens, token
//! signature, **spent state**, moderation, upstream, store, answer. So a refusal from before the spent
//! state is given to a spent token as well, and one from after it proves that no answer was stored when
//! the backend looked.
//!
//! | outcome | check | first attempt: the token is | after an attempt that ended in silence |
//! | --- | --- | --- | --- |
//! | size limit, incomplete payment, model, abuse tokens, other 4xx | before | unspent: back to the stock | still in doubt: a spent token is refused just so |
//! | abuse tokens, for a token that was in doubt before the call | before | | still in doubt, for it can go only with these; another is tried |
//! | 429, in whatever words | before anything | as it was: the same bytes again, later; unspent at the end | the same; in doubt at the end |
//! | invalid token | before | not spent; another is tried, and what becomes of both is said there (`call`) | still in doubt: the backend's key may have changed since, and changed back the answer is there again |
//! | `token expired` | at | spent, answer gone; another is tried if that was to be expected, else an error | the same |
//! | `cannot reuse` | at | spent; an error | the same |
//! | moderation failed | after | unspent: back to the stock | still in doubt: the earlier copy may yet arrive, and would then be answered and stored |
//! | answer, blocked, provider's error, unreadable content | end | spent | spent |
//! | an empty answer | end | unknown: the same bytes again | spent: it is what the backend stored |
//! | silence, unknown text, a page of something in between | ? | unknown: the same bytes again, then in doubt | the same |
//!
//! A token that was in doubt until its term passed, *maybe spent*, may still have its old answer at the backend: our
//! clock may have jumped, and then the backend's five days are not over. What it brings is believed only if it is
//! provably this call's:
//!
//! | outcome for a maybe-spent token | the token is |
//! | --- | --- |
//! | answer, its `created` within this call (a minute's difference between clocks allowed) | spent; delivered |
//! | answer that is older, and not older than the backend keeps them; `token expired` | wiped without a word; another is tried |
//! | answer that is younger, older than the backend keeps any, or without a time; blocked, provider's error, unreadable content; `cannot reuse` | the same, twice: it may be this call's, and the next would cost as much |
//! | anything else | as above |
//!
//! The clock is the backend's, where its answer has a `Date`, and ours only where it has none: ours may be wrong, and then every
//! answer would cost a token and be thrown away. "This call" begins when the token is drawn, and one that may be spent is drawn only when the clock shows the end of its
//! term at that moment, whatever it showed before. A minute, and not a day: a clock that stood in the past and was put
//! right a moment ago makes an answer of a moment ago lapse. A clock that is wrong now costs such a token, and never
//! shows another prompt's answer.
//!
//! A provider need not say when it made an answer, and its clock may be wrong. Where that was seen, no token that may be
//! spent is drawn any more, because whatever it brought could not be shown ([`lapses`](super::lapses)).
//!
//! Keeping a token in doubt costs at most a delay; giving one back wrongly would let the backend answer a later
//! prompt with this one's answer.

use std::time::Duration;

use super::delivery::Answer;
use super::error::RedeemErrorKind;
use super::exchange::{Reply, Silence};
use super::upstream::{self, Content};
use crate::clock::Timestamp;
use crate::vault::History;
use crate::wire::redemption::ProxyAnswer;
use crate::wire::refusal::{self, Refusal};
use crate::wire::{Base64Bytes, Envelope, Failure, ModelName, lenient};

/// How far that clock and the provider's may differ, seconds.
const CLOCKS_DIFFER: i64 = 60;

/// How old an answer that the backend still has may be, seconds: five days (protocol.md §5), and a day for clocks. What
/// says that it is older says nothing of its time.
const OLDEST_STORED: i64 = 6 * 24 * 3600;

/// Whether an earlier attempt with the token ended without an answer, in this call or before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trail {
    Clean,
    Silent,
}

/// Between these times, by one clock, this call's answer must have been made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    begun: Timestamp,
    now: Timestamp,
}

/// When an answer was made, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    InThisCall,
    /// So many seconds before the call, so the token was spent, if the clock is right.
    Before(i64),
    Unproven,
}

impl Window {
    /// By the backend's clock, which it told (`told`) when the token had been drawn for `elapsed`.
    pub(super) fn by_backend(told: Timestamp, elapsed: Duration) -> Self {
        let elapsed = i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX);
        Self { begun: told.plus_seconds(elapsed.saturating_neg()), now: told }
    }

    /// By ours, which showed `drawn` when the token was drawn.
    pub(super) fn by_us(drawn: Timestamp, now: Timestamp) -> Self {
        Self { begun: drawn, now }
    }

    fn made(self, created: Option<i64>) -> Made {
        let (from, until) = (self.begun.plus_seconds(-CLOCKS_DIFFER), self.now.plus_seconds(CLOCKS_DIFFER));
        match created.map(Timestamp::from_unix) {
            Some(at) if (from..=until).contains(&at) => Made::InThisCall,
            Some(at) if at < from && at >= self.now.plus_seconds(-OLDEST_STORED) => {
                Made::Before(self.begun.unix().saturating_sub(at.unix()))
            }
            _ => Made::Unproven,
        }
    }
}

/// What is known of a token when its outcome is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    pub(super) trail: Trail,
    pub(super) history: History,
    /// Whether the call began with it in doubt.
    pub(super) resumed: bool,
    pub(super) window: Window,
}

/// What one attempt came to.
pub(super) enum Outcome {
    /// With the time at which the provider says that it made it.
    Answered(Answer, Option<i64>),
    Blocked {
        categories: Vec<String>,
    },
    /// The provider's error, or content that is nobody's.
    Spent(RedeemErrorKind),
    /// Refused before the backend looked at the spent state.
    RefusedBefore(RedeemErrorKind),
    /// Refused by a limit on requests, before anything else; for so long, if that was said. Says nothing of the token.
    Limited(RedeemErrorKind, Option<Duration>),
    /// Refused after the backend found it unspent.
    RefusedAfter(RedeemErrorKind),
    InvalidToken,
    Expired,
    CannotReuse,
    /// An answer without a byte. Said once it may be a mishap; said again, it is what was stored.
    Empty,
    /// Unknown, and worth asking again.
    Silent(RedeemErrorKind, Option<Duration>),
    /// Unknown, and asking again would bring the same.
    Hopeless(RedeemErrorKind),
}

/// What follows.
pub(super) enum Verdict {
    /// Spent, and here is what for.
    Deliver(Answer),
    /// Spent; the caller gets an error, which the backend would repeat.
    Fail(RedeemErrorKind),
    /// Spent, and nothing more to be had for it.
    Wipe(RedeemErrorKind),
    /// Spent long ago, as was to be expected, or perhaps in this call, which cannot be proven; another token is taken.
    WipeAndTakeAnother(Lapse),
    /// Not spent, but its signature is not accepted; another token may tell whether it or the key is at fault.
    Refused(RedeemErrorKind),
    /// Back to the stock.
    Return(RedeemErrorKind),
    /// The same token, the same bytes, a fresh stream; after so long, if the backend said so.
    Repeat(RedeemErrorKind, Option<Duration>),
    /// The same, after an attempt that never reached the token: what was known of it holds.
    Await(RedeemErrorKind, Option<Duration>),
    /// In doubt.
    Doubt(RedeemErrorKind),
    /// In doubt, and for a while nothing can be learnt of it; another token is taken.
    DoubtAndTakeAnother(RedeemErrorKind),
}

/// Why what came for a token that may be spent was not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lapse {
    /// The backend says that its answer is gone.
    Expired,
    /// An answer, made so many seconds before the call.
    Older(i64),
    /// An answer that does not say when it was made, as far as that can be believed.
    Undated,
    /// Something else than an answer, which has no time.
    Unproven,
}

impl Lapse {
    /// What the caller is told if no other token is tried.
    pub(super) fn kind(self, model: &ModelName) -> RedeemErrorKind {
        match self {
            Self::Expired => RedeemErrorKind::AnswerLost,
            Self::Older(_) => RedeemErrorKind::AnswerOlder,
            Self::Undated | Self::Unproven => RedeemErrorKind::AnswerUnproven { model: model.clone() },
        }
    }
}

/// Above this many bytes a reply is read on a thread of its own: other calls would wait for this one.
const READ_AT_ONCE: usize = 256 * 1024;

/// [`read`], where it blocks nobody.
pub(super) async fn read_aside(result: Result<Reply, Silence>, model: &ModelName) -> Outcome {
    if !result.as_ref().is_ok_and(|reply| reply.body.len() > READ_AT_ONCE) {
        return read(result, model);
    }
    let model = model.clone();
    let read = tokio::task::spawn_blocking(move || read(result, &model));
    read.await.unwrap_or(Outcome::Hopeless(RedeemErrorKind::BackendGarbled))
}

/// Reads one attempt's result.
pub(super) fn read(result: Result<Reply, Silence>, model: &ModelName) -> Outcome {
    match result {
        Ok(reply) if reply.status == 200 => read_success(&reply.body),
        Ok(reply) => read_failure(&reply, model),
        Err(Silence::Timeout(phase)) => Outcome::Silent(RedeemErrorKind::TimedOut { phase }, None),
        Err(Silence::Cut) => Outcome::Silent(RedeemErrorKind::ConnectionLost, None),
        Err(Silence::Garbled) => Outcome::Silent(RedeemErrorKind::BackendGarbled, None),
        Err(Silence::TooLong) => Outcome::Hopeless(RedeemErrorKind::BackendGarbled),
    }
}

fn read_success(body: &[u8]) -> Outcome {
    let Ok(Envelope { data, .. }) = lenient::from_slice::<Envelope<ProxyAnswer>>(body) else {
        return Outcome::Silent(RedeemErrorKind::BackendGarbled, None);
    };
    if data.size_limit_exceeded {
        Outcome::RefusedBefore(RedeemErrorKind::TooLarge { limit: None })
    } else if data.abuse_token_blacklisted {
        Outcome::RefusedBefore(RedeemErrorKind::AbuseTokenBlacklisted)
    } else if data.abuse_token_expired {
        Outcome::RefusedBefore(RedeemErrorKind::AbuseTokenExpired)
    } else if data.abuse_token_invalid {
        Outcome::RefusedBefore(RedeemErrorKind::AbuseTokenInvalid)
    } else if data.is_blocked {
        Outcome::Blocked { categories: upstream::categories(&data.blocked_reason) }
    } else {
        match data.proxy_response {
            // Neither a refusal nor an answer: not something that the backend says.
            None => Outcome::Silent(RedeemErrorKind::BackendGarbled, None),
            Some(Base64Bytes(body)) if body.is_empty() => Outcome::Empty,
            Some(Base64Bytes(body)) => match upstream::inspect(&body) {
                Content::Answer { created } => Outcome::Answered(Answer { body }, created),
                Content::Error { reason, message } => {
                    Outcome::Spent(RedeemErrorKind::Upstream { reason, message })
                }
                Content::Unreadable => Outcome::Spent(RedeemErrorKind::AnswerUnreadable),
            },
        }
    }
}

fn read_failure(reply: &Reply, model: &ModelName) -> Outcome {
    let (status, retry_after) = (reply.status, reply.retry_after);
    if status == 429 {
        return Outcome::Limited(RedeemErrorKind::RateLimited { retry_after }, retry_after);
    }
    let failing = RedeemErrorKind::BackendFailing { status, retry_after };
    // What is not in the backend's own words is a page of something in between, which may have passed the
    // request on before it gave up.
    let Ok(failure) = lenient::from_slice::<Failure>(&reply.body) else {
        return Outcome::Silent(failing, retry_after);
    };
    if !failure.is_the_backends(status) {
        return Outcome::Silent(failing, retry_after);
    }
    if status != 500 {
        return Outcome::RefusedBefore(RedeemErrorKind::RequestRefused { status });
    }
    match refusal::classify(failure.error.as_deref().unwrap_or_default()) {
        Refusal::MissingToken => Outcome::RefusedBefore(RedeemErrorKind::AbuseTokensWanted),
        Refusal::ModelMismatch => Outcome::RefusedBefore(RedeemErrorKind::RequestRefused { status }),
        Refusal::UnknownModel => {
            Outcome::RefusedBefore(RedeemErrorKind::UnknownModel { model: model.clone() })
        }
        Refusal::InvalidToken => Outcome::InvalidToken,
        Refusal::TokenExpired => Outcome::Expired,
        Refusal::CannotReuse => Outcome::CannotReuse,
        Refusal::AnalysisFailed => Outcome::RefusedAfter(RedeemErrorKind::AnalysisFailed),
        Refusal::NoQuota | Refusal::Unrecognised => Outcome::Silent(failing, retry_after),
    }
}

impl Outcome {
    /// Whether the backend got as far as accepting the token's signature.
    pub(super) fn accepts_signature(&self) -> bool {
        match self {
            Self::Answered(..)
            | Self::Blocked { .. }
            | Self::Spent(_)
            | Self::RefusedAfter(_)
            | Self::Expired
            | Self::CannotReuse
            | Self::Empty => true,
            Self::RefusedBefore(_)
            | Self::Limited(..)
            | Self::InvalidToken
            | Self::Silent(..)
            | Self::Hopeless(_) => false,
        }
    }

    /// Whether it is an answer to a token that was new to the backend, and says rightly when it was made.
    pub(super) fn is_in_time(&self, past: Past) -> bool {
        match self {
            Self::Answered(_, created) if past.history == History::Fresh && !past.resumed => {
                past.window.made(*created) == Made::InThisCall
            }
            _ => false,
        }
    }

    /// What follows for a token with such a past: the tables above.
    pub(super) fn judge(self, past: Past, model: &ModelName) -> Verdict {
        let maybe_spent = past.history == History::MaybeSpent;
        match (self, past.trail) {
            (Self::Answered(answer, created), _) => match past.window.made(created) {
                Made::InThisCall => Verdict::Deliver(answer),
                _ if !maybe_spent => Verdict::Deliver(answer),
                Made::Before(age) => Verdict::WipeAndTakeAnother(Lapse::Older(age)),
                Made::Unproven => Verdict::WipeAndTakeAnother(Lapse::Undated),
            },
            // What comes may be another prompt's.
            (Self::Blocked { .. } | Self::Spent(_) | Self::CannotReuse | Self::Empty, _) if maybe_spent => {
                Verdict::WipeAndTakeAnother(Lapse::Unproven)
            }
            (Self::Blocked { categories }, _) => Verdict::Fail(RedeemErrorKind::Blocked { categories }),
            (Self::Spent(kind), _) => Verdict::Fail(kind),
            (Self::RefusedBefore(kind) | Self::RefusedAfter(kind), Trail::Clean) => Verdict::Return(kind),
            // What it was presented with is part of what the backend knows it by, and will not be accepted later either.
            (Self::RefusedBefore(kind), Trail::Silent) if past.resumed && kind.is_of_abuse_tokens() => {
                Verdict::DoubtAndTakeAnother(kind)
            }
            (Self::RefusedBefore(kind) | Self::RefusedAfter(kind), Trail::Silent)
            | (Self::Hopeless(kind), _) => Verdict::Doubt(kind),
            (Self::InvalidToken, trail) => {
                let kind = RedeemErrorKind::TokenRefused { model: model.clone() };
                if trail == Trail::Clean { Verdict::Refused(kind) } else { Verdict::Doubt(kind) }
            }
            (Self::Expired, _) if maybe_spent || past.resumed => Verdict::WipeAndTakeAnother(Lapse::Expired),
            (Self::Expired, _) => Verdict::Wipe(RedeemErrorKind::AnswerLost),
            (Self::CannotReuse, _) => Verdict::Wipe(RedeemErrorKind::TokenReused),
            (Self::Silent(kind, pause), _) => Verdict::Repeat(kind, pause),
            (Self::Limited(kind, pause), _) => Verdict::Await(kind, pause),
            (Self::Empty, Trail::Clean) => Verdict::Repeat(RedeemErrorKind::BackendGarbled, None),
            (Self::Empty, Trail::Silent) => Verdict::Fail(RedeemErrorKind::AnswerUnreadable),
        }
    }
}
