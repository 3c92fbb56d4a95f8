//! Values brought into the type that their schema wants, where there is one way to do it.
//!
//! | written | wanted | becomes |
//! | --- | --- | --- |
//! | `"5"`, `"1.5"` | integer, number | the number |
//! | `5.0` | integer | `5` |
//! | `"true"`, `"False"` | boolean | the boolean |
//! | `"null"` | null | `null` |
//! | `5`, `1.10`, `true` | string | its text, to the letter |
//! | `"[1]"`, `"{…}"` | array, object | what the string says |
//! | a value that the items fit, but no string | array | an array of it |
//! | `null` | a property that may be absent and not be `null` | absence |
//!
//! A string is no array of one: `ls -l` may be a list with one thing in it, or two things, or a line for a shell.
//!
//! Whatever has its type already stays to the letter, and numbers keep their digits: in between they are held as
//! floating point, which knows neither `1.10` nor twenty digits. Whether the result fits is for the caller to see:
//! nothing here is a judgement.

use std::cell::Cell;
use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// Deeper references and values are left alone.
const DEEPEST: usize = 64;

/// How many references and alternatives are followed in all, since they may multiply.
const MOST_TRIES: usize = 20_000;

/// Applies the table above to `json`, which says `value`, and what is in it; `None` if that changes nothing.
pub fn coerced(schema: &Value, json: &str, value: &Value) -> Option<(String, Value)> {
    let mut wanted = value.clone();
    coerce(schema, &mut wanted);
    if wanted == *value {
        return None;
    }
    let mut out = String::with_capacity(json.len());
    write(json, value, &wanted, &mut out);
    let read = serde_json::from_str(&out).ok()?;
    Some((out, read))
}

fn coerce(schema: &Value, value: &mut Value) {
    Walk { root: schema, tries: Cell::new(MOST_TRIES) }.visit(schema, value, 0);
}

struct Walk<'a> {
    root: &'a Value,
    tries: Cell<usize>,
}

impl Walk<'_> {
    fn visit(&self, schema: &Value, value: &mut Value, depth: usize) {
        let Some(rules) = schema.as_object() else { return };
        if depth == DEEPEST {
            return;
        }
        if let Some(target) = self.referred(rules).filter(|_| self.may_try()) {
            self.visit(target, value, depth + 1);
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = rules.get(keyword) {
                self.alternatives(branches, value, depth);
            }
        }
        if let Some(Value::Array(all)) = rules.get("allOf") {
            all.iter().filter(|_| self.may_try()).for_each(|part| self.visit(part, value, depth + 1));
        }
        let wanted = types(rules);
        if !wanted.is_empty() && !wanted.iter().any(|kind| is(value, kind)) {
            let mut ways = wanted.iter().filter_map(|kind| self.convert(rules, value, kind, depth));
            if let Some(converted) = ways.next() {
                *value = converted;
            }
        }
        match value {
            Value::Object(object) => self.properties(rules, object, depth),
            Value::Array(items) => {
                if let Some(schema) = rules.get("items") {
                    for item in items {
                        self.visit(schema, item, depth + 1);
                    }
                }
            }
            _ => {}
        }
    }

    fn properties(&self, rules: &Map<String, Value>, object: &mut Map<String, Value>, depth: usize) {
        let Some(Value::Object(properties)) = rules.get("properties") else { return };
        let required = |name: &str| {
            let names = rules.get("required").and_then(Value::as_array);
            names.is_some_and(|names| names.iter().any(|required| required.as_str() == Some(name)))
        };
        object.retain(|name, value| {
            let Some(schema) = properties.get(name) else { return true };
            self.visit(schema, value, depth + 1);
            !(value.is_null() && !required(name) && self.excludes_null(schema, depth))
        });
    }

    /// Takes the first alternative that changes a value which is of none of their types.
    fn alternatives(&self, branches: &[Value], value: &mut Value, depth: usize) {
        let fits = |branch: &Value| {
            let target = self.referred_by(branch).unwrap_or(branch);
            let wanted = target.as_object().map(types).unwrap_or_default();
            wanted.is_empty() || wanted.iter().any(|kind| is(value, kind))
        };
        if let Some(fitting) = branches.iter().find(|branch| fits(branch)) {
            if matches!(value, Value::Object(_) | Value::Array(_)) {
                self.visit(fitting, value, depth + 1);
            }
            return;
        }
        for branch in branches {
            if !self.may_try() {
                return;
            }
            let mut tried = value.clone();
            self.visit(branch, &mut tried, depth + 1);
            if tried != *value {
                *value = tried;
                return;
            }
        }
    }

    fn convert(&self, rules: &Map<String, Value>, value: &Value, kind: &str, depth: usize) -> Option<Value> {
        match (kind, value) {
            ("integer", Value::Number(number)) => integral(number),
            ("integer", Value::String(text)) => match text.trim().parse::<i64>() {
                Ok(number) => Some(Value::from(number)),
                Err(_) => integral(&text.trim().parse().ok()?),
            },
            ("number", Value::String(text)) => text.trim().parse().ok().map(Value::Number),
            ("boolean", Value::String(text)) => match text.trim() {
                "true" | "True" => Some(Value::Bool(true)),
                "false" | "False" => Some(Value::Bool(false)),
                _ => None,
            },
            ("null", Value::String(text)) => (text.trim() == "null").then_some(Value::Null),
            ("string", Value::Number(number)) => Some(Value::String(number.to_string())),
            ("string", Value::Bool(bool)) => Some(Value::String(bool.to_string())),
            ("object" | "array", Value::String(text))
                if text.trim_start().starts_with(if kind == "object" { '{' } else { '[' }) =>
            {
                serde_json::from_str(text).ok()
            }
            ("array", Value::Null | Value::String(_)) => None,
            ("array", single) if types(rules).len() == 1 => {
                let mut item = single.clone();
                let schema = rules.get("items")?;
                self.visit(schema, &mut item, depth + 1);
                let wanted = types(self.referred_by(schema).unwrap_or(schema).as_object()?);
                wanted.iter().any(|kind| is(&item, kind)).then(|| Value::Array(vec![item]))
            }
            _ => None,
        }
    }

    fn excludes_null(&self, schema: &Value, depth: usize) -> bool {
        let Some(rules) = schema.as_object() else { return false };
        if depth >= DEEPEST {
            return false;
        }
        if let Some(target) = self.referred(rules) {
            return self.excludes_null(target, depth + 1);
        }
        let wanted = types(rules);
        !wanted.is_empty() && !wanted.contains(&"null")
    }

    fn may_try(&self) -> bool {
        let left = self.tries.get();
        self.tries.set(left.saturating_sub(1));
        left > 0
    }

    fn referred_by<'s>(&'s self, schema: &Value) -> Option<&'s Value> {
        self.referred(schema.as_object()?)
    }

    fn referred<'s>(&'s self, rules: &Map<String, Value>) -> Option<&'s Value> {
        self.root.pointer(rules.get("$ref")?.as_str()?.strip_prefix('#')?)
    }
}

