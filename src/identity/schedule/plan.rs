//! One model's rules: the preset's, and what the configuration says of this model over them.

use std::collections::BTreeMap;

use rand::CryptoRng;

use super::agenda::FirstStock;
use super::policy::{Decision, Policy, Privacy, Shelf};
use crate::clock::Timestamp;
use crate::wire::ModelName;

/// What the configuration says of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stocking {
    /// A look mints when fewer tokens than this are held, whatever the habit says.
    pub target: Option<u32>,
    /// How many are minted then; without it, as many as the target.
    pub batch: Option<u32>,
}

/// The rules of one model.
#[derive(Clone, Debug)]
pub struct Plan {
    policy: Policy,
    own: Stocking,
}

/// The rules of every model.
#[derive(Clone, Debug)]
pub struct Plans {
    common: Plan,
    own: BTreeMap<ModelName, Plan>,
}

impl Plans {
    /// The preset, and over it what is said of single models.
    pub fn new(privacy: Privacy, stockings: BTreeMap<ModelName, Stocking>) -> Self {
        let plan = |own| Plan { policy: Policy::of(privacy), own };
        Self {
            common: plan(Stocking::default()),
            own: stockings.into_iter().map(|(model, own)| (model, plan(own))).collect(),
        }
    }

    /// The rules of `model`.
    pub fn of(&self, model: &ModelName) -> &Plan {
        self.own.get(model).unwrap_or(&self.common)
    }
}

impl Plan {
    /// When to look next; see [`Policy::appoint`].
    pub fn appoint<R: CryptoRng + ?Sized>(&self, held: u64, now: Timestamp, rng: &mut R) -> Timestamp {
        self.policy.appoint(held, now, rng)
    }

    /// The first stock of whoever holds so much is there.
    pub fn first_stock(&self, held: u64) -> FirstStock {
        let first = self.own.target.unwrap_or_else(|| self.policy.first());
        if held < first.into() { FirstStock::ToCome } else { FirstStock::Had }
    }

    /// What to do about what is `found`. A count is never the number that is missing: that would tell how much was used.
    pub fn decide(&self, found: &Shelf, first: FirstStock) -> Decision {
        let decision = match self.own.target {
            Some(target) if found.held >= target.into() => return Decision::Enough,
            Some(target) => Decision::Mint(target),
            None if first == FirstStock::ToCome => self.policy.begin(found),
            None => self.policy.decide(found),
        };
        let Decision::Mint(count) = decision else { return decision };
        let count = self.own.batch.unwrap_or(count);
        match u32::try_from(found.credits).unwrap_or(u32::MAX).min(count) {
            0 => Decision::NoCredit,
            count => Decision::Mint(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(own: Stocking, held: u64, credits: u64) -> Decision {
        let model: ModelName = "m".parse().unwrap();
        let plans = Plans::new(Privacy::Balanced, BTreeMap::from([(model.clone(), own)]));
        plans.of(&model).decide(&Shelf { held, pace: None, credits }, FirstStock::Had)
    }

    #[test]
    fn a_model_s_own_target_and_batch_stand_over_the_preset() {
        let own = Stocking { target: Some(100), batch: Some(40) };
        assert_eq!(decide(own, 100, 1000), Decision::Enough);
        assert_eq!(decide(own, 99, 1000), Decision::Mint(40));
        assert_eq!(decide(own, 0, 7), Decision::Mint(7));
        assert_eq!(decide(own, 0, 0), Decision::NoCredit);
    }

    #[test]
    fn a_target_alone_mints_a_count_that_does_not_tell_what_is_missing() {
        let own = Stocking { target: Some(100), batch: None };
        assert_eq!(decide(own, 99, 1000), Decision::Mint(100));
        assert_eq!(decide(own, 3, 1000), Decision::Mint(100));
    }

    #[test]
    fn a_batch_alone_leaves_the_moment_to_the_preset() {
        let own = Stocking { target: None, batch: Some(40) };
        assert_eq!(decide(own, 0, 1000), Decision::Mint(40));
        assert_eq!(decide(own, 1_000_000, 1000), Decision::Enough);
    }
}
