//! What the upstream provider really answered: a completion, or its own error inside a success.
//!
//! The backend passes the provider's body on as it is (protocol.md §4), so errors come in three shapes:
//! OpenAI's `{"error":{"message","type","code"}}`, Google's `{"error":{"code":429,"message","status"}}`, and
//! the latter in an array. The token is spent all the same.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::error::UpstreamReason;
use crate::wire::shown::shown;

/// Characters of a provider's message that are shown.
const LONGEST_MESSAGE: usize = 1000;
/// Names of moderation categories that are shown, and characters of each.
const MOST_CATEGORIES: usize = 16;
const LONGEST_CATEGORY: usize = 64;

/// What a `proxy_response` is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// JSON, and not an error; when the provider made it, Unix seconds, if it says so.
    Answer { created: Option<i64> },
    /// The provider's error.
    Error { reason: UpstreamReason, message: String },
    /// Not JSON.
    Unreadable,
}

#[derive(Deserialize)]
struct Peek {
    #[serde(default)]
    choices: Option<IgnoredAny>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    created: Option<Value>,
}

/// Looks into a `proxy_response`.
pub(super) fn inspect(body: &[u8]) -> Content {
    let peek = if body.trim_ascii_start().first() == Some(&b'[') {
        serde_json::from_slice::<Vec<Peek>>(body).map(|peeks| peeks.into_iter().next())
    } else {
        serde_json::from_slice::<Peek>(body).map(Some)
    };
    match peek {
        Ok(Some(Peek { error: Some(error), choices: None, .. })) => {
            let (reason, message) = (reason(&error), message(&error));
            Content::Error { reason, message }
        }
        Ok(Some(Peek { created, .. })) => Content::Answer { created: created.as_ref().and_then(seconds) },
        Ok(None) | Err(_) => Content::Unreadable,
    }
}

/// A time in Unix seconds; also with a fraction, or in milliseconds. None if it is no time of this century: some say 0.
fn seconds(created: &Value) -> Option<i64> {
    const CENTURY: std::ops::Range<i64> = 946_684_800..4_102_444_800;
    #[expect(clippy::cast_possible_truncation, reason = "rounded towards zero, and then looked at")]
    let whole = created.as_i64().or_else(|| created.as_f64().map(|number| number as i64))?;
    [whole, whole / 1000].into_iter().find(|seconds| CENTURY.contains(seconds))
}

fn reason(error: &Value) -> UpstreamReason {
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let (code, kind, status, message) = (text("code"), text("type"), text("status"), text("message"));
    let number = error.get("code").and_then(Value::as_u64);
    let named = |names: &[&str]| names.iter().any(|name| code == *name || kind == *name || status == *name);
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));

    // From the most telling to the least: OpenAI's `type` is coarse, Google's 400 says little.
    if named(&["insufficient_quota", "billing_not_active"]) {
        UpstreamReason::Unavailable
    } else if named(&["context_length_exceeded", "string_above_max_length"])
        || says(&["maximum context length", "context window", "exceeds the maximum number of tokens"])
    {
        UpstreamReason::ContextLength
    } else if named(&["content_policy_violation", "content_filter", "safety", "invalid_prompt"]) {
        UpstreamReason::ContentPolicy
    } else if named(&["rate_limit_exceeded", "rate_limit_error", "resource_exhausted", "tokens", "requests"])
        || number == Some(429)
    {
        UpstreamReason::RateLimited
    } else if named(&[
        "authentication_error",
        "permission_error",
        "permission_denied",
        "unauthenticated",
        "invalid_api_key",
        "model_not_found",
        "not_found",
        "server_error",
        "internal",
        "unavailable",
        "deadline_exceeded",
        "overloaded_error",
    ]) || number.is_some_and(|number| matches!(number, 401 | 403 | 404 | 500..=599))
    {
        UpstreamReason::Unavailable
    } else if named(&["invalid_request_error", "invalid_argument", "failed_precondition"])
        || number == Some(400)
    {
        UpstreamReason::InvalidRequest
    } else {
        UpstreamReason::Other
    }
}

fn message(error: &Value) -> String {
    let text = error.get("message").and_then(Value::as_str).or(error.as_str()).unwrap_or("no message");
    shown(text, LONGEST_MESSAGE)
}

