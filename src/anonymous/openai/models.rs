//! `GET /v1/models` and `GET /v1/models/{id}`: what can be asked for.

use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;

use super::write_json;
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
    /// Its context window in tokens, where known.
    pub context_length: Option<u32>,
}

/// The models on offer: those with a pinned key. A handle; all clones see a replacement at once.
#[derive(Clone, Default)]
pub struct Catalog(Arc<RwLock<Arc<[Listing]>>>);

impl Catalog {
    /// A catalog of `listings`, shown in that order.
    pub fn new(listings: impl IntoIterator<Item = Listing>) -> Self {
        let catalog = Self::default();
        catalog.replace(listings);
        catalog
    }

    /// A listing for every model of `keyring`, made known at `created`.
    pub fn listings(keyring: &Keyring, created: Timestamp) -> Vec<Listing> {
        keyring.models().map(|name| Listing { name: name.clone(), created, context_length: None }).collect()
    }

    /// Offers `listings` from now on; calls under way are not touched.
    pub fn replace(&self, listings: impl IntoIterator<Item = Listing>) {
        let listings: Arc<[Listing]> = listings.into_iter().collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = listings;
    }

    /// Whether `model` is on offer.
    pub fn has(&self, model: &ModelName) -> bool {
        self.snapshot().iter().any(|listing| listing.name == *model)
    }

    /// The list object.
    pub fn list_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct List<'a> {
            object: &'static str,
            data: Vec<Model<'a>>,
        }
        let listings = self.snapshot();
        to_json(&List { object: "list", data: listings.iter().map(Model::from).collect() })
    }

    /// The object of `model`, if it is on offer.
    pub fn model_json(&self, model: &ModelName) -> Option<Vec<u8>> {
        let listings = self.snapshot();
        listings.iter().find(|listing| listing.name == *model).map(|listing| to_json(&Model::from(listing)))
    }

    fn snapshot(&self) -> Arc<[Listing]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// OpenAI's model object. The two names of the context window are those that clients look for.
#[derive(Serialize)]
struct Model<'a> {
    id: &'a ModelName,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_model_len: Option<u32>,
}

impl<'a> From<&'a Listing> for Model<'a> {
    fn from(listing: &'a Listing) -> Self {
        Self {
            id: &listing.name,
            object: "model",
            created: listing.created.unix(),
            owned_by: "llmtor",
            context_length: listing.context_length,
            max_model_len: listing.context_length,
        }
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(512);
    write_json(&mut json, value);
    json
}

#[cfg(test)]
mod tests {
    use async_openai::types::models::{ListModelResponse, Model};

    use super::*;

    fn listing(name: &str, context_length: Option<u32>) -> Listing {
        let name = ModelName::new(name).unwrap();
        Listing { name, created: Timestamp::from_unix(5), context_length }
    }

    #[test]
    fn models_are_listed_as_openai_lists_them() {
        let catalog = Catalog::new([listing("a", None), listing("b", Some(8192))]);
        let json = catalog.list_json();
        assert_eq!(
            String::from_utf8(json.clone()).unwrap(),
            r#"{"object":"list","data":[{"id":"a","object":"model","created":5,"owned_by":"llmtor"},{"id":"b","object":"model","created":5,"owned_by":"llmtor","context_length":8192,"max_model_len":8192}]}"#
        );
        assert_eq!(serde_json::from_slice::<ListModelResponse>(&json).unwrap().data.len(), 2);
        let one = catalog.model_json(&ModelName::new("b").unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Model>(&one).unwrap().id, "b");
    }

    #[test]
    fn a_replacement_is_seen_by_every_handle() {
        let catalog = Catalog::new([listing("a", None)]);
        catalog.clone().replace([listing("b", None)]);
        assert!(!catalog.has(&ModelName::new("a").unwrap()));
        assert!(catalog.has(&ModelName::new("b").unwrap()));
    }
}
