//! Which tokens are spent, their answers for a few days, and which abuse tokens are refused.
//!
//! | row in `spent` | row in `answers` | means |
//! | --- | --- | --- |
//! | no | no | fresh |
//! | yes | yes | spent; a repeat gets the same answer |
//! | yes | no | spent; the answer has been wiped |
//!
//! Invariants: this file (`spent.db`) names no account, no session, no address and no model. A token
//! appears only as its SHA-256 (it has 122 random bits, so the hash tells nothing). Time is kept in whole
//! hours, and only while the answer is. Tables have no row ids, so the order of redemptions is not
//! kept either. A `spent` row is never removed.

use futures_util::future::BoxFuture;
use rusqlite::{OptionalExtension as _, params};

use super::sqlite::{Database, StoreError};

const SCHEMA: &[&str] = &["
    CREATE TABLE spent (sha256 BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE answers (
        sha256 BLOB PRIMARY KEY REFERENCES spent,
        request BLOB NOT NULL,
        kept_until_hour INTEGER NOT NULL,
        sealed BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX answers_by_hour ON answers (kept_until_hour);
    CREATE TABLE blacklist (sha256 BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
"];

/// SHA-256 of a token.
pub(super) type TokenHash = [u8; 32];

/// A stored answer.
pub(super) struct Kept {
    /// What recognises the same request: see [`super::seal::request_digest`].
    pub(super) request: [u8; 32],
    /// Hours since 1970; from this hour on the answer is not given any more.
    pub(super) until_hour: i64,
    /// See [`super::seal`].
    pub(super) sealed: Vec<u8>,
}

/// What is known of a token.
pub(super) enum Standing {
    Fresh,
    Kept(Kept),
    Wiped,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The anonymous plane's store. Every change is durable when its future resolves.
pub(super) trait SpentStore: Send + Sync {
    /// What is known of a token.
    fn standing(&self, token: TokenHash) -> Answer<'_, Standing>;
    /// Marks a fresh token as spent and keeps its answer; an error if it was spent already.
    fn spend(&self, token: TokenHash, answer: Kept) -> Answer<'_, ()>;
    /// Wipes the answers kept until `hour` or earlier; says how many.
    fn wipe_until(&self, hour: i64) -> Answer<'_, usize>;
    /// Whether an abuse token is refused.
    fn blacklisted(&self, abuse_token: TokenHash) -> Answer<'_, bool>;
    /// Refuses an abuse token from now on. Blocks.
    fn blacklist(&self, abuse_token: TokenHash) -> Result<(), StoreError>;
}

/// [`SpentStore`] in a SQLite file.
pub(super) struct SqliteSpent(Database);

impl SqliteSpent {
    pub(super) fn open(path: &std::path::Path) -> Result<Self, StoreError> {
        Ok(Self(Database::open(path, SCHEMA)?))
    }
}

impl SpentStore for SqliteSpent {
    fn standing(&self, token: TokenHash) -> Answer<'_, Standing> {
        Box::pin(self.0.query(move |c| {
            let kept = c
                .prepare_cached("SELECT request, kept_until_hour, sealed FROM answers WHERE sha256 = ?")?
                .query_row([token], |row| {
                    Ok(Kept { request: row.get(0)?, until_hour: row.get(1)?, sealed: row.get(2)? })
                })
                .optional()?;
            if let Some(kept) = kept {
                return Ok(Standing::Kept(kept));
            }
            let spent = c.prepare_cached("SELECT 1 FROM spent WHERE sha256 = ?")?.exists([token])?;
            Ok(if spent { Standing::Wiped } else { Standing::Fresh })
        }))
    }

    fn spend(&self, token: TokenHash, answer: Kept) -> Answer<'_, ()> {
        Box::pin(self.0.change(move |c| {
            c.prepare_cached("INSERT INTO spent (sha256) VALUES (?)")?.execute([token])?;
            c.prepare_cached(
                "INSERT INTO answers (sha256, request, kept_until_hour, sealed) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![token, answer.request, answer.until_hour, answer.sealed])?;
            Ok(())
        }))
    }

    fn wipe_until(&self, hour: i64) -> Answer<'_, usize> {
        Box::pin(self.0.change(move |c| c.execute("DELETE FROM answers WHERE kept_until_hour <= ?", [hour])))
    }

    fn blacklisted(&self, abuse_token: TokenHash) -> Answer<'_, bool> {
        Box::pin(self.0.query(move |c| {
            c.prepare_cached("SELECT 1 FROM blacklist WHERE sha256 = ?")?.exists([abuse_token])
        }))
    }

    fn blacklist(&self, abuse_token: TokenHash) -> Result<(), StoreError> {
        self.0.change_blocking(move |c| {
            c.execute("INSERT OR IGNORE INTO blacklist (sha256) VALUES (?)", [abuse_token])?;
            Ok(())
        })
    }
}
