//! The composition root's capability for backups: the abuse tokens in plain, and snapshots of the file.
//!
//! Nobody may read a token without presenting it; an abuse token is the one exception, and a narrow one. The official
//! client's backup holds both in plain under a passphrase, and an account is issued its permanent one once, so a copy of
//! them is worth having. Therefore neither plane is given this handle: the identity plane only carries a blob that is
//! sealed already, and cannot read what is in it. What [`Backups::export_abuse`] hands out is wiped when dropped. Credit
//! tokens cannot be had this way at all: in a snapshot they are as sealed as in the file.
//!
//! # What a snapshot holds
//!
//! It is the file as of one commit, made in memory and never on disk, and changed before it leaves:
//!
//! | in the vault | in the snapshot | why |
//! | --- | --- | --- |
//! | custody | *restored*: paused until somebody says that the source is out of use ([`custody`](super::custody)) | no restore can forget it |
//! | Reserved, Presented | Available, InDoubt | as after a crash |
//! | any token | marked maybe-spent | the source may spend it a moment later, on a prompt that nobody here knows. What the backend answers to such a token is believed only if it was provably made for this call (`redeem::outcome`) |
//! | pending issuances | wiped, and counted | finished in two places they would be one token in two vaults, unmarked. They need the session besides, which is in no backup |
//!
//! A token that was in doubt at the snapshot is marked as well: the source may have had its answer since, and in the end
//! may have spent the token on something else. The copy thereby gives up an answer that it might have fetched, and never
//! shows one to the wrong prompt.

use rusqlite::{Connection, MAIN_DB};

use super::books::{Books, HeldAbuse, MARK};
use super::custody::{Custody, Identification};
use super::recovery::{DOUBT_ALL, RELEASE_ALL};
use super::sealing::Place;
use super::thread::{Durability, Mailbox};
use super::{AbuseKind, VaultError};
use crate::blind::Fingerprint;
use crate::secret::Secret;
use crate::wire::redemption::Epoch;

/// For backups, and for the composition root alone.
#[derive(Clone)]
pub struct Backups {
    mailbox: Mailbox,
}

/// A token and its signature, in plain.
#[derive(Clone)]
pub struct SignedToken {
    /// The bytes that were signed.
    pub token: Secret<Vec<u8>>,
    /// The signature.
    pub signature: Secret<Vec<u8>>,
}

/// Both abuse tokens, in plain.
pub struct AbuseTokens {
    /// The permanent one.
    pub permanent: SignedToken,
    /// The transient one, if there is one.
    pub transient: Option<(SignedToken, Epoch)>,
}

/// An abuse token to be held from now on. Whoever makes one has verified the signature.
pub struct VerifiedAbuse {
    /// Which one.
    pub kind: AbuseKind,
    /// The key that signed it.
    pub key: Fingerprint,
    /// Token and signature.
    pub token: SignedToken,
}

/// What becomes of the source of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It goes on.
    Kept,
    /// It is paused in the same commit.
    Retired,
}

/// The file as of one commit.
pub struct Snapshot {
    /// An SQLite database; its records are sealed.
    pub database: Secret<Vec<u8>>,
    /// Of the source.
    pub of: Identification,
    /// Pending issuances, which are not in it.
    pub left_behind: u64,
}

impl Backups {
    pub(super) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox }
    }

    /// The abuse tokens that are held, in plain. None without a permanent one.
    pub async fn export_abuse(&self) -> Result<Option<AbuseTokens>, VaultError> {
        self.mailbox.call(Durability::Relaxed, |books| Ok(books.export_abuse())).await
    }

    /// Holds these from now on, all or none; durable. Those before go as superseded ones do: tokens in doubt keep theirs.
    pub async fn import_abuse(&self, tokens: Vec<VerifiedAbuse>) -> Result<(), VaultError> {
        self.mailbox.call(Durability::Synced, move |books| books.import_abuse(&tokens)).await
    }

    /// The file as of now, for another place; see the module. With [`Source::Retired`] nothing is spent here afterwards;
    /// durable.
    pub async fn snapshot(&self, source: Source) -> Result<Snapshot, VaultError> {
        self.mailbox.call(Durability::Synced, move |books| books.snapshot(source)).await
    }

    /// Lineage, generation, custody.
    pub async fn identification(&self) -> Result<Identification, VaultError> {
        self.mailbox.call(Durability::Relaxed, |books| books.identification()).await
    }

    /// The tokens are this vault's alone from now on; durable. Only after somebody said so.
    pub async fn take_over(&self) -> Result<(), VaultError> {
        self.mailbox.call(Durability::Synced, Books::take_over).await
    }

    /// Takes a [`Source::Retired`] back: no copy came of it.
    pub async fn reinstate(&self) -> Result<(), VaultError> {
        self.mailbox.call(Durability::Synced, |books| books.set_custody(Custody::Ours)).await
    }

    /// Another vault has taken the tokens over; durable.
    pub async fn retire(&self) -> Result<(), VaultError> {
        self.mailbox.call(Durability::Synced, |books| books.set_custody(Custody::Retired)).await
    }
}

