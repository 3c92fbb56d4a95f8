//! What was looked into, and what was found.

use serde::{Deserialize, Serialize};

use super::RefusalKind;

/// What was looked into, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// The daemon that looked, if one runs.
    pub daemon: Option<u32>,
    /// In the order in which they build on one another: the first problem is the one to begin with.
    pub checks: Vec<Check>,
}

/// One thing that was looked into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which.
    pub name: CheckName,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, in one sentence. Never a secret.
    pub detail: String,
    /// What to do, if there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// What sort of problem it is; decides the exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<RefusalKind>,
}

/// What is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    /// The directory, and who works in it.
    Home,
    /// The configuration.
    Settings,
    /// The address that the endpoint listens on, or would.
    Endpoint,
    /// The backend's pinned keys.
    Keys,
    /// Tokens.
    Vault,
    /// The abuse tokens, without which a backend that asks for them answers no call.
    Abuse,
    /// The session with the identity plane.
    Session,
    /// This machine's clock.
    Clock,
    /// The Tor client built in.
    Tor,
    /// The backend, by the way that calls take.
    Backend,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Calls go through, or will; something is worth knowing.
    Warning,
    /// Calls do not go through.
    Problem,
    /// Not looked into, for the reason that the detail gives.
    Skipped,
}
