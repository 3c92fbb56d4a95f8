//! Which models there are, as Ollama's clients want to see them.
//!
//! Ollama's names have a tag, and its clients add `:latest` where there is none. So models are listed with it, and are
//! found with and without.
//!
//! Deliberately absent: sizes and quantizations, which nobody here knows; a size of 0 and empty texts stand for them.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::anonymous::emulate::tokens::Family;
use crate::anonymous::face::catalog::{Catalog, Listing};
use crate::anonymous::face::json::to_vec;
use crate::anonymous::face::time::rfc3339;
use crate::wire::ModelName;

/// What is said to who asks whether somebody is there.
pub const RUNNING: &str = "Ollama is running";
/// Of the API that is spoken, high enough for what clients ask of it.
const VERSION: &str = "0.12.0";
const LATEST: &str = ":latest";

/// The model that `spelled` means.
pub fn resolve(catalog: &Catalog, spelled: &str) -> Option<ModelName> {
    candidates(spelled).find_map(|name| catalog.resolve(&name))
}

/// `GET /api/version`.
pub fn version() -> Vec<u8> {
    to_vec(&json!({ "version": VERSION }))
}

/// `GET /api/ps`: nothing runs here.
pub fn running() -> Vec<u8> {
    to_vec(&json!({ "models": [] }))
}

/// `GET /api/tags`.
pub fn tags(catalog: &Catalog) -> Vec<u8> {
    #[derive(Serialize)]
    struct Tags<'a> {
        models: Vec<Tag<'a>>,
    }
    #[derive(Serialize)]
    struct Tag<'a> {
        name: &'a str,
        model: &'a str,
        modified_at: String,
        size: u64,
        digest: String,
        details: Details,
    }
    let listings = catalog.all();
    let names: Vec<String> = listings.iter().map(|listing| tagged(&listing.name)).collect();
    let tag = |(listing, name): (&Listing, _)| Tag {
        name,
        model: name,
        modified_at: rfc3339(listing.created),
        size: 0,
        digest: digest(name),
        details: Details::of(&listing.name),
    };
    to_vec(&Tags { models: listings.iter().zip(names.iter().map(String::as_str)).map(tag).collect() })
}

