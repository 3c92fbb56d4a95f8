//! Who comes in, and as whom: invite codes, and people whom an identity provider knows.
//!
//! | who | becomes |
//! | --- | --- |
//! | a code without a name | an account of its own at each use |
//! | a code with a name | that account; made at the first use |
//! | a person of a provider | the account of that issuer and subject; made at the first sign-in |
//!
//! Invariants: a code is kept as its SHA-256 (it is random and long, so that nothing else is needed), and its use counts in
//! the transaction that opens the session; free credits and an invite's credits are given once to an account; each sign-in
//! ends the account's earlier sessions.
//!
//! Deliberately absent: addresses as keys. Who has an address changes; a subject stays.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{AccountId, Answer, SessionHash, add_credits, find_by_name};
use crate::backend::sqlite::{Database, StoreError};
use crate::clock::Timestamp;
use crate::wire::ModelName;

/// What the ledger's schema gained for it.
pub(super) const SCHEMA: &str = "
    ALTER TABLE accounts ADD COLUMN shown_name TEXT;
    ALTER TABLE accounts ADD COLUMN email TEXT NOT NULL DEFAULT '';
    ALTER TABLE accounts ADD COLUMN picture TEXT NOT NULL DEFAULT '';
    CREATE TABLE persons (
        issuer TEXT NOT NULL,
        subject TEXT NOT NULL,
        account TEXT NOT NULL REFERENCES accounts,
        PRIMARY KEY (issuer, subject)
    ) STRICT;
    CREATE TABLE invites (
        id TEXT PRIMARY KEY,
        sha256 BLOB NOT NULL UNIQUE,
        account_name TEXT,
        uses_left INTEGER NOT NULL CHECK (uses_left >= 0),
        expires_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE invite_credits (
        invite TEXT NOT NULL REFERENCES invites ON DELETE CASCADE,
        model TEXT NOT NULL,
        credits INTEGER NOT NULL,
        PRIMARY KEY (invite, model)
    ) STRICT;
";

/// SHA-256 of an invite code.
pub(in crate::backend) type CodeHash = [u8; 32];

/// An invite to be kept.
pub(in crate::backend) struct NewInvite {
    /// What it is listed and revoked by.
    pub(in crate::backend) id: String,
    /// What it is found by.
    pub(in crate::backend) code: CodeHash,
    /// The account that it is for; a new one at each use if there is none.
    pub(in crate::backend) account_name: Option<String>,
    /// How often it may be used.
    pub(in crate::backend) uses: u32,
    /// Until when.
    pub(in crate::backend) expires_at: Timestamp,
    /// What each use gives beside the free credits of a new account.
    pub(in crate::backend) credits: BTreeMap<ModelName, i64>,
}

/// An invite as it is listed: without its code.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Invite {
    /// What it is revoked by.
    pub id: String,
    /// The account that it is for; a new one at each use if there is none.
    pub account: Option<String>,
    /// How often it may still be used.
    pub uses_left: u32,
    /// Until when, Unix seconds.
    pub expires_at: i64,
    /// Credits of each use.
    pub credits: BTreeMap<String, i64>,
}

/// Whom an identity provider says that it is.
pub(in crate::backend) struct Person {
    pub(in crate::backend) issuer: String,
    pub(in crate::backend) subject: String,
    pub(in crate::backend) name: Option<String>,
    pub(in crate::backend) email: String,
    pub(in crate::backend) picture: String,
}

/// Whether a code opened a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Admission {
    /// It did.
    Admitted,
    /// There is no such code, or it is used up, or its time is over.
    UnknownCode,
}

/// The part of the ledger that a sign-in needs.
pub(in crate::backend) struct SignIns(pub(super) Database);

