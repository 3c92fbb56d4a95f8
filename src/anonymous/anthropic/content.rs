//! Writing a message: whole here, as a stream in [`events`](super::events).
//!
//! | what came | block |
//! | --- | --- |
//! | text, or why there is none | one `text` block, also where it is empty and there are no calls |
//! | a call | a `tool_use` block; `toolu_` and the letters of the call's own id |
//!
//! Arguments that are no JSON object stand as they are in [`RAW`](crate::anonymous::face::toolset::RAW).

use serde::Serialize;
use serde_json::value::RawValue;

use super::error;
use super::events::{Stream, ping, start};
use crate::anonymous::emulate::answer::{Finish, Heard, MadeCall};
use crate::anonymous::face::error::ErrorObject;
use crate::anonymous::face::json::to_vec;
use crate::anonymous::face::provider::new_id;
use crate::anonymous::face::toolset::arguments_object;
use crate::anonymous::face::usage;
use crate::anonymous::face::{Answer, Events, Script};

/// How one message is written.
pub struct Telling {
    model: String,
    /// The id that the stream began with.
    begun: Option<String>,
}

impl Telling {
    /// By `model`, as the client spells it.
    pub fn new(model: String) -> Self {
        Self { model, begun: None }
    }
}

impl Script for Telling {
    fn whole(self: Box<Self>, answer: Answer) -> Vec<u8> {
        to_json(answer)
    }

    /// The message begins before anything is known of it; what it cost is said at its end.
    fn opening(&mut self) -> Vec<u8> {
        let id = self.begun.insert(new_id("msg_"));
        let mut out = start(id, &self.model, Usage::default());
        out.extend(ping());
        out
    }

    fn beat(&mut self) -> Vec<u8> {
        ping()
    }

    fn speak(self: Box<Self>, answer: Answer) -> Box<dyn Events> {
        Box::new(Stream::new(answer, self.begun.is_some()))
    }

    fn failure(&mut self, error: &ErrorObject) -> Vec<u8> {
        error::event(error)
    }
}

/// What stands in a message.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block {
    Text { text: String },
    ToolUse { id: String, name: String, input: Box<RawValue> },
}

#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub(super) id: &'a str,
    pub(super) r#type: &'static str,
    pub(super) role: &'static str,
    pub(super) model: &'a str,
    pub(super) content: &'a [Block],
    pub(super) stop_reason: Option<&'static str>,
    pub(super) stop_sequence: Option<&'a str>,
    pub(super) usage: Usage,
}

/// Token counts; nothing is cached.
#[expect(clippy::struct_field_names, reason = "they are Anthropic's")]
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Usage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
}

impl From<usage::Usage> for Usage {
    fn from(usage: usage::Usage) -> Self {
        Self { input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens, ..Self::default() }
    }
}

/// What came, as blocks.
pub(super) fn blocks(heard: &mut Heard) -> Vec<Block> {
    let said = heard.text.take().filter(|text| !text.is_empty()).or_else(|| heard.refusal.take());
    let calls = std::mem::take(&mut heard.calls);
    // Many a client looks at the first block without looking whether there is one.
    let text = said.or_else(|| calls.is_empty().then(String::new));
    text.map(|text| Block::Text { text }).into_iter().chain(calls.into_iter().map(call)).collect()
}

fn call(call: MadeCall) -> Block {
    let MadeCall { id, name, kind: _, arguments } = call;
    let id = format!("toolu_{}", id.strip_prefix("call_").unwrap_or(&id));
    Block::ToolUse { id, name, input: arguments_object(&arguments) }
}

/// Anthropic's word for why an answer ended.
pub(super) fn stop_reason(heard: &Heard) -> &'static str {
    match heard.finish {
        Finish::Stop if heard.refusal.is_some() => "refusal",
        Finish::Stop if heard.stopped_at.is_some() => "stop_sequence",
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::ContentFilter => "refusal",
        Finish::ToolCalls => "tool_use",
    }
}

