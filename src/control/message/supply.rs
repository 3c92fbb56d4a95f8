//! What is said of a stock: how long it lasts, what happens next by itself, from when on fresh tokens may be used.

use serde::{Deserialize, Serialize};

/// How long one model's stock lasts, and what happens next by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupplyReport {
    /// How the stock is.
    pub level: SupplyLevel,
    /// For how many days it lasts, as the model was used lately; absent if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// What happens next.
    pub next: NextTopUp,
}

/// How a stock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupplyLevel {
    /// It lasts.
    Ample,
    /// It ends soon.
    Low,
    /// There is nothing.
    Empty,
}

/// What happens next about a stock. Days are `YYYY-MM-DD`, UTC: more exactly nobody needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum NextTopUp {
    /// None while the vault is paused: its account is perhaps another vault's business.
    Paused,
    /// None while nothing may leave: until `llmtor resume`.
    Resume,
    /// Before that day it is looked into, and topped up if it does not last.
    Look {
        /// The day after the one of the appointment.
        before: String,
    },
    /// The account had no credit; before that day it is asked again.
    NoCredit {
        /// As above; absent while that is not planned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
    },
    /// The backend refused; before that day it is asked again.
    Refused {
        /// As above.
        before: String,
    },
    /// Nothing until a sign-in.
    SignIn,
    /// Nothing until another key is pinned, or a mint by hand succeeds: a signature did not verify.
    Stopped,
    /// Nothing: `topup.enabled` is false.
    Off,
    /// Nothing until the daemon runs.
    NotRunning,
    /// The daemon is about to draw an appointment.
    Unplanned,
}

/// From when on fresh tokens may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Usable {
    /// At once.
    #[default]
    Now,
    /// Each after a random delay of its own.
    Later {
        /// The delays' mean.
        mean_minutes: u64,
    },
}
