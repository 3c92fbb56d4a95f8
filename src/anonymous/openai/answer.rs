//! The provider's completion, read leniently and written again as OpenAI writes it.
//!
//! Rebuilt rather than passed through: providers differ in what they leave out, and the client is promised one
//! contract. `model` is what the client asked for. Kept: text, refusal, citations, finish reason, usage.
//! A provider that gives no usage leaves the client without one: zeros would be an invention.
//!
//! Deliberately absent: tool calls (the backend drops `tools`, so no model is ever offered one) and further
//! choices (the backend drops `n`).

use async_openai::types::chat::{CompletionTokensDetails, FinishReason, PromptTokensDetails};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::write_json;
use crate::clock::Timestamp;
use crate::wire::ModelName;

/// An answer as it is handed over, whole or in chunks. No `Debug`: it is the answer.
pub struct Completion {
    /// `chatcmpl-…`: the provider's if it has that form, else the one given.
    pub(super) id: String,
    /// Unix seconds: the provider's, else the time given.
    pub(super) created: i64,
    pub(super) model: ModelName,
    pub(super) content: Option<String>,
    pub(super) refusal: Option<String>,
    pub(super) annotations: Option<Value>,
    pub(super) finish_reason: FinishReason,
    pub(super) usage: Option<Usage>,
}

/// Token counts, as the provider gave them.
#[derive(Clone, Serialize)]
pub(super) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptTokensDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionTokensDetails>,
}

/// The provider answered something else: HTML, another API's shape, an error body.
#[derive(Debug, PartialEq, Eq)]
pub struct NotACompletion;

/// Reads `body`, the provider's answer to a call for `model`. `now` and `fallback_id` stand in for what the
/// provider left out.
pub fn read(
    body: &[u8],
    model: ModelName,
    now: Timestamp,
    fallback_id: impl FnOnce() -> String,
) -> Result<Completion, NotACompletion> {
    let Ok(Value::Object(mut root)) = serde_json::from_slice(body) else { return Err(NotACompletion) };
    let Some(Value::Array(choices)) = root.remove("choices") else { return Err(NotACompletion) };
    let Some(Value::Object(mut choice)) = choices.into_iter().next() else { return Err(NotACompletion) };
    let Some(Value::Object(mut message)) = choice.remove("message") else { return Err(NotACompletion) };
    let refusal = take_string(&mut message, "refusal");
    let content = take_text(&mut message).or_else(|| refusal.is_none().then(String::new));
    Ok(Completion {
        id: take_string(&mut root, "id").filter(|id| is_completion_id(id)).unwrap_or_else(fallback_id),
        created: root.get("created").and_then(Value::as_i64).filter(|at| *at > 0).unwrap_or(now.unix()),
        model,
        content,
        refusal,
        annotations: message.remove("annotations").filter(Value::is_array),
        finish_reason: match take(&mut choice, "finish_reason") {
            Some(reason @ (FinishReason::Length | FinishReason::ContentFilter)) => reason,
            // The others announce tool calls, and there are none.
            _ => FinishReason::Stop,
        },
        usage: take::<Map<String, Value>>(&mut root, "usage").and_then(read_usage),
    })
}

/// A new id of the form that OpenAI's have.
pub fn new_id() -> String {
    format!("chatcmpl-{}", uuid::Uuid::new_v4().simple())
}

impl Completion {
    /// The `chat.completion` object.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Response<'a> {
            id: &'a str,
            object: &'static str,
            created: i64,
            model: &'a ModelName,
            choices: [Choice<'a>; 1],
            #[serde(skip_serializing_if = "Option::is_none")]
            usage: Option<&'a Usage>,
        }
        #[derive(Serialize)]
        struct Choice<'a> {
            index: u32,
            message: Message<'a>,
            logprobs: (),
            finish_reason: FinishReason,
        }
        #[derive(Serialize)]
        struct Message<'a> {
            role: &'static str,
            content: Option<&'a str>,
            refusal: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            annotations: Option<&'a Value>,
        }
        let response = Response {
            id: &self.id,
            object: "chat.completion",
            created: self.created,
            model: &self.model,
            choices: [Choice {
                index: 0,
                message: Message {
                    role: "assistant",
                    content: self.content.as_deref(),
                    refusal: self.refusal.as_deref(),
                    annotations: self.annotations.as_ref(),
                },
                logprobs: (),
                finish_reason: self.finish_reason,
            }],
            usage: self.usage.as_ref(),
        };
        let mut json = Vec::with_capacity(512 + self.content.as_ref().map_or(0, |text| text.len() * 9 / 8));
        write_json(&mut json, &response);
        json
    }
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
    use async_openai::types::chat::CreateChatCompletionResponse;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read_value(body: &Value) -> Result<Completion, NotACompletion> {
        let model = ModelName::new("gpt-4.1").unwrap();
        read(body.to_string().as_bytes(), model, Timestamp::from_unix(7), || "chatcmpl-new".into())
    }

    fn rewritten(body: &Value) -> Value {
        serde_json::from_slice(&read_value(body).unwrap_or_else(|_| panic!("{body}")).to_json()).unwrap()
    }

    #[test]
    fn a_completion_is_written_as_openai_writes_it() {
        let body = json!({
            "id": "chatcmpl-Ab1", "object": "chat.completion", "created": 1_700_000_000, "model": "gpt-4.1-2025-04-14",
            "choices": [{"index": 3, "message": {"role": "assistant", "content": "hi", "x": 1}, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.1,
                "prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": "none"},
            "canary": true,
        });
        let expected = r#"{"id":"chatcmpl-Ab1","object":"chat.completion","created":1700000000,"model":"gpt-4.1","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"prompt_tokens_details":{"audio_tokens":null,"cached_tokens":1}}}"#;
        let json = read_value(&body).ok().unwrap().to_json();
        assert_eq!(String::from_utf8(json.clone()).unwrap(), expected);
        serde_json::from_slice::<CreateChatCompletionResponse>(&json).unwrap();
    }

    #[test]
    fn what_the_provider_left_out_is_filled_in_but_never_invented() {
        let body =
            json!({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}]}}]});
        let answer = rewritten(&body);
        assert_eq!(answer["id"], "chatcmpl-new");
        assert_eq!(answer["created"], 7);
        assert_eq!(answer["choices"][0]["message"]["content"], "ab");
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        assert!(answer.get("usage").is_none());
    }

    #[test]
    fn a_refusal_has_no_content() {
        let body = json!({"choices": [{"message": {"content": null, "refusal": "no"}, "finish_reason": "tool_calls"}]});
        let answer = rewritten(&body);
        assert_eq!(
            answer["choices"][0]["message"],
            json!({"role":"assistant","content":null,"refusal":"no"})
        );
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    }

    #[test]
    fn a_strange_id_is_not_repeated() {
        let body = json!({"id": "chatcmpl-\r\nx", "choices": [{"message": {"content": "a"}}]});
        assert_eq!(rewritten(&body)["id"], "chatcmpl-new");
        assert!(is_completion_id(&new_id()));
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
        let model = ModelName::new("m").unwrap();
        assert!(read(b"<html>", model, Timestamp::from_unix(0), new_id).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..256)) {
            let model = ModelName::new("m").unwrap();
            let _ = read(&body, model, Timestamp::from_unix(0), new_id);
        }
    }
}
