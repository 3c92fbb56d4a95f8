//! A schema without what costs bytes and tells a model nothing.
//!
//! | left out | because |
//! | --- | --- |
//! | `$schema`, `$id`, `$comment` | they are for programs |
//! | `additionalProperties: false` of a tool's schema | no call may have arguments that are not listed |
//! | a `title` that repeats the name | it repeats the name |
//! | empty `required`, `description`, `title` | they are empty |
//!
//! Only where they are keywords: a property of that name stays, and so does data (`default`, `enum`, `examples`).

use serde_json::{Map, Value};

/// Deeper schemas are left as they are.
const DEEPEST: usize = 64;

/// What becomes of `additionalProperties: false`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It is said elsewhere, of all objects.
    Implied,
    /// It stays.
    Shown,
}

/// The schema of what is called `name`.
pub fn minify(schema: &Value, name: &str, closed: Closed) -> Value {
    within(schema, name, closed, DEEPEST)
}

fn within(schema: &Value, name: &str, closed: Closed, depth: usize) -> Value {
    let (Value::Object(keywords), Some(depth)) = (schema, depth.checked_sub(1)) else {
        return schema.clone();
    };
    let each = |value: &Value| match value {
        Value::Object(schemas) => {
            let schemas =
                schemas.iter().map(|(name, schema)| (name.clone(), within(schema, name, closed, depth)));
            Value::Object(schemas.collect())
        }
        other => other.clone(),
    };
    let all = |value: &Value| match value {
        Value::Array(schemas) => schemas.iter().map(|schema| within(schema, name, closed, depth)).collect(),
        schema => within(schema, name, closed, depth),
    };
    let mut kept = Map::new();
    for (keyword, value) in keywords {
        let minified = match (keyword.as_str(), value) {
            ("$schema" | "$id" | "$comment", Value::String(_)) => continue,
            ("additionalProperties", Value::Bool(false)) if closed == Closed::Implied => continue,
            ("title", Value::String(title)) if repeats(title, name) => continue,
            ("description", Value::String(text)) if text.trim().is_empty() => continue,
            ("required", Value::Array(names)) if names.is_empty() => continue,
            ("properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas", _) => {
                each(value)
            }
            ("items" | "prefixItems" | "anyOf" | "oneOf" | "allOf" | "not" | "if" | "then" | "else", _)
            | (
                "additionalProperties" | "contains" | "propertyNames" | "unevaluatedProperties",
                Value::Object(_),
            ) => all(value),
            _ => value.clone(),
        };
        kept.insert(keyword.clone(), minified);
    }
    Value::Object(kept)
}

/// Whether `Max Results` is all that `max_results` says already.
fn repeats(title: &str, name: &str) -> bool {
    let plain = |text: &str| {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>()
    };
    let title = plain(title);
    title.is_empty() || title == plain(name) || title == plain(&format!("{name}arguments"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_loses_nothing_that_it_says() {
        let schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#", "title": "search", "type": "object",
            "additionalProperties": false, "required": [],
            "properties": {
                "title": {"title": "Title", "type": "string", "description": ""},
                "max_results": {"title": "Max Results", "type": "integer", "default": 5},
                "$schema": {"type": "string"},
                "tags": {"type": "array", "items": {"title": "Tag to look for", "enum": [{"title": ""}]}},
                "filter": {"type": "object", "additionalProperties": {"type": "string", "additionalProperties": false}},
            },
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "max_results": {"type": "integer", "default": 5},
                "$schema": {"type": "string"},
                "tags": {"type": "array", "items": {"title": "Tag to look for", "enum": [{"title": ""}]}},
                "filter": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        });
        assert_eq!(minify(&schema, "search", Closed::Implied), expected);
        let shown = minify(&schema, "search", Closed::Shown);
        assert_eq!(shown["additionalProperties"], false);
        assert_eq!(shown["properties"]["filter"]["additionalProperties"]["additionalProperties"], false);
    }
}
