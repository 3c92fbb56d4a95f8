//! A whole answer as the server-sent events of OpenAI's streaming API.
//!
//! | event | `choices[0].delta` | `finish_reason` |
//! | --- | --- | --- |
//! | first | role, empty content | null |
//! | one a piece of text | content (or refusal) | null |
//! | end | empty | the reason |
//! | usage, if asked for | `choices` is empty | |
//! | `[DONE]` | | |
//!
//! `id` and `created` are the same in all of them. With the usage chunk asked for, the others carry
//! `"usage":null`, as OpenAI's do.
//!
//! Deliberately absent: SSE `id:` lines. Together with comment lines they make the Python SDK fail.

use serde::Serialize;

use super::answer::{Completion, Usage};
use super::request::UsageChunk;
use super::write_json;
use crate::anonymous::emulate::pieces;

/// An answer being streamed: yields batches of events, so that a large answer is never held twice.
pub struct Chunks {
    /// `data: {"id":…,"model":…`: what every chunk begins with.
    head: Vec<u8>,
    field: Field,
    text: String,
    /// How much of `text` is out, bytes.
    said: usize,
    /// The provider's citations; they follow the text that they point into.
    annotations: Option<serde_json::Value>,
    finish_reason: async_openai::types::chat::FinishReason,
    usage: Option<Usage>,
    usage_chunk: UsageChunk,
    next: Next,
}

/// Which key of the delta carries the text.
#[derive(Clone, Copy)]
enum Field {
    Content,
    Refusal,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Role,
    Text,
    Usage,
    Done,
    Nothing,
}

