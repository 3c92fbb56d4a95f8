//! The pinned issuer keys: `{key name: SPKI PEM}`, imported by the user, never fetched. (Contract.)

use std::collections::BTreeMap;

use crate::blind::PublicKey;
use crate::wire::ModelName;

/// Every pinned key. Cheap to clone.
#[derive(Clone, Default)]
pub struct Keyring {
    models: BTreeMap<ModelName, PublicKey>,
    abuse_permanent: Option<PublicKey>,
    abuse_transient: Option<PublicKey>,
}

impl Keyring {
    /// The key that signs tokens for `model`.
    pub fn model(&self, model: &ModelName) -> Option<&PublicKey> {
        self.models.get(model)
    }
    /// Every model with a key, in order.
    pub fn models(&self) -> impl Iterator<Item = &ModelName> {
        self.models.keys()
    }
    /// The permanent abuse token's key; absent with an older backend.
    pub fn abuse_permanent(&self) -> Option<&PublicKey> {
        self.abuse_permanent.as_ref()
    }
    /// The transient abuse token's key; absent with an older backend.
    pub fn abuse_transient(&self) -> Option<&PublicKey> {
        self.abuse_transient.as_ref()
    }
}
