//! What is wrong with a request, in the words and codes of OpenAI's API, which the other faces translate.

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
    /// A parameter that must be there.
    pub fn missing(param: &str) -> Self {
        Self::parameter(
            format!("Missing required parameter: '{param}'."),
            param.to_owned(),
            "missing_required_parameter",
        )
    }

    /// `expected` and `got` with their articles: `a string`, `an array of objects`.
    pub fn wrong_type(param: &str, expected: &str, got: &serde_json::Value) -> Self {
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

    /// A value that cannot be served; `expected` says what can.
    pub fn invalid_value(param: &str, expected: impl Display) -> Self {
        Self::parameter(
            format!("Invalid value for '{param}': {expected}."),
            param.to_owned(),
            "invalid_value",
        )
    }

    /// For clients that want everything to count.
    pub fn without_effect(name: &str) -> Self {
        Self::parameter(
            format!(
                "Unsupported parameter: '{name}' has no effect here, and the configuration refuses those (strict)."
            ),
            name.to_owned(),
            "unsupported_parameter",
        )
    }

    /// A complaint in so many words.
    pub fn parameter(message: String, param: String, code: &'static str) -> Self {
        Self::Parameter(BadParameter { message, param: Some(param.into()), code: Some(code) })
    }
}

/// A failure as a face writes it.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorObject {
    /// For people.
    pub message: Cow<'static, str>,
    /// OpenAI's `type`.
    pub kind: &'static str,
    /// The parameter at fault.
    pub param: Option<Cow<'static, str>>,
    /// For programs.
    pub code: Option<&'static str>,
    /// What sort of failure it is, for faces that have sorts.
    pub class: Class,
    /// Whether the identical request is free to repeat.
    pub repeat: Repeat,
}

/// What sort of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The request cannot be served as it is.
    Invalid,
    /// No key, or not the right one.
    Unauthenticated,
    /// Not allowed.
    Forbidden,
    /// No such thing.
    NotFound,
    /// Too large.
    TooLarge,
    /// Too much, or nothing left.
    Limited,
    /// A failure on this side.
    Internal,
    /// Not at the moment.
    Overloaded,
}

/// Whether the identical request is worth repeating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It would fail again, or cost a token.
    Never,
    /// It is free.
    Free,
}

impl ErrorObject {
    /// OpenAI's form: `{"error":{"message","type","param","code"}}`, all four always there.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Fields<'a>,
        }
        #[derive(Serialize)]
        struct Fields<'a> {
            message: &'a str,
            r#type: &'static str,
            param: Option<&'a str>,
            code: Option<&'static str>,
        }
        let error = Fields {
            message: &self.message,
            r#type: self.kind,
            param: self.param.as_deref(),
            code: self.code,
        };
        super::json::to_vec(&Body { error })
    }
}
