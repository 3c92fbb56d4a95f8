//! `GET /v1/models` and `GET /v1/models/{id}` for who sends `anthropic-version`, and counts of tokens.

use serde::Serialize;

use crate::anonymous::face::catalog::{Catalog, Listing};
use crate::anonymous::face::json::to_vec;
use crate::anonymous::face::time::rfc3339;
use crate::wire::ModelName;

/// The list object; all of it is one page.
pub fn list(catalog: &Catalog) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        data: Vec<Model<'a>>,
        has_more: bool,
        first_id: Option<&'a ModelName>,
        last_id: Option<&'a ModelName>,
    }
    let listings = catalog.all();
    to_vec(&List {
        data: listings.iter().map(Model::from).collect(),
        has_more: false,
        first_id: listings.first().map(|listing| &listing.name),
        last_id: listings.last().map(|listing| &listing.name),
    })
}

/// The object of `model`, if it is on offer.
pub fn one(catalog: &Catalog, model: &ModelName) -> Option<Vec<u8>> {
    catalog.find(model).map(|listing| to_vec(&Model::from(&listing)))
}

/// The answer to `POST /v1/messages/count_tokens`.
pub fn counted(input_tokens: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Counted {
        input_tokens: u64,
    }
    to_vec(&Counted { input_tokens })
}

#[derive(Serialize)]
struct Model<'a> {
    r#type: &'static str,
    id: &'a ModelName,
    display_name: &'a ModelName,
    created_at: String,
    /// All that are listed can be asked.
    lifecycle: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_input_tokens: Option<u32>,
}

impl<'a> From<&'a Listing> for Model<'a> {
    fn from(listing: &'a Listing) -> Self {
        Self {
            r#type: "model",
            id: &listing.name,
            display_name: &listing.name,
            created_at: rfc3339(listing.created),
            lifecycle: "active",
            max_input_tokens: listing.context_length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn models_are_listed_as_anthropic_lists_them() {
        let listing = |name: &str, context_length| Listing {
            name: ModelName::new(name).unwrap(),
            created: Timestamp::from_unix(0),
            context_length,
        };
        let catalog = Catalog::new([listing("a", None), listing("b", Some(8192))]);
        assert_eq!(
            String::from_utf8(list(&catalog)).unwrap(),
            r#"{"data":[{"type":"model","id":"a","display_name":"a","created_at":"1970-01-01T00:00:00Z","lifecycle":"active"},{"type":"model","id":"b","display_name":"b","created_at":"1970-01-01T00:00:00Z","lifecycle":"active","max_input_tokens":8192}],"has_more":false,"first_id":"a","last_id":"b"}"#
        );
        assert_eq!(
            String::from_utf8(list(&Catalog::default())).unwrap(),
            r#"{"data":[],"has_more":false,"first_id":null,"last_id":null}"#
        );
        assert!(
            one(&catalog, &ModelName::new("b").unwrap())
                .is_some_and(|json| json.starts_with(br#"{"type":"model""#))
        );
        assert_eq!(counted(7), br#"{"input_tokens":7}"#);
    }
}
