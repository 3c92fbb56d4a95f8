//! Reading and writing JSON bodies.
//!
//! Lenient where clients differ (`null` means absent, a parameter given twice counts the second time), strict where a
//! wrong guess would cost a token. Nesting is bounded everywhere: what no JSON reader downstream would take is
//! refused before it costs one. Complaints name the place, and never what stands there.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value};

use super::error::{BadParameter, RequestError};

/// A JSON object.
pub type Object = Map<String, Value>;

/// How deep arrays and objects may be nested: what JSON readers commonly allow.
pub const MOST_NESTED: usize = 127;

/// The body of a request: an object.
pub fn body(bytes: &[u8]) -> Result<Object, RequestError> {
    let text = std::str::from_utf8(bytes).map_err(|_| RequestError::Malformed)?;
    // Before anything is built: parsing half a megabyte of brackets is not worth its memory.
    if nests_deeper_than(MOST_NESTED, text) {
        return Err(RequestError::Malformed);
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(RequestError::Parameter(BadParameter {
            message: "Invalid type for the request body: expected an object.".into(),
            param: None,
            code: Some("invalid_type"),
        })),
        Err(_) => Err(RequestError::Malformed),
    }
}

/// Takes what stands at `key`; `null` is nothing.
pub fn take(object: &mut Object, key: &str) -> Option<Value> {
    object.remove(key).filter(|value| !value.is_null())
}

/// The place of `key` in the object at `place`; the body's own place is empty.
pub fn within(place: &str, key: &str) -> String {
    if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") }
}

/// A string that must be there.
pub fn required_string(object: &mut Object, place: &str, key: &str) -> Result<String, RequestError> {
    match object.remove(key) {
        Some(Value::String(text)) => Ok(text),
        None => Err(RequestError::missing(&within(place, key))),
        Some(other) => Err(RequestError::wrong_type(&within(place, key), "a string", &other)),
    }
}

/// A string that may be there.
pub fn optional_string(object: &mut Object, place: &str, key: &str) -> Result<Option<String>, RequestError> {
    match take(object, key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(RequestError::wrong_type(&within(place, key), "a string", &other)),
    }
}

/// A switch; off where it is not there.
pub fn switch(object: &mut Object, place: &str, key: &str) -> Result<bool, RequestError> {
    Ok(optional_switch(object, place, key)?.unwrap_or_default())
}

/// A switch that may be there.
pub fn optional_switch(object: &mut Object, place: &str, key: &str) -> Result<Option<bool>, RequestError> {
    match take(object, key) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(other) => Err(RequestError::wrong_type(&within(place, key), "a boolean", &other)),
    }
}

/// A whole number of at least `least`, that may be there.
pub fn optional_integer(
    object: &mut Object,
    place: &str,
    key: &str,
    least: u64,
) -> Result<Option<u64>, RequestError> {
    match take(object, key) {
        None => Ok(None),
        Some(value) => match whole(&value) {
            Some(number) if number >= least => Ok(Some(number)),
            _ if value.is_number() && is_whole(&value) => Err(RequestError::parameter(
                format!(
                    "Invalid '{0}': integer below minimum value. Expected a value >= {least}.",
                    within(place, key)
                ),
                within(place, key),
                "integer_below_min_value",
            )),
            _ => Err(RequestError::wrong_type(&within(place, key), "an integer", &value)),
        },
    }
}

fn is_whole(number: &Value) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// A whole number of no sign, `4.0` and `1e3` among them; what is too large is the largest there is.
fn whole(value: &Value) -> Option<u64> {
    let decimal = value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole and not negative; the cast saturates"
    )]
    value.as_u64().or(decimal.map(|number| number as u64))
}

/// An object that may be there.
pub fn optional_object(object: &mut Object, place: &str, key: &str) -> Result<Option<Object>, RequestError> {
    take(object, key).map(|value| as_object(value, &within(place, key))).transpose()
}

/// An array that may be there.
pub fn optional_array(
    object: &mut Object,
    place: &str,
    key: &str,
) -> Result<Option<Vec<Value>>, RequestError> {
    match take(object, key) {
        None => Ok(None),
        Some(Value::Array(values)) => Ok(Some(values)),
        Some(other) => Err(RequestError::wrong_type(&within(place, key), "an array", &other)),
    }
}

/// An object.
pub fn as_object(value: Value, place: &str) -> Result<Object, RequestError> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(RequestError::wrong_type(place, "an object", &other)),
    }
}

/// Compact JSON in which no line ends but where one is meant: some readers of streams also take U+0085, U+2028 and
/// U+2029 for the end of a line, and would cut an object there.
struct OneLine;

impl OneLine {
    const ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