/// The message's id, made of the answer's.
pub(super) fn message_id(id: &str) -> String {
    format!("msg_{}", id.strip_prefix("chatcmpl-").unwrap_or(id))
}

fn to_json(answer: Answer) -> Vec<u8> {
    let Answer { id, created: _, model, choices, usage } = answer;
    let mut heard = choices.into_iter().next().unwrap_or_default();
    let stop_reason = Some(stop_reason(&heard));
    let content = blocks(&mut heard);
    to_vec(&Message {
        id: &message_id(&id),
        r#type: "message",
        role: "assistant",
        model: &model,
        content: &content,
        stop_reason,
        stop_sequence: heard.stopped_at.as_deref(),
        usage: usage.counts().into(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::anonymous::emulate::answer::CallKind;
    use crate::anonymous::emulate::tokens::Family;
    use crate::anonymous::face::usage::{Question, Tally, Told};

    /// An answer of this choice.
    pub(in super::super) fn answer(heard: Heard) -> Answer {
        let usage = usage::Usage {
            prompt_tokens: 1,
            completion_tokens: 2,
            total_tokens: 3,
            ..usage::Usage::default()
        };
        let messages: Arc<RawValue> = RawValue::from_string("[]".into()).unwrap().into();
        Answer {
            id: "chatcmpl-1".into(),
            created: 9,
            model: "m".into(),
            choices: vec![heard],
            usage: Tally::new(Family::OpenAi, vec![Question { messages, answers: vec![Told::Given(usage)] }]),
        }
    }

    pub(in super::super) fn calling(calls: &[(&str, &str)]) -> Heard {
        let call = |(name, arguments): &(&str, &str)| MadeCall {
            id: format!("call_{name}"),
            name: (*name).into(),
            kind: CallKind::Function,
            arguments: (*arguments).into(),
        };
        Heard { calls: calls.iter().map(call).collect(), finish: Finish::ToolCalls, ..Heard::default() }
    }

    pub(in super::super) fn said(text: &str) -> Heard {
        Heard { text: Some(text.into()), ..Heard::default() }
    }

    fn written(heard: Heard) -> String {
        String::from_utf8(to_json(answer(heard))).unwrap()
    }

    const USAGE: &str = r#""usage":{"input_tokens":1,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":2}}"#;

    #[test]
    fn a_message_is_written_as_anthropic_writes_it() {
        assert_eq!(
            written(said("hi")),
            format!(
                r#"{{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{{"type":"text","text":"hi"}}],"stop_reason":"end_turn","stop_sequence":null,{USAGE}"#
            )
        );
    }

    #[test]
    fn calls_are_blocks_with_objects_for_input() {
        let heard = Heard { text: Some("I look.".into()), ..calling(&[("f", "{\"a\": 1.10}"), ("g", "ls")]) };
        assert!(written(heard).contains(
            r#""content":[{"type":"text","text":"I look."},{"type":"tool_use","id":"toolu_f","name":"f","input":{"a":1.10}},{"type":"tool_use","id":"toolu_g","name":"g","input":{"_raw":"ls"}}],"stop_reason":"tool_use""#
        ));
        assert!(written(calling(&[("f", "{}")])).contains(r#""content":[{"type":"tool_use""#));
    }

    #[test]
    fn why_it_ended_has_a_word() {
        let stopped = Heard { stopped_at: Some("END".into()), ..said("a") };
        assert!(written(stopped).contains(r#""stop_reason":"stop_sequence","stop_sequence":"END""#));
        let cut = Heard { finish: Finish::Length, ..said("a") };
        assert!(written(cut).contains(r#""stop_reason":"max_tokens""#));
        let refused = Heard { refusal: Some("no".into()), ..said("") };
        assert!(written(refused).contains(r#"[{"type":"text","text":"no"}],"stop_reason":"refusal""#));
        assert!(written(said("")).contains(r#""content":[{"type":"text","text":""}]"#));
    }
}
