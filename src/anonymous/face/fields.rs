//! Tables of an API's parameters: what becomes of each. One place for the readers, for `llmtor compat` and for
//! the documentation.

pub mod reasons;

use serde_json::Value;

use super::Ignored;
use super::error::RequestError;
use super::json::Object;

/// What becomes of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The backend is told, in its own form.
    Carried,
    /// The backend is not told; it is done here.
    Emulated,
    /// It has no effect, and the response says so in `x-llmtor-ignored`.
    Ignored,
    /// It cannot be done, and the request is refused.
    Refused,
}

/// One parameter.
#[derive(Debug)]
pub struct Field {
    /// Its name; of a part of a parameter, with dots.
    pub name: &'static str,
    /// What becomes of it.
    pub treatment: Treatment,
    /// How, or why.
    pub note: &'static str,
    /// Values, as JSON, that ask for nothing beyond what is done anyway.
    pub neutral: &'static [&'static str],
    /// What values it takes, as a JSON Schema; anything by itself.
    pub schema: &'static str,
}

/// The parameters of one endpoint.
#[derive(Debug)]
pub struct Table {
    /// `POST /v1/…`.
    pub endpoint: &'static str,
    /// In the order in which they are told.
    pub fields: &'static [Field],
    /// Those that must be there.
    pub required: &'static [&'static str],
}

impl Field {
    /// A row of a table.
    pub const fn new(name: &'static str, treatment: Treatment, note: &'static str) -> Self {
        Self { name, treatment, note, neutral: &[], schema: "{}" }
    }

    /// The same, where some values ask for nothing.
    #[must_use]
    pub const fn unless(self, neutral: &'static [&'static str]) -> Self {
        Self { neutral, ..self }
    }

    /// The same, where only some values are taken.
    #[must_use]
    pub const fn shaped(self, schema: &'static str) -> Self {
        Self { schema, ..self }
    }

    fn asks_for_something(&self, value: &Value) -> bool {
        let says_nothing = |value: &Value| match value {
            Value::Object(parts) => !parts.is_empty() && parts.values().all(Value::is_null),
            value => value.is_null(),
        };
        !says_nothing(value)
            && (self.neutral.is_empty() || !self.neutral.contains(&value.to_string().as_str()))
    }
}

impl Treatment {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Carried => "carried",
            Self::Emulated => "emulated",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
        }
    }
}

impl Table {
    /// Judges what a reader has left of a body, having taken what it understands.
    pub fn judge(&self, rest: &Object, ignored: &mut Ignored) -> Result<(), RequestError> {
        for (name, value) in rest {
            match self.fields.iter().find(|field| field.name == name) {
                None if value.is_null() => {}
                None => ignored.note_unknown(name),
                Some(field) if !field.asks_for_something(value) => {}
                Some(field) => match field.treatment {
                    Treatment::Carried | Treatment::Emulated => {}
                    Treatment::Ignored => ignored.note(field.name),
                    Treatment::Refused => return Err(field.refused()),
                },
            }
        }
        Ok(())
    }
}

impl Field {
    /// The complaint about a parameter that cannot be served.
    pub fn refused(&self) -> RequestError {
        RequestError::parameter(
            format!("Unsupported parameter: '{}' is not supported: {}.", self.name, self.note),
            self.name.to_owned(),
            "unsupported_parameter",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table {
        endpoint: "POST /v1/test",
        required: &["model"],
        fields: &[
            Field::new("model", Treatment::Carried, "as it is"),
            Field::new("seed", Treatment::Ignored, "no effect"),
            Field::new("store", Treatment::Ignored, "nothing is stored").unless(&["false"]),
            Field::new("audio", Treatment::Refused, "the backend knows text only"),
            Field::new("reasoning", Treatment::Ignored, "not chosen").unless(&["{}"]),
        ],
    };

    fn judged(body: &str) -> Result<Ignored, RequestError> {
        let Ok(Value::Object(rest)) = serde_json::from_str(body) else { panic!("no object") };
        let mut ignored = Ignored::default();
        TABLE.judge(&rest, &mut ignored).map(|()| ignored)
    }

    #[test]
    fn what_has_no_effect_is_noted_unless_it_asks_for_nothing() {
        let ignored = judged(r#"{"seed":1,"store":true,"model":"m","canary":1}"#).unwrap();
        assert_eq!(ignored.names(), ["canary", "seed", "store"]);
        let ignored =
            judged(r#"{"seed":null,"store":false,"audio":null,"canary":null,"reasoning":{"effort":null}}"#);
        let ignored = ignored.unwrap();
        assert!(ignored.names().is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let Err(RequestError::Parameter(bad)) = judged(r#"{"audio":{}}"#) else { panic!("accepted") };
        assert_eq!((bad.param.as_deref(), bad.code), (Some("audio"), Some("unsupported_parameter")));
    }
}
