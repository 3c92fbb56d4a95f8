//! Who may have how many signatures: accounts, sessions, credits, issuance of abuse tokens, backups.
//!
//! Invariants: this file (`ledger.db`) knows nothing of redemptions, and nothing here is shared with
//! [`super::spent`]. A session is kept as its SHA-256. A credit leaves in one guarded update.

mod sign_in;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::sqlite::{Database, StoreError};
use crate::clock::Timestamp;
use crate::wire::ModelName;
use crate::wire::identity::{Counts, PaymentLog};
use crate::wire::redemption::Epoch;

pub use sign_in::Invite;
pub(super) use sign_in::{Admission, CodeHash, NewInvite, Person, SignIns};

/// How long after the first issue a permanent abuse token may be signed again, seconds (protocol.md §3).
pub(super) const RESIGN_SECONDS: i64 = 600;
/// Transient abuse tokens per account and epoch (protocol.md §3).
pub(super) const TRANSIENT_PER_EPOCH: i64 = 30;

pub(super) const SCHEMA: &[&str] = &[
    "
    CREATE TABLE accounts (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        permanent_issued_at INTEGER,
        transient_epoch INTEGER NOT NULL DEFAULT 0,
        transient_issued INTEGER NOT NULL DEFAULT 0,
        backup TEXT
    ) STRICT;
    CREATE TABLE sessions (
        sha256 BLOB PRIMARY KEY,
        account TEXT NOT NULL REFERENCES accounts
    ) STRICT;
    CREATE TABLE credits (
        account TEXT NOT NULL REFERENCES accounts,
        model TEXT NOT NULL,
        active INTEGER NOT NULL DEFAULT 0 CHECK (active >= 0),
        used INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (account, model)
    ) STRICT;
    CREATE TABLE grants (
        id TEXT NOT NULL,
        account TEXT NOT NULL REFERENCES accounts,
        model TEXT NOT NULL,
        credits INTEGER NOT NULL,
        PRIMARY KEY (id, model)
    ) STRICT;
",
    sign_in::SCHEMA,
    super::store::SCHEMA,
    super::store::CHECKOUTS_OF_A_PACKAGE,
];

/// SHA-256 of a session id.
pub(super) type SessionHash = [u8; 32];

/// An account's id: a random UUID.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct AccountId(String);

impl AccountId {
    /// One that is in the ledger already.
    pub(super) fn known(id: &str) -> Self {
        Self(id.to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What `/me` tells.
pub(super) struct Statement {
    pub(super) name: String,
    pub(super) email: String,
    pub(super) picture: String,
    pub(super) active: Counts,
    pub(super) used: Counts,
    pub(super) grants: Vec<PaymentLog>,
    pub(super) permanent_issued_at: Option<Timestamp>,
    pub(super) transient_epoch: i64,
}

/// Whether one more abuse token may be signed; `Granted` has been counted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    Granted,
    Refused,
}

/// Whether there was a credit; `Debited` has been taken already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Debit {
    Debited,
    NoQuota,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The identity plane's store. Every change is durable when its future resolves.
pub(super) trait Ledger: Send + Sync {
    /// The account that `session` belongs to.
    fn account(&self, session: SessionHash) -> Answer<'_, Option<AccountId>>;
    /// What `/me` tells.
    fn statement(&self, account: AccountId) -> Answer<'_, Statement>;
    /// Credits left.
    fn balance(&self, account: AccountId, model: ModelName) -> Answer<'_, i64>;
    /// Takes one credit, if there is one.
    fn debit(&self, account: AccountId, model: ModelName) -> Answer<'_, Debit>;
    /// Once per account, and again for [`RESIGN_SECONDS`] after the first time.
    fn permit_permanent(&self, account: AccountId, now: Timestamp) -> Answer<'_, Permit>;
    /// [`TRANSIENT_PER_EPOCH`] times per account and epoch.
    fn permit_transient(&self, account: AccountId, epoch: Epoch) -> Answer<'_, Permit>;
    /// Replaces the backup blob.
    fn store_backup(&self, account: AccountId, blob: String) -> Answer<'_, ()>;
    /// The backup blob.
    fn backup(&self, account: AccountId) -> Answer<'_, Option<String>>;
    /// Ends one session.
    fn end_session(&self, session: SessionHash) -> Answer<'_, ()>;
    /// Opens a session for the account of that name and ends its earlier ones; `false` if there is none.
    fn renew_session(&self, name: String, session: SessionHash) -> Answer<'_, bool>;
    /// As [`Self::renew_session`], for the command line: blocks.
    fn renew_session_blocking(&self, name: &str, session: SessionHash) -> Result<bool, StoreError>;
    /// Creates an account; `false` if the name is taken. Blocks.
    fn create(
        &self,
        name: &str,
        credits: &BTreeMap<ModelName, i64>,
        session: SessionHash,
    ) -> Result<bool, StoreError>;
    /// Adds credits; `false` if there is no such account. Blocks.
    fn grant(&self, name: &str, credits: &BTreeMap<ModelName, i64>) -> Result<bool, StoreError>;
}

/// [`Ledger`] in a SQLite file.
pub(super) struct SqliteLedger(Database);

impl SqliteLedger {
    pub(super) fn open(path: &std::path::Path) -> Result<Self, StoreError> {
        Ok(Self(Database::open(path, SCHEMA)?))
    }

    /// The file, for what is sold: credits and the reason for them are one commit.
    pub(super) fn database(&self) -> Database {
        self.0.clone()
    }

    /// The part of the same file that a sign-in needs.
    pub(super) fn sign_ins(&self) -> SignIns {
        SignIns(self.0.clone())
    }
}

impl Ledger for SqliteLedger {
    fn account(&self, session: SessionHash) -> Answer<'_, Option<AccountId>> {
        Box::pin(self.0.query(move |c| {
            c.prepare_cached("SELECT account FROM sessions WHERE sha256 = ?")?
                .query_row([session], |row| row.get(0).map(AccountId))
                .optional()
        }))
    }

    fn statement(&self, account: AccountId) -> Answer<'_, Statement> {
        Box::pin(self.0.query(move |c| read_statement(c, &account)))
    }

