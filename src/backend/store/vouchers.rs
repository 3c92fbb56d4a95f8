//! Vouchers: made by the host, redeemed once.
//!
//! | state | on disk | becomes |
//! | --- | --- | --- |
//! | open | hash, credits, end | used, revoked; expired by the clock |
//! | used | the same; not by whom, and not when | – |
//! | revoked | the same | – |
//!
//! Redeeming is one guarded update. A voucher that somebody paid for in cash tells nothing of them: the payment log of the
//! account names a random number, and the voucher names no account.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use crate::backend::ledger::{self, AccountId};
use crate::backend::sqlite::{Database, StoreError};
use crate::clock::Timestamp;
use crate::wire::ModelName;
use crate::wire::identity::Counts;
use crate::wire::voucher::VoucherRefusal;

/// A voucher, for the host.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Voucher {
    /// Names it, and does not give the code away.
    pub id: String,
    /// What it is good for.
    pub credits: Counts,
    /// What became of it.
    pub state: VoucherState,
    /// When it was made, Unix seconds.
    pub created_at: i64,
    /// Until when it is good, Unix seconds.
    pub expires_at: Option<i64>,
}

/// What became of a voucher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VoucherState {
    /// It is good.
    Open,
    /// It was redeemed.
    Used,
    /// Its host took it back.
    Revoked,
    /// Its time is over.
    Expired,
}

/// What a voucher came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend) struct Redemption {
    /// In the account's payment log.
    pub(in crate::backend) id: String,
    /// What the account has got.
    pub(in crate::backend) credits: BTreeMap<ModelName, i64>,
}

/// The vouchers, in the ledger's own file.
pub(super) struct Vouchers(Database);

impl Vouchers {
    pub(super) fn new(database: Database) -> Self {
        Self(database)
    }

    pub(super) async fn redeem(
        &self,
        sha256: [u8; 32],
        account: AccountId,
        now: Timestamp,
    ) -> Result<Result<Redemption, VoucherRefusal>, StoreError> {
        self.0.change(move |c| redeem(c, sha256, &account, now)).await
    }

    pub(super) fn create(
        &self,
        hashes: Vec<[u8; 32]>,
        credits: &BTreeMap<ModelName, i64>,
        now: Timestamp,
        expires: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let credits = credits.clone();
        self.0.change_blocking(move |c| {
            for hash in hashes {
                c.execute(
                    "INSERT INTO vouchers (sha256, created_at, expires_at) VALUES (?, ?, ?)",
                    params![hash, now.unix(), expires.map(Timestamp::unix)],
                )?;
                for (model, count) in credits.iter().filter(|(_, count)| **count > 0) {
                    c.execute(
                        "INSERT INTO voucher_credits (voucher, model, credits) VALUES (?, ?, ?)",
                        params![hash, model.as_str(), count],
                    )?;
                }
            }
            Ok(())
        })
    }

    pub(super) fn list(&self, now: Timestamp) -> Result<Vec<Voucher>, StoreError> {
        self.0.change_blocking(move |c| list(c, now))
    }

    pub(super) fn revoke(&self, id: &str) -> Result<usize, StoreError> {
        let wanted = id.to_ascii_lowercase();
        self.0.change_blocking(move |c| {
            let mut rows = c.prepare_cached("SELECT sha256 FROM vouchers WHERE state = 'open'")?;
            let hashes: Vec<[u8; 32]> = rows.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let mut revoked = 0;
            for hash in hashes.into_iter().filter(|hash| shown(hash) == wanted) {
                let revoke = "UPDATE vouchers SET state = 'revoked' WHERE sha256 = ? AND state = 'open'";
                revoked += c.execute(revoke, [hash])?;
            }
            Ok(revoked)
        })
    }
}

