//! The response object, and how it is written whole or as a stream.
//!
//! What the request said is echoed in it as OpenAI's does, byte for byte the same in all of a stream's events; it is
//! made once. What has no effect here is not said to have any: `temperature`, `top_p` and `reasoning` are null, and
//! `store` is false.
//!
//! | state of a stream | events |
//! | --- | --- |
//! | opening | `response.created`, `response.in_progress` |
//! | waiting | `response.in_progress` again: comments do not reset the clocks of all clients, events do |
//! | speaking | items and their parts, see [`events`](super::events) |
//! | over | one of `response.completed`, `response.incomplete`, `response.failed` |
//!
//! A failure's code says whether to ask again. Codex does so for every code that it does not know, so failures whose
//! repeat would cost a token, or fail again, are `invalid_prompt` unless they have a code of their own that clients know.

use serde::Serialize;
use serde_json::{Map, Value};

use super::events::ResponseEvents;
use super::output::{Item, Shown, Stage, items};
use super::tools::Names;
use crate::anonymous::emulate::answer::Finish;
use crate::anonymous::face::error::{ErrorObject, Repeat};
use crate::anonymous::face::json::{self, Object};
use crate::anonymous::face::provider::new_id;
use crate::anonymous::face::usage::Usage;
use crate::anonymous::face::{Answer, Events, Script};

/// What every response object of one call has in common. No `Debug`: it repeats parts of the prompt.
pub struct Envelope {
    /// What all ids of the call end in.
    suffix: String,
    created_at: i64,
    model: String,
    echo: Echo,
}

/// What the request said, as the answer repeats it: `"key":value` with a comma before each. No `Debug`: tools and
/// instructions are part of the prompt.
pub struct Echo {
    before_output: Vec<u8>,
    after_output: Vec<u8>,
}

/// How far a response is.
#[derive(Clone, Copy)]
pub enum Status<'a> {
    /// There is nothing yet.
    InProgress,
    /// All of it is there.
    Completed,
    /// It was cut, and why.
    Incomplete(&'static str),
    /// There will be nothing.
    Failed(&'a ErrorObject),
}

/// How one response is written.
pub struct ResponsesScript {
    envelope: Envelope,
    names: Names,
    /// Of the next event.
    sequence: u64,
}

impl ResponsesScript {
    /// For a call of `model`.
    pub fn new(model: String, echo: Echo, names: Names) -> Self {
        let envelope = Envelope { suffix: new_id(""), created_at: 0, model, echo };
        Self { envelope, names, sequence: 0 }
    }

    fn event(&mut self, kind: &str, status: Status<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        self.envelope.write_event(&mut out, &mut self.sequence, kind, status, &[], None);
        out
    }
}

impl Script for ResponsesScript {
    fn begin(&mut self, at: i64) {
        self.envelope.created_at = at;
    }

    fn whole(self: Box<Self>, answer: Answer) -> Vec<u8> {
        let Self { envelope, names, .. } = *self;
        let Answer { mut choices, usage, .. } = answer;
        let heard = choices.pop().unwrap_or_default();
        let status = Status::of(heard.finish);
        let items = items(heard, &names, &envelope.suffix);
        let mut out = Vec::with_capacity(4096);
        envelope.write(&mut out, status, &items, Some(&usage.counts()));
        out
    }

    fn opening(&mut self) -> Vec<u8> {
        let mut out = self.event("response.created", Status::InProgress);
        out.extend(self.beat());
        out
    }

    fn beat(&mut self) -> Vec<u8> {
        self.event("response.in_progress", Status::InProgress)
    }

    fn speak(self: Box<Self>, answer: Answer) -> Box<dyn Events> {
        let Self { envelope, names, sequence } = *self;
        Box::new(ResponseEvents::new(envelope, &names, sequence, answer))
    }

    fn failure(&mut self, error: &ErrorObject) -> Vec<u8> {
        self.event("response.failed", Status::Failed(error))
    }
}

impl Status<'_> {
    /// Of an answer that ended so.
    pub fn of(finish: Finish) -> Status<'static> {
        match finish {
            Finish::Stop | Finish::ToolCalls => Status::Completed,
            Finish::Length => Status::Incomplete("max_output_tokens"),
            Finish::ContentFilter => Status::Incomplete("content_filter"),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(_) => "failed",
        }
    }
}

