//! `GET /v1/models` and `GET /v1/models/{id}`: what can be asked for.

use serde::Serialize;

use crate::anonymous::face::catalog::{Catalog, Listing};
use crate::anonymous::face::json::to_vec;
use crate::wire::ModelName;

/// The list object.
pub fn list(catalog: &Catalog) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: Vec<Model<'a>>,
    }
    let listings = catalog.all();
    to_vec(&List { object: "list", data: listings.iter().map(Model::from).collect() })
}

/// The object of `model`, if it is on offer.
pub fn one(catalog: &Catalog, model: &ModelName) -> Option<Vec<u8>> {
    catalog.find(model).map(|listing| to_vec(&Model::from(&listing)))
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

#[cfg(test)]
mod tests {
    use async_openai::types::models::{ListModelResponse, Model};

    use super::*;
    use crate::clock::Timestamp;

    fn listing(name: &str, context_length: Option<u32>) -> Listing {
        let name = ModelName::new(name).unwrap();
        Listing { name, created: Timestamp::from_unix(5), context_length }
    }

    #[test]
    fn models_are_listed_as_openai_lists_them() {
        let catalog = Catalog::new([listing("a", None), listing("b", Some(8192))]);
        let json = list(&catalog);
        assert_eq!(
            String::from_utf8(json.clone()).unwrap(),
            r#"{"object":"list","data":[{"id":"a","object":"model","created":5,"owned_by":"llmtor"},{"id":"b","object":"model","created":5,"owned_by":"llmtor","context_length":8192,"max_model_len":8192}]}"#
        );
        assert_eq!(serde_json::from_slice::<ListModelResponse>(&json).unwrap().data.len(), 2);
        let one = one(&catalog, &ModelName::new("b").unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Model>(&one).unwrap().id, "b");
    }
}