/// What the host sees: of a hash of the hash, so that nobody compares it with codes that they have.
fn shown(sha256: &[u8; 32]) -> String {
    let hash: [u8; 32] =
        Sha256::new().chain_update(b"llmtor voucher id\0").chain_update(sha256).finalize().into();
    hash[..5].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn redeem(
    c: &Connection,
    sha256: [u8; 32],
    account: &AccountId,
    now: Timestamp,
) -> rusqlite::Result<Result<Redemption, VoucherRefusal>> {
    let taken = c.execute(
        "UPDATE vouchers SET state = 'used'
         WHERE sha256 = ?1 AND state = 'open' AND (expires_at IS NULL OR expires_at > ?2)",
        params![sha256, now.unix()],
    )?;
    if taken == 0 {
        let state: Option<String> = c
            .query_row("SELECT state FROM vouchers WHERE sha256 = ?", [sha256], |row| row.get(0))
            .optional()?;
        return Ok(Err(match state.as_deref() {
            None => VoucherRefusal::Unknown,
            Some("used") => VoucherRefusal::Used,
            Some("revoked") => VoucherRefusal::Revoked,
            Some(_) => VoucherRefusal::Expired,
        }));
    }
    let mut credits = BTreeMap::new();
    for (model, count) in credits_of(c, &sha256)? {
        // Only names of models were ever put in.
        if let Ok(model) = ModelName::new(model) {
            credits.insert(model, count);
        }
    }
    let id = format!("voucher-{}", uuid::Uuid::new_v4());
    ledger::grant(c, account, &id, &credits)?;
    Ok(Ok(Redemption { id, credits }))
}

fn credits_of(c: &Connection, sha256: &[u8; 32]) -> rusqlite::Result<Counts> {
    let mut rows = c.prepare_cached("SELECT model, credits FROM voucher_credits WHERE voucher = ?")?;
    rows.query_map([sha256], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn list(c: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Voucher>> {
    let mut rows =
        c.prepare_cached("SELECT sha256, created_at, expires_at, state FROM vouchers ORDER BY created_at")?;
    let mut found = Vec::new();
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let sha256: [u8; 32] = row.get(0)?;
        let (state, expires_at): (String, Option<i64>) = (row.get(3)?, row.get(2)?);
        let state = match state.as_str() {
            "used" => VoucherState::Used,
            "revoked" => VoucherState::Revoked,
            _ if expires_at.is_some_and(|end| end <= now.unix()) => VoucherState::Expired,
            _ => VoucherState::Open,
        };
        let id = shown(&sha256);
        found.push(Voucher {
            id,
            credits: credits_of(c, &sha256)?,
            state,
            created_at: row.get(1)?,
            expires_at,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, crate::backend::ledger::SqliteLedger) {
        let home = tempfile::tempdir().unwrap();
        let ledger = crate::backend::ledger::SqliteLedger::open(&home.path().join("ledger.db")).unwrap();
        (home, ledger)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_voucher_is_redeemed_once_by_however_many_at_once_and_names_nobody() {
        use crate::backend::ledger::Ledger as _;
        let (home, ledger) = open();
        let model = ModelName::new("m").unwrap();
        assert!(ledger.create("alice", &BTreeMap::new(), [1; 32]).unwrap());
        let account = ledger.account([1; 32]).await.unwrap().unwrap();
        let vouchers = Vouchers::new(ledger.database());
        let now = Timestamp::from_unix(1_000);
        let credits = [(model.clone(), 7)].into();
        vouchers.create(vec![[9; 32], [8; 32], [7; 32]], &credits, now, Some(now.plus_seconds(10))).unwrap();
        let attempts = (0..8).map(|_| vouchers.redeem([9; 32], account.clone(), now));
        let all = futures_util::future::join_all(attempts).await;
        let won = all.into_iter().filter_map(|attempt| attempt.unwrap().ok()).count();
        assert_eq!(won, 1);
        assert_eq!(ledger.balance(account.clone(), model).await.unwrap(), 7);
        let of = async |hash: u8, now| vouchers.redeem([hash; 32], account.clone(), now).await.unwrap().err();
        assert_eq!(of(9, now).await, Some(VoucherRefusal::Used));
        assert_eq!(of(1, now).await, Some(VoucherRefusal::Unknown));
        assert_eq!(of(8, now.plus_seconds(10)).await, Some(VoucherRefusal::Expired));
        let id = shown(&[7; 32]);
        assert_eq!(vouchers.revoke(&id.to_uppercase()).unwrap(), 1);
        assert_eq!(vouchers.revoke(&id).unwrap(), 0);
        assert_eq!(of(7, now).await, Some(VoucherRefusal::Revoked));
        let states: Vec<_> =
            vouchers.list(now.plus_seconds(10)).unwrap().into_iter().map(|one| one.state).collect();
        assert_eq!(states.len(), 3);
        for state in [VoucherState::Used, VoucherState::Expired, VoucherState::Revoked] {
            assert!(states.contains(&state), "{states:?}");
        }
        // Nothing in the vouchers' tables is the account's.
        let other = rusqlite::Connection::open(home.path().join("ledger.db")).unwrap();
        let columns: i64 = other
            .query_row(
                "SELECT count(*) FROM pragma_table_info('vouchers') WHERE name LIKE '%account%' OR name LIKE 'used%'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(columns, 0);
    }
}
