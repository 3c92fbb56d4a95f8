//! Credits that are gone for certain, or given up: found, written down in the commit that wipes the last trace of them,
//! and kept until the user has seen enough of them.
//!
//! | reason | what happened |
//! | --- | --- |
//! | lost | the backend's ledger debited a credit, and the signature for it is not to be had any more |
//! | unclear | the same, except that the ledger cannot tell whether it was debited |
//! | given up | the account left this home before the signature came |
//!
//! Losses of one model, one day (UTC) and one reason are one row: the sum counts, not how it came about.
//!
//! Deliberately absent: the account, and the RequestID of what was lost.

use std::collections::BTreeMap;

use super::books::{Books, model_at};
use super::census::Census;
use super::deposits::Deposits;
use super::thread::Durability;
use super::{RequestId, VaultError};
use crate::clock::Timestamp;
use crate::failpoint::{Point, at};
use crate::wire::ModelName;

const DAY: i64 = 24 * 3600;

/// Credits that no token came of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Whose credits.
    pub model: ModelName,
    /// When the first of them was found.
    pub found: Timestamp,
    /// How many.
    pub credits: u64,
    /// Why.
    pub reason: LossReason,
}

/// Why no token came of a credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// Debited, and the signature is gone.
    Lost,
    /// The signature is gone, and whether it was debited cannot be told.
    Unclear,
    /// Its account left this home first.
    GivenUp,
}

impl LossReason {
    fn column(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Unclear => "unclear",
            Self::GivenUp => "given_up",
        }
    }

    fn from_column(text: &str) -> Result<Self, VaultError> {
        match text {
            "lost" => Ok(Self::Lost),
            "unclear" => Ok(Self::Unclear),
            "given_up" => Ok(Self::GivenUp),
            _ => Err(VaultError::Corrupt),
        }
    }
}

impl Deposits {
    /// Wipes pending issuances that nothing can come of, and writes their credits down as lost: both or neither, durable
    /// on return. [`VaultError::UnknownIssuance`] if one of them is not pending; then none is wiped.
    pub async fn write_off(&self, ids: Vec<RequestId>, reason: LossReason) -> Result<(), VaultError> {
        let work =
            move |books: &mut Books| books.write_off(&ids, reason).inspect(|()| at(Point::WriteOffWritten));
        self.mailbox.call(Durability::Synced, work).await.inspect(|()| at(Point::WriteOffCommitted))
    }

    /// Forgets the losses; how many rows there were.
    pub async fn forget_losses(&self) -> Result<u64, VaultError> {
        let work =
            |books: &mut Books| Ok(books.conn.prepare_cached("DELETE FROM losses")?.execute([])? as u64);
        self.mailbox.call(Durability::Synced, work).await
    }
}

impl Census {
    /// Credits that no token came of, the oldest first.
    pub async fn losses(&self) -> Result<Vec<Loss>, VaultError> {
        self.mailbox.call(Durability::Relaxed, Books::losses).await
    }
}

impl Books {
    fn write_off(&mut self, ids: &[RequestId], reason: LossReason) -> Result<(), VaultError> {
        // All checks before the first write: a refusal must leave nothing behind.
        let mut credits: BTreeMap<ModelName, u64> = BTreeMap::new();
        for id in ids {
            *credits.entry(self.model_of_issuance(id)?).or_default() += 1;
        }
        for id in ids {
            self.wipe_issuance(id)?;
        }
        credits.into_iter().try_for_each(|(model, credits)| self.record_loss(&model, credits, reason))
    }

    pub(super) fn record_loss(
        &mut self,
        model: &ModelName,
        credits: u64,
        reason: LossReason,
    ) -> Result<(), VaultError> {
        let now = self.clock.now().unix();
        let credits = i64::try_from(credits).unwrap_or(i64::MAX);
        let day = now.div_euclid(DAY) * DAY;
        let merged = self
            .conn
            .prepare_cached(
                "UPDATE losses SET credits = credits + ?1
                 WHERE model = ?2 AND reason = ?3 AND found >= ?4 AND found < ?4 + 86400",
            )?
            .execute((credits, model.as_str(), reason.column(), day))?;
        if merged == 0 {
            self.conn
                .prepare_cached("INSERT INTO losses (model, found, credits, reason) VALUES (?1, ?2, ?3, ?4)")?
                .execute((model.as_str(), now, credits, reason.column()))?;
        }
        Ok(())
    }

    fn losses(&mut self) -> Result<Vec<Loss>, VaultError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT model, found, credits, reason FROM losses ORDER BY found, model, reason",
        )?;
        let mut rows = statement.query([])?;
        let mut losses = Vec::new();
        while let Some(row) = rows.next()? {
            losses.push(Loss {
                model: model_at(row, 0)?,
                found: Timestamp::from_unix(row.get(1)?),
                credits: row.get::<_, i64>(2)?.unsigned_abs(),
                reason: LossReason::from_column(row.get_ref(3)?.as_str().unwrap_or_default())?,
            });
        }
        Ok(losses)
    }
}
