//! The refusals that only their text tells apart (protocol.md §3, §4, §5).
//!
//! The backend writes them with these constants, the client recognises them with [`classify`]; a text
//! that fits none is [`Refusal::Unrecognised`]. Texts may be wrapped by the server (`failed to sanitize
//! proxy request: missing token`), so they are searched for, not compared.

/// `model in request body mismatch, expected <model>`
pub const MODEL_MISMATCH: &str = "model in request body mismatch";
/// The model is not known at redemption.
pub const NO_INTENDED_MODEL: &str = "no auth manager for intended model";
/// The model is not known at issuance.
pub const NO_AUTH_MANAGER: &str = "no auth manager found";
/// `invalid token for model <model>`
pub const INVALID_TOKEN: &str = "invalid token for model";
/// The token was used and its stored answer is gone.
pub const TOKEN_EXPIRED: &str = "token expired";
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
    let has = |needle: &str| text.contains(needle);
    if has(CANNOT_REUSE.trim_end_matches('.')) {
        Refusal::CannotReuse
    } else if has(TOKEN_EXPIRED) {
        Refusal::TokenExpired
    } else if has(INVALID_TOKEN) {
        Refusal::InvalidToken
    } else if has(MODEL_MISMATCH) {
        Refusal::ModelMismatch
    } else if has(NO_INTENDED_MODEL) || has(NO_AUTH_MANAGER) {
        Refusal::UnknownModel
    } else if has(ANALYSIS_FAILED) {
        Refusal::AnalysisFailed
    } else if has(NO_QUOTA) {
        Refusal::NoQuota
    } else if text.find("missing ").is_some_and(|at| text[at..].contains("token")) {
        Refusal::MissingToken
    } else {
        Refusal::Unrecognised
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_texts_are_recognised_and_strange_ones_are_not() {
        let cases = [
            ("failed to sanitize proxy request: missing signed token", Refusal::MissingToken),
            ("model in request body mismatch, expected gpt-4.1", Refusal::ModelMismatch),
            ("token expired, this token was already used 6 days ago", Refusal::TokenExpired),
            ("cannot reuse token for different request.", Refusal::CannotReuse),
            ("failed to analyze text: unsupported part", Refusal::AnalysisFailed),
            ("invalid token for model gpt-4.1", Refusal::InvalidToken),
            ("no auth manager for intended model", Refusal::UnknownModel),
            ("no quota left", Refusal::NoQuota),
            ("dial tcp: connection refused", Refusal::Unrecognised),
            ("", Refusal::Unrecognised),
        ];
        for (text, expected) in cases {
            assert_eq!(classify(text), expected, "{text}");
        }
    }
}