/// The category names in a `blocked_reason`: keys that are true, or strings in a list, at any depth that
/// moderation services use.
pub(super) fn categories(blocked_reason: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(value) = serde_json::from_str(blocked_reason) {
        collect(&value, &mut names);
    }
    names
}

fn collect(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::Bool(true) if key != "flagged" => add(key, names),
                    _ => collect(field, names),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::String(name) => add(name, names),
                    _ => collect(item, names),
                }
            }
        }
        _ => {}
    }
}

fn add(name: &str, names: &mut Vec<String>) {
    let name: String = name
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "_-/ ".contains(*letter))
        .take(LONGEST_CATEGORY)
        .collect();
    if !name.is_empty() && names.len() < MOST_CATEGORIES && !names.contains(&name) {
        names.push(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_provider_error_is_told_from_an_answer_and_from_the_others() {
        let error = |reason, message: &str| Content::Error { reason, message: message.into() };
        let cases = [
            (r#"{"choices":[],"error":null}"#, Content::Answer { created: None }),
            (r#"{"choices":[],"created":"yesterday"}"#, Content::Answer { created: None }),
            (r#"{"choices":[],"created":0}"#, Content::Answer { created: None }),
            (r#"{"choices":[],"created":-1}"#, Content::Answer { created: None }),
            (r#"{"choices":[],"created":1e300}"#, Content::Answer { created: None }),
            (r#"{"created":1800000000.7,"choices":[]}"#, Content::Answer { created: Some(1_800_000_000) }),
            (r#"{"created":1800000000123,"choices":[]}"#, Content::Answer { created: Some(1_800_000_000) }),
            (r#"{"created":1800000000,"choices":[]}"#, Content::Answer { created: Some(1_800_000_000) }),
            (r#"{"choices":[{}],"error":{"message":"x"}}"#, Content::Answer { created: None }),
            (
                r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}"#,
                error(UpstreamReason::RateLimited, "slow down"),
            ),
            (
                r#"{"error":{"message":"pay","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                error(UpstreamReason::Unavailable, "pay"),
            ),
            (
                r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}"#,
                error(UpstreamReason::RateLimited, "quota"),
            ),
            (
                r#" [{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}]"#,
                error(UpstreamReason::Unavailable, "busy"),
            ),
            (
                r#"{"error":{"message":"This model's maximum context length is 8","type":"invalid_request_error"}}"#,
                error(UpstreamReason::ContextLength, "This model's maximum context length is 8"),
            ),
            (
                r#"{"error":{"code":400,"message":"Role must be one of","status":"INVALID_ARGUMENT"}}"#,
                error(UpstreamReason::InvalidRequest, "Role must be one of"),
            ),
            (
                r#"{"error":{"message":"a\nb","code":"content_policy_violation"}}"#,
                error(UpstreamReason::ContentPolicy, "a b"),
            ),
            (r#"{"error":"teapot"}"#, error(UpstreamReason::Other, "teapot")),
            ("[]", Content::Unreadable),
            ("<html>", Content::Unreadable),
            ("", Content::Unreadable),
        ];
        for (body, expected) in cases {
            assert_eq!(inspect(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn categories_are_found_in_each_shape() {
        for reason in [
            r#"{"hate":true,"violence":false,"self-harm/intent":true}"#,
            r#"{"flagged":true,"categories":{"hate":true,"self-harm/intent":true,"x":false}}"#,
            r#"["hate","self-harm/intent","hate"]"#,
        ] {
            assert_eq!(categories(reason), ["hate", "self-harm/intent"], "{reason}");
        }
        assert!(categories("not JSON").is_empty());
    }

    proptest! {
        #[test]
        fn nothing_that_a_provider_says_is_shown_without_bound(text in ".{0,3000}", names in prop::collection::vec(".{0,200}", 0..40)) {
            let body = serde_json::json!({"error": {"message": text}}).to_string();
            let Content::Error { message, .. } = inspect(body.as_bytes()) else { panic!("an error") };
            prop_assert!(message.chars().count() <= LONGEST_MESSAGE && !message.contains(char::is_control));
            let shown = categories(&serde_json::json!(names).to_string());
            prop_assert!(shown.len() <= MOST_CATEGORIES);
            prop_assert!(shown.iter().all(|name| name.len() <= LONGEST_CATEGORY));
        }
    }
}
