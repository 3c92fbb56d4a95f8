//! Dodo Payments' webhooks, which are Standard Webhooks: how they are signed, and what they say.
//!
//! `webhook-id`, `webhook-timestamp`, and `webhook-signature: v1,BASE64[ v1,BASE64…]`, each an HMAC-SHA256 of
//! `id.timestamp.body` under a secret, `whsec_` and base64. Money counts with `payment.succeeded`. A `refund.succeeded` takes
//! back its amount, a dispute that is lost or accepted the whole.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;

use super::event::{Event, Fact, Payment, Provider, Reversal, Standing, Unread, Unsigned};
use crate::backend::settings::SettingsError;
use crate::clock::Timestamp;
use crate::secret::Secret;

/// More signatures than a change of secrets needs.
const MOST_SIGNATURES: usize = 8;
const LONGEST_ID: usize = 256;

/// Who vouches for a webhook.
pub(super) struct Dodo {
    secrets: Vec<Secret<Vec<u8>>>,
    tolerance: i64,
}

impl Dodo {
    pub(super) fn new(secrets: &[Secret<String>], tolerance: i64) -> Result<Self, SettingsError> {
        let decode = |secret: &Secret<String>| {
            let text = secret.expose().trim();
            let bytes = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok();
            bytes.filter(|bytes| !bytes.is_empty()).map(Secret::new).ok_or_else(|| {
                SettingsError::Meaning(
                    "store.dodo: a webhook secret is not `whsec_` and base64; copy it again from the provider".into(),
                )
            })
        };
        Ok(Self { secrets: secrets.iter().map(decode).collect::<Result<_, _>>()?, tolerance })
    }

    /// The webhook's id.
    pub(super) fn verify<'h>(
        &self,
        headers: &'h HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<&'h str, Unsigned> {
        let text = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let only = values.next().filter(|_| values.next().is_none());
            only.and_then(|value| value.to_str().ok()).ok_or(Unsigned::Header)
        };
        let (id, time) = (text("webhook-id")?, text("webhook-timestamp")?);
        // A dot in the id would let its end be read as a time.
        if id.is_empty() || id.len() > LONGEST_ID || id.contains('.') {
            return Err(Unsigned::Header);
        }
        let seconds =
            time.bytes().all(|byte| byte.is_ascii_digit()).then(|| time.parse::<i64>().ok()).flatten();
        let seconds = seconds.ok_or(Unsigned::Header)?;
        if seconds.saturating_sub(now.unix()).saturating_abs() > self.tolerance {
            return Err(Unsigned::Time);
        }
        let signatures: Vec<Vec<u8>> = text("webhook-signature")?
            .split(' ')
            .take(MOST_SIGNATURES)
            .filter_map(|one| one.strip_prefix("v1,"))
            .filter_map(|one| STANDARD.decode(one).ok())
            .collect();
        let signed = |secret: &Secret<Vec<u8>>| {
            let mac = Hmac::<Sha256>::new_from_slice(secret.expose()).ok()?;
            Some(
                mac.chain_update(id)
                    .chain_update(".")
                    .chain_update(time)
                    .chain_update(".")
                    .chain_update(body),
            )
        };
        // All of them, whichever fits: `verify_slice` takes as long for a wrong one as for a right one.
        let fits = self.secrets.iter().filter_map(signed).fold(false, |found, mac| {
            signatures
                .iter()
                .fold(found, |found, signature| mac.clone().verify_slice(signature).is_ok() | found)
        });
        if fits { Ok(id) } else { Err(Unsigned::Forged) }
    }
}

#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "type")]
    kind: String,
    data: Value,
}

#[derive(Deserialize)]
struct Paid {
    payment_id: String,
    total_amount: i64,
    currency: String,
    #[serde(default)]
    tax: Option<i64>,
    #[serde(default)]
    metadata: Option<Value>,
    #[serde(default)]
    product_cart: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    product_id: String,
    quantity: i64,
}

#[derive(Deserialize)]
struct Refund {
    #[serde(rename = "refund_id")]
    id: String,
    payment_id: String,
    #[serde(default)]
    amount: Option<i64>,
    #[serde(default)]
    is_partial: Option<bool>,
}

#[derive(Deserialize)]
struct Dispute {
    #[serde(rename = "dispute_id")]
    id: String,
    payment_id: String,
}

/// What a signed body says; `id` is its webhook's.
pub(super) fn read(id: &str, body: &[u8]) -> Result<Event, Unread> {
    let Notification { kind, data } = serde_json::from_slice(body).map_err(|_| Unread)?;
    let fact = match kind.as_str() {
        "payment.succeeded" => payment(data)?,
        "refund.succeeded" => refund(data, Standing::Effective)?,
        "refund.failed" => refund(data, Standing::Void)?,
        "dispute.opened" | "dispute.challenged" => dispute(data, Standing::Pending)?,
        "dispute.lost" | "dispute.accepted" => dispute(data, Standing::Effective)?,
        "dispute.won" | "dispute.cancelled" | "dispute.expired" => dispute(data, Standing::Void)?,
        _ => Fact::Other,
    };
    Ok(Event { provider: Provider::Dodo, id: id.to_owned(), fact })
}

fn payment(data: Value) -> Result<Fact, Unread> {
    let read: Paid = serde_json::from_value(data).map_err(|_| Unread)?;
    if read.total_amount < 0 || read.tax.is_some_and(|tax| tax < 0) {
        return Err(Unread);
    }
    let reference = read.metadata.as_ref().and_then(|data| data.get("reference")).and_then(Value::as_str);
    let items = read.product_cart.unwrap_or_default();
    Ok(Fact::Payment(Payment {
        reference: reference.map(str::to_owned),
        transaction: read.payment_id,
        items: items.into_iter().map(|item| (item.product_id, item.quantity)).collect(),
        total: read.total_amount,
        tax: read.tax.unwrap_or(0),
        // Not said in so many words: a discount shows in a total that is not the price.
        discount: 0,
        currency: read.currency,
    }))
}

fn refund(data: Value, standing: Standing) -> Result<Fact, Unread> {
    let read: Refund = serde_json::from_value(data).map_err(|_| Unread)?;
    let amount = match (read.is_partial, read.amount) {
        (Some(true), None) | (_, Some(..0)) => return Err(Unread),
        (Some(false), _) => None,
        (_, amount) => amount,
    };
    Ok(Fact::Reversal(Reversal { id: read.id, transaction: read.payment_id, amount, standing }))
}

fn dispute(data: Value, standing: Standing) -> Result<Fact, Unread> {
    let read: Dispute = serde_json::from_value(data).map_err(|_| Unread)?;
    Ok(Fact::Reversal(Reversal { id: read.id, transaction: read.payment_id, amount: None, standing }))
}

#[cfg(test)]
mod tests;