/// Writes `after`: what it has of `before` as `json` writes it.
fn write(json: &str, before: &Value, after: &Value, out: &mut String) {
    if before == after {
        out.push_str(json.trim());
        return;
    }
    let anew = |out: &mut String| out.push_str(&after.to_string());
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let Ok(raws) = serde_json::from_str::<HashMap<String, &RawValue>>(json) else { return anew(out) };
            out.push('{');
            for (index, (key, value)) in after.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                match raws.get(key).zip(before.get(key)) {
                    Some((raw, before)) => write(raw.get(), before, value, out),
                    None => out.push_str(&value.to_string()),
                }
            }
            out.push('}');
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            let Ok(raws) = serde_json::from_str::<Vec<&RawValue>>(json) else { return anew(out) };
            out.push('[');
            for (index, (raw, (before, after))) in raws.iter().zip(before.iter().zip(after)).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(raw.get(), before, after, out);
            }
            out.push(']');
        }
        (Value::Number(_), Value::String(_)) => out.push_str(&Value::from(json.trim()).to_string()),
        (Value::String(text), _) => match serde_json::from_str::<Value>(text) {
            Ok(said) if !said.is_string() => write(text, &said, after, out),
            _ => anew(out),
        },
        (_, Value::Array(items)) if items.len() == 1 => {
            out.push('[');
            write(json, before, &items[0], out);
            out.push(']');
        }
        _ => anew(out),
    }
}

fn types(rules: &Map<String, Value>) -> Vec<&str> {
    match rules.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match value {
        Value::Null => kind == "null",
        Value::Bool(_) => kind == "boolean",
        Value::Number(number) => {
            kind == "number" || (kind == "integer" && (number.is_i64() || number.is_u64()))
        }
        Value::String(_) => kind == "string",
        Value::Array(_) => kind == "array",
        Value::Object(_) => kind == "object",
    }
}

