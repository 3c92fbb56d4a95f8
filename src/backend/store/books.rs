//! The books: what was paid, what went back, and the credits that follow from it.
//!
//! | event | first time | again |
//! | --- | --- | --- |
//! | payment that is exactly for packages, with a known checkout | sale, credits and payment log in one commit | nothing |
//! | any other payment | kept as *held*: no credits, its host looks (`llmtor backend sales`) | a later report that fits credits it |
//! | reversal of a sale that is known | unspent credits go, in its share of the total | nothing; the state furthest on counts |
//! | reversal of one that is not | kept; applied when the payment comes | the same |
//!
//! What is taken back is a function of the *set* of reversals, never of their order: the sum of those in effect, between
//! nothing and the whole, rounded in the buyer's favour. Credits that were spent are not asked for again, neither now nor of
//! a later purchase.
//!
//! Events are recognised by transaction, by adjustment, and by the event's own id. The last is remembered for a month; after
//! that, and for held sales, the first two do.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Heard;
use super::event::{Catalog, Event, Fact, Mismatch, Payment, Provider, Reversal, Standing};
use crate::backend::ledger::AccountId;
use crate::backend::sqlite::{Database, StoreError};
use crate::clock::Timestamp;
use crate::wire::identity::Counts;

/// How long an event's id is remembered, seconds.
const EVENTS_REMEMBERED: i64 = 30 * 86_400;
/// How long a checkout waits for its payment, seconds: some ways to pay take weeks.
const CHECKOUT_LIFE: i64 = 180 * 86_400;
/// How long the same checkout is handed out again, seconds: as long as the page's address is good for (protocol.md §3).
const CHECKOUT_AGAIN: i64 = 300;
/// Checkouts that an account opens in a day; after that the last one serves again, so that reloading a page fills no disk.
const CHECKOUTS_A_DAY: i64 = 32;

/// A sale, for the host.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Sale {
    /// Who took the money.
    pub provider: Provider,
    /// The provider's id for it.
    pub transaction: String,
    /// The account's name, if it is known.
    pub account: Option<String>,
    /// What the buyer paid, in the currency's smallest unit.
    pub total: i64,
    /// As the provider names it.
    pub currency: String,
    /// When it was first heard of, Unix seconds.
    pub seen_at: i64,
    /// Credits sold, by model.
    pub credits: Counts,
    /// Credits taken back, by model.
    pub taken_back: Counts,
    /// Credits that a refund stands for, and that were spent before it.
    pub spent_before_refund: i64,
    /// What became of it.
    pub state: SaleState,
}

/// What became of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "state", content = "because", rename_all = "snake_case")]
pub enum SaleState {
    /// The credits were given.
    Credited,
    /// They were not.
    Held(HeldBecause),
}

/// Why a payment was not turned into credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBecause {
    /// No package has the price or product.
    UnknownProduct,
    /// It is not the package's price: a discount, say.
    AmountDiffers,
    /// Another currency than the package's.
    CurrencyDiffers,
    /// It names no checkout of this backend.
    UnknownBuyer,
}

impl HeldBecause {
    const ALL: [Self; 4] =
        [Self::UnknownProduct, Self::AmountDiffers, Self::CurrencyDiffers, Self::UnknownBuyer];

    fn name(self) -> &'static str {
        match self {
            Self::UnknownProduct => "unknown_product",
            Self::AmountDiffers => "amount_differs",
            Self::CurrencyDiffers => "currency_differs",
            Self::UnknownBuyer => "unknown_buyer",
        }
    }

    fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|reason| reason.name() == name).unwrap_or(Self::UnknownBuyer)
    }
}

impl From<Mismatch> for HeldBecause {
    fn from(mismatch: Mismatch) -> Self {
        match mismatch {
            Mismatch::Product => Self::UnknownProduct,
            Mismatch::Amount => Self::AmountDiffers,
            Mismatch::Currency => Self::CurrencyDiffers,
        }
    }
}

/// The books, in the ledger's own file.
pub(super) struct Books {
    database: Database,
    catalog: std::sync::Arc<Catalog>,
}

impl Books {
    pub(super) fn new(database: Database, catalog: Catalog) -> Self {
        Self { database, catalog: std::sync::Arc::new(catalog) }
    }

    pub(super) async fn open_checkout(
        &self,
        reference: String,
        account: AccountId,
        package: String,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        let insert = move |c: &Connection| open_checkout(c, &reference, &account, &package, now);
        self.database.change(insert).await
    }

    pub(super) async fn has_checkout(&self, reference: String) -> Result<bool, StoreError> {
        self.database
            .query(move |c| {
                c.prepare_cached("SELECT 1 FROM checkouts WHERE reference = ?")?.exists([reference])
            })
            .await
    }

    /// Takes an event; durable. One writer at a time: two at once are one after the other.
    pub(super) async fn record(&self, event: Event, now: Timestamp) -> Result<Heard, StoreError> {
        let catalog = std::sync::Arc::clone(&self.catalog);
        self.database.change(move |c| record(c, &catalog, &event, now)).await
    }