    fn write<W: ?Sized + io::Write>(writer: &mut W, mut text: &str) -> io::Result<()> {
        if !text.is_ascii() {
            while let Some(at) = text.find(Self::ENDS) {
                writer.write_all(&text.as_bytes()[..at])?;
                let mut rest = text[at..].chars();
                if let Some(end) = rest.next() {
                    write!(writer, "\\u{:04x}", u32::from(end))?;
                }
                text = rest.as_str();
            }
        }
        writer.write_all(text.as_bytes())
    }
}

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        Self::write(writer, fragment)
    }

    /// Outside its strings there is none of them.
    fn write_raw_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        Self::write(writer, fragment)
    }
}

/// `json` as it was written, its numbers to the digit, without what stands between its parts; if it is an object.
pub fn as_written(json: &str) -> Option<String> {
    serde_json::from_str::<Object>(json).ok().map(|_| compact(json))
}

/// `json`, which is JSON, without the spaces outside its strings.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let keep = |letter: &char| {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' | '\n' | '\r' => return quoted,
            _ => {}
        }
        true
    };
    json.chars().filter(keep).collect()
}

/// `value` as JSON, behind what `out` has.
///
/// # Panics
/// Where `value` has no JSON form: a map with keys that are no strings.
pub fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    #[expect(clippy::expect_used, reason = "what is written here has string keys and no fallible field")]
    value.serialize(&mut Serializer::with_formatter(out, OneLine)).expect("a response has a JSON form");
}

/// `value` as JSON.
///
/// # Panics
/// As [`write`].
pub fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(512);
    write(&mut json, value);
    json
}

/// Linear, without recursion. On text that is not JSON the answer means nothing.
fn nests_deeper_than(most: usize, text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::value::{RawValue, to_raw_value};

    use super::*;

    #[test]
    fn what_is_not_json_is_malformed_however_deep() {
        let deep = format!(r#"{{"model":"m","messages":{}"#, "[".repeat(1_000_000));
        let cases: [&[u8]; 7] =
            [b"", b"{", b"{}x", b"\xff", b"{\"user\":\"\xff\"}", b"{\"model\":\"\\ud800\"}", deep.as_bytes()];
        for bytes in cases {
            assert_eq!(body(bytes).err(), Some(RequestError::Malformed));
        }
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_a_string_are_text() {
        let nested = |depth: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(body(nested(MOST_NESTED - 1).as_bytes()).is_ok());
        assert!(body(nested(MOST_NESTED).as_bytes()).is_err());
        let quoted = format!(r#"{{"x":"{}\\\"{}"}}"#, "[".repeat(500), "{".repeat(500));
        assert!(body(quoted.as_bytes()).is_ok());
    }

    #[test]
    fn nothing_that_is_written_ends_a_line() {
        let text = "a\u{2028}b\u{2029}\u{85}c\nd\u{2030}é";
        let raw = RawValue::from_string(as_written("{\n\"z\": \"\u{2029}\"}").unwrap()).unwrap();
        let json = to_vec(&std::collections::BTreeMap::from([
            ("x", to_raw_value(text).unwrap()),
            ("y\u{2028}", raw),
        ]));
        let json = String::from_utf8(json).unwrap();
        assert!(!json.contains(['\n', '\u{2028}', '\u{2029}', '\u{85}']), "{json}");
        assert!(json.contains(r"a\u2028b\u2029\u0085c\nd") && json.contains(r#"{"z":"\u2029"}"#), "{json}");
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["x"], text);
    }

    #[test]
    fn an_object_is_kept_to_the_digit() {
        let json = "{ \"a\" : 1.10,\n\"b\":[123456789012345678901 , \"x \\\" y\"] }";
        let kept = as_written(json).unwrap();
        assert_eq!(kept, r#"{"a":1.10,"b":[123456789012345678901,"x \" y"]}"#);
        for none in ["", "[1]", "{\"a\": 1", "{} {}", "ls"] {
            assert!(as_written(none).is_none(), "{none}");
        }
    }

    #[test]
    fn numbers_are_whole_and_large_enough() {
        let read = |json: &str| {
            let mut object = body(json.as_bytes()).unwrap();
            optional_integer(&mut object, "", "n", 1)
        };
        assert_eq!(read(r#"{"n":3}"#), Ok(Some(3)));
        assert_eq!(read(r#"{"n":null}"#), Ok(None));
        assert_eq!(read(r#"{"n":4.0}"#), Ok(Some(4)));
        assert_eq!(read(r#"{"n":1e300}"#), Ok(Some(u64::MAX)));
        for json in [r#"{"n":0}"#, r#"{"n":-1}"#, r#"{"n":-1.0}"#, r#"{"n":1.5}"#, r#"{"n":"1"}"#] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
