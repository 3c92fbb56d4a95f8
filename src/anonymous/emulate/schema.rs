//! JSON Schemas of the client: what a value misses, and the slips that can be put right without guessing.
//!
//! Invariants: nothing is fetched (a reference that leaves the schema makes it unusable); what is said about a value
//! names nothing but what the schema says, because it may be shown where the value may not.
//!
//! Deliberately absent: formats (`"format": "date"` is advice), as in OpenAI's own contract.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

mod coerce;

pub use coerce::coerced;

/// A pattern that needs more steps than this on one string is not matched.
const MOST_BACKTRACKS: usize = 100_000;

/// What of the schema is shown at most, where it is long.
const SHOWN: usize = 160;

/// A schema, ready to judge.
pub struct Judge(Validator);

impl Judge {
    /// Reads `schema`; why it cannot be used, if it cannot.
    pub fn new(schema: &Value) -> Result<Self, String> {
        let why = match build(schema) {
            Ok(validator) => return Ok(Self(validator)),
            Err(error) => unusable(&error),
        };
        let mut lenient = schema.clone();
        loosen(&mut lenient);
        build(&lenient).map(Self).map_err(|_| why)
    }

    /// What `value` misses; `None` if it fits.
    pub fn miss(&self, value: &Value) -> Option<String> {
        self.0.validate(value).err().map(|error| describe(&error))
    }
}

fn build(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    let patterns = PatternOptions::fancy_regex().backtrack_limit(MOST_BACKTRACKS);
    let options = jsonschema::options().with_pattern_options(patterns).should_validate_formats(false);
    options.build(schema)
}

/// Takes out of `schema` what only other readers can use: dialects that are not known here, of which the newest one that
/// is known stands in, and patterns in JavaScript's grammar. What they forbid is not forbidden then.
fn loosen(schema: &mut Value) {
    let is_usable = |pattern: &str| build(&serde_json::json!({ "pattern": pattern })).is_ok();
    match schema {
        Value::Object(rules) => {
            rules.retain(|key, rule| match (key.as_str(), rule) {
                ("$schema", Value::String(_)) => false,
                ("pattern", Value::String(pattern)) => is_usable(pattern),
                ("patternProperties", Value::Object(patterns)) => {
                    patterns.retain(|pattern, _| is_usable(pattern));
                    true
                }
                _ => true,
            });
            let is_data = |key: &str| matches!(key, "const" | "enum" | "default" | "examples");
            rules.iter_mut().filter(|(key, _)| !is_data(key)).for_each(|(_, rule)| loosen(rule));
        }
        Value::Array(rules) => rules.iter_mut().for_each(loosen),
        _ => {}
    }
}

fn unusable(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Referencing(_) => "a reference cannot be resolved inside the schema".to_owned(),
        _ => format!("not a JSON Schema: {}", shorten(&error.to_string())),
    }
}