    pub(super) fn list(&self) -> Result<Vec<Sale>, StoreError> {
        self.database.change_blocking(list)
    }

    pub(super) async fn forget_old(&self, now: Timestamp) -> Result<(), StoreError> {
        self.database
            .change(move |c| {
                let before = now.plus_seconds(-EVENTS_REMEMBERED).unix();
                c.execute("DELETE FROM webhooks WHERE seen_at < ?", [before])?;
                let before = now.plus_seconds(-CHECKOUT_LIFE).unix();
                c.execute("DELETE FROM checkouts WHERE opened_at < ?", [before])?;
                Ok(())
            })
            .await
    }
}

fn open_checkout(
    c: &Connection,
    reference: &str,
    account: &AccountId,
    package: &str,
    now: Timestamp,
) -> rusqlite::Result<String> {
    let just_now = now.plus_seconds(-CHECKOUT_AGAIN).unix();
    let open: Option<String> = c
        .prepare_cached(
            "SELECT reference FROM checkouts WHERE account = ? AND opened_at > ? AND package = ?
             ORDER BY opened_at DESC LIMIT 1",
        )?
        .query_row(params![account.as_str(), just_now, package], |row| row.get(0))
        .optional()?;
    if let Some(open) = open {
        return Ok(open);
    }
    let since = now.plus_seconds(-86_400).unix();
    let (count, last): (i64, Option<String>) = c
        .prepare_cached(
            // The bare column is that of the row with the largest `opened_at`.
            "SELECT count(*), reference, max(opened_at) FROM (SELECT reference, opened_at FROM checkouts
             WHERE account = ? AND opened_at > ? ORDER BY opened_at DESC LIMIT ?)",
        )?
        .query_row(params![account.as_str(), since, CHECKOUTS_A_DAY], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if let Some(last) = last.filter(|_| count >= CHECKOUTS_A_DAY) {
        return Ok(last);
    }
    c.execute(
        "INSERT INTO checkouts (reference, account, opened_at, package) VALUES (?, ?, ?, ?)",
        params![reference, account.as_str(), now.unix(), package],
    )?;
    Ok(reference.to_owned())
}

fn record(c: &Connection, catalog: &Catalog, event: &Event, now: Timestamp) -> rusqlite::Result<Heard> {
    let Event { provider, id, fact } = event;
    let known = c
        .prepare_cached("SELECT 1 FROM webhooks WHERE provider = ? AND id = ?")?
        .exists([provider.name(), id.as_str()])?;
    if known {
        return Ok(Heard::Noted);
    }
    let heard = match fact {
        Fact::Payment(payment) => paid(c, catalog, *provider, payment, now)?,
        Fact::Reversal(reversal) => reversed(c, *provider, reversal)?,
        Fact::Other => Heard::Noted,
    };
    // A held one is read again when it is sent again: its host may have mended the settings.
    if heard == Heard::Noted {
        c.execute(
            "INSERT INTO webhooks (provider, id, seen_at) VALUES (?, ?, ?)",
            params![provider.name(), id, now.unix()],
        )?;
    }
    Ok(heard)
}

fn paid(
    c: &Connection,
    catalog: &Catalog,
    provider: Provider,
    payment: &Payment,
    now: Timestamp,
) -> rusqlite::Result<Heard> {
    let key = [provider.name(), payment.transaction.as_str()];
    let credited = c
        .prepare_cached("SELECT 1 FROM sales WHERE provider = ? AND id = ? AND held IS NULL")?
        .exists(key)?;
    if credited {
        return Ok(Heard::Noted);
    }
    let account: Option<String> = c
        .prepare_cached("SELECT account FROM checkouts WHERE reference = ?")?
        .query_row([payment.reference.as_deref().unwrap_or_default()], |row| row.get(0))
        .optional()?;
    let credits = catalog.credits(provider, payment).map_err(HeldBecause::from);
    let held = match (&account, &credits) {
        (_, Err(reason)) => Some(*reason),
        (None, Ok(_)) => Some(HeldBecause::UnknownBuyer),
        (Some(_), Ok(_)) => None,
    };
    c.execute(
        "INSERT INTO sales (provider, id, account, held, total, currency, seen_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (provider, id) DO UPDATE SET account = ?3, held = ?4, total = ?5, currency = ?6",
        params![
            key[0],
            key[1],
            account,
            held.map(HeldBecause::name),
            payment.total,
            payment.currency,
            now.unix()
        ],
    )?;
    let (Some(account), Ok(credits)) = (account, credits) else {
        tracing::warn!("a payment was not turned into credits; `llmtor backend sales` says which and why");
        return Ok(Heard::Held);
    };
    for (model, count) in credits {
        c.execute(
            "INSERT INTO sold (provider, sale, model, credits) VALUES (?, ?, ?, ?)",
            params![key[0], key[1], model.as_str(), count],
        )?;
        c.execute(
            "INSERT INTO credits (account, model, active) VALUES (?1, ?2, ?3)
             ON CONFLICT (account, model) DO UPDATE SET active = active + ?3",
            params![account, model.as_str(), count],
        )?;
        c.execute(
            "INSERT INTO grants (id, account, model, credits) VALUES (?, ?, ?, ?)",
            params![key[1], account, model.as_str(), count],
        )?;
    }
    settle(c, provider, &payment.transaction)?;
    Ok(Heard::Noted)
}

