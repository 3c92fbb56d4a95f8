//! Failures in Anthropic's form.

use std::borrow::Cow;

use serde::Serialize;

use crate::anonymous::face::error::{Class, ErrorObject};
use crate::anonymous::face::json::to_vec;

/// The body of a response that is a failure.
pub fn to_json(error: &ErrorObject, request_id: &str) -> Vec<u8> {
    to_vec(&Body::new(error, Some(request_id)))
}

/// The event that ends a stream.
pub fn event(error: &ErrorObject) -> Vec<u8> {
    let mut event = b"event: error\ndata: ".to_vec();
    event.extend(to_vec(&Body::new(error, None)));
    event.extend_from_slice(b"\n\n");
    event
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    error: Fields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Fields<'a> {
    r#type: &'static str,
    message: Cow<'a, str>,
}

impl<'a> Body<'a> {
    fn new(error: &'a ErrorObject, request_id: Option<&'a str>) -> Self {
        let message = match error.code {
            // By these words clients know that they must shorten the conversation.
            Some("context_length_exceeded") => format!("prompt is too long: {}", error.message).into(),
            _ => Cow::Borrowed(&*error.message),
        };
        let fields = Fields { r#type: word(error.class), message };
        Self { r#type: "error", error: fields, request_id }
    }
}

fn word(class: Class) -> &'static str {
    match class {
        Class::Invalid => "invalid_request_error",
        Class::Unauthenticated => "authentication_error",
        Class::Forbidden => "permission_error",
        Class::NotFound => "not_found_error",
        Class::TooLarge => "request_too_large",
        Class::Limited => "rate_limit_error",
        Class::Internal => "api_error",
        Class::Overloaded => "overloaded_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anonymous::face::error::Repeat;

    #[test]
    fn a_failure_has_a_type_of_anthropics() {
        let error = ErrorObject {
            message: "no \"key\"".into(),
            kind: "invalid_request_error",
            param: None,
            code: Some("invalid_api_key"),
            class: Class::Unauthenticated,
            repeat: Repeat::Never,
        };
        assert_eq!(
            String::from_utf8(to_json(&error, "req_1")).unwrap(),
            r#"{"type":"error","error":{"type":"authentication_error","message":"no \"key\""},"request_id":"req_1"}"#
        );
        assert_eq!(
            String::from_utf8(event(&error)).unwrap(),
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"no \\\"key\\\"\"}}\n\n"
        );
    }
}
