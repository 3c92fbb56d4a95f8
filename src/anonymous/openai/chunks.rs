//! A whole answer as the server-sent events of OpenAI's streaming API.
//!
//! | event, for each choice | `choices[0].delta` | `finish_reason` |
//! | --- | --- | --- |
//! | first | role, empty content (null where only calls come) | null |
//! | one a piece of text | content (or refusal) | null |
//! | citations, where there are any | annotations | null |
//! | for each call: first | index, id, type, name, empty arguments | null |
//! | for each call: one a piece | index, arguments (or input) | null |
//! | end | empty | the reason |
//!
//! Then the usage, if asked for, with no choices, and `[DONE]`.
//!
//! `id` and `created` are the same in all of them. With the usage chunk asked for, the others carry
//! `"usage":null`, as OpenAI's do.
//!
//! Deliberately absent: SSE `id:` lines. Together with comment lines they make the Python SDK fail.

use serde::Serialize;

use super::chat::{UsageChunk, finish_reason};
use super::tools::CallForm;
use crate::anonymous::emulate::answer::{CallKind, Heard};
use crate::anonymous::emulate::pieces;
use crate::anonymous::face::usage::Tally;
use crate::anonymous::face::{Answer, Events, json};

/// An answer being streamed.
pub struct Chunks {
    /// `data: {"id":…,"model":…`: what every chunk begins with.
    head: Vec<u8>,
    choices: Vec<Heard>,
    usage: Tally,
    usage_chunk: UsageChunk,
    calls: CallForm,
    next: Next,
}

/// What comes next; numbers are of a choice, a call in it, and the bytes of a text that are out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Role(usize),
    Text(usize, usize),
    Call(usize, usize),
    Arguments(usize, usize, usize),
    Finish(usize),
    Usage,
    Done,
    Nothing,
}

/// Which key of the delta carries the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Content,
    Refusal,
}

