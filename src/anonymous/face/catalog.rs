//! What can be asked for: the models with a pinned key, and other names for them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::clock::Timestamp;
use crate::keys::Keyring;
use crate::wire::ModelName;

/// A model that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its id.
    pub name: ModelName,
    /// When it was made known here.
    pub created: Timestamp,
    /// How much fits into one call, in tokens, where known.
    pub context_length: Option<u32>,
}

/// Other names, by which clients that insist on one find a model that there is.
pub type Aliases = BTreeMap<ModelName, ModelName>;

/// The models on offer. A handle; all clones see a replacement at once.
#[derive(Clone, Default)]
pub struct Catalog {
    listings: Arc<RwLock<Arc<[Listing]>>>,
    aliases: Arc<Aliases>,
}

impl Catalog {
    /// A catalog of `listings`, shown in that order.
    pub fn new(listings: impl IntoIterator<Item = Listing>) -> Self {
        let catalog = Self::default();
        catalog.replace(listings);
        catalog
    }

    /// The same with other names. A model of its own name is never hidden by an alias.
    #[must_use]
    pub fn with_aliases(self, aliases: Aliases) -> Self {
        Self { aliases: Arc::new(aliases), ..self }
    }

    /// A listing for every model of `keyring`, made known at `created`.
    pub fn listings(keyring: &Keyring, created: Timestamp, context_length: Option<u32>) -> Vec<Listing> {
        keyring.models().map(|name| Listing { name: name.clone(), created, context_length }).collect()
    }

    /// Offers `listings` from now on; calls under way are not touched.
    pub fn replace(&self, listings: impl IntoIterator<Item = Listing>) {
        let listings: Arc<[Listing]> = listings.into_iter().collect();
        *self.listings.write().unwrap_or_else(PoisonError::into_inner) = listings;
    }

    /// The model that `name` means, if it is on offer.
    pub fn resolve(&self, name: &ModelName) -> Option<ModelName> {
        let listings = self.snapshot();
        let on_offer = |name: &ModelName| listings.iter().any(|listing| listing.name == *name);
        if on_offer(name) {
            return Some(name.clone());
        }
        self.aliases.get(name).filter(|model| on_offer(model)).cloned()
    }

    /// Everything that can be asked for: the models, then the other names of those on offer.
    pub fn all(&self) -> Vec<Listing> {
        let listings = self.snapshot();
        let find = |name: &ModelName| listings.iter().find(|listing| listing.name == *name);
        let others =
            self.aliases.iter().filter(|(alias, _)| find(alias).is_none()).filter_map(|(alias, model)| {
                find(model).map(|listing| Listing { name: alias.clone(), ..listing.clone() })
            });
        listings.iter().cloned().chain(others).collect()
    }

    /// What `name` stands for, if that is on offer.
    pub fn find(&self, name: &ModelName) -> Option<Listing> {
        self.all().into_iter().find(|listing| listing.name == *name)
    }

    fn snapshot(&self) -> Arc<[Listing]> {
        self.listings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ModelName {
        ModelName::new(text).unwrap()
    }

    fn listing(text: &str) -> Listing {
        Listing { name: name(text), created: Timestamp::from_unix(5), context_length: None }
    }

    #[test]
    fn a_replacement_is_seen_by_every_handle() {
        let catalog = Catalog::new([listing("a")]);
        catalog.clone().replace([listing("b")]);
        assert_eq!(catalog.resolve(&name("a")), None);
        assert_eq!(catalog.resolve(&name("b")), Some(name("b")));
    }

    #[test]
    fn an_alias_is_listed_and_leads_to_its_model_but_hides_none() {
        let aliases =
            [("x", "a"), ("b", "a"), ("y", "gone")].map(|(alias, model)| (name(alias), name(model)));
        let catalog = Catalog::new([listing("a"), listing("b")]).with_aliases(aliases.into());
        assert_eq!(catalog.resolve(&name("x")), Some(name("a")));
        assert_eq!(catalog.resolve(&name("b")), Some(name("b")));
        assert_eq!(catalog.resolve(&name("y")), None);
        let names: Vec<_> = catalog.all().into_iter().map(|listing| listing.name.to_string()).collect();
        assert_eq!(names, ["a", "b", "x"]);
    }
}
