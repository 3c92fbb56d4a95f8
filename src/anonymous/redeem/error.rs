//! Why a call has no answer, and what became of its token.
//!
//! Two facts, kept apart because neither follows from the other: the [kind](RedeemErrorKind) says what
//! went wrong, the [fate](TokenFate) says whether an identical retry is free. A backend that answers
//! "your abuse token is blacklisted" proves that nothing was spent, unless an earlier attempt with the
//! same token ended without an answer; then the kind is the same and the fate is not.
//!
//! Everything here is plain data for the user's eyes: no prompt, no token, no answer except the
//! provider's own error message, bounded in length.

use std::time::Duration;

use crate::anonymous::transport::NotReady;
use crate::clock::Timestamp;
use crate::passage::PAUSED;
use crate::wire::ModelName;

/// What became of the token of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFate {
    /// None was drawn, or the one drawn is back in the stock. A retry costs what the first call would have.
    Unspent,
    /// Gone. A retry takes another token.
    Spent,
    /// The backend may hold an answer. The token is kept for this very request: an identical retry resumes
    /// it, with the same bytes, and takes no other.
    InDoubt,
}

/// A call that ended without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct RedeemError {
    kind: RedeemErrorKind,
    token: TokenFate,
}

impl RedeemError {
    /// A failure of `kind` that left the token as `token` says.
    pub fn new(kind: RedeemErrorKind, token: TokenFate) -> Self {
        Self { kind, token }
    }

    /// What went wrong.
    pub fn kind(&self) -> &RedeemErrorKind {
        &self.kind
    }

    /// What became of the token.
    pub fn token(&self) -> TokenFate {
        self.token
    }

    /// Whether repeating the very same request spends nothing that the first one did not already cost.
    pub fn identical_retry_is_free(&self) -> bool {
        matches!(self.token, TokenFate::Unspent | TokenFate::InDoubt)
    }
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The request was sent and not one byte of the answer came.
    FirstByte,
    /// The answer began and did not end, or the attempts together took too long.
    Whole,
}

/// What kind of failure the upstream provider reported inside the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamReason {
    /// The provider limits the operator: try later.
    RateLimited,
    /// The conversation is too long for the model.
    ContextLength,
    /// The provider did not understand the messages.
    InvalidRequest,
    /// The provider's own policy refused.
    ContentPolicy,
    /// The operator's account, key or quota at the provider, or the provider itself is down.
    Unavailable,
    /// Something else.
    Other,
}

