//! What the identity plane must remember across a restart: sealed, by name, and replaced as a whole.
//!
//! The vault does not look into them. They are here because the vault is what is durable, sealed and wiped.

use rusqlite::OptionalExtension as _;

use super::books::Books;
use super::sealing::Place;
use super::thread::Durability;
use super::{Deposits, VaultError};
use crate::secret::Secret;

/// Which note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// When to top up next, and what was decided about it.
    TopUps,
    /// When to rotate the abuse tokens next.
    Rotation,
    /// Whose account what is held was obtained as, by a keyed hash.
    Owner,
    /// How often this month's abuse token was asked for.
    AbuseRequests,
}

impl Note {
    fn name(self) -> &'static str {
        match self {
            Self::TopUps => "top-ups",
            Self::Rotation => "rotation",
            Self::Owner => "owner",
            Self::AbuseRequests => "abuse requests",
        }
    }

    fn place(self) -> Place<'static> {
        Place { table: "notes", row: self.name().as_bytes(), subject: "" }
    }
}

impl Deposits {
    /// The note as it was kept last. A damaged one is as good as none.
    pub async fn note(&self, note: Note) -> Result<Option<Secret<Vec<u8>>>, VaultError> {
        self.mailbox.call(Durability::Relaxed, move |books| books.read_note(note)).await
    }

    /// Keeps the note instead of the one before; durable.
    pub async fn keep_note(&self, note: Note, content: Secret<Vec<u8>>) -> Result<(), VaultError> {
        self.mailbox.call(Durability::Synced, move |books| books.keep_note(note, &content)).await
    }
}

impl Books {
    fn read_note(&mut self, note: Note) -> Result<Option<Secret<Vec<u8>>>, VaultError> {
        let sealed: Option<Vec<u8>> = self
            .conn
            .prepare_cached("SELECT sealed FROM notes WHERE name = ?1")?
            .query_row([note.name()], |row| row.get(0))
            .optional()?;
        Ok(sealed
            .and_then(|sealed| self.sealer.open::<1>(&note.place(), &sealed).ok())
            .map(|[content]| content))
    }

    fn keep_note(&mut self, note: Note, content: &Secret<Vec<u8>>) -> Result<(), VaultError> {
        let sealed = self.sealer.seal(&note.place(), &[content.expose()]);
        self.conn
            .prepare_cached(
                "INSERT INTO notes (name, sealed) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed",
            )?
            .execute((note.name(), sealed))?;
        Ok(())
    }
}
