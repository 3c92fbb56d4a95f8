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
//! | invalid token | before | set aside, another is tried | the same: under this key neither attempt can be answered |
//! | `token expired` | at | spent, answer gone; another is tried if that was to be expected, else an error | the same |
//! | `cannot reuse` | at | spent; an error | the same |
//! | moderation failed | after | unspent: back to the stock | still in doubt: the earlier copy may yet arrive, and would then be answered and stored |
//! | answer, blocked, provider's error, unreadable content | end | spent | spent |
//! | silence, unknown text, a page of something in between | ? | unknown: the same bytes again, then in doubt | the same |
//!
//! Keeping a token in doubt costs at most a delay; giving one back wrongly would let the backend answer a later
//! prompt with this one's answer.

use std::time::Duration;

use super::delivery::Answer;
use super::error::RedeemErrorKind;
use super::exchange::{Reply, Silence};
use super::upstream::{self, Content};
use crate::vault::History;
use crate::wire::redemption::ProxyAnswer;
use crate::wire::refusal::{self, Refusal};
use crate::wire::{Envelope, Failure, ModelName, lenient};

/// Whether an earlier attempt with the token ended without an answer, in this call or before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trail {
    Clean,
    Silent,
}

/// What one attempt came to.
pub(super) enum Outcome {
    Answered(Answer),
    Blocked {
        categories: Vec<String>,
    },
    /// The provider's error, or content that is nobody's.
    Spent(RedeemErrorKind),
    /// Refused before the backend looked at the spent state.
    RefusedBefore(RedeemErrorKind),
    /// Refused after the backend found it unspent.
    RefusedAfter(RedeemErrorKind),
    InvalidToken,
    Expired,
    CannotReuse,
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
    /// Spent long ago, as was to be expected; another token is taken.
    WipeAndTakeAnother(RedeemErrorKind),
    /// Kept aside; another token is taken.
    SetAsideAndTakeAnother(RedeemErrorKind),
    /// Back to the stock.
    Return(RedeemErrorKind),
    /// The same token, the same bytes, a fresh stream; after so long, if the backend said so.
    Repeat(RedeemErrorKind, Option<Duration>),
    /// In doubt.
    Doubt(RedeemErrorKind),
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
    } else if data.proxy_response.0.is_empty() {
        // Neither a refusal nor an answer: not something that the backend says.
        Outcome::Silent(RedeemErrorKind::BackendGarbled, None)
    } else {
        match upstream::inspect(&data.proxy_response.0) {
            Content::Answer => Outcome::Answered(Answer { body: data.proxy_response.0 }),
            Content::Error { reason, message } => {
                Outcome::Spent(RedeemErrorKind::Upstream { reason, message })
            }
            Content::Unreadable => Outcome::Spent(RedeemErrorKind::AnswerUnreadable),
        }
    }
}

fn read_failure(reply: &Reply, model: &ModelName) -> Outcome {
    let (status, retry_after) = (reply.status, reply.retry_after);
    let failing = RedeemErrorKind::BackendFailing { status, retry_after };
    // Without the backend's own `status` text it is a page of something in between.
    let Ok(Failure { error, .. }) = lenient::from_slice::<Failure>(&reply.body) else {
        return Outcome::Silent(failing, retry_after);
    };
    // The backend's refusals are 500s (protocol.md §2); the same words under another status are not its own.
    let refusal = match status {
        500 => refusal::classify(error.as_deref().unwrap_or_default()),
        _ => Refusal::Unrecognised,
    };
    match refusal {
        Refusal::MissingToken => Outcome::RefusedBefore(RedeemErrorKind::AbuseTokensWanted),
        Refusal::ModelMismatch => Outcome::RefusedBefore(RedeemErrorKind::RequestRefused { status }),
        Refusal::UnknownModel => {
            Outcome::RefusedBefore(RedeemErrorKind::UnknownModel { model: model.clone() })
        }
        Refusal::InvalidToken => Outcome::InvalidToken,
        Refusal::TokenExpired => Outcome::Expired,
        Refusal::CannotReuse => Outcome::CannotReuse,
        Refusal::AnalysisFailed => Outcome::RefusedAfter(RedeemErrorKind::AnalysisFailed),
        Refusal::NoQuota | Refusal::Unrecognised => match status {
            429 => Outcome::RefusedBefore(failing),
            400..=499 => Outcome::RefusedBefore(RedeemErrorKind::RequestRefused { status }),
            _ => Outcome::Silent(failing, retry_after),
        },
    }
}

impl Outcome {
    /// What follows for a token with such a trail and history: the table above.
    pub(super) fn judge(self, trail: Trail, history: History, resumed: bool, model: &ModelName) -> Verdict {
        match (self, trail) {
            (Self::Answered(answer), _) => Verdict::Deliver(answer),
            (Self::Blocked { categories }, _) => Verdict::Fail(RedeemErrorKind::Blocked { categories }),
            (Self::Spent(kind), _) => Verdict::Fail(kind),
            (Self::RefusedBefore(kind) | Self::RefusedAfter(kind), Trail::Clean) => Verdict::Return(kind),
            (Self::RefusedBefore(kind) | Self::RefusedAfter(kind), Trail::Silent)
            | (Self::Hopeless(kind), _) => Verdict::Doubt(kind),
            (Self::InvalidToken, _) => {
                Verdict::SetAsideAndTakeAnother(RedeemErrorKind::TokenRefused { model: model.clone() })
            }
            (Self::Expired, _) if history == History::MaybeSpent || resumed => {
                Verdict::WipeAndTakeAnother(RedeemErrorKind::AnswerLost)
            }
            (Self::Expired, _) => Verdict::Wipe(RedeemErrorKind::AnswerLost),
            (Self::CannotReuse, _) => Verdict::Wipe(RedeemErrorKind::TokenReused),
            (Self::Silent(kind, pause), _) => Verdict::Repeat(kind, pause),
        }
    }
}
