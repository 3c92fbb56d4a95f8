//! DTOs of the identity plane (protocol.md §3).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Base64Bytes, ModelName};

/// Credits by model; Go's nil map is `null`.
pub type Counts = BTreeMap<String, i64>;

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// The packages that are of the protocol's shape: one that is not cannot be bought, and takes none of the others with it.
fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Package>, D::Error> {
    struct Entry(Option<Package>);
    impl<'de> Deserialize<'de> for Entry {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Ok(Self(Package::deserialize(deserializer).ok()))
        }
    }
    let entries = Option::<Vec<Entry>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(entries.into_iter().filter_map(|entry| entry.0).collect())
}

/// `GET /api/v1/me` → data. Only what a client uses; unknown fields are passed over.
#[derive(Serialize, Deserialize, Clone, Default)]
#[serde(default)]
pub struct Me {
    /// Account id.
    pub id: String,
    /// Mail address.
    #[serde(rename = "Email", deserialize_with = "null_as_default")]
    pub email: String,
    /// Display name.
    #[serde(rename = "Name", deserialize_with = "null_as_default")]
    pub name: String,
    /// Picture URL.
    #[serde(rename = "ProfileImage", deserialize_with = "null_as_default")]
    pub profile_image: String,
    /// Lives five minutes; for the purchase page.
    #[serde(rename = "TransientToken", deserialize_with = "null_as_default")]
    pub transient_token: String,
    /// The ledger.
    #[serde(rename = "SubscriptionInfo", deserialize_with = "null_as_default")]
    pub subscription_info: SubscriptionInfo,
    /// RFC 3339, when the permanent abuse token was first issued.
    #[serde(rename = "PermanentAbuseTokenIssuedAt")]
    pub permanent_abuse_token_issued_at: Option<String>,
    /// Epoch of the last transient abuse token.
    #[serde(rename = "TransientAbuseTokenEpoch", deserialize_with = "null_as_default")]
    pub transient_abuse_token_epoch: i64,
}

/// The ledger part of [`Me`].
#[derive(Serialize, Deserialize, Clone, Default)]
#[serde(default)]
pub struct SubscriptionInfo {
    /// Credits left by model.
    #[serde(rename = "ActiveAuthTokens")]
    pub active_auth_tokens: Option<Counts>,
    /// Credits used by model.
    #[serde(rename = "UsedAuthTokens")]
    pub used_auth_tokens: Option<Counts>,
    /// Payments.
    #[serde(rename = "PaymentLogs")]
    pub payment_logs: Option<Vec<PaymentLog>>,
}

/// One payment.
#[derive(Serialize, Deserialize, Clone, Default)]
#[serde(default)]
pub struct PaymentLog {
    /// The payment provider's id.
    #[serde(rename = "TransactionID")]
    pub transaction_id: String,
    /// What was credited.
    #[serde(rename = "TokensGranted")]
    pub tokens_granted: Option<Counts>,
}

/// `POST /api/v1/auth-token/{model}`. The model that counts is the body's.
#[derive(Serialize, Deserialize)]
pub struct IssueRequest {
    /// A UUID; idempotent for five minutes in one server's memory.
    #[serde(rename = "RequestID")]
    pub request_id: String,
    /// As long as the key's modulus.
    #[serde(rename = "BlindedToken")]
    pub blinded_token: Base64Bytes,
    /// The model whose key shall sign and whose credit is debited.
    #[serde(rename = "ModelName")]
    pub model_name: ModelName,
}

/// The answer to [`IssueRequest`].
#[derive(Serialize, Deserialize)]
pub struct IssueAnswer {
    /// Echo of the model.
    #[serde(rename = "ModelName", default)]
    pub model_name: String,
    /// The blind signature.
    #[serde(rename = "SignedBlindedToken")]
    pub signed_blinded_token: Base64Bytes,
}

/// `POST /api/v1/abuse-token/{permanent,transient}`.
#[derive(Serialize, Deserialize)]
pub struct AbuseIssueRequest {
    /// At most 1,024 bytes.
    #[serde(rename = "BlindedToken")]
    pub blinded_token: Base64Bytes,
}

/// The answer to [`AbuseIssueRequest`].
#[derive(Serialize, Deserialize)]
pub struct AbuseIssueAnswer {
    /// The blind signature.
    #[serde(rename = "SignedBlindedToken")]
    pub signed_blinded_token: Base64Bytes,
}

/// `GET /api/v1/model-pricing` → data.
#[derive(Serialize, Deserialize, Clone, Default)]
#[serde(default)]
pub struct Pricing {
    /// What can be bought.
    #[serde(rename = "Packages", deserialize_with = "readable")]
    pub packages: Vec<Package>,
}

/// One offer.
#[derive(Serialize, Deserialize, Clone, Default)]
#[serde(default)]
pub struct Package {
    /// Offer id.
    #[serde(rename = "ID", deserialize_with = "null_as_default")]
    pub id: String,
    /// The model it is for.
    #[serde(rename = "ModelID", deserialize_with = "null_as_default")]
    pub model_id: String,
    /// How many credits.
    #[serde(rename = "Tokens", deserialize_with = "null_as_default")]
    pub tokens: i64,
    /// `$…`.
    #[serde(rename = "Price", deserialize_with = "null_as_default")]
    pub price: String,
    /// Marked as popular.
    #[serde(rename = "Popular", deserialize_with = "null_as_default")]
    pub popular: bool,
    /// What Paddle calls it.
    #[serde(rename = "PaddlePriceID", skip_serializing_if = "Option::is_none")]
    pub paddle_price_id: Option<String>,
    /// What Dodo calls it.
    #[serde(rename = "DodoProductID", skip_serializing_if = "Option::is_none")]
    pub dodo_product_id: Option<String>,
    /// What a provider calls it whose name the field does not tell.
    #[serde(rename = "ProductID", skip_serializing_if = "Option::is_none")]
    pub product_id: Option<String>,
}

impl Package {
    /// By which parameter of `/purchase` it is named, and with which value: its own field, with a small first letter. A
    /// package that no provider sells is named by its own id.
    pub fn parameter(&self) -> (&'static str, &str) {
        let fields = [
            (PADDLE_PARAMETER, &self.paddle_price_id),
            (DODO_PARAMETER, &self.dodo_product_id),
            ("productID", &self.product_id),
        ];
        for (name, value) in fields {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                return (name, value);
            }
        }
        (PACKAGE_PARAMETER, &self.id)
    }
}

/// The parameter of `/purchase` that names a package by its price at Paddle.
pub const PADDLE_PARAMETER: &str = "paddlePriceID";
/// The one that names it by its product at Dodo.
pub const DODO_PARAMETER: &str = "dodoProductID";
/// The one that names it by its own id.
pub const PACKAGE_PARAMETER: &str = "packageID";

/// `POST /api/v1/voucher` of the reference backend; the answer is a [`PaymentLog`].
#[derive(Serialize, Deserialize)]
pub struct VoucherRequest {
    /// As typed.
    #[serde(rename = "Code")]
    pub code: String,
}

/// `PUT /api/v1/abuse-token/backup`, and data of the `GET`.
#[derive(Serialize, Deserialize)]
pub struct BackupBlob {
    /// At most 100 KiB.
    #[serde(rename = "EncryptedBlob")]
    pub encrypted_blob: String,
}
