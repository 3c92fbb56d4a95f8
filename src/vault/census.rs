//! Counts, for the composition root and its status pages: nothing that could be spent or tied together. Tokens one by one
//! are in [`listing`](super::listing), credits that are gone in [`losses`](super::losses).

use std::collections::BTreeMap;

use super::books::{Books, model_at};
use super::thread::{Durability, Mailbox};
use super::{AbuseHoldings, PinnedKeys, Stock, VaultError};
use crate::blind::Fingerprint;
use crate::wire::ModelName;

/// Counts per model.
#[derive(Clone)]
pub struct Census {
    pub(super) mailbox: Mailbox,
}

impl Census {
    pub(super) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox }
    }

    /// How many tokens there are, by model and state, whichever key signed them. Models that were never held
    /// are absent.
    pub async fn stock(&self) -> Result<BTreeMap<ModelName, Stock>, VaultError> {
        self.mailbox.call(Durability::Relaxed, |books| books.stock(None)).await
    }

    /// The same, with the tokens that could be drawn but for their key, which is not the pinned one, counted
    /// apart: [`Stock::other_key`].
    pub async fn stock_under(&self, pinned: PinnedKeys) -> Result<BTreeMap<ModelName, Stock>, VaultError> {
        self.mailbox.call(Durability::Relaxed, move |books| books.stock(Some(&pinned))).await
    }

    /// Which abuse tokens are held ready.
    pub async fn abuse(&self) -> Result<AbuseHoldings, VaultError> {
        self.mailbox.call(Durability::Relaxed, |books| Ok(books.abuse_holdings())).await
    }
}

impl Books {
    pub(super) fn stock(
        &mut self,
        pinned: Option<&PinnedKeys>,
    ) -> Result<BTreeMap<ModelName, Stock>, VaultError> {
        let now = self.clock.now().unix();
        let mut statement = self.conn.prepare_cached(
            "SELECT model, CASE WHEN state = 'available' AND not_before > ?1 THEN 'maturing' ELSE state END AS name,
                 count(*), key FROM tokens GROUP BY model, name, key
             UNION ALL SELECT model, 'blinded', count(*), NULL FROM issuances GROUP BY model
             UNION ALL SELECT model, 'spent', spent, NULL FROM counters",
        )?;
        let mut rows = statement.query([now])?;
        let mut stock: BTreeMap<ModelName, Stock> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let count = row.get::<_, i64>(2)?.unsigned_abs();
            let model = model_at(row, 0)?;
            // Issuances and counters have no key.
            let key: Option<[u8; 32]> = row.get(3)?;
            let other =
                pinned.is_some_and(|pinned| pinned.get(&model).map(Fingerprint::as_bytes) != key.as_ref());
            let of = stock.entry(model).or_default();
            match row.get_ref(1)?.as_str().unwrap_or_default() {
                "available" | "maturing" if other => of.other_key += count,
                "available" => of.available += count,
                "maturing" => of.maturing += count,
                "reserved" => of.reserved += count,
                "presented" => of.presented += count,
                "in_doubt" => of.in_doubt += count,
                "blinded" => of.blinded += count,
                "refused" => of.refused += count,
                "spent" => of.spent += count,
                _ => return Err(VaultError::Corrupt),
            }
        }
        Ok(stock)
    }
}