impl Books {
    fn export_abuse(&self) -> Option<AbuseTokens> {
        let plain =
            |held: &HeldAbuse| SignedToken { token: held.token.clone(), signature: held.signature.clone() };
        let permanent = self.permanent.as_ref().map(plain)?;
        let transient = self.transient.as_ref().map(|held| (plain(held), held.epoch));
        Some(AbuseTokens { permanent, transient })
    }

    fn import_abuse(&mut self, tokens: &[VerifiedAbuse]) -> Result<(), VaultError> {
        for VerifiedAbuse { kind, key, token } in tokens {
            self.hold_abuse(*kind, *key, token.token.expose(), token.signature.expose())?;
        }
        self.read_abuse_tokens()
    }

    /// Puts an abuse token in the place of the one before.
    pub(super) fn hold_abuse(
        &mut self,
        kind: AbuseKind,
        key: Fingerprint,
        token: &[u8],
        signature: &[u8],
    ) -> Result<(), VaultError> {
        let (name, epoch) = kind.columns();
        self.conn
            .prepare_cached("UPDATE abuse_tokens SET superseded = 1 WHERE kind = ?1 AND superseded = 0")?
            .execute([name])?;
        let id = self.fresh_id("abuse_tokens")?;
        let place = Place { table: "abuse_tokens", row: &id.to_be_bytes(), subject: name };
        let sealed = self.sealer.seal(&place, &[token, signature]);
        self.conn
            .prepare_cached(
                "INSERT INTO abuse_tokens (id, kind, epoch, key, superseded, sealed)
                 VALUES (?1, ?2, ?3, ?4, 0, ?5)",
            )?
            .execute((id, name, epoch, key.as_bytes(), sealed))?;
        self.sweep_due = true;
        self.sweep_abuse_tokens()
    }

    fn snapshot(&mut self, source: Source) -> Result<Snapshot, VaultError> {
        let of = self.identification()?;
        if source == Source::Retired {
            self.custody.check()?;
        }
        self.write_habits()?;
        let left_behind: i64 = self
            .conn
            .prepare_cached(
                "SELECT (SELECT count(*) FROM issuances) + (SELECT count(*) FROM abuse_issuances)",
            )?
            .query_row([], |row| row.get(0))?;
        let database = copy(&self.conn)?;
        if source == Source::Retired {
            self.set_custody(Custody::Retired)?;
        }
        Ok(Snapshot { database, of, left_behind: left_behind.unsigned_abs() })
    }
}

/// The database with everything changed that a copy must not have; in memory.
fn copy(conn: &Connection) -> Result<Secret<Vec<u8>>, VaultError> {
    let mut image = Secret::new(conn.serialize(MAIN_DB)?.to_vec());
    // "File format version numbers": 2 is WAL, which a database in memory cannot have; 1 is what a file begins with.
    for version in image.expose_mut().get_mut(18..20).ok_or(VaultError::Corrupt)? {
        *version = 1;
    }
    let mut copy = Connection::open_in_memory()?;
    copy.deserialize_read_exact(MAIN_DB, image.expose().as_slice(), image.expose().len(), false)?;
    copy.pragma_update(None, "secure_delete", "ON")?;
    copy.pragma_update(None, "temp_store", "MEMORY")?;
    copy.execute_batch(&format!(
        "BEGIN;
         DELETE FROM issuances;
         DELETE FROM abuse_issuances;
         {RELEASE_ALL};
         {DOUBT_ALL};
         UPDATE tokens SET maybe_spent = 1;
         COMMIT;"
    ))?;
    copy.execute("UPDATE meta SET value = ?1 WHERE name = 'custody'", [Custody::Restored.name().as_bytes()])?;
    // Of this place, and of no other.
    copy.execute("DELETE FROM meta WHERE name = ?1", [MARK])?;
    Ok(Secret::new(copy.serialize(MAIN_DB)?.to_vec()))
}
