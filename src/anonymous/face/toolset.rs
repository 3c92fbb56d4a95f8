//! What every API wants of tools: names that a model can say, schemas that can be used, and a choice among the tools
//! there are.

use serde_json::Value;

use super::error::RequestError;
use super::json::{Object, optional_object, required_string};
use crate::anonymous::emulate::ask::{Choice, Toolset};
use crate::anonymous::emulate::format::check_schema;

/// Where [`arguments_object`] puts what is no object.
pub const RAW: &str = "_raw";

/// A call's arguments as the object that some APIs insist on. Where the model wrote none, what it wrote is handed over
/// to the letter, as the only argument, [`RAW`]: the tool complains, and the model corrects itself. An empty object
/// would be executed.
pub fn arguments_object(arguments: &str) -> Object {
    match serde_json::from_str(arguments) {
        Ok(Value::Object(object)) => object,
        _ => std::iter::once((RAW.to_owned(), Value::String(arguments.to_owned()))).collect(),
    }
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

/// A tool's parameters: a JSON Schema that can be used, or nothing.
pub fn take_parameters(object: &mut Object, place: &str, key: &str) -> Result<Option<Value>, RequestError> {
    take_schema(object, place, key, "invalid_function_parameters")
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
        assert_eq!(Value::Object(arguments_object(r#" {"b": 1, "a": [2]} "#)), json!({"b": 1, "a": [2]}));
        for raw in ["", "[1]", "{\"a\": 1", "ls -l", "{} {}"] {
            assert_eq!(Value::Object(arguments_object(raw)), json!({"_raw": raw}));
        }
    }

    proptest! {
        #[test]
        fn arguments_lose_nothing(text in "\\PC{0,60}") {
            let object = arguments_object(&text);
            let kept = serde_json::from_str::<Value>(&text).is_ok_and(|value| value == Value::Object(object.clone()));
            prop_assert!(kept || object.get(RAW).and_then(Value::as_str) == Some(&text));
        }
    }
}
