//! What is said of the daemon and the home.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::passage::Passage;
use crate::vault::{Custody, Stock};
use crate::wire::ModelName;

use super::{AbuseReport, SupplyReport};

/// The daemon, the home and the stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The running daemon, if one is.
    pub daemon: Option<DaemonReport>,
    /// The home.
    pub home: PathBuf,
    /// Identity plane's base URL, if configured.
    pub identity_url: Option<String>,
    /// Anonymous plane's base URL, if configured.
    pub anonymous_url: Option<String>,
    /// Whether anything may leave this machine: `llmtor pause` and `llmtor resume`.
    #[serde(default)]
    pub passage: Passage,
    /// Whether a session is held, ended or not.
    pub logged_in: bool,
    /// The session, as far as is known here.
    #[serde(default)]
    pub session: SessionState,
    /// Whether the vault's tokens may be spent here.
    #[serde(default)]
    pub custody: Custody,
    /// Until when the tokens rest that came with a vault which was just taken over; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting_until: Option<String>,
    /// Whether the disk of the home has room for what a call writes.
    #[serde(default)]
    pub room: Room,
    /// Counts per model and state.
    pub models: BTreeMap<ModelName, Stock>,
    /// How long each stock lasts, and what happens next by itself.
    #[serde(default)]
    pub supply: BTreeMap<ModelName, SupplyReport>,
    /// Abuse tokens.
    pub abuse: AbuseReport,
    /// How many credits no token came of.
    #[serde(default)]
    pub credits_lost: u64,
}

/// Whether there is room on a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Room {
    /// There is.
    #[default]
    Some,
    /// There is none.
    None,
}

/// The session, as far as is known here: nobody is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// There is none.
    #[default]
    None,
    /// It is kept, and was not refused so far.
    Held,
    /// It is kept, and the backend said that it does not count any more. Tokens in stock are not concerned.
    Expired,
}

/// A running daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonReport {
    /// Its process.
    pub pid: u32,
    /// What clients are pointed at.
    pub base_url: String,
    /// The way out of the anonymous plane: `tor`, `socks` or `loopback`.
    pub transport: String,
    /// The Tor client built in, where it is the way out.
    #[serde(default)]
    pub tor: Option<TorReport>,
    /// Streams that wait for a call.
    #[serde(default)]
    pub warm: usize,
}

/// How far the Tor client is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TorReport {
    /// 0 to 100.
    pub percent: u8,
    /// What follows from it.
    pub phase: TorPhase,
    /// What the start is at, in words.
    #[serde(default)]
    pub stage: Option<String>,
    /// On what it is stuck, in words.
    #[serde(default)]
    pub blockage: Option<String>,
}

/// Whether calls can leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TorPhase {
    /// Starting up.
    Bootstrapping,
    /// They can.
    Ready,
    /// They can; the first one wakes it.
    Dormant,
    /// Stuck.
    Blocked,
    /// There is none while nothing may leave.
    AtRest,
}

/// Every circuit is left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewIdentityReport {
    /// How many streams that waited for a call were dropped.
    pub dropped: usize,
}
