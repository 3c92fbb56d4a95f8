//! What is said of the pinned keys.

use serde::{Deserialize, Serialize};

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// New names.
    pub added: Vec<KeyReport>,
    /// Names whose key was replaced.
    pub replaced: Vec<KeyReport>,
    /// Names already pinned to the same key.
    pub unchanged: Vec<KeyReport>,
    /// What the user should know, such as constants without a name.
    pub notes: Vec<String>,
}

/// The pinned keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysReport {
    /// In order of their names.
    pub keys: Vec<KeyReport>,
}

/// One pinned key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReport {
    /// A model id, `abuse-permanent` or `abuse-transient`.
    pub name: String,
    /// SHA-256 of the SPKI, hex.
    pub fingerprint: String,
}