/// Why a call has no answer. Beside each: what usually became of the token ([`RedeemError::token`] is
/// what it really is), in the order in which a call can meet them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedeemErrorKind {
    /// The user wants nothing to leave. Unspent.
    #[error("{PAUSED}")]
    Paused,
    /// The daemon is stopping and takes no new calls. Unspent.
    #[error("llmtor is shutting down; send the request again when it is back")]
    ShuttingDown,
    /// The request, with its payment, is longer than the backend accepts. `limit` in bytes where it is
    /// known here (then no token was drawn); `None` when the backend said so. Unspent.
    #[error("the conversation is too long for one request; shorten it")]
    TooLarge {
        /// Bytes of the whole body.
        limit: Option<usize>,
    },
    /// No token of this model can be drawn now. Unspent.
    #[error(
        "no usable token for {model}; `llmtor tokens` says whether and when more come by themselves, and `llmtor tokens mint --model {model} --count 10 --now` gets some now"
    )]
    OutOfTokens {
        /// The model that was asked for.
        model: ModelName,
        /// When the next of those already issued may be drawn; `None` if there are none at all.
        maturing: Option<Timestamp>,
    },
    /// The backend wants abuse tokens and the vault lacks one (or this month's). Unspent.
    #[error(
        "an abuse token is missing: run `llmtor abuse setup`, or `llmtor abuse restore` if this account had one before. That of a new month also comes by itself, at the latest 15 minutes after the month's beginning (UTC) or 10 after llmtor is back"
    )]
    AbuseTokensMissing,
    /// The vault failed. The text is the vault's own and names no secret. Unspent before the token was
    /// presented, InDoubt after.
    #[error("the vault failed: {message}")]
    Vault {
        /// For the user; says what to do.
        message: String,
    },
    /// The vault's tokens may be another vault's: it was restored or retired, and nobody took it over. Unspent.
    #[error("{message}")]
    VaultPaused {
        /// The vault's own text; says what to do.
        message: String,
    },
    /// The way out is not open yet. Unspent.
    #[error(
        "the anonymous transport is not ready: {reason}; try again in a moment, `llmtor doctor` says what is in the way"
    )]
    TransportNotReady {
        /// What it is waiting for.
        reason: NotReady,
        /// When it is worth asking again.
        retry_after: Option<Duration>,
    },
    /// No stream to the backend could be opened, so nothing left this machine. Unspent.
    #[error("the backend cannot be reached; check `anonymous_url` and the network, then try again")]
    Unreachable,
    /// The certificate that stands for the backend is not accepted, at several exits. No call was made. Unspent.
    #[error(
        "the backend's TLS certificate is not accepted, whichever way it is reached; check `backend.anonymous_url`, and `tls.extra_roots` or `tls.pin` if you set them"
    )]
    CertificateRefused,
    /// The proxy that prompts were to leave by does not behave as Tor does. Nothing was sent. Unspent.
    #[error(
        "the SOCKS proxy is not Tor, so nothing was sent; check the address in `anonymous.transport`, or start with --allow-socks-without-tor if you know what that gives away"
    )]
    ProxyNotTor,
    /// The backend wants a field of the payment that this installation does not send: the abuse keys are
    /// not imported. Unspent.
    #[error(
        "the backend wants abuse tokens; import its abuse keys with `llmtor keys import`, then run `llmtor abuse setup`"
    )]
    AbuseTokensWanted,
    /// The signature of an abuse token is not the backend's. Unspent.
    #[error(
        "the backend does not accept the signature of an abuse token: run `llmtor abuse rotate --later` for a fresh monthly one \
         within a day (at once, without --later, an operator who refuses one token and watches who comes for another learns \
         whose calls these are); if that does not help, compare `llmtor keys list` with the operator's published keys, and bring the permanent \
         one back with `llmtor abuse restore`"
    )]
    AbuseTokenInvalid,
    /// The transient abuse token is not of this month. Unspent.
    #[error(
        "the monthly abuse token is not of the backend's current month: see `llmtor abuse status`. If one of this month is held, \
         check this machine's clock; if that is right, `llmtor abuse rotate --later` gets another within a day (at once, an operator \
         who refuses one token and watches who comes for another learns whose calls these are). If none is held, it comes by itself"
    )]
    AbuseTokenExpired,
    /// The operator has banned an abuse token. Unspent.
    #[error(
        "the operator has blacklisted an abuse token of this installation and does not say which: if it is the monthly \
         one, `llmtor abuse rotate --later` gets another within a day (at once, without --later, they can tell whose calls these are \
         by who comes for a new one); if it is the permanent one, there is no other for this account, and only \
         the operator can lift that"
    )]
    AbuseTokenBlacklisted,
    /// The backend has no such model, though a key for it is pinned here. Unspent.
    #[error("the backend does not offer {model}; `llmtor tokens` lists the models that there are tokens for")]
    UnknownModel {
        /// The model that was asked for.
        model: ModelName,
    },
    /// The backend refused the request itself with this status. Unspent.
    #[error(
        "the backend refused the request (status {status}); no token was spent. `llmtor doctor` looks at the way to it; update llmtor if it persists"
    )]
    RequestRefused {
        /// HTTP status.
        status: u16,
    },
    /// The backend, or something before it, takes no more requests for now. Unspent; InDoubt if an earlier attempt with
    /// the token ended without an answer.
    #[error("the backend takes no more requests for now (status 429); send the same request again later")]
    RateLimited {
        /// `Retry-After`, bounded.
        retry_after: Option<Duration>,
    },
    /// The backend does not accept the signatures of the tokens drawn: its key is not the pinned one. Unspent;
    /// InDoubt if an earlier attempt with the token ended without an answer.
    #[error(
        "the backend does not accept tokens for {model}: its key is not the pinned one; compare `llmtor keys list` with the published keys"
    )]
    TokenRefused {
        /// The model that was asked for.
        model: ModelName,
    },
    /// Moderation failed, or cannot read a part of the messages. Unspent.
    #[error(
        "the backend's moderation could not read the messages; send the request again, without pictures if it has some"
    )]
    AnalysisFailed,
    /// Moderation refused the messages. Spent.
    #[error(
        "the backend's moderation refused the messages; say it in other words: this token is spent, and the same request would cost another"
    )]
    Blocked {
        /// Category names as the backend gives them; bounded in number and length.
        categories: Vec<String>,
    },
    /// The upstream provider answered with an error. Spent.
    #[error("the model's provider answered with an error: {message}")]
    Upstream {
        /// What kind.
        reason: UpstreamReason,
        /// The provider's own words; bounded in length.
        message: String,
    },
    /// The backend delivered something that is no provider's answer. Spent.
    #[error(
        "the backend delivered an answer that cannot be read; the token is spent, and the next request takes another"
    )]
    AnswerUnreadable,
    /// The backend says that the token was used long ago and its answer is gone. Spent.
    #[error(
        "the backend says that the token was used before and its answer is gone; the next request takes another"
    )]
    AnswerLost,
    /// Tokens that may have been spent elsewhere brought older answers, to other prompts as far as is known. Spent.
    #[error(
        "what came for the tokens that were tried is older than this request, so they were spent before and nothing of it \
         is shown; they are dropped, and the next request takes others"
    )]
    AnswerOlder,
    /// What tokens brought that may have been spent elsewhere cannot be shown to be this call's. Spent.
    #[error(
        "of the tokens for {model} that are in stock some may have been spent elsewhere, and what came for those that were \
         tried cannot be told from an answer to another prompt, so nothing of it is shown and they are used up; send the \
         request again, and if this comes again, get tokens that are certain: `llmtor tokens mint --model {model} --count \
         10 --now`"
    )]
    AnswerUnproven {
        /// The model that was asked for.
        model: ModelName,
    },
    /// The only tokens in stock may have been spent elsewhere, and this model's answers do not show when they were made.
    /// Unspent.
    #[error(
        "the tokens for {model} that are in stock may have been spent elsewhere (their vault is a copy, was put back, or \
         lost track of them), and this backend's answers for {model} do not say rightly when they were made, so that one to \
         another prompt could not be told from yours; they are kept. Get tokens that are certain: `llmtor tokens mint \
         --model {model} --count 10 --now`"
    )]
    OnlyUncertain {
        /// The model that was asked for.
        model: ModelName,
    },
    /// The backend says that the token was used with other payment fields. Spent.
    #[error("the backend says that the token was used for another request; the next request takes another")]
    TokenReused,
    /// No answer within the deadline. InDoubt.
    #[error(
        "the backend did not answer in time; the same request resumes where this one stopped, for the same token"
    )]
    TimedOut {
        /// Which deadline.
        phase: Phase,
    },
    /// The connection ended before the answer did. InDoubt.
    #[error("the connection to the backend broke; the same request resumes it, for the same token")]
    ConnectionLost,
    /// What came is not the protocol: not HTTP, not JSON, compressed, too long, or redirected. InDoubt.
    #[error("the backend's answer cannot be read; the same request asks again, for the same token")]
    BackendGarbled,
    /// An error status that says nothing of the token: the backend's own 500 with an unknown text, or a
    /// page of something in between. InDoubt.
    #[error("the backend failed (status {status}); the same request asks again, for the same token")]
    BackendFailing {
        /// HTTP status.
        status: u16,
        /// `Retry-After`, bounded.
        retry_after: Option<Duration>,
    },
    /// The task that carried the call died; a defect. InDoubt.
    #[error("the call was interrupted; send the request again")]
    Interrupted,
}