    fn balance(&self, account: AccountId, model: ModelName) -> Answer<'_, i64> {
        Box::pin(self.0.query(move |c| {
            c.prepare_cached("SELECT active FROM credits WHERE account = ? AND model = ?")?
                .query_row([account.as_str(), model.as_str()], |row| row.get(0))
                .optional()
                .map(Option::unwrap_or_default)
        }))
    }

    fn debit(&self, account: AccountId, model: ModelName) -> Answer<'_, Debit> {
        Box::pin(self.0.change(move |c| {
            let taken = c
                .prepare_cached(
                    "UPDATE credits SET active = active - 1, used = used + 1
                     WHERE account = ? AND model = ? AND active > 0",
                )?
                .execute([account.as_str(), model.as_str()])?;
            Ok(if taken == 1 { Debit::Debited } else { Debit::NoQuota })
        }))
    }

    fn permit_permanent(&self, account: AccountId, now: Timestamp) -> Answer<'_, Permit> {
        Box::pin(self.0.change(move |c| {
            let granted = c.execute(
                "UPDATE accounts SET permanent_issued_at = coalesce(permanent_issued_at, ?2)
                 WHERE id = ?1 AND coalesce(permanent_issued_at + ?3, ?2) >= ?2",
                params![account.as_str(), now.unix(), RESIGN_SECONDS],
            )?;
            Ok(if granted == 1 { Permit::Granted } else { Permit::Refused })
        }))
    }

    fn permit_transient(&self, account: AccountId, epoch: Epoch) -> Answer<'_, Permit> {
        Box::pin(self.0.change(move |c| {
            let granted = c.execute(
                "UPDATE accounts SET
                     transient_issued = CASE transient_epoch WHEN ?2 THEN transient_issued + 1 ELSE 1 END,
                     transient_epoch = ?2
                 WHERE id = ?1 AND (transient_epoch <> ?2 OR transient_issued < ?3)",
                params![account.as_str(), epoch.number(), TRANSIENT_PER_EPOCH],
            )?;
            Ok(if granted == 1 { Permit::Granted } else { Permit::Refused })
        }))
    }

    fn store_backup(&self, account: AccountId, blob: String) -> Answer<'_, ()> {
        Box::pin(self.0.change(move |c| {
            c.execute("UPDATE accounts SET backup = ? WHERE id = ?", [blob.as_str(), account.as_str()])?;
            Ok(())
        }))
    }

    fn backup(&self, account: AccountId) -> Answer<'_, Option<String>> {
        Box::pin(self.0.query(move |c| {
            c.query_row("SELECT backup FROM accounts WHERE id = ?", [account.as_str()], |row| row.get(0))
        }))
    }

    fn end_session(&self, session: SessionHash) -> Answer<'_, ()> {
        Box::pin(self.0.change(move |c| {
            c.execute("DELETE FROM sessions WHERE sha256 = ?", [session])?;
            Ok(())
        }))
    }

    fn renew_session(&self, name: String, session: SessionHash) -> Answer<'_, bool> {
        Box::pin(self.0.change(move |c| replace_sessions(c, &name, session)))
    }

    fn renew_session_blocking(&self, name: &str, session: SessionHash) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.0.change_blocking(move |c| replace_sessions(c, &name, session))
    }

    fn create(
        &self,
        name: &str,
        credits: &BTreeMap<ModelName, i64>,
        session: SessionHash,
    ) -> Result<bool, StoreError> {
        let (name, credits) = (name.to_owned(), credits.clone());
        self.0.change_blocking(move |c| {
            let account = AccountId(uuid::Uuid::new_v4().to_string());
            let new = c.execute(
                "INSERT INTO accounts (id, name) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                [account.as_str(), &name],
            )?;
            if new == 0 {
                return Ok(false);
            }
            add_credits(c, &account, &credits)?;
            replace_sessions(c, &name, session)
        })
    }

    fn grant(&self, name: &str, credits: &BTreeMap<ModelName, i64>) -> Result<bool, StoreError> {
        let (name, credits) = (name.to_owned(), credits.clone());
        self.0.change_blocking(move |c| match find_by_name(c, &name)? {
            Some(account) => add_credits(c, &account, &credits).map(|()| true),
            None => Ok(false),
        })
    }
}