/// `POST /api/show`, if there is such a model.
pub fn show(catalog: &Catalog, spelled: &str) -> Option<Vec<u8>> {
    #[derive(Serialize)]
    struct Shown {
        license: &'static str,
        modelfile: String,
        parameters: &'static str,
        template: &'static str,
        details: Details,
        model_info: Map<String, Value>,
        capabilities: [&'static str; 3],
        modified_at: String,
    }
    let listing = candidates(spelled).find_map(|name| catalog.find(&name))?;
    let details = Details::of(&listing.name);
    let mut model_info = Map::new();
    model_info.insert("general.architecture".into(), details.family.into());
    model_info.insert("general.basename".into(), listing.name.as_str().into());
    if let Some(length) = listing.context_length {
        model_info.insert(format!("{}.context_length", details.family), length.into());
    }
    Some(to_vec(&Shown {
        license: "",
        modelfile: format!("FROM {}\n", tagged(&listing.name)),
        parameters: "",
        template: "{{ .Prompt }}",
        details,
        model_info,
        capabilities: ["completion", "tools", "vision"],
        modified_at: rfc3339(listing.created),
    }))
}

#[derive(Serialize)]
struct Details {
    parent_model: &'static str,
    format: &'static str,
    family: &'static str,
    families: [&'static str; 1],
    parameter_size: &'static str,
    quantization_level: &'static str,
}

impl Details {
    fn of(model: &ModelName) -> Self {
        let family = match Family::of(model) {
            Family::OpenAi | Family::OpenAiBefore => "gpt",
            Family::Gemini => "gemini",
            Family::Other => "other",
        };
        Self {
            parent_model: "",
            format: "",
            family,
            families: [family],
            parameter_size: "",
            quantization_level: "",
        }
    }
}

/// With a tag, if it has none.
fn tagged(name: &ModelName) -> String {
    let last = name.as_str().rsplit('/').next().unwrap_or_default();
    let tag = if last.contains(':') { "" } else { LATEST };
    format!("{name}{tag}")
}

/// What may be meant: the name itself, and the name without the tag.
fn candidates(spelled: &str) -> impl Iterator<Item = ModelName> + '_ {
    [Some(spelled), spelled.strip_suffix(LATEST)]
        .into_iter()
        .flatten()
        .filter_map(|name| ModelName::new(name).ok())
}

/// Clients tell versions of a model apart by it; here a name has one.
fn digest(name: &str) -> String {
    let mut digest = String::with_capacity(64);
    for byte in Sha256::digest(name) {
        // Writing to a String cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;

    fn name(text: &str) -> ModelName {
        ModelName::new(text).unwrap()
    }

    fn catalog() -> Catalog {
        let listing = |text: &str, context_length| Listing {
            name: name(text),
            created: Timestamp::from_unix(0),
            context_length,
        };
        Catalog::new([listing("gpt-4.1", Some(8192)), listing("org/model:free", None)])
            .with_aliases([(name("llama3"), name("gpt-4.1"))].into())
    }

    #[test]
    fn models_are_listed_with_a_tag_and_found_with_and_without() {
        let tags: Value = serde_json::from_slice(&tags(&catalog())).unwrap();
        let names: Vec<_> = tags["models"].as_array().unwrap().iter().map(|model| &model["name"]).collect();
        assert_eq!(names, ["gpt-4.1:latest", "org/model:free", "llama3:latest"]);
        for (spelled, meant) in [
            ("gpt-4.1", Some("gpt-4.1")),
            ("gpt-4.1:latest", Some("gpt-4.1")),
            ("llama3:latest", Some("gpt-4.1")),
            ("org/model:free", Some("org/model:free")),
            ("gpt-4.1:8b", None),
            (":latest", None),
        ] {
            assert_eq!(resolve(&catalog(), spelled), meant.map(name), "{spelled}");
        }
    }

    #[test]
    fn a_listing_has_what_clients_look_for() {
        let tags: Value = serde_json::from_slice(&tags(&catalog())).unwrap();
        let model = &tags["models"][0];
        assert_eq!(model["model"], model["name"]);
        assert_eq!((&model["modified_at"], &model["size"]), (&json!("1970-01-01T00:00:00Z"), &json!(0)));
        assert_eq!(model["digest"].as_str().unwrap().len(), 64);
        assert_eq!(
            model["details"],
            json!({"parent_model": "", "format": "", "family": "gpt", "families": ["gpt"],
                "parameter_size": "", "quantization_level": ""})
        );
    }

    #[test]
    fn a_model_is_shown_with_its_context_where_that_is_known() {
        let show =
            |spelled: &str| -> Value { serde_json::from_slice(&show(&catalog(), spelled).unwrap()).unwrap() };
        let shown = show("gpt-4.1:latest");
        assert_eq!(
            shown["model_info"],
            json!({"general.architecture": "gpt", "general.basename": "gpt-4.1", "gpt.context_length": 8192})
        );
        assert_eq!(shown["capabilities"], json!(["completion", "tools", "vision"]));
        assert!(show("org/model:free")["model_info"].get("other.context_length").is_none());
        assert!(super::show(&catalog(), "nothing").is_none());
    }

    proptest! {
        #[test]
        fn whatever_is_listed_is_found(text in "[a-z0-9.:/-]{1,30}") {
            let name = name(&text);
            let listing = Listing { name: name.clone(), created: Timestamp::from_unix(0), context_length: None };
            let catalog = Catalog::new([listing]);
            prop_assert_eq!(resolve(&catalog, &tagged(&name)), Some(name.clone()));
            prop_assert!(resolve(&catalog, &text).is_some());
        }
    }
}
