//! What pausing and resuming came to.

use serde::{Deserialize, Serialize};

use crate::passage::Passage;

/// Of [`Operation::Pause`](super::Operation::Pause) and [`Operation::Resume`](super::Operation::Resume).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassageReport {
    /// As it is now.
    pub passage: Passage,
    /// As it was before.
    pub before: Passage,
}
