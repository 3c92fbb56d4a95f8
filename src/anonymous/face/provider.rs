//! The provider's completion, read leniently.
//!
//! Read and written anew rather than passed through: providers differ in what they leave out, and the client is
//! promised one contract. Kept: text, refusal, citations, finish reason, usage.
//!
//! The answer is paid for, so what only a strict reader refuses does not cost it: half of a pair of surrogates and bytes
//! that are no UTF-8 become U+FFFD, and what is not kept may be nested as deep as it likes.
//!
//! Deliberately absent: tool calls (the backend drops `tools`, so no model is ever offered one in that form) and further
//! choices (the backend drops `n`).

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
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
    let body = String::from_utf8_lossy(body);
    let mut root = parts(&body)?;
    let choices: Vec<&RawValue> = root
        .remove("choices")
        .and_then(|choices| serde_json::from_str(choices).ok())
        .ok_or(NotACompletion)?;
    let mut choice = parts(choices.first().ok_or(NotACompletion)?.get())?;
    let message = parts(choice.remove("message").ok_or(NotACompletion)?)?;
    let mut message = kept(message, &["content", "refusal", "annotations"]);
    let choice = kept(choice, &["finish_reason"]);
    let mut root = kept(root, &["id", "created", "usage"]);
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

/// An object's members, none of which is read yet.
fn parts(json: &str) -> Result<HashMap<String, &str>, NotACompletion> {
    let parts: HashMap<String, &RawValue> = serde_json::from_str(json).map_err(|_| NotACompletion)?;
    Ok(parts.into_iter().map(|(key, value)| (key, value.get())).collect())
}

/// Those that are wanted, as far as they can be read.
fn kept(mut parts: HashMap<String, &str>, keys: &[&str]) -> Map<String, Value> {
    let read = |key: &&str| Some(((*key).to_owned(), value(parts.remove(*key)?)?));
    keys.iter().filter_map(read).collect()
}

/// What `json` says, half a pair of surrogates replaced.
fn value(json: &str) -> Option<Value> {
    serde_json::from_str(json).or_else(|_| serde_json::from_str(&paired(json))).ok()
}

/// `json` with every escape of a surrogate that has no other half replaced.
fn paired(json: &str) -> String {
    let unit = |at: usize| {
        let digits = json.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut out = String::with_capacity(json.len());
    let mut rest = 0;
    while let Some(at) = json[rest..].find('\\').map(|found| rest + found) {
        out.push_str(&json[rest..at]);
        let width = match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str("\\ufffd");
                rest = at + 6;
                continue;
            }
            // The escape, and one more letter of one byte, which may be a backslash.
            _ => json[at..].chars().take(2).map(char::len_utf8).sum(),
        };
        out.push_str(&json[at..at + width]);
        rest = at + width;
    }
    out.push_str(&json[rest..]);
    out
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
        Some(part @ Value::Object(_)) => part.get("text").and_then(Value::as_str).map(str::to_owned),
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

    #[test]
    fn an_answer_that_a_strict_reader_refuses_is_not_lost() {
        let text = |body: &[u8]| read(body).ok().unwrap().given.text.unwrap();
        let said = |content: &str| {
            text(format!(r#"{{"choices":[{{"message":{{"content":"{content}"}}}}]}}"#).as_bytes())
        };
        assert_eq!(said(r"hi \ud83d there"), "hi \u{fffd} there");
        assert_eq!(said(r"\ud83d\ude00 \ude00\ud83d \\ud83d \u00e9"), "\u{1f600} \u{fffd}\u{fffd} \\ud83d é");
        assert_eq!(said(r"\ud83d\n\ud83dx"), "\u{fffd}\n\u{fffd}x");
        assert_eq!(text(b"{\"choices\":[{\"message\":{\"content\":\"a\xffb\"}}]}"), "a\u{fffd}b");
        let deep = format!(
            r#"{{"x":{}{},"choices":[{{"message":{{"content":"a"}}}}]}}"#,
            "[".repeat(500),
            "]".repeat(500)
        );
        assert_eq!(text(deep.as_bytes()), "a");
        let object = json!({"choices": [{"message": {"content": {"type": "text", "text": "a"}}}]});
        assert_eq!(text(object.to_string().as_bytes()), "a");
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_it_was_written(text in "\\PC{0,40}") {
            let body = json!({"choices": [{"message": {"content": text}}]}).to_string();
            prop_assert_eq!(paired(&body), body.clone());
            prop_assert_eq!(read(body.as_bytes()).ok().unwrap().given.text, Some(text));
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = read(&body);
        }
    }
}