impl SignIns {
    /// Whether there is a code that could be used.
    pub(in crate::backend) fn has_open_invite(&self, now: Timestamp) -> Answer<'_, bool> {
        Box::pin(self.0.query(move |c| {
            c.query_row(
                "SELECT EXISTS (SELECT 1 FROM invites WHERE uses_left > 0 AND expires_at > ?)",
                [now.unix()],
                |row| row.get(0),
            )
        }))
    }

    /// Uses `code` up by one, and opens `session` for its account.
    pub(in crate::backend) fn admit(
        &self,
        code: CodeHash,
        session: SessionHash,
        free: BTreeMap<ModelName, i64>,
        now: Timestamp,
    ) -> Answer<'_, Admission> {
        Box::pin(self.0.change(move |c| {
            let found: Option<(String, Option<String>)> = c
                .query_row(
                    "UPDATE invites SET uses_left = uses_left - 1
                     WHERE sha256 = ? AND uses_left > 0 AND expires_at > ? RETURNING id, account_name",
                    params![code, now.unix()],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            let Some((invite, name)) = found else { return Ok(Admission::UnknownCode) };
            let name = name.unwrap_or_else(|| generated("guest"));
            let account = match find_by_name(c, &name)? {
                Some(account) => account,
                None => open_account(c, &name, &free)?,
            };
            add_credits(c, &account, &credits_of(c, &invite)?)?;
            replace_sessions(c, &account, session)?;
            Ok(Admission::Admitted)
        }))
    }

    /// Opens `session` for the account of `person`, made if there is none, and keeps what it says of itself now.
    pub(in crate::backend) fn welcome(
        &self,
        person: Person,
        session: SessionHash,
        free: BTreeMap<ModelName, i64>,
    ) -> Answer<'_, ()> {
        Box::pin(self.0.change(move |c| {
            let Person { issuer, subject, name, email, picture } = person;
            let known = c
                .query_row(
                    "SELECT account FROM persons WHERE issuer = ? AND subject = ?",
                    [&issuer, &subject],
                    |row| row.get(0).map(AccountId),
                )
                .optional()?;
            let account = if let Some(account) = known {
                account
            } else {
                let account = open_account(c, &generated("person"), &free)?;
                c.execute(
                    "INSERT INTO persons (issuer, subject, account) VALUES (?, ?, ?)",
                    [&issuer, &subject, account.as_str()],
                )?;
                account
            };
            c.execute(
                "UPDATE accounts SET shown_name = ?, email = ?, picture = ? WHERE id = ?",
                params![name, email, picture, account.as_str()],
            )?;
            replace_sessions(c, &account, session)
        }))
    }

    /// Keeps an invite. Blocks.
    pub(in crate::backend) fn invite(&self, invite: NewInvite) -> Result<(), StoreError> {
        self.0.change_blocking(move |c| {
            let NewInvite { id, code, account_name, uses, expires_at, credits } = invite;
            c.execute(
                "INSERT INTO invites (id, sha256, account_name, uses_left, expires_at) VALUES (?, ?, ?, ?, ?)",
                params![id, code, account_name, uses, expires_at.unix()],
            )?;
            for (model, count) in credits.iter().filter(|(_, count)| **count > 0) {
                c.execute(
                    "INSERT INTO invite_credits (invite, model, credits) VALUES (?, ?, ?)",
                    params![id, model.as_str(), count],
                )?;
            }
            Ok(())
        })
    }

    /// The invites that can still be used. Blocks.
    pub(in crate::backend) fn invites(&self, now: Timestamp) -> Result<Vec<Invite>, StoreError> {
        self.0.change_blocking(move |c| {
            let mut open = c.prepare(
                "SELECT id, account_name, uses_left, expires_at FROM invites
                 WHERE uses_left > 0 AND expires_at > ? ORDER BY expires_at, id",
            )?;
            let rows = open.query_map([now.unix()], |row| {
                Ok(Invite {
                    id: row.get(0)?,
                    account: row.get(1)?,
                    uses_left: row.get(2)?,
                    expires_at: row.get(3)?,
                    credits: BTreeMap::new(),
                })
            })?;
            let mut invites = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            for invite in &mut invites {
                let credits = credits_of(c, &invite.id)?;
                invite.credits =
                    credits.into_iter().map(|(model, count)| (model.to_string(), count)).collect();
            }
            Ok(invites)
        })
    }

    /// Forgets an invite; `false` if there is none of that id. Blocks.
    pub(in crate::backend) fn revoke(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.0.change_blocking(move |c| Ok(c.execute("DELETE FROM invites WHERE id = ?", [id])? == 1))
    }
}

/// A name that nobody has: shown until the account has a better one.
fn generated(kind: &str) -> String {
    format!("{kind}-{}", uuid::Uuid::new_v4().simple())
}

fn open_account(c: &Connection, name: &str, free: &BTreeMap<ModelName, i64>) -> rusqlite::Result<AccountId> {
    let account = AccountId(uuid::Uuid::new_v4().to_string());
    c.execute("INSERT INTO accounts (id, name) VALUES (?, ?)", [account.as_str(), name])?;
    add_credits(c, &account, free)?;
    Ok(account)
}

fn replace_sessions(c: &Connection, account: &AccountId, session: SessionHash) -> rusqlite::Result<()> {
    c.execute("DELETE FROM sessions WHERE account = ?", [account.as_str()])?;
    c.execute("INSERT INTO sessions (sha256, account) VALUES (?, ?)", params![session, account.as_str()])?;
    Ok(())
}

