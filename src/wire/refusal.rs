//! The refusals that only their text tells apart (protocol.md §3, §4, §5).
//!
//! The backend writes them with these constants, the client recognises them with [`classify`]; a text
//! that fits none is [`Refusal::Unrecognised`]. A refusal stands at the beginning of its text, bare or behind
//! the one wrapper that the server is known to use: the same words further in belong to somebody else (`failed
//! to analyze text: 401 token expired` says nothing about *our* token), and a token must not be
//! thrown away for them.

/// What the server puts in front of a complaint about `llmmask`.
pub const SANITIZE_WRAPPER: &str = "failed to sanitize proxy request: ";
/// `model in request body mismatch, expected <model>`
pub const MODEL_MISMATCH: &str = "model in request body mismatch";
/// The model is not known at redemption.
pub const NO_INTENDED_MODEL: &str = "no auth manager for intended model";
/// The model is not known at issuance.
pub const NO_AUTH_MANAGER: &str = "no auth manager found";
/// `invalid token for model <model>`
pub const INVALID_TOKEN: &str = "invalid token for model";
/// The token was used and its stored answer is gone, in the words of older servers.
pub const TOKEN_EXPIRED: &str = "token expired";
/// The same in today's words, which go on after it.
pub const TOKEN_EXPIRED_USED: &str = "token expired, this token was already used";
/// The same token with other `llmmask` fields.
pub const CANNOT_REUSE: &str = "cannot reuse token for different request.";
/// Moderation could not read the messages.
pub const ANALYSIS_FAILED: &str = "failed to analyze text";
/// The account has no credit left for the model.
pub const NO_QUOTA: &str = "no quota left";

/// What a failure's text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `missing … token`: `llmmask` is incomplete. Not spent.
    MissingToken,
    /// Not spent.
    ModelMismatch,
    /// Redemption for a model the server does not have. Not spent.
    UnknownModel,
    /// The signature does not verify under the server's key. Not spent.
    InvalidToken,
    /// Spent, and the stored answer is gone.
    TokenExpired,
    /// Spent.
    CannotReuse,
    /// Moderation service failed or cannot read a part. Not spent.
    AnalysisFailed,
    /// Issuance: no credit. Nothing debited.
    NoQuota,
    /// Some other text. At redemption protocol.md §5 does not list it, so the token's state is unknown.
    Unrecognised,
}

/// Tells refusals apart by `error` text.
pub fn classify(text: &str) -> Refusal {
    let text = text.strip_prefix(SANITIZE_WRAPPER).unwrap_or(text);
    let begins = |phrase: &str| text.starts_with(phrase);
    if begins(ANALYSIS_FAILED) {
        Refusal::AnalysisFailed
    } else if begins(CANNOT_REUSE.trim_end_matches('.')) {
        Refusal::CannotReuse
    } else if text == TOKEN_EXPIRED || begins(TOKEN_EXPIRED_USED) {
        Refusal::TokenExpired
    } else if begins(INVALID_TOKEN) {
        Refusal::InvalidToken
    } else if begins(MODEL_MISMATCH) {
        Refusal::ModelMismatch
    } else if begins(NO_INTENDED_MODEL) || begins(NO_AUTH_MANAGER) {
        Refusal::UnknownModel
    } else if begins(NO_QUOTA) {
        Refusal::NoQuota
    } else if text.strip_prefix("missing ").is_some_and(names_a_token) {
        Refusal::MissingToken
    } else {
        Refusal::Unrecognised
    }
}

/// Whether `token` is among the words; `total_tokens` is another one.
fn names_a_token(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .any(|word| word.eq_ignore_ascii_case("token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusals_of_the_protocol_are_recognised() {
        let cases = [
            ("failed to sanitize proxy request: missing signed token", Refusal::MissingToken),
            ("missing permanent abuse token", Refusal::MissingToken),
            ("model in request body mismatch, expected gpt-4.1", Refusal::ModelMismatch),
            ("token expired, this token was already used 6 days ago", Refusal::TokenExpired),
            ("token expired", Refusal::TokenExpired),
            ("cannot reuse token for different request.", Refusal::CannotReuse),
            ("failed to analyze text: unsupported part", Refusal::AnalysisFailed),
            ("invalid token for model gpt-4.1", Refusal::InvalidToken),
            ("no auth manager for intended model", Refusal::UnknownModel),
            ("no auth manager found", Refusal::UnknownModel),
            ("no quota left", Refusal::NoQuota),
        ];
        for (text, expected) in cases {
            assert_eq!(classify(text), expected, "{text}");
        }
    }

    #[test]
    fn the_same_words_in_somebody_elses_complaint_say_nothing_about_our_token() {
        for text in [
            "failed to analyze text: moderation: 401 token expired",
            "failed to analyze text: error: cannot reuse token for different request",
            "failed to analyze text: invalid token for model omni-moderation",
        ] {
            assert_eq!(classify(text), Refusal::AnalysisFailed, "{text}");
        }
        for text in [
            "Access token expired, sign in again",
            "token expired, sign in again",
            "failed to store: context: token expired",
            "too many requests, no quota left on database",
            "missing field total_tokens",
            "upstream: missing token",
            "dial tcp: connection refused",
            "",
        ] {
            assert_eq!(classify(text), Refusal::Unrecognised, "{text}");
        }
    }
}