fn find_by_name(c: &Connection, name: &str) -> rusqlite::Result<Option<AccountId>> {
    c.query_row("SELECT id FROM accounts WHERE name = ?", [name], |row| row.get(0).map(AccountId)).optional()
}

fn replace_sessions(c: &Connection, name: &str, session: SessionHash) -> rusqlite::Result<bool> {
    let Some(account) = find_by_name(c, name)? else { return Ok(false) };
    c.execute("DELETE FROM sessions WHERE account = ?", [account.as_str()])?;
    c.execute("INSERT INTO sessions (sha256, account) VALUES (?, ?)", params![session, account.as_str()])?;
    Ok(true)
}

/// Adds credits under a random id.
fn add_credits(
    c: &Connection,
    account: &AccountId,
    credits: &BTreeMap<ModelName, i64>,
) -> rusqlite::Result<()> {
    grant(c, account, &uuid::Uuid::new_v4().to_string(), credits)
}

/// Adds credits under an id that the account's payment log shows.
pub(super) fn grant(
    c: &Connection,
    account: &AccountId,
    id: &str,
    credits: &BTreeMap<ModelName, i64>,
) -> rusqlite::Result<()> {
    for (model, count) in credits.iter().filter(|(_, count)| **count > 0) {
        c.execute(
            "INSERT INTO credits (account, model, active) VALUES (?1, ?2, ?3)
             ON CONFLICT (account, model) DO UPDATE SET active = active + ?3",
            params![account.as_str(), model.as_str(), count],
        )?;
        c.execute(
            "INSERT INTO grants (id, account, model, credits) VALUES (?, ?, ?, ?)",
            params![id, account.as_str(), model.as_str(), count],
        )?;
    }
    Ok(())
}

fn read_statement(c: &Connection, account: &AccountId) -> rusqlite::Result<Statement> {
    let mut statement = c.query_row(
        "SELECT coalesce(shown_name, name), email, picture, permanent_issued_at, transient_epoch
         FROM accounts WHERE id = ?",
        [account.as_str()],
        |row| {
            Ok(Statement {
                name: row.get(0)?,
                email: row.get(1)?,
                picture: row.get(2)?,
                active: Counts::new(),
                used: Counts::new(),
                grants: Vec::new(),
                permanent_issued_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_unix),
                transient_epoch: row.get(4)?,
            })
        },
    )?;
    let mut credits = c.prepare_cached("SELECT model, active, used FROM credits WHERE account = ?")?;
    let mut rows = credits.query([account.as_str()])?;
    while let Some(row) = rows.next()? {
        let model: String = row.get(0)?;
        statement.active.insert(model.clone(), row.get(1)?);
        if row.get::<_, i64>(2)? > 0 {
            statement.used.insert(model, row.get(2)?);
        }
    }
    let mut grants: BTreeMap<String, Counts> = BTreeMap::new();
    let mut granted = c.prepare_cached("SELECT id, model, credits FROM grants WHERE account = ?")?;
    let mut rows = granted.query([account.as_str()])?;
    while let Some(row) = rows.next()? {
        grants.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
    }
    let log = |(transaction_id, granted)| PaymentLog { transaction_id, tokens_granted: Some(granted) };
    statement.grants = grants.into_iter().map(log).collect();
    Ok(statement)
}
