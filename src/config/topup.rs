//! `privacy` and `[topup]`: tokens minted without being asked for.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::wire::ModelName;

/// How much is given for privacy: tokens held in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrivacyChoice {
    /// Few.
    Frugal,
    /// The default.
    Balanced,
    /// Many.
    Strong,
}

/// `[topup]`: tokens minted without being asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopUp {
    /// Whether they are.
    pub enabled: bool,
    /// A stock that lasts for fewer days is low.
    pub warn_days: u32,
    /// What single models are stocked with.
    #[serde(default)]
    pub models: BTreeMap<ModelName, Stock>,
}

/// What one model is stocked with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stock {
    /// Fewer are too few.
    pub target: Option<u32>,
    /// How many are minted then.
    pub batch: Option<u32>,
}
