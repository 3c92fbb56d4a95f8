//! From what a model wrote for a tool to the call that the client gets: the arguments are checked against the schema.
//!
//! | arguments | become |
//! | --- | --- |
//! | an object that fits | themselves, to the letter |
//! | one that fits once its scalars have the wanted types | that: what has them already stays to the letter |
//! | a string that says an object | what it says |
//! | an object that does not fit | themselves, with a complaint |
//! | something that cannot be read | themselves, with a complaint |
//! | none at all | `{}` where the schema is content with it, else the empty string with a complaint |
//! | a guessed reading that does not fit, or one that may mean something else | what was written, with a complaint |
//!
//! A custom tool's text is never complained about, but one that may be incomplete makes no call: nobody could tell
//! it from a complete one.

use serde_json::Value;

use super::super::super::answer::CallKind;
use super::super::super::ask::{Input, Tool};
use super::super::super::json::{self, Care};
use super::super::super::schema::{self, Judge};
use super::super::offer::Offer;
use super::Call;

/// What a model wrote for a tool.
pub(super) enum Wrote {
    /// JSON, or what could be read as such.
    Json {
        /// As JSON.
        json: String,
        /// To the letter.
        source: String,
        /// How it was read.
        care: Care,
    },
    /// Something that cannot be read, or is not all there.
    Broken(String),
    /// Free text.
    Text(String),
    /// Nothing.
    Nothing,
}

/// What arguments say that were written as a string, or as `null`.
pub(super) fn unwrapped(wrote: Wrote) -> Wrote {
    let Wrote::Json { json, .. } = &wrote else { return wrote };
    match serde_json::from_str(json) {
        Ok(Value::Null) => Wrote::Nothing,
        Ok(Value::String(text)) if text.trim().is_empty() => Wrote::Nothing,
        Ok(Value::String(text)) => match object_in(&text) {
            Some((json, care)) => Wrote::Json { json, care, source: text },
            None => wrote,
        },
        _ => wrote,
    }
}

const NO_JSON: &str = "the arguments are not valid JSON";
const NO_OBJECT: &str = "the arguments must be a JSON object";

/// The call, if there is one.
pub(super) fn settle(offer: &Offer<'_>, tool: &Tool, wrote: Wrote) -> Option<Call> {
    let (kind, (arguments, complaint)) = match &tool.input {
        Input::Json { schema } => {
            let rules = Rules { schema: schema.as_ref(), judge: offer.judge(tool) };
            (CallKind::Function, function(rules, wrote))
        }
        Input::Text { .. } => (CallKind::Custom, (custom(wrote)?, None)),
    };
    Some(Call { name: tool.name.clone(), kind, arguments, complaint })
}

type Settled = (String, Option<String>);

/// What arguments must be like.
#[derive(Clone, Copy)]
struct Rules<'a> {
    schema: Option<&'a Value>,
    judge: Option<&'a Judge>,
}

impl Rules<'_> {
    fn miss(self, value: &Value) -> Option<String> {
        self.judge?.miss(value)
    }
}

fn function(rules: Rules<'_>, wrote: Wrote) -> Settled {
    match wrote {
        Wrote::Json { json, source, care } if care < Care::Unclear => match serde_json::from_str(&json) {
            Ok(Value::String(text)) => match object_in(&text) {
                Some((json, care)) => function(rules, Wrote::Json { json, source: text, care }),
                None => (text, Some(NO_JSON.to_owned())),
            },
            Ok(Value::Null) => function(rules, Wrote::Nothing),
            Ok(Value::Object(_)) if care == Care::Guessed => guessed(rules, json, source),
            Ok(value @ Value::Object(_)) => check(rules, json, &value),
            Ok(_) => (source, Some(NO_OBJECT.to_owned())),
            Err(_) => (source, Some(NO_JSON.to_owned())),
        },
        Wrote::Json { source, .. } | Wrote::Broken(source) | Wrote::Text(source) => {
            (source, Some(NO_JSON.to_owned()))
        }
        Wrote::Nothing => match rules.miss(&Value::Object(serde_json::Map::new())) {
            None => ("{}".to_owned(), None),
            complaint => (String::new(), complaint),
        },
    }
}

fn check(rules: Rules<'_>, json: String, value: &Value) -> Settled {
    let (Some(schema), Some(complaint)) = (rules.schema, rules.miss(value)) else { return (json, None) };
    match schema::coerced(schema, &json, value) {
        Some((coerced, value)) if rules.miss(&value).is_none() => (coerced, None),
        _ => (json, Some(complaint)),
    }
}

/// A guess counts only if nothing speaks against it.
fn guessed(rules: Rules<'_>, json: String, source: String) -> Settled {
    let known = |value: &Value| {
        let properties = rules.schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object);
        let keys = value.as_object();
        properties.is_none_or(|properties| {
            keys.is_some_and(|keys| keys.keys().all(|key| properties.contains_key(key)))
        })
    };
    match serde_json::from_str(&json) {
        Ok(value) if known(&value) => match check(rules, json, &value) {
            (arguments, None) => (arguments, None),
            _ => (source, Some(NO_JSON.to_owned())),
        },
        _ => (source, Some(NO_JSON.to_owned())),
    }
}

/// The object that a string says.
fn object_in(text: &str) -> Option<(String, Care)> {
    let lent = json::value(text).ok()?;
    let whole = text[lent.end..].trim().is_empty() && lent.json.starts_with('{');
    whole.then(|| (lent.json.into_owned(), lent.care))
}

fn custom(wrote: Wrote) -> Option<String> {
    match wrote {
        Wrote::Json { source, care: Care::Unclear, .. } => Some(source),
        Wrote::Json { json, source, .. } => match serde_json::from_str(&json) {
            Ok(Value::String(text)) => Some(text),
            Ok(Value::Object(object)) if object.len() == 1 => match object.into_iter().next() {
                Some((_, Value::String(text))) => Some(text),
                _ => Some(source),
            },
            Ok(Value::Null) => None,
            _ => Some(source),
        },
        Wrote::Text(text) => Some(text),
        Wrote::Broken(_) | Wrote::Nothing => None,
    }
}