/// In the schema's words only.
fn describe(error: &ValidationError<'_>) -> String {
    let place = place(error.schema_path().as_str());
    let what = match error.kind() {
        ValidationErrorKind::Type { kind } => match kind {
            TypeKind::Single(kind) => format!("must be of type {kind}"),
            TypeKind::Multiple(kinds) => {
                let kinds: Vec<String> = kinds.iter().map(|kind| kind.to_string()).collect();
                format!("must be of type {}", kinds.join(" or "))
            }
        },
        ValidationErrorKind::Required { property } => format!("must have the property {property}"),
        ValidationErrorKind::Enum { options } => format!("must be one of {}", shorten(&options.to_string())),
        ValidationErrorKind::Constant { expected_value } => {
            format!("must be {}", shorten(&expected_value.to_string()))
        }
        ValidationErrorKind::AdditionalProperties { .. }
        | ValidationErrorKind::UnevaluatedProperties { .. } => {
            "has a property that the schema does not name".to_owned()
        }
        ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::OneOfNotValid { .. } => {
            "fits none of its alternatives".to_owned()
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => "fits more than one of its alternatives".to_owned(),
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("must be greater than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} items"),
        ValidationErrorKind::MinLength { limit } => format!("must have at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => format!("must have at most {limit} characters"),
        ValidationErrorKind::Pattern { pattern } => format!("must match {}", shorten(pattern)),
        other => format!("does not satisfy `{}`", other.keyword()),
    };
    if place.is_empty() { what } else { format!("`{place}` {what}") }
}

/// `/properties/a/items/properties/b/type` as `a[].b`.
fn place(pointer: &str) -> String {
    let mut place = String::new();
    let mut segments = pointer.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            // The last one is the keyword that was missed.
            "properties" if segments.peek().is_some() => {
                if let Some(name) = segments.next() {
                    if !place.is_empty() {
                        place.push('.');
                    }
                    place.push_str(&name.replace("~1", "/").replace("~0", "~"));
                }
            }
            "items" | "prefixItems" if segments.peek().is_some() => place.push_str("[]"),
            _ => {}
        }
    }
    place
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn miss(schema: &Value, value: &Value) -> Option<String> {
        Judge::new(schema).ok().and_then(|judge| judge.miss(value))
    }

    #[test]
    fn what_is_missed_is_said_in_the_words_of_the_schema() {
        let schema = json!({"type": "object", "required": ["a"], "additionalProperties": false, "properties": {
            "a": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "integer"}}}},
            "c": {"enum": ["red", "green"]},
            "d": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        }});
        let cases = [
            (json!({}), "must have the property \"a\""),
            (json!({"a": [{"b": "secret"}]}), "`a[].b` must be of type integer"),
            (json!({"a": [], "c": "secret"}), "`c` must be one of [\"red\",\"green\"]"),
            (json!({"a": [], "secret": 1}), "has a property that the schema does not name"),
            (json!({"a": [], "d": 1}), "`d` fits none of its alternatives"),
            (json!("secret"), "must be of type object"),
        ];
        for (value, expected) in cases {
            assert_eq!(miss(&schema, &value).unwrap(), expected);
        }
        assert_eq!(miss(&schema, &json!({"a": [{"b": 1}]})), None);
    }

    #[test]
    fn a_schema_that_points_elsewhere_is_refused_without_going_there() {
        for reference in ["https://example.com/schema.json", "file:///etc/passwd", "#/nowhere", "other.json"]
        {
            assert!(Judge::new(&json!({"$ref": reference})).is_err(), "{reference}");
        }
    }

    #[test]
    fn what_only_other_readers_can_use_of_a_schema_forbids_nothing_and_the_rest_holds() {
        for schema in [
            json!({"$schema": "https://json-schema.org/draft/next/schema"}),
            json!({"$schema": "https://spec.openapis.org/oas/3.1/dialect/base"}),
            json!({"$schema": "2020-12"}),
            json!({"patternProperties": {"^${.*}$": {"type": "string"}}}),
        ] {
            let mut schema = schema;
            schema["properties"] =
                json!({"a": {"type": "string", "pattern": "[\\w-.]+"}, "b": {"enum": [{"pattern": "["}]}});
            assert_eq!(miss(&schema, &json!({"a": 1})).unwrap(), "`a` must be of type string", "{schema}");
            assert!(miss(&schema, &json!({"b": {}})).is_some(), "{schema}");
            assert_eq!(miss(&schema, &json!({"a": "x", "b": {"pattern": "["}})), None, "{schema}");
        }
    }

    #[test]
    fn no_schema_is_too_strange_to_be_judged_or_refused() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"type": "objekt"}),
            json!({"pattern": "("}),
            json!({"pattern": "(a*)*b"}),
            json!(false),
            json!(3),
            json!({"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"}),
        ] {
            if let Ok(judge) = Judge::new(&schema) {
                judge.miss(&json!({"next": {"next": {}}}));
                judge.miss(&json!("a".repeat(200)));
            }
        }
    }
}