impl Echo {
    /// What `body` asks for, before anything is taken out of it.
    pub fn of(body: &Object) -> Self {
        let given = |key: &str| body.get(key).filter(|value| !value.is_null());
        let mut before_output = Vec::new();
        let before = &mut before_output;
        pair(before, "instructions", &given("instructions"));
        pair(before, "max_output_tokens", &given("max_output_tokens"));
        pair(before, "max_tool_calls", &());
        let mut after_output = Vec::new();
        let after = &mut after_output;
        pair(after, "parallel_tool_calls", given("parallel_tool_calls").unwrap_or(&Value::Bool(true)));
        pair(after, "previous_response_id", &());
        pair(after, "reasoning", &Reasoning { effort: (), summary: () });
        pair(after, "store", &false);
        pair(after, "temperature", &());
        pair(after, "text", &text(given("text")));
        pair(after, "tool_choice", given("tool_choice").unwrap_or(&Value::String("auto".to_owned())));
        pair(after, "tools", given("tools").unwrap_or(&Value::Array(Vec::new())));
        pair(after, "top_logprobs", &0);
        pair(after, "top_p", &());
        pair(after, "truncation", "disabled");
        pair(after, "user", &());
        pair(after, "metadata", given("metadata").unwrap_or(&Value::Object(Map::new())));
        Self { before_output, after_output }
    }
}

impl Envelope {
    /// What all ids of the call end in.
    pub fn suffix(&self) -> &str {
        &self.suffix
    }

    /// The response object.
    pub fn write(&self, out: &mut Vec<u8>, status: Status<'_>, output: &[Item], usage: Option<&Usage>) {
        #[derive(Serialize)]
        struct Head<'a> {
            id: String,
            object: &'static str,
            created_at: i64,
            status: &'static str,
            background: bool,
            error: Option<Failed<'a>>,
            incomplete_details: Option<Incomplete>,
        }
        #[derive(Serialize)]
        struct Failed<'a> {
            code: &'static str,
            message: &'a str,
        }
        #[derive(Serialize)]
        struct Incomplete {
            reason: &'static str,
        }
        let head = Head {
            id: format!("resp_{}", self.suffix),
            object: "response",
            created_at: self.created_at,
            status: status.word(),
            background: false,
            error: match status {
                Status::Failed(error) => Some(Failed { code: failure_code(error), message: &error.message }),
                _ => None,
            },
            incomplete_details: match status {
                Status::Incomplete(reason) => Some(Incomplete { reason }),
                _ => None,
            },
        };
        json::write(out, &head);
        // Left open: the object goes on.
        out.pop();
        out.extend_from_slice(&self.echo.before_output);
        pair(out, "model", &self.model);
        let shown: Vec<_> = output.iter().map(|item| Shown { item, stage: Stage::Done }).collect();
        pair(out, "output", &shown);
        out.extend_from_slice(&self.echo.after_output);
        pair(out, "usage", &usage.map(Counts::from));
        out.push(b'}');
    }

    /// An event that shows the response object.
    pub fn write_event(
        &self,
        out: &mut Vec<u8>,
        sequence: &mut u64,
        kind: &str,
        status: Status<'_>,
        output: &[Item],
        usage: Option<&Usage>,
    ) {
        begin_event(out, sequence, kind);
        out.extend_from_slice(br#","response":"#);
        self.write(out, status, output, usage);
        end_event(out);
    }
}

/// An event, up to the fields of its own.
pub(super) fn begin_event(out: &mut Vec<u8>, sequence: &mut u64, kind: &str) {
    let head = format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{sequence}");
    out.extend_from_slice(head.as_bytes());
    *sequence += 1;
}

