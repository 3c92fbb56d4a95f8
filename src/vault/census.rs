//! Counts, for the composition root and its status pages: nothing that could be spent or tied together.

use std::collections::BTreeMap;

use super::books::{Books, model_at};
use super::thread::{Durability, Mailbox};
use super::{AbuseHoldings, Stock, VaultError};
use crate::wire::ModelName;

/// Counts per model.
#[derive(Clone)]
pub struct Census {
    mailbox: Mailbox,
}

impl Census {
    pub(super) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox }
    }

    /// How many tokens there are, by model and state. Models that were never held are absent.
    pub async fn stock(&self) -> Result<BTreeMap<ModelName, Stock>, VaultError> {
        self.mailbox.call(Durability::Relaxed, Books::stock).await
    }

    /// Which abuse tokens are held ready.
    pub async fn abuse(&self) -> Result<AbuseHoldings, VaultError> {
        self.mailbox.call(Durability::Relaxed, |books| Ok(books.abuse_holdings())).await
    }
}

impl Books {
    pub(super) fn stock(&mut self) -> Result<BTreeMap<ModelName, Stock>, VaultError> {
        let now = self.clock.now().unix();
        let mut statement = self.conn.prepare_cached(
            "SELECT model, CASE WHEN state = 'available' AND not_before > ?1 THEN 'maturing' ELSE state END AS name,
                 count(*) FROM tokens GROUP BY model, name
             UNION ALL SELECT model, 'blinded', count(*) FROM issuances GROUP BY model
             UNION ALL SELECT model, 'spent', spent FROM counters",
        )?;
        let mut rows = statement.query([now])?;
        let mut stock: BTreeMap<ModelName, Stock> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let count = row.get::<_, i64>(2)?.unsigned_abs();
            let of = stock.entry(model_at(row, 0)?).or_default();
            match row.get_ref(1)?.as_str().unwrap_or_default() {
                "available" => of.available = count,
                "maturing" => of.maturing = count,
                "reserved" => of.reserved = count,
                "presented" => of.presented = count,
                "in_doubt" => of.in_doubt = count,
                "blinded" => of.blinded = count,
                "refused" => of.refused = count,
                "spent" => of.spent = count,
                _ => return Err(VaultError::Corrupt),
            }
        }
        Ok(stock)
    }
}
