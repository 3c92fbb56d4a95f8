//! What is said of buying.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::secret::Secret;
use crate::wire::ModelName;

use super::{AccountReport, SupplyReport};

/// What the backend sells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffersReport {
    /// In the backend's order.
    pub packages: Vec<OfferReport>,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferReport {
    /// Names it.
    pub id: String,
    /// The model that its credits are for.
    pub model: String,
    /// How many.
    pub credits: i64,
    /// As the backend writes it.
    pub price: String,
    /// Whether many buy it, by the backend's word.
    #[serde(default)]
    pub popular: bool,
}

/// The way to the purchase page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutReport {
    /// What is bought.
    pub package: OfferReport,
    /// Where.
    pub link: SecretLink,
    /// For how many seconds the address is good.
    pub seconds: u32,
    /// What the account had before.
    pub before: AccountReport,
}

/// An address that whoever has it may use: not printed by accident, and wiped.
#[derive(Clone)]
pub struct SecretLink(pub Secret<String>);

impl std::fmt::Debug for SecretLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretLink")
    }
}

impl PartialEq for SecretLink {
    fn eq(&self, other: &Self) -> bool {
        self.0.matches(other.0.expose().as_bytes())
    }
}

impl Eq for SecretLink {}

impl Serialize for SecretLink {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for SecretLink {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

/// A voucher is credits now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoucherReport {
    /// What the account has got, by model.
    pub granted: BTreeMap<String, i64>,
    /// What happens next by itself, by model.
    pub supply: BTreeMap<ModelName, SupplyReport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_purchase_page_s_address_is_in_no_debug_text() {
        let link = SecretLink(Secret::new("https://h/?transientToken=canary".into()));
        assert!(!format!("{link:?}").contains("canary"));
        let text = serde_json::to_string(&link).unwrap();
        assert_eq!(serde_json::from_str::<SecretLink>(&text).unwrap(), link);
    }
}