impl RedeemErrorKind {
    /// Whether the backend refused the abuse tokens that a token went with, or the lack of them.
    pub(super) fn is_of_abuse_tokens(&self) -> bool {
        matches!(
            self,
            Self::AbuseTokensWanted
                | Self::AbuseTokenInvalid
                | Self::AbuseTokenExpired
                | Self::AbuseTokenBlacklisted
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_abuse_token_comes_with_what_to_do_about_just_that() {
        use RedeemErrorKind as Kind;
        for (kind, command) in [
            (Kind::AbuseTokensMissing, "llmtor abuse setup"),
            (Kind::AbuseTokensWanted, "llmtor keys import"),
            (Kind::AbuseTokenInvalid, "llmtor abuse restore"),
            (Kind::AbuseTokenExpired, "llmtor abuse status"),
            (Kind::AbuseTokenBlacklisted, "llmtor abuse rotate"),
        ] {
            let told = kind.to_string();
            assert!(told.contains(command), "{told}");
        }
        // There is no remedy for this one, and it says so.
        assert!(Kind::AbuseTokenBlacklisted.to_string().contains("only the operator"));
    }

    #[test]
    fn only_an_unspent_or_a_resumable_token_makes_a_retry_free() {
        let free = |token| RedeemError::new(RedeemErrorKind::Unreachable, token).identical_retry_is_free();
        assert!(free(TokenFate::Unspent) && free(TokenFate::InDoubt));
        assert!(!free(TokenFate::Spent));
    }
}
