//! Whether anything may leave this machine at all: the user's own switch, `llmtor pause` and `llmtor resume`.
//!
//! | passage | calls | identity plane | Tor |
//! | --- | --- | --- | --- |
//! | Open | leave | asks what it is told to, and what its schedule has due | runs |
//! | Paused | are refused at once, no token is touched; a dial under way is called off; an attempt that was begun ends, and no further one of its call is begun | refuses, but for a sign-out, which then is one of this home alone; no request is begun, whatever it is part of; the schedule waits, and what was missed is drawn anew on resuming, as after sleep | nothing is kept warm; the client ends as soon as nothing is under way, and is begun anew on resuming |
//!
//! It is kept in the home (the file `paused`), so that a restart stays paused, and so that a command that is at work without a
//! daemon sees it: a gate that stands on that note looks at it each time it is asked. Not to be confused with
//! [`Custody`](crate::vault::Custody), which says whose a vault's tokens are.
//!
//! Deliberately absent: a time after which it opens by itself. Whoever closed it may be in another network by then.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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

/// How often whoever waits looks at the note, of which nobody is told.
const LOOK: Duration = Duration::from_millis(100);

/// The switch as everybody sees it. Clones share it.
#[derive(Clone)]
pub struct Gate {
    told: Arc<watch::Sender<Passage>>,
    /// The file that is there while nothing may leave, if it is looked at.
    note: Option<Arc<Path>>,
}

impl Gate {
    /// A gate that stands so.
    pub fn new(passage: Passage) -> Self {
        Self { told: Arc::new(watch::Sender::new(passage)), note: None }
    }

    /// A gate that is shut, too, while there is a file `note`: another process may have put it there.
    #[must_use]
    pub fn with_note(self, note: PathBuf) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// How it stands.
    pub fn passage(&self) -> Passage {
        match self.told() {
            Passage::Open if self.is_noted() => Passage::Paused,
            told => told,
        }
    }

    /// How it stands by what it was told: [`Gate::set`] and nothing else.
    pub fn told(&self) -> Passage {
        *self.told.borrow()
    }

    fn is_noted(&self) -> bool {
        // What cannot be looked at is taken for the stricter of the two.
        self.note.as_ref().is_some_and(|note| note.try_exists().unwrap_or(true))
    }

    /// Every change that it is told of.
    pub fn changes(&self) -> watch::Receiver<Passage> {
        self.told.subscribe()
    }

    /// Returns once it is shut. Cancel-safe.
    pub async fn shut(&self) {
        let mut changes = self.changes();
        while self.passage() == Passage::Open {
            tokio::select! {
                // The sender is this one's.
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK), if self.note.is_some() => {}
            }
        }
    }

    /// Opens or closes it. Whoever keeps it in the home has done so before.
    pub fn set(&self, passage: Passage) {
        self.told.send_if_modified(|current| {
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

    #[tokio::test(start_paused = true)]
    async fn a_gate_is_shut_by_a_note_that_somebody_else_puts_there_and_open_again_without_it() {
        let room = tempfile::tempdir().unwrap();
        let note = room.path().join("paused");
        let gate = Gate::default().with_note(note.clone());
        assert_eq!(gate.passage(), Passage::Open);
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.shut().await }
        });
        tokio::task::yield_now().await;
        std::fs::write(&note, "").unwrap();
        waiting.await.unwrap();
        assert_eq!((gate.passage(), gate.told()), (Passage::Paused, Passage::Open));
        std::fs::remove_file(&note).unwrap();
        assert_eq!(gate.passage(), Passage::Open);
        gate.set(Passage::Paused);
        gate.shut().await;
    }
}
