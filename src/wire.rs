//! The wire protocol's vocabulary: what client and reference backend both say (protocol.md).
//!
//! Invariants: field names are sent exactly as Go writes them; reading is case-insensitive, as Go's
//! is ([`lenient`]). `bytes` is standard base64 with padding ([`Base64Bytes`]). Nothing here performs
//! I/O, and nothing here knows on which plane it is used.
//!
//! Deliberately absent: `Debug` on anything that can carry a token, a signature, a prompt or an answer.

pub mod identity;
pub mod lenient;
pub mod redemption;
pub mod refusal;
pub mod shown;
pub mod voucher;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The path of the anonymous plane's only endpoint (protocol.md §4).
pub const LLM_PROXY_PATH: &str = "/api/v1/llm-proxy";
/// The prefix of every endpoint of the identity plane (protocol.md §3).
pub const API_PREFIX: &str = "/api/v1";
/// The name of the session cookie (protocol.md §1).
pub const SESSION_COOKIE: &str = "sessionID";
/// The key name of the permanent abuse token's key in a keys file.
pub const ABUSE_PERMANENT: &str = "abuse-permanent";
/// The key name of the transient abuse token's key in a keys file.
pub const ABUSE_TRANSIENT: &str = "abuse-transient";
/// Whole-body limit of the deployed backend, bytes (protocol.md §4).
pub const BODY_LIMIT: usize = 250_000;
/// Whole-body limit of older backends, bytes (protocol.md §4).
pub const BODY_LIMIT_BEFORE: usize = 30_000;

/// A model id as the backend knows it: 1 to 128 bytes of ASCII letters, digits and `._:/@+-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(String);

/// Why a text is not a model name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a model name has 1 to 128 characters out of A-Z a-z 0-9 . _ : / @ + -")]
pub struct InvalidModelName;

impl ModelName {
    /// Checks `name`'s form; whether such a model exists is for a catalog to say.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidModelName> {
        let name = name.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@+-".contains(&byte);
        if (1..=128).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name))
        } else {
            Err(InvalidModelName)
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ModelName {
    type Err = InvalidModelName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl Serialize for ModelName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ModelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Go's `[]byte` in JSON: standard base64 with padding; `null` and `""` are empty.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Base64Bytes(pub Vec<u8>);

impl Base64Bytes {
    /// The base64 text.
    pub fn encode(&self) -> String {
        STANDARD.encode(&self.0)
    }
}

impl From<Vec<u8>> for Base64Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Base64Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Base64Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Base64Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Decodes where the text stands: it may be an answer of many megabytes.
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Base64Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("standard base64")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Base64Bytes, E> {
                // The text may be a token or an answer: the error must not quote it.
                STANDARD.decode(text).map(Base64Bytes).map_err(|_| E::custom("not standard base64"))
            }
            fn visit_none<E: serde::de::Error>(self) -> Result<Base64Bytes, E> {
                Ok(Base64Bytes::default())
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Base64Bytes, D::Error> {
                deserializer.deserialize_str(self)
            }
        }
        deserializer.deserialize_option(Text)
    }
}

/// What a success carries (protocol.md §2).
#[derive(Serialize, Deserialize)]
pub struct Envelope<T> {
    /// `Ok.`
    pub status: String,
    /// The payload.
    pub data: T,
}

impl<T> Envelope<T> {
    /// `{"status":"Ok.","data":…}`.
    pub fn ok(data: T) -> Self {
        Self { status: "Ok.".into(), data }
    }
}

/// `status` of a 400 (protocol.md §2).
pub const STATUS_INVALID: &str = "Invalid request.";
/// `status` of a 401 (protocol.md §2).
pub const STATUS_UNAUTHORIZED: &str = "Unauthorized";
/// `status` of a 404 (protocol.md §2).
pub const STATUS_NOT_FOUND: &str = "Resource not found.";
/// `status` of a 500 (protocol.md §2).
pub const STATUS_INTERNAL: &str = "Internal Server Error.";

/// What a failure carries (protocol.md §2); the text in `error` is often the only signal.
#[derive(Serialize, Deserialize)]
pub struct Failure {
    /// `Invalid request.`, `Unauthorized`, `Resource not found.`, `Internal Server Error.`, …
    pub status: String,
    /// Absent on 404.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Failure {
    /// Whether HTTP status and `status` text go together as the backend writes them. JSON with a `status` is common:
    /// what a gateway on the way says is not the backend's word on whether a request was processed.
    pub fn is_the_backends(&self, http_status: u16) -> bool {
        let written = match http_status {
            400 => STATUS_INVALID,
            401 => STATUS_UNAUTHORIZED,
            404 => STATUS_NOT_FOUND,
            500 => STATUS_INTERNAL,
            _ => return false,
        };
        self.status == written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_backends_own_pairs_of_statuses_are_its_word() {
        let failure = |status: &str| Failure { status: status.into(), error: None };
        assert!(failure("Invalid request.").is_the_backends(400));
        assert!(failure("Unauthorized").is_the_backends(401));
        assert!(failure("Resource not found.").is_the_backends(404));
        assert!(failure("Internal Server Error.").is_the_backends(500));
        for (status, code) in
            [("fail", 400), ("Invalid request.", 408), ("Forbidden", 403), ("Unauthorized", 403)]
        {
            assert!(!failure(status).is_the_backends(code), "{status} {code}");
        }
    }
}