fn credits_of(c: &Connection, invite: &str) -> rusqlite::Result<BTreeMap<ModelName, i64>> {
    let mut credits = c.prepare_cached("SELECT model, credits FROM invite_credits WHERE invite = ?")?;
    let rows = credits.query_map([invite], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let mut found = BTreeMap::new();
    for row in rows {
        let (model, count) = row?;
        // A name that was one when it was written.
        if let Ok(model) = ModelName::new(&model) {
            found.insert(model, count);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::{Ledger as _, SqliteLedger};
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn ledger() -> (tempfile::TempDir, SqliteLedger) {
        let home = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&home.path().join("ledger.db")).unwrap();
        (home, ledger)
    }

    fn some(count: i64) -> BTreeMap<ModelName, i64> {
        [("gpt-4.1".parse().unwrap(), count)].into()
    }

    fn invite(code: u8, name: Option<&str>, uses: u32) -> NewInvite {
        NewInvite {
            id: format!("invite-{code}"),
            code: [code; 32],
            account_name: name.map(Into::into),
            uses,
            expires_at: NOW.plus_seconds(100),
            credits: some(7),
        }
    }

    async fn credits(ledger: &SqliteLedger, session: u8) -> i64 {
        let account = ledger.account([session; 32]).await.unwrap().unwrap();
        ledger.balance(account, "gpt-4.1".parse().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_code_counts_once_and_gives_its_credits_and_the_free_ones() {
        let (_home, ledger) = ledger();
        let sign_ins = ledger.sign_ins();
        sign_ins.invite(invite(1, None, 1)).unwrap();
        assert!(sign_ins.has_open_invite(NOW).await.unwrap());
        assert_eq!(sign_ins.admit([9; 32], [1; 32], some(5), NOW).await.unwrap(), Admission::UnknownCode);
        assert_eq!(sign_ins.admit([1; 32], [1; 32], some(5), NOW).await.unwrap(), Admission::Admitted);
        assert_eq!(credits(&ledger, 1).await, 12);
        assert_eq!(sign_ins.admit([1; 32], [2; 32], some(5), NOW).await.unwrap(), Admission::UnknownCode);
        assert!(ledger.account([2; 32]).await.unwrap().is_none());
        assert!(!sign_ins.has_open_invite(NOW).await.unwrap());
        assert!(sign_ins.invites(NOW).unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_code_with_a_name_leads_back_to_the_same_account_and_ends_its_earlier_session() {
        let (_home, ledger) = ledger();
        let sign_ins = ledger.sign_ins();
        for code in [1, 2] {
            sign_ins.invite(invite(code, Some("alice"), 1)).unwrap();
            sign_ins.admit([code; 32], [code; 32], some(5), NOW).await.unwrap();
        }
        assert!(ledger.account([1; 32]).await.unwrap().is_none());
        assert_eq!(credits(&ledger, 2).await, 19, "free credits are given once");
    }

    #[tokio::test]
    async fn a_revoked_code_and_one_whose_time_is_over_open_nothing() {
        let (_home, ledger) = ledger();
        let sign_ins = ledger.sign_ins();
        sign_ins.invite(invite(1, None, 3)).unwrap();
        sign_ins.invite(invite(2, None, 3)).unwrap();
        assert!(sign_ins.revoke("invite-1").unwrap());
        assert!(!sign_ins.revoke("invite-1").unwrap());
        let late = NOW.plus_seconds(100);
        for (code, now) in [(1, NOW), (2, late)] {
            let admission = sign_ins.admit([code; 32], [code; 32], some(0), now).await.unwrap();
            assert_eq!(admission, Admission::UnknownCode);
        }
        assert_eq!(sign_ins.invites(NOW).unwrap().len(), 1);
        assert!(sign_ins.invites(late).unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_person_is_known_by_issuer_and_subject_and_by_nothing_else() {
        let (_home, ledger) = ledger();
        let sign_ins = ledger.sign_ins();
        let person = |issuer: &str, subject: &str| Person {
            issuer: issuer.into(),
            subject: subject.into(),
            name: Some("Alice".into()),
            email: "alice@example.com".into(),
            picture: String::new(),
        };
        sign_ins.welcome(person("https://a", "1"), [1; 32], some(5)).await.unwrap();
        sign_ins.welcome(person("https://b", "1"), [2; 32], some(5)).await.unwrap();
        sign_ins.welcome(person("https://a", "2"), [3; 32], some(5)).await.unwrap();
        sign_ins.welcome(person("https://a", "1"), [4; 32], some(5)).await.unwrap();
        assert!(ledger.account([1; 32]).await.unwrap().is_none(), "the same person signed in again");
        let mut accounts = Vec::new();
        for session in [2, 3, 4] {
            let account = ledger.account([session; 32]).await.unwrap().unwrap();
            let statement = ledger.statement(account.clone()).await.unwrap();
            assert_eq!((statement.name.as_str(), statement.email.as_str()), ("Alice", "alice@example.com"));
            assert_eq!(credits(&ledger, session).await, 5);
            accounts.push(account.as_str().to_owned());
        }
        accounts.sort();
        accounts.dedup();
        assert_eq!(accounts.len(), 3);
    }
}
