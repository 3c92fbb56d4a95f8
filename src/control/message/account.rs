//! What is said of the account and the session.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the backend knows of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountReport {
    /// Whose account it is: the backend's base URL.
    #[serde(default)]
    pub backend: String,
    /// Display name; may be empty.
    pub name: String,
    /// Mail address; may be empty.
    pub email: String,
    /// Credits left by model.
    pub credits: BTreeMap<String, i64>,
    /// Credits used by model.
    pub used: BTreeMap<String, i64>,
}

/// What a sign-in does about another account than the one that what is held was obtained as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherAccount {
    /// Refuse it.
    #[default]
    Refuse,
    /// Take it; what is held stays in use.
    Take,
}

/// A session was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginReport {
    /// The account's display name; may be empty.
    pub name: String,
    /// The account's mail address; may be empty.
    pub email: String,
    /// Credits left by model.
    #[serde(default)]
    pub credits: BTreeMap<String, i64>,
    /// What became of issuances begun under another account, if there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The session is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogoutReport {
    /// Whether the backend ended it too; it may have been unreachable.
    pub at_backend: bool,
    /// What became of issuances that were pending, if there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
