//! Whether anything may leave this machine at all: the user's own switch, `llmtor pause` and `llmtor resume`.
//!
//! | passage | calls | identity plane | Tor |
//! | --- | --- | --- | --- |
//! | Open | leave | asks what it is told to, and what its schedule has due | runs |
//! | Paused | are refused at once, no token is touched; an attempt under way ends, and no further one of its call is begun | refuses, but for a sign-out, which then is one of this home alone; a mint is cut short; the schedule waits, and what was missed is drawn anew on resuming, as after sleep | nothing is kept warm; the client ends as soon as nothing is under way, and is begun anew on resuming |
//!
//! It is kept in the home (the file `paused`), so that a restart stays paused. Not to be confused with
//! [`Custody`](crate::vault::Custody), which says whose a vault's tokens are.
//!
//! Deliberately absent: a time after which it opens by itself. Whoever closed it may be in another network by then.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What every refusal says, whoever refuses.
pub const PAUSED: &str =
    "llmtor is paused, so nothing leaves this machine; `llmtor resume` lets calls leave again";

/// Whether anything may leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passage {
    /// It may.
    #[default]
    Open,
    /// Nothing may, until the user says so.
    Paused,
}

/// The switch as everybody sees it. Clones share it.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<Passage>>);

impl Gate {
    /// A gate that stands so.
    pub fn new(passage: Passage) -> Self {
        Self(Arc::new(watch::Sender::new(passage)))
    }

    /// How it stands.
    pub fn passage(&self) -> Passage {
        *self.0.borrow()
    }

    /// Every change.
    pub fn changes(&self) -> watch::Receiver<Passage> {
        self.0.subscribe()
    }

    /// Opens or closes it. Whoever keeps it in the home has done so before.
    pub fn set(&self, passage: Passage) {
        self.0.send_if_modified(|current| {
            let changed = *current != passage;
            *current = passage;
            changed
        });
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(Passage::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_a_change_and_what_is_no_change_wakes_nobody() {
        let gate = Gate::default();
        let mut changes = gate.clone().changes();
        gate.set(Passage::Open);
        assert!(!changes.has_changed().unwrap());
        gate.clone().set(Passage::Paused);
        changes.changed().await.unwrap();
        assert_eq!((*changes.borrow(), gate.passage()), (Passage::Paused, Passage::Paused));
    }
}