/// `5.0` as `5`, as far as that is exact.
fn integral(number: &Number) -> Option<Value> {
    if number.is_i64() || number.is_u64() {
        return Some(Value::Number(number.clone()));
    }
    let text = number.to_string();
    let (digits, fraction) = text.split_once('.')?;
    (fraction == "0").then(|| digits.parse::<i64>().ok().map(Value::from))?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_become_what_their_schema_wants() {
        let cases = [
            (json!({"type": "integer"}), json!("5"), json!(5)),
            (json!({"type": "integer"}), json!(5.0), json!(5)),
            (json!({"type": "integer"}), json!("5.5"), json!("5.5")),
            (json!({"type": "integer"}), json!("five"), json!("five")),
            (json!({"type": "number"}), json!("1.5"), json!(1.5)),
            (json!({"type": "number"}), json!("NaN"), json!("NaN")),
            (json!({"type": "boolean"}), json!("True"), json!(true)),
            (json!({"type": "boolean"}), json!(1), json!(1)),
            (json!({"type": "string"}), json!(5), json!("5")),
            (json!({"type": ["string", "null"]}), json!(null), json!(null)),
            (json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}), json!("5"), json!(5)),
            (json!({"type": "array", "items": {"type": "string"}}), json!("a"), json!("a")),
            (json!({"type": "array", "items": {"type": "string"}}), json!(5), json!(["5"])),
            (json!({"type": "array", "items": {"type": "string"}}), json!("[\"a\"]"), json!(["a"])),
            (json!({"type": "array"}), json!("a"), json!("a")),
            (json!({"type": "object"}), json!("{\"a\": 1}"), json!({"a": 1})),
            (
                json!({"properties": {"a": {"type": "integer"}}}),
                json!({"a": null, "b": null}),
                json!({"b": null}),
            ),
            (
                json!({"required": ["a"], "properties": {"a": {"type": "integer"}}}),
                json!({"a": null}),
                json!({"a": null}),
            ),
            (
                json!({"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}),
                json!(["1", 2]),
                json!([1, 2]),
            ),
        ];
        for (schema, mut value, expected) in cases {
            coerce(&schema, &mut value);
            assert_eq!(value, expected, "{schema}");
        }
    }

    #[test]
    fn what_needs_no_other_type_stays_to_the_letter() {
        let schema = json!({"properties": {
            "s": {"type": "string"}, "i": {"type": "integer"}, "f": {"type": "number"},
            "l": {"type": "array", "items": {"type": "string"}},
            "o": {"type": "object", "properties": {"s": {"type": "string"}, "n": {"type": "integer"}}},
        }});
        let cases = [
            (r#"{"s": 123456789012345678901}"#, r#"{"s":"123456789012345678901"}"#),
            (r#"{"s": 1.10, "x": 1.10}"#, r#"{"s":"1.10","x":1.10}"#),
            (
                r#"{"i": "5", "z": 12345678901234567890123, "f": 0.10000000000000000001, "y": {"a": [1.0, "\u00e9"]}}"#,
                r#"{"i":5,"z":12345678901234567890123,"f":0.10000000000000000001,"y":{"a": [1.0, "\u00e9"]}}"#,
            ),
            (r#"{"f": " 1.10 ", "i": 5.0}"#, r#"{"f":1.10,"i":5}"#),
            (r#"{"i": "5.0"}"#, r#"{"i":5}"#),
            (r#"{"l": [1.10, "a", true]}"#, r#"{"l":["1.10","a","true"]}"#),
            (r#"{"l": 1.10}"#, r#"{"l":["1.10"]}"#),
            (r#"{"l": "[1.10]"}"#, r#"{"l":["1.10"]}"#),
            (r#"{"o": "{\"s\": 1.10, \"z\": 2.50}"}"#, r#"{"o":{"s":"1.10","z":2.50}}"#),
            (r#"{"o": {"n": "1", "n": "2", "s": null}}"#, r#"{"o":{"n":2}}"#),
        ];
        for (text, expected) in cases {
            let value = serde_json::from_str(text).unwrap();
            assert_eq!(coerced(&schema, text, &value).map(|(text, _)| text).as_deref(), Some(expected));
        }
        let text = r#"{"s": "1.10", "z": 12345678901234567890123}"#;
        assert!(coerced(&schema, text, &serde_json::from_str(text).unwrap()).is_none());
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_was_wanted(
            texts in prop::collection::vec("[ -~]{0,8}|-?[0-9]{1,4}|true|null|\\[1\\]", 4), n in any::<f64>(), i in any::<i64>(),
            pretty in any::<bool>(),
        ) {
            let schema = json!({"additionalProperties": true, "properties": {
                "i": {"type": "integer"}, "f": {"type": "number"}, "b": {"type": ["boolean", "null"]},
                "l": {"type": "array", "items": {"type": "integer"}},
                "o": {"type": "object", "properties": {"i": {"type": "integer"}}},
            }});
            let [a, b, c, d] = texts.as_slice() else { return Ok(()) };
            let value = json!({"i": a, "f": b, "x": [n, i, a], "b": c, "l": [d, i], "o": {"i": d, "n": n, "s": c}});
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            let mut wanted = value.clone();
            coerce(&schema, &mut wanted);
            if let Some((text, read)) = coerced(&schema, &text, &value) {
                prop_assert_eq!(&read, &wanted);
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), wanted);
            } else {
                prop_assert_eq!(wanted, value);
            }
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_is_left_at_some_depth() {
        coerce(&json!({"$ref": "#"}), &mut json!({"a": 1}));
        coerce(&json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}), &mut json!({"a": 1}));
        coerce(&json!({"type": "integer", "anyOf": [{"$ref": "#"}, {"$ref": "#"}]}), &mut json!("a"));
        coerce(&json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}), &mut json!("a"));
    }
}