/// Its end.
pub(super) fn end_event(out: &mut Vec<u8>) {
    out.extend_from_slice(b"}\n\n");
}

/// `,"key":value`.
pub(super) fn pair(out: &mut Vec<u8>, key: &str, value: &(impl Serialize + ?Sized)) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    json::write(out, &value);
}

#[derive(Serialize)]
struct Reasoning {
    effort: (),
    summary: (),
}

#[derive(Serialize)]
struct Counts {
    input_tokens: u64,
    input_tokens_details: Cached,
    output_tokens: u64,
    output_tokens_details: Reasoned,
    total_tokens: u64,
}

#[derive(Serialize)]
struct Cached {
    cached_tokens: u32,
    cache_write_tokens: u32,
}

#[derive(Serialize)]
struct Reasoned {
    reasoning_tokens: u32,
}

impl From<&Usage> for Counts {
    fn from(usage: &Usage) -> Self {
        let cached = usage.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens);
        let reasoned = usage.completion_tokens_details.as_ref().and_then(|details| details.reasoning_tokens);
        Self {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: Cached {
                cached_tokens: cached.unwrap_or_default(),
                // Nobody is charged for it here.
                cache_write_tokens: 0,
            },
            output_tokens: usage.completion_tokens,
            output_tokens_details: Reasoned { reasoning_tokens: reasoned.unwrap_or_default() },
            total_tokens: usage.total_tokens,
        }
    }
}

/// `text` as given, with the form that there is without one.
fn text(given: Option<&Value>) -> Map<String, Value> {
    let mut text = given.and_then(Value::as_object).cloned().unwrap_or_default();
    if text.get("format").is_none_or(Value::is_null) {
        let plain = Map::from_iter([("type".to_owned(), Value::String("text".to_owned()))]);
        text.insert("format".to_owned(), Value::Object(plain));
    }
    text
}

