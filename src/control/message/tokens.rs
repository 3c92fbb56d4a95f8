//! Tokens one by one, and credits that are gone, as they are told.

use serde::{Deserialize, Serialize};

pub use crate::vault::LossReason;
use crate::wire::ModelName;

/// One token, or one that is yet to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenReport {
    /// Hexadecimal digits; some of the first are enough to name it.
    pub id: String,
    /// Its model.
    pub model: ModelName,
    /// Where it stands.
    pub state: TokenState,
    /// Whether it was in doubt until its term passed: the backend may know it.
    #[serde(default)]
    pub maybe_spent: bool,
    /// Since when; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Until when; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// Ordered; the signature is not here yet.
    Pending,
    /// May be drawn.
    Available,
    /// May be drawn later.
    Maturing,
    /// Signed by another key than the pinned one.
    OtherKey,
    /// Drawn for a call; nothing sent.
    Reserved,
    /// In a call's hands; may have been sent.
    Presented,
    /// Perhaps spent.
    InDoubt,
    /// Spent, and its answer not delivered.
    Undelivered,
    /// The backend says that the signature is not its own.
    Refused,
}

/// What will become of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainReport {
    /// Which.
    pub token: TokenReport,
    /// In plain words, a sentence or two each.
    pub explanation: Vec<String>,
}

/// Credits that no token came of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossesReport {
    /// The oldest first.
    pub losses: Vec<LossReport>,
    /// How many rows were forgotten just now, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<u64>,
}

/// Credits of one model that no token came of, found on one day and for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossReport {
    /// Whose credits.
    pub model: ModelName,
    /// How many.
    pub credits: u64,
    /// When the first of them was found; RFC 3339.
    pub found: String,
    /// Why.
    pub reason: LossReason,
}
