//! DTOs of the anonymous plane (protocol.md §4).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Base64Bytes, ModelName};

/// `POST /api/v1/llm-proxy`, in the order in which it is written.
///
/// `messages` is raw so that what was digested is, byte for byte, what is sent.
#[derive(Serialize)]
pub struct RedeemRequest<'a> {
    /// Must equal `ModelName` inside.
    pub model: &'a ModelName,
    /// A JSON array.
    pub messages: &'a RawValue,
    /// The payment.
    pub extra_body: ExtraBody<'a>,
}

/// Wrapper that the protocol asks for.
#[derive(Serialize)]
pub struct ExtraBody<'a> {
    /// Token and abuse tokens.
    pub llmmask: &'a LlmMask,
}

/// The token and what vouches for it. A repeat is recognised by these fields alone (protocol.md §5).
///
/// Older servers know only the first three; a client of such a server leaves the rest out.
#[derive(Serialize, Deserialize, Clone)]
pub struct LlmMask {
    /// 36 ASCII bytes.
    #[serde(rename = "Token")]
    pub token: Base64Bytes,
    /// As long as the modulus.
    #[serde(rename = "SignedToken")]
    pub signed_token: Base64Bytes,
    /// The model whose key signed.
    #[serde(rename = "ModelName")]
    pub model_name: ModelName,
    /// 48 bytes.
    #[serde(rename = "PermanentAbuseToken", skip_serializing_if = "Option::is_none", default)]
    pub permanent_abuse_token: Option<Base64Bytes>,
    /// Its signature.
    #[serde(rename = "PermanentAbuseTokenSig", skip_serializing_if = "Option::is_none", default)]
    pub permanent_abuse_token_sig: Option<Base64Bytes>,
    /// 48 bytes, the last four the epoch.
    #[serde(rename = "TransientAbuseToken", skip_serializing_if = "Option::is_none", default)]
    pub transient_abuse_token: Option<Base64Bytes>,
    /// Its signature.
    #[serde(rename = "TransientAbuseTokenSig", skip_serializing_if = "Option::is_none", default)]
    pub transient_abuse_token_sig: Option<Base64Bytes>,
}

/// The data of an answer; absent booleans mean false (protocol.md §4).
#[derive(Serialize, Deserialize, Clone, Default)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "the shape is the protocol's (§4)")]
pub struct ProxyAnswer {
    /// Moderation refused. The token is spent.
    pub is_blocked: bool,
    /// JSON text of categories.
    pub blocked_reason: String,
    /// Body over the limit. Not spent.
    pub size_limit_exceeded: bool,
    /// Always empty.
    pub size_limit_reason: String,
    /// Not spent.
    pub abuse_token_invalid: bool,
    /// Not spent.
    pub abuse_token_expired: bool,
    /// Not spent.
    pub abuse_token_blacklisted: bool,
    /// Opaque.
    pub metadata: Base64Bytes,
    /// What the upstream provider answered, error bodies included.
    /// Absent and `null` are the same; empty is an answer, if a strange one.
    pub proxy_response: Option<Base64Bytes>,
}

/// The month an abuse token is good for: year × 12 + month (1…12), UTC (protocol.md §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u32);

impl Epoch {
    /// The epoch of a Unix time, seconds.
    pub fn at(unix_seconds: i64) -> Self {
        let date = time::OffsetDateTime::from_unix_timestamp(unix_seconds)
            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        let year = u32::try_from(date.year()).unwrap_or(0);
        Self(year * 12 + u32::from(u8::from(date.month())))
    }

    /// From its number.
    pub fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// As the last four bytes of a transient abuse token.
    pub fn to_be_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_counts_months_from_one() {
        // 2026-11-22 and the last second of a December.
        assert_eq!(Epoch::at(1_795_305_600).number(), 2026 * 12 + 11);
        assert_eq!(Epoch::at(1_767_225_599).number(), 2025 * 12 + 12);
        assert_eq!(Epoch::at(1_767_225_600).number(), 2026 * 12 + 1);
    }
}
