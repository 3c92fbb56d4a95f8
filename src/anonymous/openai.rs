//! OpenAI's contract: request bytes to a domain request, the provider's answer back to response bytes.
//!
//! Lenient where clients differ (unknown fields never fail a call; `null` means absent), strict where a wrong
//! guess would cost a token. Field names, orders and messages follow OpenAI's API; `async-openai`'s types
//! are used where they can say what has to be said, and check every answer in the tests.
//!
//! Deliberately absent: HTTP. Statuses are chosen in `http::error` alone.

pub mod answer;
pub mod chunks;
pub mod message;
pub mod models;
pub mod request;

use std::borrow::Cow;
use std::fmt::Display;

use serde::Serialize;

use crate::wire::ModelName;

/// What is wrong with a request. No message repeats the client's input, but for well-formed model ids.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Not JSON, not UTF-8, or nested deeper than 128 levels.
    Malformed,
    /// A parameter is missing or has a value that cannot be served.
    Parameter(BadParameter),
    /// No such model; named only if it is well-formed.
    UnknownModel(Option<ModelName>),
}

/// A parameter that cannot be served, in the words and codes of OpenAI's API.
#[derive(Debug, PartialEq, Eq)]
pub struct BadParameter {
    /// For people.
    pub message: String,
    /// Its place, such as `messages[0].content[1].type`.
    pub param: Option<Cow<'static, str>>,
    /// `missing_required_parameter`, `invalid_type`, `invalid_value`, …
    pub code: Option<&'static str>,
}

impl RequestError {
    pub(crate) fn missing(param: &str) -> Self {
        Self::parameter(
            format!("Missing required parameter: '{param}'."),
            param.to_owned(),
            "missing_required_parameter",
        )
    }

    /// `expected` and `got` with their articles: `a string`, `an array of objects`.
    pub(crate) fn wrong_type(param: &str, expected: &str, got: &serde_json::Value) -> Self {
        let got = match got {
            serde_json::Value::Null => "null",
            serde_json::Value::Bool(_) => "a boolean",
            serde_json::Value::Number(number) if number.is_f64() => "a decimal",
            serde_json::Value::Number(_) => "an integer",
            serde_json::Value::String(_) => "a string",
            serde_json::Value::Array(_) => "an array",
            serde_json::Value::Object(_) => "an object",
        };
        Self::parameter(
            format!("Invalid type for '{param}': expected {expected}, but got {got} instead."),
            param.to_owned(),
            "invalid_type",
        )
    }

    pub(crate) fn invalid_value(param: &str, expected: impl Display) -> Self {
        Self::parameter(
            format!("Invalid value for '{param}': {expected}."),
            param.to_owned(),
            "invalid_value",
        )
    }

    pub(crate) fn parameter(message: String, param: String, code: &'static str) -> Self {
        Self::Parameter(BadParameter { message, param: Some(param.into()), code: Some(code) })
    }
}

/// `value` as JSON, into `out`.
fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    #[expect(clippy::expect_used, reason = "what is written here has string keys and no fallible field")]
    serde_json::to_writer(out, value).expect("a response has a JSON form");
}
