//! The provider's completion, read leniently.
//!
//! Read and written anew rather than passed through: providers differ in what they leave out, and the client is
//! promised one contract. Kept: text, refusal, citations, finish reason, usage.
//!
//! Deliberately absent: tool calls (the backend drops `tools`, so no model is ever offered one in that form) and further
//! choices (the backend drops `n`).

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::usage::Usage;
use crate::anonymous::emulate::answer::{Finish, Given};

/// What the provider answered. No `Debug`: it is the answer.
pub struct Completion {
    /// If it has the form that OpenAI's have: `chatcmpl-…`.
    pub id: Option<String>,
    /// Unix seconds, if they are any.
    pub created: Option<i64>,
    /// What the model said.
    pub given: Given,
    /// What it cost, if the provider says.
    pub usage: Option<Usage>,
}

/// The provider answered something else: HTML, another API's shape, an error body.
#[derive(Debug, PartialEq, Eq)]
pub struct NotACompletion;

/// Reads `body`, the provider's answer.
pub fn read(body: &[u8]) -> Result<Completion, NotACompletion> {
    let Ok(Value::Object(mut root)) = serde_json::from_slice(body) else { return Err(NotACompletion) };
    let Some(Value::Array(choices)) = root.remove("choices") else { return Err(NotACompletion) };
    let Some(Value::Object(mut choice)) = choices.into_iter().next() else { return Err(NotACompletion) };
    let Some(Value::Object(mut message)) = choice.remove("message") else { return Err(NotACompletion) };
    let refusal = take_string(&mut message, "refusal");
    let text = take_text(&mut message).or_else(|| refusal.is_none().then(String::new));
    let finish = match choice.get("finish_reason").and_then(Value::as_str) {
        Some("length") => Finish::Length,
        Some("content_filter") => Finish::ContentFilter,
        // The others announce tool calls, and there are none.
        _ => Finish::Stop,
    };
    Ok(Completion {
        id: take_string(&mut root, "id").filter(|id| is_completion_id(id)),
        created: root.get("created").and_then(Value::as_i64).filter(|at| *at > 0),
        given: Given {
            text,
            refusal,
            annotations: message
                .remove("annotations")
                .filter(|list| list.as_array().is_some_and(|list| !list.is_empty())),
            finish,
        },
        usage: take::<Map<String, Value>>(&mut root, "usage").and_then(read_usage),
    })
}

/// A new id of the form that OpenAI's have: `prefix` and 32 letters and digits.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}{}", uuid::Uuid::new_v4().simple())
}

fn take<T: DeserializeOwned>(object: &mut Map<String, Value>, key: &str) -> Option<T> {
    serde_json::from_value(object.remove(key)?).ok()
}

fn take_string(object: &mut Map<String, Value>, key: &str) -> Option<String> {
    match object.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// `content`: a string, or the parts that some providers answer with.
fn take_text(message: &mut Map<String, Value>) -> Option<String> {
    match message.remove("content") {
        Some(Value::String(text)) => Some(text),
        Some(Value::Array(parts)) => {
            Some(parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect())
        }
        _ => None,
    }
}

/// The provider's text goes into the client's logs: only the form that OpenAI's ids have.
fn is_completion_id(id: &str) -> bool {
    id.len() <= 64
        && id.strip_prefix("chatcmpl-").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

fn read_usage(mut usage: Map<String, Value>) -> Option<Usage> {
    let prompt_tokens = usage.get("prompt_tokens")?.as_u64()?;
    let completion_tokens = usage.get("completion_tokens")?.as_u64()?;
    let total = usage.get("total_tokens").and_then(Value::as_u64);
    Some(Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens: total.unwrap_or_else(|| prompt_tokens.saturating_add(completion_tokens)),
        prompt_tokens_details: take(&mut usage, "prompt_tokens_details"),
        completion_tokens_details: take(&mut usage, "completion_tokens_details"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read_value(body: &Value) -> Result<Completion, NotACompletion> {
        read(body.to_string().as_bytes())
    }

    #[test]
    fn what_the_provider_left_out_is_never_invented() {
        let body =
            json!({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}]}}]});
        let Ok(Completion { id, created, given, usage }) = read_value(&body) else { panic!("refused") };
        assert!(id.is_none() && created.is_none() && usage.is_none());
        assert_eq!((given.text.as_deref(), given.finish), (Some("ab"), Finish::Stop));
    }

    #[test]
    fn a_refusal_has_no_content() {
        let body = json!({"choices": [{"message": {"content": null, "refusal": "no"}, "finish_reason": "tool_calls"}]});
        let given = read_value(&body).ok().unwrap().given;
        assert!(given.text.is_none() && given.finish == Finish::Stop);
        assert_eq!(given.refusal.as_deref(), Some("no"));
    }

    #[test]
    fn a_strange_id_is_not_repeated() {
        let body = json!({"id": "chatcmpl-\r\nx", "choices": [{"message": {"content": "a"}}]});
        assert!(read_value(&body).ok().unwrap().id.is_none());
        assert!(is_completion_id(&new_id("chatcmpl-")));
    }

    #[test]
    fn other_shapes_are_no_completions() {
        let gemini = json!({"candidates": [{"content": {"parts": [{"text": "hi"}]}}]});
        let cases = [
            gemini,
            json!([]),
            json!({"error": {}}),
            json!({"choices": []}),
            json!({"choices": [{"text": "a"}]}),
        ];
        for body in cases {
            assert!(read_value(&body).is_err(), "{body}");
        }
        assert!(read(b"<html>").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = read(&body);
        }
    }
}
