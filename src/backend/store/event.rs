//! What payment providers report, in one vocabulary; and what each package must come to.

use std::collections::BTreeMap;

use crate::backend::settings::PackageSettings;
use crate::wire::ModelName;

/// Who takes the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Paddle Billing.
    Paddle,
    /// Dodo Payments.
    Dodo,
}

impl Provider {
    /// As it is kept.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Paddle => "paddle",
            Self::Dodo => "dodo",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        [Self::Paddle, Self::Dodo].into_iter().find(|provider| provider.name() == name)
    }
}

/// A report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) provider: Provider,
    /// The provider's own, the same for every repeat.
    pub(super) id: String,
    pub(super) fact: Fact,
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Payment(Payment),
    Reversal(Reversal),
    /// Nothing that matters here.
    Other,
}

/// Money has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payment {
    pub(super) transaction: String,
    /// Of the checkout, if it says one.
    pub(super) reference: Option<String>,
    /// Prices or products, and how many of each.
    pub(super) items: Vec<(String, i64)>,
    /// What the buyer paid, in the currency's smallest unit.
    pub(super) total: i64,
    /// How much of it is tax.
    pub(super) tax: i64,
    /// How much less than the price it is.
    pub(super) discount: i64,
    pub(super) currency: String,
}

/// Money has gone back, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reversal {
    pub(super) id: String,
    pub(super) transaction: String,
    /// `None`: all of it. Negative where an earlier reversal is itself reversed.
    pub(super) amount: Option<i64>,
    pub(super) standing: Standing,
}

/// How far a reversal is. It only ever goes down this list, so of two reports the lower one is the newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Asked for.
    Pending = 0,
    /// Done.
    Effective = 1,
    /// Refused, or undone.
    Void = 2,
}

/// Why a webhook is not the provider's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Unsigned {
    /// A header is missing or has another form.
    Header,
    /// Its time is too far from ours: replayed, or a clock is wrong.
    Time,
    /// No signature is that of a secret we have.
    Forged,
}

/// The body has another form than the provider's documentation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) struct Unread;

/// What can be bought, by what the providers call it.
pub(super) struct Catalog(BTreeMap<(Provider, String), Offer>);

/// One package.
#[derive(Clone)]
struct Offer {
    model: ModelName,
    tokens: i64,
    amount: i64,
    currency: String,
}

/// Why money is not turned into credits by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    Product,
    Amount,
    Currency,
}

impl Catalog {
    pub(super) fn new(packages: &[PackageSettings]) -> Self {
        let mut offers = BTreeMap::new();
        for package in packages {
            // Settings without these were refused for a package with a provider's id.
            let (Some(amount), Some(currency)) = (package.amount, package.currency.clone()) else { continue };
            let offer = Offer { model: package.model.clone(), tokens: package.tokens, amount, currency };
            let ids =
                [(Provider::Paddle, &package.paddle_price_id), (Provider::Dodo, &package.dodo_product_id)];
            for (provider, id) in ids {
                if let Some(id) = id {
                    offers.insert((provider, id.clone()), offer.clone());
                }
            }
        }
        Self(offers)
    }

    /// The credits that a payment buys, if it is exactly for packages: with the tax in the price or on top of it.
    pub(super) fn credits(
        &self,
        provider: Provider,
        payment: &Payment,
    ) -> Result<BTreeMap<ModelName, i64>, Mismatch> {
        let mut credits = BTreeMap::new();
        let mut price = 0_i64;
        for (id, count) in &payment.items {
            let offer =
                self.0.get(&(provider, id.clone())).filter(|_| *count > 0).ok_or(Mismatch::Product)?;
            if offer.currency != payment.currency {
                return Err(Mismatch::Currency);
            }
            let of = |each: i64| each.checked_mul(*count).ok_or(Mismatch::Amount);
            price = price.checked_add(of(offer.amount)?).ok_or(Mismatch::Amount)?;
            let sum: &mut i64 = credits.entry(offer.model.clone()).or_default();
            *sum = sum.checked_add(of(offer.tokens)?).ok_or(Mismatch::Amount)?;
        }
        if credits.is_empty() {
            return Err(Mismatch::Product);
        }
        let without_tax = payment.total.checked_sub(payment.tax).ok_or(Mismatch::Amount)?;
        let is_exact =
            payment.tax >= 0 && payment.discount == 0 && (payment.total == price || without_tax == price);
        if is_exact { Ok(credits) } else { Err(Mismatch::Amount) }
    }
}
