//! Paddle Billing's webhooks: how they are signed, and what they say.
//!
//! `Paddle-Signature: ts=SECONDS;h1=HEX[;h1=HEX…]`, each `h1` an HMAC-SHA256 of `ts:body` under a secret of the webhook; while
//! secrets are changed there are several. Money counts when a transaction is `completed`, whichever event says so.
//! Adjustments of the kinds `refund` and `chargeback` take it back once they are `approved`, and not if they are `rejected`.
//! A `chargeback_reverse` gives back what a chargeback took; the chargeback itself is then `reversed`, which says the same
//! thing a second time and changes nothing.

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;

use super::event::{Event, Fact, Payment, Provider, Reversal, Standing, Unread, Unsigned};
use crate::clock::Timestamp;
use crate::secret::Secret;

/// More signatures than a change of secrets needs.
const MOST_SIGNATURES: usize = 8;

/// Who vouches for a webhook.
pub(super) struct Paddle {
    secrets: Vec<Secret<String>>,
    tolerance: i64,
}

impl Paddle {
    pub(super) fn new(secrets: Vec<Secret<String>>, tolerance: i64) -> Self {
        Self { secrets, tolerance }
    }

    pub(super) fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Unsigned> {
        let header = headers.get("paddle-signature").and_then(|value| value.to_str().ok());
        let (time, signatures) = parse(header.ok_or(Unsigned::Header)?).ok_or(Unsigned::Header)?;
        let seconds: i64 = time.parse().map_err(|_| Unsigned::Header)?;
        if seconds.saturating_sub(now.unix()).saturating_abs() > self.tolerance {
            return Err(Unsigned::Time);
        }
        let signed = |secret: &Secret<String>| {
            let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
            Some(mac.chain_update(time).chain_update(b":").chain_update(body))
        };
        // All of them, whichever fits: `verify_slice` takes as long for a wrong one as for a right one.
        let fits = self.secrets.iter().filter_map(signed).fold(false, |found, mac| {
            signatures
                .iter()
                .fold(found, |found, signature| mac.clone().verify_slice(signature).is_ok() | found)
        });
        if fits { Ok(()) } else { Err(Unsigned::Forged) }
    }
}

/// The time as written, and the signatures.
fn parse(header: &str) -> Option<(&str, Vec<[u8; 32]>)> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(';') {
        match part.trim().split_once('=')? {
            ("ts", _) if time.is_some() => return None,
            ("ts", text) => time = Some(text).filter(|text| text.bytes().all(|b| b.is_ascii_digit())),
            ("h1", text) if signatures.len() < MOST_SIGNATURES => signatures.push(hex(text)?),
            ("h1", _) => return None,
            // Another scheme, of another day.
            _ => {}
        }
    }
    Some((time?, signatures)).filter(|(_, signatures)| !signatures.is_empty())
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[derive(Deserialize)]
struct Notification {
    event_id: String,
    event_type: String,
    data: Value,
}

#[derive(Deserialize)]
struct Transaction {
    id: String,
    currency_code: String,
    #[serde(default)]
    custom_data: Option<Value>,
    #[serde(default)]
    items: Vec<Item>,
    details: Details,
}

#[derive(Deserialize)]
struct Item {
    price: Price,
    quantity: i64,
}

#[derive(Deserialize)]
struct Price {
    id: String,
}

#[derive(Deserialize)]
struct Details {
    totals: Totals,
}

#[derive(Deserialize)]
struct Totals {
    #[serde(default)]
    discount: Option<Value>,
    tax: Value,
    total: Value,
}

#[derive(Deserialize)]
struct Adjustment {
    id: String,
    action: String,
    transaction_id: String,
    status: String,
    totals: AdjustmentTotals,
}

#[derive(Deserialize)]
struct AdjustmentTotals {
    total: Value,
}

/// What a signed body says.
pub(super) fn read(body: &[u8]) -> Result<Event, Unread> {
    let Notification { event_id, event_type, data } = serde_json::from_slice(body).map_err(|_| Unread)?;
    let fact = match event_type.split_once('.') {
        Some(("transaction", _)) => transaction(data)?,
        Some(("adjustment", _)) => adjustment(data)?,
        _ => Fact::Other,
    };
    Ok(Event { provider: Provider::Paddle, id: event_id, fact })
}

fn transaction(data: Value) -> Result<Fact, Unread> {
    // One that is not completed may lack anything.
    if data.get("status").and_then(Value::as_str) != Some("completed") {
        return Ok(Fact::Other);
    }
    let read: Transaction = serde_json::from_value(data).map_err(|_| Unread)?;
    let reference = read.custom_data.as_ref().and_then(|data| data.get("reference")).and_then(Value::as_str);
    let Totals { discount, tax, total } = read.details.totals;
    Ok(Fact::Payment(Payment {
        reference: reference.map(str::to_owned),
        transaction: read.id,
        items: read.items.into_iter().map(|item| (item.price.id, item.quantity)).collect(),
        total: amount(&total)?,
        tax: amount(&tax)?,
        discount: discount.as_ref().filter(|value| !value.is_null()).map_or(Ok(0), amount)?,
        currency: read.currency_code,
    }))
}

fn adjustment(data: Value) -> Result<Fact, Unread> {
    let read: Adjustment = serde_json::from_value(data).map_err(|_| Unread)?;
    let sign = match read.action.as_str() {
        "refund" | "chargeback" => 1,
        "chargeback_reverse" => -1,
        _ => return Ok(Fact::Other),
    };
    let standing = match (read.action.as_str(), read.status.as_str()) {
        (_, "pending_approval") => Standing::Pending,
        // The adjustment that reverses it counts against it.
        ("chargeback", "reversed") | (_, "approved") => Standing::Effective,
        (_, "rejected" | "reversed") => Standing::Void,
        _ => return Err(Unread),
    };
    let amount = amount(&read.totals.total)?.checked_mul(sign).ok_or(Unread)?;
    Ok(Fact::Reversal(Reversal {
        id: read.id,
        transaction: read.transaction_id,
        amount: Some(amount),
        standing,
    }))
}

/// Paddle writes amounts as texts, in the smallest unit.
fn amount(value: &Value) -> Result<i64, Unread> {
    match value {
        Value::String(text) => text.parse().ok().filter(|amount| *amount >= 0).ok_or(Unread),
        value => value.as_i64().filter(|amount| *amount >= 0).ok_or(Unread),
    }
}

#[cfg(test)]
mod tests;
