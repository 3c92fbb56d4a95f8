//! Writing a chat completion: whole here, as a stream in [`chunks`].
//!
//! [`chunks`]: super::chunks

use serde::Serialize;
use serde_json::Value;

use super::chunks::Chunks;
use super::tools::CallForm;
use crate::anonymous::emulate::answer::{CallKind, Finish, Heard, MadeCall};
use crate::anonymous::face::error::ErrorObject;
use crate::anonymous::face::usage::Usage;
use crate::anonymous::face::{Answer, Events, Script, json};

/// Whether a stream ends with a chunk of token counts: `stream_options.include_usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageChunk {
    /// It does.
    Included,
    /// It does not.
    Omitted,
}

/// How one chat completion is written.
pub struct ChatScript {
    usage: UsageChunk,
    calls: CallForm,
}

impl ChatScript {
    /// With calls in the form of the request's tools.
    pub fn new(usage: UsageChunk, calls: CallForm) -> Self {
        Self { usage, calls }
    }
}

impl Script for ChatScript {
    fn whole(self: Box<Self>, answer: Answer) -> Vec<u8> {
        to_json(&answer, self.calls)
    }

    fn counts_in_streams(&self) -> bool {
        self.usage == UsageChunk::Included
    }

    /// A comment, so that the headers go out.
    fn opening(&mut self) -> Vec<u8> {
        self.beat()
    }

    /// What every client skips.
    fn beat(&mut self) -> Vec<u8> {
        b": keep-alive\n\n".to_vec()
    }

    fn speak(self: Box<Self>, answer: Answer) -> Box<dyn Events> {
        Box::new(Chunks::new(answer, self.usage, self.calls))
    }

    fn failure(&mut self, error: &ErrorObject) -> Vec<u8> {
        error_event(error)
    }
}

/// An error in a stream of unnamed events.
pub fn error_event(error: &ErrorObject) -> Vec<u8> {
    let mut event = b"data: ".to_vec();
    event.extend(error.to_json());
    event.extend_from_slice(b"\n\n");
    event
}

/// OpenAI's word for why an answer ended.
pub(super) fn finish_reason(finish: Finish, calls: CallForm) -> &'static str {
    match (finish, calls) {
        (Finish::Stop, _) => "stop",
        (Finish::Length, _) => "length",
        (Finish::ContentFilter, _) => "content_filter",
        (Finish::ToolCalls, CallForm::Tools) => "tool_calls",
        (Finish::ToolCalls, CallForm::Legacy) => "function_call",
    }
}

#[derive(Serialize)]
struct Response<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    usage: Usage,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    message: Message<'a>,
    logprobs: (),
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<Function<'a>>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    id: &'a str,
    #[serde(flatten)]
    called: Called<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Called<'a> {
    Function { function: Function<'a> },
    Custom { custom: Custom<'a> },
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Custom<'a> {
    name: &'a str,
    input: &'a str,
}

/// The `chat.completion` object.
fn to_json(answer: &Answer, calls: CallForm) -> Vec<u8> {
    let choices: Vec<_> =
        answer.choices.iter().enumerate().map(|(index, heard)| choice(index, heard, calls)).collect();
    let response = Response {
        id: &answer.id,
        object: "chat.completion",
        created: answer.created,
        model: &answer.model,
        choices,
        usage: answer.usage.counts(),
    };
    let length: usize = answer.choices.iter().map(|heard| heard.text.as_ref().map_or(0, String::len)).sum();
    let mut out = Vec::with_capacity(1024 + length * 9 / 8);
    json::write(&mut out, &response);
    out
}

fn choice(index: usize, heard: &Heard, calls: CallForm) -> Choice<'_> {
    let (tool_calls, function_call) = match calls {
        CallForm::Tools => (heard.calls.iter().map(tool_call).collect(), None),
        CallForm::Legacy => (Vec::new(), heard.calls.first().map(function)),
    };
    Choice {
        index,
        message: Message {
            role: "assistant",
            content: heard.text.as_deref(),
            refusal: heard.refusal.as_deref(),
            annotations: heard.annotations.as_ref(),
            tool_calls,
            function_call,
        },
        logprobs: (),
        finish_reason: finish_reason(heard.finish, calls),
    }
}

fn tool_call(call: &MadeCall) -> ToolCall<'_> {
    let called = match call.kind {
        CallKind::Function => Called::Function { function: function(call) },
        CallKind::Custom => Called::Custom { custom: Custom { name: &call.name, input: &call.arguments } },
    };
    ToolCall { id: &call.id, called }
}

fn function(call: &MadeCall) -> Function<'_> {
    Function { name: &call.name, arguments: &call.arguments }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use async_openai::types::chat::CreateChatCompletionResponse;
    use serde_json::value::RawValue;

    use super::*;
    use crate::anonymous::emulate::tokens::Family;
    use crate::anonymous::face::usage::{Question, Tally, Told};

    /// An answer of these choices.
    pub(in super::super) fn answer(choices: Vec<Heard>) -> Answer {
        let usage = Usage { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3, ..Usage::default() };
        let messages: Arc<RawValue> = RawValue::from_string("[]".into()).unwrap().into();
        Answer {
            id: "chatcmpl-1".into(),
            created: 9,
            model: "m".into(),
            choices,
            usage: Tally::new(Family::OpenAi, vec![Question { messages, answers: vec![Told::Given(usage)] }]),
        }
    }

    pub(in super::super) fn call(name: &str, kind: CallKind, arguments: &str) -> MadeCall {
        MadeCall { id: format!("call_{name}"), name: name.into(), kind, arguments: arguments.into() }
    }

    pub(in super::super) fn calling(calls: Vec<MadeCall>) -> Heard {
        Heard { calls, finish: Finish::ToolCalls, ..Heard::default() }
    }

    fn written(heard: Heard, calls: CallForm) -> String {
        let heard_custom = heard.calls.iter().any(|call| call.kind == CallKind::Custom);
        let json = to_json(&answer(vec![heard]), calls);
        // Its types have custom tools in another place than the API.
        if heard_custom {
            return String::from_utf8(json).unwrap();
        }
        serde_json::from_slice::<CreateChatCompletionResponse>(&json).unwrap();
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn a_completion_is_written_as_openai_writes_it() {
        let heard = Heard { text: Some("hi".into()), finish: Finish::Length, ..Heard::default() };
        assert_eq!(
            written(heard, CallForm::Tools),
            r#"{"id":"chatcmpl-1","object":"chat.completion","created":9,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#
        );
    }

    #[test]
    fn calls_are_written_in_the_form_of_their_tools() {
        let calls = || vec![call("f", CallKind::Function, "{}"), call("g", CallKind::Function, "{\"a\":1}")];
        assert!(written(calling(calls()), CallForm::Tools).contains(
            r#""message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"call_f","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"call_g","type":"function","function":{"name":"g","arguments":"{\"a\":1}"}}]},"logprobs":null,"finish_reason":"tool_calls""#
        ));
        assert!(written(calling(calls()), CallForm::Legacy).contains(
            r#""refusal":null,"function_call":{"name":"f","arguments":"{}"}},"logprobs":null,"finish_reason":"function_call""#
        ));
        assert!(
            written(calling(vec![call("c", CallKind::Custom, "ls")]), CallForm::Tools)
                .contains(r#"{"id":"call_c","type":"custom","custom":{"name":"c","input":"ls"}}"#)
        );
    }
}
