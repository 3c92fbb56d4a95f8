//! Arguments of earlier calls, to the digit. Some APIs have them as objects, and a JSON reader makes of `1.10` or of an
//! id of twenty digits the nearest number that a machine has: another version, another id. What was written stands in
//! the body still.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::json::as_written;
use crate::anonymous::emulate::conversation::{ToolCall, Turn};

/// Gives the calls of `turns` the arguments that `written` has for each of them, in the same order: what a reader found
/// in the body. It is looked at only where a number may have changed.
pub fn keep(turns: &mut [Turn], written: impl FnOnce() -> Vec<Option<String>>) {
    let mut calls: Vec<&mut ToolCall> = turns
        .iter_mut()
        .filter_map(|turn| match turn {
            Turn::Assistant { calls, .. } => Some(calls),
            _ => None,
        })
        .flatten()
        .collect();
    if !calls.iter().any(|call| has_decimals(&call.arguments)) {
        return;
    }
    let written = written();
    if written.len() == calls.len() {
        for (call, written) in calls.iter_mut().zip(written) {
            if let Some(written) = written {
                call.arguments = written;
            }
        }
    }
}

/// What stands at `key` in the object `json`.
pub fn member<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    serde_json::from_str::<HashMap<String, &RawValue>>(json).ok()?.remove(key).map(RawValue::get)
}

/// The text that stands there.
pub fn text(json: &str, key: &str) -> Option<String> {
    serde_json::from_str(member(json, key)?).ok()
}

/// What stands in the array at `key` in the object `json`.
pub fn items<'a>(json: &'a str, key: &str) -> Vec<&'a str> {
    let items = member(json, key).and_then(|items| serde_json::from_str::<Vec<&RawValue>>(items).ok());
    items.unwrap_or_default().into_iter().map(RawValue::get).collect()
}

/// The object at `key`, as it was written.
pub fn object(json: &str, key: &str) -> Option<String> {
    member(json, key).and_then(as_written)
}

/// Whether a number of `json` has a point or an exponent: those are all that a reader can have changed.
fn has_decimals(json: &str) -> bool {
    let (mut quoted, mut escaped, mut digit) = (false, false, false);
    json.bytes().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        let decimal = !quoted && digit && matches!(byte, b'.' | b'e' | b'E');
        digit = byte.is_ascii_digit();
        decimal
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_with_a_point_or_an_exponent_are_looked_up() {
        for json in [r#"{"a":1.5}"#, r#"{"a":[1e20]}"#, r#"{"\"":0.1}"#] {
            assert!(has_decimals(json), "{json}");
        }
        for json in ["{}", r#"{"a":15,"b":true}"#, r#"{"a":"1.5"}"#, r#"{"a":"\"1.5"}"#] {
            assert!(!has_decimals(json), "{json}");
        }
    }
}