fn failure_code(error: &ErrorObject) -> &'static str {
    match (error.code, error.repeat) {
        (Some(code @ ("context_length_exceeded" | "insufficient_quota" | "rate_limit_exceeded")), _) => code,
        (_, Repeat::Free) => "server_error",
        (_, Repeat::Never) => "invalid_prompt",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::borrow::Cow;

    use async_openai::types::responses::{Response, ResponseStreamEvent};
    use serde_json::json;

    use super::super::super::chat::tests::answer;
    use super::super::output::tests::{call, names};
    use super::*;
    use crate::anonymous::emulate::answer::{CallKind, Heard};
    use crate::anonymous::face::error::Class;

    /// A script with known ids, for a request with these `tools`.
    pub(in super::super) fn script(body: &Value) -> Box<ResponsesScript> {
        let Value::Object(object) = body else { panic!("no object") };
        let names = names(body.get("tools").cloned().unwrap_or_else(|| json!([])));
        let mut script = ResponsesScript::new("m".into(), Echo::of(object), names);
        script.envelope.suffix = "0".into();
        script.begin(7);
        Box::new(script)
    }

    /// The events of a stream, each read by `async-openai`; checks framing and numbers, which begin at `first`.
    pub(in super::super) fn events(stream: &[u8], first: u64) -> Vec<Value> {
        let stream = std::str::from_utf8(stream).unwrap();
        assert!(stream.ends_with("\n\n"));
        let read = |(number, event): (u64, &str)| {
            let (kind, data) = event.split_once('\n').unwrap();
            let data = data.strip_prefix("data: ").unwrap();
            assert!(!data.contains('\n'));
            serde_json::from_str::<ResponseStreamEvent>(data).unwrap_or_else(|why| panic!("{why}: {data}"));
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(kind, format!("event: {}", data["type"].as_str().unwrap()));
            assert_eq!(data["sequence_number"], number);
            data
        };
        (first..).zip(stream.split_terminator("\n\n")).map(read).collect()
    }

    fn failed(code: &'static str, repeat: Repeat) -> ErrorObject {
        ErrorObject {
            message: Cow::Borrowed("It failed."),
            kind: "server_error",
            param: None,
            code: Some(code),
            class: Class::Internal,
            repeat,
        }
    }

    #[test]
    fn a_response_is_written_as_openai_writes_it() {
        let heard = Heard { text: Some("hi".into()), ..Heard::default() };
        let json = script(&json!({"instructions": "be brief"})).whole(answer(vec![heard]));
        assert_eq!(
            String::from_utf8(json).unwrap(),
            concat!(
                r#"{"id":"resp_0","object":"response","created_at":7,"status":"completed","background":false,"error":null,"#,
                r#""incomplete_details":null,"instructions":"be brief","max_output_tokens":null,"max_tool_calls":null,"#,
                r#""model":"m","output":[{"type":"message","id":"msg_000","status":"completed","role":"assistant","#,
                r#""content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"hi"}]}],"#,
                r#""parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"#,
                r#""store":false,"temperature":null,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"#,
                r#""top_logprobs":0,"top_p":null,"truncation":"disabled","user":null,"metadata":{},"#,
                r#""usage":{"input_tokens":1,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":2,"#,
                r#""output_tokens_details":{"reasoning_tokens":0},"total_tokens":3}}"#
            )
        );
    }

    #[test]
    fn what_was_asked_for_is_echoed_and_readable_by_a_well_kept_client() {
        let body = json!({
            "parallel_tool_calls": false, "max_output_tokens": 9, "metadata": {"a": "b"}, "tool_choice": {"type": "function", "name": "f"},
            "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}}},
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "b": 1, "a": 2}, "strict": false}],
        });
        let heard = Heard {
            calls: vec![call("f", CallKind::Function, "{\"x")],
            finish: Finish::Length,
            ..Heard::default()
        };
        let json = script(&body).whole(answer(vec![heard]));
        serde_json::from_slice::<Response>(&json).unwrap();
        let response: Value = serde_json::from_slice(&json).unwrap();
        for key in ["parallel_tool_calls", "max_output_tokens", "metadata", "tool_choice", "text", "tools"] {
            assert_eq!(response[key].to_string(), body[key].to_string(), "{key}");
        }
        assert_eq!(response["status"], "incomplete");
        assert_eq!(response["incomplete_details"], json!({"reason": "max_output_tokens"}));
        assert_eq!(response["output"][0]["arguments"], "{\"x");
        assert_eq!(response["output"][0]["status"], "incomplete");
    }

    #[test]
    fn a_stream_that_waits_counts_on() {
        let mut script = script(&json!({}));
        let mut stream = script.opening();
        stream.extend(script.beat());
        stream.extend(script.beat());
        let mut speaking = script.speak(answer(vec![Heard { text: Some("hi".into()), ..Heard::default() }]));
        stream.extend(speaking.next_batch(usize::MAX).unwrap());
        let kinds: Vec<_> =
            events(&stream, 0).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
        assert_eq!(
            kinds[..5],
            [
                "response.created",
                "response.in_progress",
                "response.in_progress",
                "response.in_progress",
                "response.output_item.added"
            ]
        );
        assert_eq!(kinds.last().unwrap(), "response.completed");
    }

    #[test]
    fn a_failures_code_says_whether_to_ask_again() {
        let cases = [
            ("insufficient_quota", Repeat::Never, "insufficient_quota"),
            ("context_length_exceeded", Repeat::Never, "context_length_exceeded"),
            ("rate_limit_exceeded", Repeat::Never, "rate_limit_exceeded"),
            ("backend_unreachable", Repeat::Free, "server_error"),
            ("answer_lost", Repeat::Never, "invalid_prompt"),
        ];
        for (code, repeat, expected) in cases {
            let mut script = script(&json!({}));
            let mut stream = script.opening();
            stream.extend(script.failure(&failed(code, repeat)));
            let events = events(&stream, 0);
            let response = &events[2]["response"];
            assert_eq!(
                (&events[2]["type"], &response["status"]),
                (&json!("response.failed"), &json!("failed"))
            );
            assert_eq!(response["error"], json!({"code": expected, "message": "It failed."}));
        }
    }
}
