//! What every API wants of tools: names that a model can say, schemas that can be used, and a choice among the tools
//! there are.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::error::RequestError;
use super::json::{Object, as_written, optional_object, required_string};
use crate::anonymous::emulate::ask::{Choice, Toolset};
use crate::anonymous::emulate::format::check_schema;

/// Where [`arguments_object`] puts what is no object.
pub const RAW: &str = "_raw";

/// A call's arguments as the object that some APIs insist on, its numbers to the digit. Where the model wrote none, what
/// it wrote is handed over to the letter, as the only argument, [`RAW`]: the tool complains, and the model corrects
/// itself. An empty object would be executed.
///
/// # Panics
/// Never: a text has a JSON form, and an object that was read is one.
pub fn arguments_object(arguments: &str) -> Box<RawValue> {
    let raw = || to_raw_value(&HashMap::from([(RAW, arguments)]));
    let object = as_written(arguments).map_or_else(raw, RawValue::from_string);
    #[expect(clippy::expect_used, reason = "a text has a JSON form, and an object that was read is one")]
    object.expect("arguments are JSON")
}

/// Whether a choice can be made out of the tools there are.
pub fn checked(toolset: Toolset, param: &str) -> Result<Toolset, RequestError> {
    let has = |name: &String| toolset.tools.iter().any(|tool| tool.name == *name);
    let mut names: Vec<_> = toolset.tools.iter().map(|tool| tool.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(RequestError::invalid_value("tools", "every tool needs a name of its own"));
    }
    match &toolset.choice {
        Choice::Required | Choice::Named(_) | Choice::Allowed { .. } if toolset.tools.is_empty() => {
            Err(RequestError::invalid_value(param, "it is only allowed when tools are specified"))
        }
        Choice::Named(name) if !has(name) => {
            Err(RequestError::invalid_value(param, "the tool that it names is not among the tools"))
        }
        Choice::Allowed { names, .. } if names.is_empty() || !names.iter().all(has) => {
            Err(RequestError::invalid_value(param, "it must allow some of the tools, and no others"))
        }
        _ => Ok(toolset),
    }
}

/// A name by which a model can call a tool.
pub fn tool_name(object: &mut Object, place: &str) -> Result<String, RequestError> {
    let name = required_string(object, place, "name")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte);
    if (1..=128).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(name)
    } else {
        Err(RequestError::invalid_value(
            &format!("{place}.name"),
            "a tool's name has 1 to 128 characters out of A-Z a-z 0-9 _ - . : /",
        ))
    }
}

/// A tool's parameters: a JSON Schema, or nothing. Only its head is looked at: reading all of it takes its time, a tool that
/// is not called needs none of it, and a schema that turns out to be unusable forbids nothing.
pub fn take_parameters(object: &mut Object, place: &str, key: &str) -> Result<Option<Value>, RequestError> {
    let Some(schema) = optional_object(object, place, key)? else { return Ok(None) };
    if let Some(why) = misshapen(&schema) {
        let place = format!("{place}.{key}");
        return Err(RequestError::parameter(
            format!("Invalid schema for '{place}': {why}."),
            place,
            "invalid_function_parameters",
        ));
    }
    Ok(Some(Value::Object(schema)))
}

/// Why `schema` is none for a tool's parameters, as far as its head tells.
fn misshapen(schema: &Object) -> Option<&'static str> {
    const KINDS: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];
    let is_kind = |kind: &Value| kind.as_str().is_some_and(|kind| KINDS.contains(&kind));
    let is_wrong = |key: &str, is_right: &dyn Fn(&Value) -> bool| {
        schema.get(key).is_some_and(|value| !value.is_null() && !is_right(value))
    };
    if is_wrong("type", &|kind| {
        is_kind(kind) || kind.as_array().is_some_and(|kinds| kinds.iter().all(is_kind))
    }) {
        Some("'type' is not one of JSON Schema's")
    } else if is_wrong("properties", &Value::is_object) {
        Some("'properties' is not an object")
    } else if is_wrong("required", &|names| {
        // A boolean is draft 3's.
        names.is_boolean() || names.as_array().is_some_and(|names| names.iter().all(Value::is_string))
    }) {
        Some("'required' is not an array of names")
    } else {
        None
    }
}

/// A JSON Schema that can be used, or nothing; `code` is of the complaint about one that cannot.
pub fn take_schema(
    object: &mut Object,
    place: &str,
    key: &str,
    code: &'static str,
) -> Result<Option<Value>, RequestError> {
    let Some(schema) = optional_object(object, place, key)?.map(Value::Object) else { return Ok(None) };
    usable(schema, &format!("{place}.{key}"), code).map(Some)
}

/// `schema`, which stands at `place`, if it can be used.
pub fn usable(schema: Value, place: &str, code: &'static str) -> Result<Value, RequestError> {
    check_schema(&schema).map_err(|why| {
        RequestError::parameter(format!("Invalid schema for '{place}': {why}."), place.to_owned(), code)
    })?;
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_that_are_no_object_are_handed_over_and_nothing_is_invented() {
        let kept = r#"{"b":1.10,"a":[123456789012345678901,"\u0041 b"]}"#;
        assert_eq!(arguments_object(r#" {"b": 1.10, "a": [123456789012345678901,"\u0041 b"]} "#).get(), kept);
        for raw in ["", "[1]", "{\"a\": 1", "ls -l", "{} {}"] {
            assert_eq!(
                serde_json::from_str::<Value>(arguments_object(raw).get()).unwrap(),
                json!({"_raw": raw})
            );
        }
    }

    #[test]
    fn a_schema_that_only_another_reader_takes_is_no_reason_to_refuse_its_tool() {
        let take = |schema: Value| {
            take_parameters(
                &mut Object::from_iter([("parameters".to_owned(), schema)]),
                "tools[0]",
                "parameters",
            )
        };
        for schema in [
            json!({"$schema": "https://json-schema.org/draft/next/schema", "type": "object"}),
            json!({"$schema": "2020-12"}),
            json!({"type": ["object", "null"], "properties": {"a": {"pattern": "[\\w-.]+"}}, "required": ["a"]}),
            json!({"properties": {"a": {"$ref": "#/nowhere"}}}),
            json!({}),
        ] {
            assert_eq!(take(schema.clone()), Ok(Some(schema)));
        }
        for schema in [
            json!({"type": 7}),
            json!({"type": "objekt"}),
            json!({"properties": []}),
            json!({"required": "a"}),
            json!([]),
        ] {
            assert!(take(schema.clone()).is_err(), "{schema}");
        }
    }

    proptest! {
        #[test]
        fn arguments_lose_nothing(text in "\\PC{0,60}") {
            let object: Value = serde_json::from_str(arguments_object(&text).get()).unwrap();
            let kept = serde_json::from_str::<Value>(&text).is_ok_and(|value| value == object);
            prop_assert!(kept || object.get(RAW).and_then(Value::as_str) == Some(&text));
        }
    }
}