impl Chunks {
    /// The events of `answer`.
    pub fn new(answer: Answer, usage_chunk: UsageChunk, calls: CallForm) -> Self {
        #[derive(Serialize)]
        struct Head<'a> {
            id: &'a str,
            object: &'static str,
            created: i64,
            model: &'a str,
        }
        let Answer { id, created, model, mut choices, usage } = answer;
        let mut head = b"data: ".to_vec();
        json::write(&mut head, &Head { id: &id, object: "chat.completion.chunk", created, model: &model });
        // Left open: every chunk goes on from here.
        head.pop();
        if calls == CallForm::Legacy {
            for heard in &mut choices {
                heard.calls.truncate(1);
            }
        }
        Self { head, choices, usage, usage_chunk, calls, next: Next::Role(0) }
    }

    fn write_text(&self, out: &mut Vec<u8>, at: usize, said: usize) -> Next {
        let heard = &self.choices[at];
        let (field, text) = field_and_text(heard);
        let rest = &text.unwrap_or_default()[said..];
        if rest.is_empty() {
            if let Some(annotations) = &heard.annotations {
                self.write_choice(out, at, |out| write_pair(out, "annotations", annotations), "null");
            }
            return Next::Call(at, 0);
        }
        let piece = &rest[..pieces::first(rest)];
        let key = if field == Field::Content { "content" } else { "refusal" };
        self.write_choice(out, at, |out| write_pair(out, key, &piece), "null");
        Next::Text(at, said + piece.len())
    }

    fn write_call(&self, out: &mut Vec<u8>, at: usize, index: usize) -> Next {
        let Some(call) = self.choices[at].calls.get(index) else { return Next::Finish(at) };
        let delta = |out: &mut Vec<u8>| match (self.calls, call.kind) {
            (CallForm::Legacy, _) => {
                out.extend_from_slice(br#"{"function_call":{"name":"#);
                json::write(out, &call.name);
                out.extend_from_slice(br#","arguments":""}}"#);
            }
            (CallForm::Tools, kind) => {
                out.extend_from_slice(format!(r#"{{"tool_calls":[{{"index":{index},"id":"#).as_bytes());
                json::write(out, &call.id);
                let (kind, last): (&[u8], &[u8]) = match kind {
                    CallKind::Function => {
                        (br#","type":"function","function":{"name":"#, br#","arguments":""}}]}"#)
                    }
                    CallKind::Custom => (br#","type":"custom","custom":{"name":"#, br#","input":""}}]}"#),
                };
                out.extend_from_slice(kind);
                json::write(out, &call.name);
                out.extend_from_slice(last);
            }
        };
        self.write_choice(out, at, delta, "null");
        Next::Arguments(at, index, 0)
    }

    fn write_arguments(&self, out: &mut Vec<u8>, at: usize, index: usize, said: usize) -> Next {
        let call = &self.choices[at].calls[index];
        let rest = &call.arguments[said..];
        if rest.is_empty() {
            return Next::Call(at, index + 1);
        }
        let piece = &rest[..pieces::first(rest)];
        let delta = |out: &mut Vec<u8>| match (self.calls, call.kind) {
            (CallForm::Legacy, _) => {
                out.extend_from_slice(br#"{"function_call":"#);
                write_pair(out, "arguments", &piece);
                out.push(b'}');
            }
            (CallForm::Tools, kind) => {
                let (kind, key) = match kind {
                    CallKind::Function => ("function", "arguments"),
                    CallKind::Custom => ("custom", "input"),
                };
                out.extend_from_slice(format!(r#"{{"tool_calls":[{{"index":{index},"{kind}":"#).as_bytes());
                write_pair(out, key, &piece);
                out.extend_from_slice(b"}]}");
            }
        };
        self.write_choice(out, at, delta, "null");
        Next::Arguments(at, index, said + piece.len())
    }

    fn write_choice(&self, out: &mut Vec<u8>, index: usize, delta: impl FnOnce(&mut Vec<u8>), reason: &str) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(format!(r#","choices":[{{"index":{index},"delta":"#).as_bytes());
        delta(out);
        out.extend_from_slice(br#","logprobs":null,"finish_reason":"#);
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(b"}]");
        if self.usage_chunk == UsageChunk::Included {
            out.extend_from_slice(br#","usage":null"#);
        }
        out.extend_from_slice(b"}\n\n");
    }
}

impl Events for Chunks {
    fn write_next(&mut self, out: &mut Vec<u8>) {
        self.next = match self.next {
            Next::Role(at) => match self.choices.get(at) {
                Some(heard) => {
                    let delta: &[u8] = match field_and_text(heard) {
                        (Field::Refusal, _) => br#"{"role":"assistant","content":null,"refusal":""}"#,
                        (Field::Content, Some(_)) => br#"{"role":"assistant","content":"","refusal":null}"#,
                        (Field::Content, None) => br#"{"role":"assistant","content":null,"refusal":null}"#,
                    };
                    self.write_choice(out, at, |out| out.extend_from_slice(delta), "null");
                    Next::Text(at, 0)
                }
                None => Next::Usage,
            },
            Next::Text(at, said) => self.write_text(out, at, said),
            Next::Call(at, call) => self.write_call(out, at, call),
            Next::Arguments(at, call, said) => self.write_arguments(out, at, call, said),
            Next::Finish(at) => {
                let reason = format!("\"{}\"", finish_reason(self.choices[at].finish, self.calls));
                self.write_choice(out, at, |out| out.extend_from_slice(b"{}"), &reason);
                Next::Role(at + 1)
            }
            Next::Usage if self.usage_chunk == UsageChunk::Included => {
                out.extend_from_slice(&self.head);
                out.extend_from_slice(br#","choices":[],"usage":"#);
                json::write(out, &self.usage.counts());
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

    fn is_over(&self) -> bool {
        self.next == Next::Nothing
    }
}

/// What is said; an empty text does not hide a refusal.
fn field_and_text(heard: &Heard) -> (Field, Option<&str>) {
    match (heard.text.as_deref().filter(|text| !text.is_empty()), heard.refusal.as_deref()) {
        (None, Some(refusal)) => (Field::Refusal, Some(refusal)),
        (None, None) => (Field::Content, heard.text.as_deref()),
        (text, _) => (Field::Content, text),
    }
}

fn write_pair(out: &mut Vec<u8>, key: &str, value: &impl Serialize) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    json::write(out, value);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use async_openai::types::chat::CreateChatCompletionStreamResponse;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::chat::tests::{answer, call, calling};
    use super::*;

    fn said(text: &str) -> Heard {
        Heard { text: Some(text.into()), ..Heard::default() }
    }

    fn chunks(choices: Vec<Heard>, usage_chunk: UsageChunk) -> Chunks {
        Chunks::new(answer(choices), usage_chunk, CallForm::Tools)
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

    /// The deltas of a stream, and that `async-openai` can read each of its chunks.
    fn deltas(stream: &str) -> Vec<Value> {
        let events = stream.split_terminator("\n\n").filter(|event| *event != "data: [DONE]");
        events
            .filter_map(|event| {
                let json = event.strip_prefix("data: ").unwrap();
                let chunk: Value = serde_json::from_str(json).unwrap();
                // Its types know no custom tools.
                if !json.contains("custom") {
                    serde_json::from_str::<CreateChatCompletionStreamResponse>(json).unwrap();
                }
                chunk["choices"].get(0).map(|choice| choice["delta"].clone())
            })
            .collect()
    }

    #[test]
    fn citations_follow_the_text_and_an_empty_text_does_not_hide_a_refusal() {
        let cited = Heard { annotations: Some(json!([{"type": "url_citation"}])), ..said("see [1]") };
        let stream = all(chunks(vec![cited], UsageChunk::Omitted), 1);
        let at = |what: &str| stream.find(what).unwrap_or_else(|| panic!("{what} is missing in {stream}"));
        assert!(at("see [1]") < at(r#""delta":{"annotations":[{"type":"url_citation"}]}"#));
        assert!(at("url_citation") < at(r#""finish_reason":"stop""#));
        let refused = Heard { refusal: Some("I refuse".into()), ..said("") };
        assert!(
            all(chunks(vec![refused], UsageChunk::Omitted), 1).contains(r#""delta":{"refusal":"I refuse"}"#)
        );
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
        let plain: String = expected.map(|choices| format!("{head}{choices}}}\n\n")).concat();
        let chunks = |usage| chunks(vec![said("a\n\"b\"")], usage);
        assert_eq!(all(chunks(UsageChunk::Omitted), 1), format!("{plain}data: [DONE]\n\n"));

        let with_usage: String =
            expected.map(|choices| format!("{head}{choices},\"usage\":null}}\n\n")).concat();
        let usage = r#"[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;
        assert_eq!(
            all(chunks(UsageChunk::Included), 16_384),
            format!("{with_usage}{head}{usage}\n\ndata: [DONE]\n\n")
        );
    }

    #[test]
    fn a_call_has_index_id_and_name_first_and_then_its_arguments_in_pieces() {
        let long = format!("{{\"text\":\"{}\"}}", "word ".repeat(60));
        let calls = vec![call("f", CallKind::Function, &long), call("c", CallKind::Custom, "ls")];
        let stream = all(chunks(vec![calling(calls)], UsageChunk::Omitted), 1);
        let deltas = deltas(&stream);
        assert_eq!(deltas[0], json!({"role": "assistant", "content": null, "refusal": null}));
        assert_eq!(
            deltas[1],
            json!({"tool_calls": [{"index": 0, "id": "call_f", "type": "function",
                "function": {"name": "f", "arguments": ""}}]})
        );
        let arguments: String = deltas
            .iter()
            .filter_map(|delta| delta["tool_calls"][0]["function"]["arguments"].as_str())
            .collect();
        assert_eq!(arguments, long);
        assert!(deltas.len() > 6, "in pieces");
        let at = deltas.len() - 3;
        assert_eq!(
            deltas[at],
            json!({"tool_calls": [{"index": 1, "id": "call_c", "type": "custom", "custom": {"name": "c", "input": ""}}]})
        );
        assert_eq!(deltas[at + 1], json!({"tool_calls": [{"index": 1, "custom": {"input": "ls"}}]}));
        assert!(stream.contains(r#""finish_reason":"tool_calls""#));
    }

    #[test]
    fn the_older_form_has_one_call() {
        let calls = vec![call("f", CallKind::Function, "{}"), call("g", CallKind::Function, "{}")];
        let chunks = Chunks::new(answer(vec![calling(calls)]), UsageChunk::Omitted, CallForm::Legacy);
        let stream = all(chunks, 1);
        assert!(stream.contains(r#""delta":{"function_call":{"name":"f","arguments":""}}"#));
        assert!(stream.contains(r#""delta":{"function_call":{"arguments":"{}"}}"#));
        assert!(stream.contains(r#""finish_reason":"function_call""#) && !stream.contains("\"g\""));
    }

    #[test]
    fn choices_follow_one_another() {
        let stream = all(chunks(vec![said("a"), said("b")], UsageChunk::Omitted), 1);
        assert_eq!(stream.matches(r#""index":1,"#).count(), 3);
        assert_eq!(stream.matches(r#""finish_reason":"stop""#).count(), 2);
    }

    proptest! {
        #[test]
        fn the_deltas_of_a_stream_are_the_answer(text in "(?s:.){0,1500}", wanted in 1_usize..20_000) {
            let stream = all(chunks(vec![said(&text)], UsageChunk::Included), wanted);
            let said: String =
                deltas(&stream).iter().filter_map(|delta| delta["content"].as_str()).collect();
            prop_assert_eq!(said, text);
        }
    }
}