fn reversed(c: &Connection, provider: Provider, reversal: &Reversal) -> rusqlite::Result<Heard> {
    let Reversal { id, transaction, amount, standing } = reversal;
    c.execute(
        "INSERT INTO reversals (provider, id, sale, amount, standing) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (provider, id) DO UPDATE SET standing = max(standing, ?5)",
        params![provider.name(), id, transaction, amount, *standing as i64],
    )?;
    settle(c, provider, transaction)?;
    Ok(Heard::Noted)
}

/// Takes back, or gives back, what the reversals of a sale come to by now.
fn settle(c: &Connection, provider: Provider, sale: &str) -> rusqlite::Result<()> {
    let key = [provider.name(), sale];
    let found = c
        .prepare_cached("SELECT account, total FROM sales WHERE provider = ? AND id = ? AND held IS NULL")?
        .query_row(key, |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let Some((account, total)) = found else { return Ok(()) };
    let back: i64 = c
        .prepare_cached(
            "SELECT coalesce(sum(coalesce(amount, ?3)), 0) FROM reversals
             WHERE provider = ?1 AND sale = ?2 AND standing = ?4",
        )?
        .query_row(params![key[0], key[1], total, Standing::Effective as i64], |row| row.get(0))?;
    let mut rows = c.prepare_cached(
        "SELECT model, credits, due_back, taken_back FROM sold WHERE provider = ? AND sale = ?",
    )?;
    let sold: Vec<(String, i64, i64, i64)> = rows
        .query_map(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<_, _>>()?;
    for (model, credits, due, taken) in sold {
        let target = share(credits, back, total);
        let active: i64 = c
            .prepare_cached("SELECT active FROM credits WHERE account = ? AND model = ?")?
            .query_row([account.as_str(), &model], |row| row.get(0))?;
        // More is due: of what is unspent. Less is due: what was taken beyond it is given back.
        let change = if target > due { (target - due).min(active) } else { -(taken - target).max(0) };
        c.execute(
            "UPDATE credits SET active = active - ?3 WHERE account = ?1 AND model = ?2",
            params![account, model, change],
        )?;
        let taken = taken + change;
        c.execute(
            "UPDATE sold SET due_back = ?4, taken_back = ?5 WHERE provider = ?1 AND sale = ?2 AND model = ?3",
            params![key[0], key[1], model, target, taken],
        )?;
        c.execute(
            "UPDATE grants SET credits = ?3 WHERE id = ?1 AND model = ?2",
            params![key[1], model, credits - taken],
        )?;
    }
    Ok(())
}

/// The share of `credits` that `back` is of `total`.
fn share(credits: i64, back: i64, total: i64) -> i64 {
    if back >= total {
        return credits;
    }
    let share = i128::from(credits) * i128::from(back.max(0)) / i128::from(total.max(1));
    i64::try_from(share).unwrap_or(credits)
}

fn list(c: &Connection) -> rusqlite::Result<Vec<Sale>> {
    let mut sales = c.prepare_cached(
        "SELECT provider, sales.id, accounts.name, held, total, currency, seen_at
         FROM sales LEFT JOIN accounts ON accounts.id = sales.account ORDER BY seen_at, provider, sales.id",
    )?;
    let mut sold = c.prepare_cached(
        "SELECT model, credits, due_back, taken_back FROM sold WHERE provider = ? AND sale = ?",
    )?;
    let mut rows = sales.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (provider, transaction): (String, String) = (row.get(0)?, row.get(1)?);
        let held: Option<String> = row.get(3)?;
        let (mut credits, mut taken_back, mut spent) = (BTreeMap::new(), BTreeMap::new(), 0);
        let mut models = sold.query([&provider, &transaction])?;
        while let Some(model) = models.next()? {
            let name: String = model.get(0)?;
            let (due, taken): (i64, i64) = (model.get(2)?, model.get(3)?);
            credits.insert(name.clone(), model.get(1)?);
            if taken > 0 {
                taken_back.insert(name, taken);
            }
            spent += due - taken;
        }
        let Some(provider) = Provider::of(&provider) else { continue };
        found.push(Sale {
            provider,
            transaction,
            account: row.get(2)?,
            total: row.get(4)?,
            currency: row.get(5)?,
            seen_at: row.get(6)?,
            credits,
            taken_back,
            spent_before_refund: spent,
            state: held.map_or(SaleState::Credited, |reason| SaleState::Held(HeldBecause::of(&reason))),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