impl Chunks {
    /// The events of `completion`.
    pub fn new(completion: Completion, usage_chunk: UsageChunk) -> Self {
        #[derive(Serialize)]
        struct Head<'a> {
            id: &'a str,
            object: &'static str,
            created: i64,
            model: &'a str,
        }
        let Completion { id, created, model, content, refusal, annotations, finish_reason, usage } =
            completion;
        let mut head = b"data: ".to_vec();
        write_json(
            &mut head,
            &Head { id: &id, object: "chat.completion.chunk", created, model: model.as_str() },
        );
        // Left open: every chunk goes on from here.
        head.pop();
        let (field, text) = match (content.filter(|content| !content.is_empty()), refusal) {
            (None, Some(refusal)) => (Field::Refusal, refusal),
            (content, _) => (Field::Content, content.unwrap_or_default()),
        };
        let next = Next::Role;
        Self { head, field, text, said: 0, annotations, finish_reason, usage, usage_chunk, next }
    }

    /// The next events, whole, in at least `wanted` bytes unless the stream ends before; `None` after
    /// the last.
    pub fn next_batch(&mut self, wanted: usize) -> Option<Vec<u8>> {
        if self.next == Next::Nothing {
            return None;
        }
        let mut out = Vec::with_capacity(wanted.min(2 * self.text.len() + 8 * self.head.len()) + 1024);
        while self.next != Next::Nothing && out.len() < wanted {
            self.write_next(&mut out);
        }
        Some(out)
    }

    /// Whether [`next_batch`](Self::next_batch) has given everything.
    pub fn is_over(&self) -> bool {
        self.next == Next::Nothing
    }

    fn write_next(&mut self, out: &mut Vec<u8>) {
        self.next = match self.next {
            Next::Role => {
                let delta: &[u8] = match self.field {
                    Field::Content => br#"{"role":"assistant","content":"","refusal":null}"#,
                    Field::Refusal => br#"{"role":"assistant","content":null,"refusal":""}"#,
                };
                self.write_choice(out, |out| out.extend_from_slice(delta), b"null");
                Next::Text
            }
            Next::Text if self.said < self.text.len() => {
                let rest = &self.text[self.said..];
                let piece = &rest[..pieces::first(rest)];
                let key: &[u8] = match self.field {
                    Field::Content => br#"{"content":"#,
                    Field::Refusal => br#"{"refusal":"#,
                };
                self.write_choice(
                    out,
                    |out| {
                        out.extend_from_slice(key);
                        write_json(out, &piece);
                        out.push(b'}');
                    },
                    b"null",
                );
                self.said += piece.len();
                Next::Text
            }
            Next::Text => {
                if let Some(annotations) = &self.annotations {
                    self.write_choice(out, |out| write_annotations(out, annotations), b"null");
                }
                self.write_finish(out);
                Next::Usage
            }
            Next::Usage if self.usage_chunk == UsageChunk::Included => {
                out.extend_from_slice(&self.head);
                out.extend_from_slice(br#","choices":[],"usage":"#);
                write_json(out, &self.usage);
                out.extend_from_slice(b"}\n\n");
                Next::Done
            }
            Next::Usage | Next::Done => {
                out.extend_from_slice(b"data: [DONE]\n\n");
                Next::Nothing
            }
            Next::Nothing => Next::Nothing,
        };
    }

    fn write_finish(&self, out: &mut Vec<u8>) {
        let mut reason = Vec::with_capacity(16);
        write_json(&mut reason, &self.finish_reason);
        self.write_choice(out, |out| out.extend_from_slice(b"{}"), &reason);
    }

    fn write_choice(&self, out: &mut Vec<u8>, delta: impl FnOnce(&mut Vec<u8>), finish_reason: &[u8]) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(br#","choices":[{"index":0,"delta":"#);
        delta(out);
        out.extend_from_slice(br#","logprobs":null,"finish_reason":"#);
        out.extend_from_slice(finish_reason);
        out.extend_from_slice(b"}]");
        if self.usage_chunk == UsageChunk::Included {
            out.extend_from_slice(br#","usage":null"#);
        }
        out.extend_from_slice(b"}\n\n");
    }
}

fn write_annotations(out: &mut Vec<u8>, annotations: &serde_json::Value) {
    out.extend_from_slice(br#"{"annotations":"#);
    write_json(out, annotations);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use async_openai::types::chat::CreateChatCompletionStreamResponse;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::anonymous::openai::answer;
    use crate::clock::Timestamp;
    use crate::wire::ModelName;

    fn chunks(message: &serde_json::Value, usage_chunk: UsageChunk) -> Chunks {
        let body = json!({
            "id": "chatcmpl-1", "created": 9, "choices": [{"message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        });
        let model = ModelName::new("m").unwrap();
        let now = Timestamp::from_unix(0);
        let completion = answer::read(body.to_string().as_bytes(), model, now, answer::new_id).ok().unwrap();
        Chunks::new(completion, usage_chunk)
    }

    fn all(mut chunks: Chunks, wanted: usize) -> String {
        let mut out = Vec::new();
        while let Some(batch) = chunks.next_batch(wanted) {
            assert!(batch.ends_with(b"\n\n"));
            out.extend(batch);
        }
        assert!(chunks.is_over());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn citations_follow_the_text_and_an_empty_text_does_not_hide_a_refusal() {
        let cited = json!({"content": "see [1]", "annotations": [{"type": "url_citation"}]});
        let stream = all(chunks(&cited, UsageChunk::Omitted), 1);
        let at = |what: &str| stream.find(what).unwrap_or_else(|| panic!("{what} is missing in {stream}"));
        assert!(at("see [1]") < at(r#""delta":{"annotations":[{"type":"url_citation"}]}"#));
        assert!(at("url_citation") < at(r#""finish_reason":"stop""#));
        let refused = json!({"content": "", "refusal": "I refuse"});
        assert!(all(chunks(&refused, UsageChunk::Omitted), 1).contains(r#""delta":{"refusal":"I refuse"}"#));
    }

    #[test]
    fn a_stream_is_framed_byte_for_byte_as_openai_frames_it() {
        let head =
            r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":9,"model":"m","choices":"#;
        let expected = [
            r#"[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]"#,
            r#"[{"index":0,"delta":{"content":"a\n\"b\""},"logprobs":null,"finish_reason":null}]"#,
            r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]"#,
        ];
        let message = json!({"content": "a\n\"b\""});
        let plain: String = expected.map(|choices| format!("{head}{choices}}}\n\n")).concat();
        assert_eq!(all(chunks(&message, UsageChunk::Omitted), 1), format!("{plain}data: [DONE]\n\n"));

        let with_usage: String =
            expected.map(|choices| format!("{head}{choices},\"usage\":null}}\n\n")).concat();
        let usage = r#"[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;
        assert_eq!(
            all(chunks(&message, UsageChunk::Included), 16_384),
            format!("{with_usage}{head}{usage}\n\ndata: [DONE]\n\n")
        );
    }

    #[test]
    fn a_refusal_is_streamed_as_one() {
        let stream = all(chunks(&json!({"content": null, "refusal": "no"}), UsageChunk::Omitted), 1);
        assert!(stream.contains(r#""delta":{"refusal":"no"}"#));
    }

    proptest! {
        #[test]
        fn the_deltas_of_a_stream_are_the_answer(text in "(?s:.){0,1500}", wanted in 1_usize..20_000) {
            let stream = all(chunks(&json!({"content": text}), UsageChunk::Included), wanted);
            let mut said = String::new();
            for event in stream.split_terminator("\n\n").filter(|event| *event != "data: [DONE]") {
                let json = event.strip_prefix("data: ").unwrap();
                let chunk: CreateChatCompletionStreamResponse = serde_json::from_str(json).unwrap();
                let delta = chunk.choices.into_iter().next().and_then(|choice| choice.delta.content);
                said.push_str(&delta.unwrap_or_default());
            }
            prop_assert_eq!(said, text);
        }
    }
}
