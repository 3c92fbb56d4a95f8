//! Writing an answer as server-sent events.
//!
//! | event | for each |
//! | --- | --- |
//! | `response.created`, `response.in_progress` | once, if they have not gone out while the answer was waited for |
//! | `response.output_item.added` | item |
//! | `response.content_part.added` | part of a message |
//! | `response.output_text.delta` …, `.annotation.added` …, `.done`, or `response.refusal.delta` …, `.done` | |
//! | `response.content_part.done` | |
//! | `response.function_call_arguments.delta` …, `.done`, or `response.custom_tool_call_input.delta` …, `.done` | call |
//! | `response.output_item.done` | item |
//! | `response.completed` or `response.incomplete` | once, with the whole response |
//!
//! Each has an `event:` line with its type and a `sequence_number`, from 0 on without a gap.
//!
//! Deliberately absent: `[DONE]`, which this API has not, and SSE `id:` lines, on which the Python SDK fails.

use super::object::{Envelope, Status, begin_event, end_event, pair};
use super::output::{Content, Item, Part, Stage, items};
use super::tools::Names;
use crate::anonymous::emulate::answer::CallKind;
use crate::anonymous::emulate::pieces;
use crate::anonymous::face::usage::Tally;
use crate::anonymous::face::{Answer, Events};

/// An answer being streamed.
pub struct ResponseEvents {
    envelope: Envelope,
    items: Vec<Item>,
    status: Status<'static>,
    usage: Tally,
    /// Of the next event.
    sequence: u64,
    next: Next,
}

/// What comes next; numbers are of an item, a part of it, and the bytes of a text or the citations that are out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Created,
    InProgress,
    Item(usize),
    Part(usize, usize),
    Words(usize, usize, usize),
    Citation(usize, usize, usize),
    WordsDone(usize, usize),
    PartDone(usize, usize),
    Arguments(usize, usize),
    ArgumentsDone(usize),
    ItemDone(usize),
    End,
    Nothing,
}

impl ResponseEvents {
    /// The events of `answer`, the first of which has the number `sequence`.
    pub fn new(envelope: Envelope, names: &Names, sequence: u64, answer: Answer) -> Self {
        let Answer { mut choices, usage, .. } = answer;
        let heard = choices.pop().unwrap_or_default();
        let status = Status::of(heard.finish);
        let items = items(heard, names, envelope.suffix());
        let next = if sequence == 0 { Next::Created } else { Next::Item(0) };
        Self { envelope, items, status, usage, sequence, next }
    }

    fn write_response(&mut self, out: &mut Vec<u8>, kind: &str) {
        self.envelope.write_event(out, &mut self.sequence, kind, Status::InProgress, &[], None);
    }

    fn part(&self, at: usize, part: usize) -> Option<&Part> {
        match &self.items[at].content {
            Content::Message(parts) => parts.get(part),
            Content::Call { .. } | Content::Action(_) => None,
        }
    }

    /// An event about a part, whose own fields `write` adds.
    fn about_part(
        &mut self,
        out: &mut Vec<u8>,
        (at, part): (usize, usize),
        kind: &str,
        write: impl FnOnce(&mut Vec<u8>, &Part),
    ) {
        let item = &self.items[at];
        let Content::Message(parts) = &item.content else { return };
        begin_of_item(out, &mut self.sequence, kind, at, item);
        pair(out, "content_index", &part);
        write(out, &parts[part]);
        end_event(out);
    }

    fn write_part(&mut self, out: &mut Vec<u8>, at: usize, part: usize) -> Next {
        if self.part(at, part).is_none() {
            return Next::ItemDone(at);
        }
        self.about_part(out, (at, part), "response.content_part.added", |out, part| {
            out.extend_from_slice(br#","part":"#);
            part.write(out, Stage::Added);
        });
        Next::Words(at, part, 0)
    }

    fn write_words(&mut self, out: &mut Vec<u8>, at: usize, part: usize, said: usize) -> Next {
        let Some(words) = self.part(at, part).map(Part::words) else { return Next::ItemDone(at) };
        let rest = &words[said..];
        if rest.is_empty() {
            return Next::Citation(at, part, 0);
        }
        let end = said + pieces::first(rest);
        let kind = match self.part(at, part) {
            Some(Part::Refusal(_)) => "response.refusal.delta",
            _ => "response.output_text.delta",
        };
        self.about_part(out, (at, part), kind, |out, part| {
            pair(out, "delta", &part.words()[said..end]);
            if let Part::Text { .. } = part {
                out.extend_from_slice(br#","logprobs":[]"#);
            }
        });
        Next::Words(at, part, end)
    }

    fn write_citation(&mut self, out: &mut Vec<u8>, at: usize, part: usize, index: usize) -> Next {
        let citation = match self.part(at, part) {
            Some(Part::Text { annotations, .. }) => annotations.get(index).cloned(),
            _ => None,
        };
        let Some(citation) = citation else { return Next::WordsDone(at, part) };
        self.about_part(out, (at, part), "response.output_text.annotation.added", |out, _| {
            pair(out, "annotation_index", &index);
            pair(out, "annotation", &citation);
        });
        Next::Citation(at, part, index + 1)
    }

    fn write_words_done(&mut self, out: &mut Vec<u8>, at: usize, part: usize) -> Next {
        let kind = match self.part(at, part) {
            Some(Part::Refusal(_)) => "response.refusal.done",
            _ => "response.output_text.done",
        };
        self.about_part(out, (at, part), kind, |out, part| match part {
            Part::Text { text, .. } => {
                pair(out, "text", text);
                out.extend_from_slice(br#","logprobs":[]"#);
            }
            Part::Refusal(refusal) => pair(out, "refusal", refusal),
        });
        Next::PartDone(at, part)
    }

    fn write_part_done(&mut self, out: &mut Vec<u8>, at: usize, part: usize) -> Next {
        self.about_part(out, (at, part), "response.content_part.done", |out, part| {
            out.extend_from_slice(br#","part":"#);
            part.write(out, Stage::Done);
        });
        Next::Part(at, part + 1)
    }

    fn write_arguments(&mut self, out: &mut Vec<u8>, at: usize, said: usize) -> Next {
        let item = &self.items[at];
        let Content::Call { kind, arguments, .. } = &item.content else { return Next::ItemDone(at) };
        let rest = &arguments[said..];
        if rest.is_empty() {
            return Next::ArgumentsDone(at);
        }
        let piece = &rest[..pieces::first(rest)];
        let event = match kind {
            CallKind::Function => "response.function_call_arguments.delta",
            CallKind::Custom => "response.custom_tool_call_input.delta",
        };
        begin_of_item(out, &mut self.sequence, event, at, item);
        pair(out, "delta", piece);
        end_event(out);
        Next::Arguments(at, said + piece.len())
    }

    fn write_arguments_done(&mut self, out: &mut Vec<u8>, at: usize) -> Next {
        let item = &self.items[at];
        let Content::Call { kind, name, arguments, .. } = &item.content else { return Next::ItemDone(at) };
        match kind {
            CallKind::Function => {
                let event = "response.function_call_arguments.done";
                begin_of_item(out, &mut self.sequence, event, at, item);
                pair(out, "name", name);
                pair(out, "arguments", arguments);
            }
            CallKind::Custom => {
                let event = "response.custom_tool_call_input.done";
                begin_of_item(out, &mut self.sequence, event, at, item);
                pair(out, "input", arguments);
            }
        }
        end_event(out);
        Next::ItemDone(at)
    }
}

impl Events for ResponseEvents {
    fn write_next(&mut self, out: &mut Vec<u8>) {
        self.next = match self.next {
            Next::Created => {
                self.write_response(out, "response.created");
                Next::InProgress
            }
            Next::InProgress => {
                self.write_response(out, "response.in_progress");
                Next::Item(0)
            }
            Next::Item(at) => match self.items.get(at) {
                None => Next::End,
                Some(item) => {
                    begin_event(out, &mut self.sequence, "response.output_item.added");
                    write_item(out, at, item, Stage::Added);
                    match item.content {
                        Content::Message(_) => Next::Part(at, 0),
                        Content::Call { .. } => Next::Arguments(at, 0),
                        Content::Action(_) => Next::ItemDone(at),
                    }
                }
            },
            Next::Part(at, part) => self.write_part(out, at, part),
            Next::Words(at, part, said) => self.write_words(out, at, part, said),
            Next::Citation(at, part, index) => self.write_citation(out, at, part, index),
            Next::WordsDone(at, part) => self.write_words_done(out, at, part),
            Next::PartDone(at, part) => self.write_part_done(out, at, part),
            Next::Arguments(at, said) => self.write_arguments(out, at, said),
            Next::ArgumentsDone(at) => self.write_arguments_done(out, at),
            Next::ItemDone(at) => {
                begin_event(out, &mut self.sequence, "response.output_item.done");
                write_item(out, at, &self.items[at], Stage::Done);
                Next::Item(at + 1)
            }
            Next::End => {
                let kind = match self.status {
                    Status::Incomplete(_) => "response.incomplete",
                    _ => "response.completed",
                };
                let usage = self.usage.counts();
                let sequence = &mut self.sequence;
                self.envelope.write_event(out, sequence, kind, self.status, &self.items, Some(&usage));
                Next::Nothing
            }
            Next::Nothing => Next::Nothing,
        };
    }

    fn is_over(&self) -> bool {
        self.next == Next::Nothing
    }
}

/// An event about an item, up to the fields of its own.
fn begin_of_item(out: &mut Vec<u8>, sequence: &mut u64, kind: &str, at: usize, item: &Item) {
    begin_event(out, sequence, kind);
    pair(out, "item_id", &item.id);
    pair(out, "output_index", &at);
}

/// The rest of an event that shows an item.
fn write_item(out: &mut Vec<u8>, at: usize, item: &Item, stage: Stage) {
    pair(out, "output_index", &at);
    out.extend_from_slice(br#","item":"#);
    item.write(out, stage);
    end_event(out);
}

#[cfg(test)]
mod tests {
    use async_openai::types::responses::ResponseStreamEvent;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::super::chat::tests::answer;
    use super::super::object::tests::{events, script};
    use super::super::output::tests::call;
    use super::*;
    use crate::anonymous::emulate::answer::{Finish, Heard, MadeCall};
    use crate::anonymous::face::Script;

    fn stream(body: &Value, heard: Heard, wanted: usize) -> Vec<u8> {
        let mut speaking = script(body).speak(answer(vec![heard]));
        let mut out = Vec::new();
        while let Some(batch) = speaking.next_batch(wanted) {
            assert!(batch.ends_with(b"\n\n"));
            out.extend(batch);
        }
        assert!(speaking.is_over());
        out
    }

    fn kinds(events: &[Value]) -> Vec<&str> {
        events
            .iter()
            .map(|event| event["type"].as_str().unwrap().strip_prefix("response.").unwrap())
            .collect()
    }

    fn said(text: &str) -> Heard {
        Heard { text: Some(text.into()), ..Heard::default() }
    }

    /// What the deltas of these kinds say together.
    fn deltas(events: &[Value], kind: &str) -> String {
        let of_kind = events.iter().filter(|event| event["type"] == format!("response.{kind}.delta"));
        of_kind.map(|event| event["delta"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_stream_is_framed_byte_for_byte_as_openai_frames_it() {
        let response = |status: &str, output: &str, usage: &str| {
            format!(
                concat!(
                    r#"{{"id":"resp_0","object":"response","created_at":7,"status":"{}","background":false,"error":null,"#,
                    r#""incomplete_details":null,"instructions":null,"max_output_tokens":null,"max_tool_calls":null,"#,
                    r#""model":"m","output":[{}],"parallel_tool_calls":true,"previous_response_id":null,"#,
                    r#""reasoning":{{"effort":null,"summary":null}},"store":false,"temperature":null,"#,
                    r#""text":{{"format":{{"type":"text"}}}},"tool_choice":"auto","tools":[],"top_logprobs":0,"#,
                    r#""top_p":null,"truncation":"disabled","user":null,"metadata":{{}},"usage":{}}}"#
                ),
                status, output, usage
            )
        };
        let part = r#"{"type":"output_text","annotations":[],"logprobs":[],"text":"a\n\"b\""}"#;
        let item = |status: &str, content: &str| {
            format!(
                r#"{{"type":"message","id":"msg_000","status":"{status}","role":"assistant","content":[{content}]}}"#
            )
        };
        let place = r#""item_id":"msg_000","output_index":0,"content_index":0"#;
        let usage = concat!(
            r#"{"input_tokens":1,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":2,"#,
            r#""output_tokens_details":{"reasoning_tokens":0},"total_tokens":3}"#
        );
        let waiting = response("in_progress", "", "null");
        let expected = [
            ("created", format!(r#""response":{waiting}"#)),
            ("in_progress", format!(r#""response":{waiting}"#)),
            ("output_item.added", format!(r#""output_index":0,"item":{}"#, item("in_progress", ""))),
            (
                "content_part.added",
                format!(
                    r#"{place},"part":{{"type":"output_text","annotations":[],"logprobs":[],"text":""}}"#
                ),
            ),
            ("output_text.delta", format!(r#"{place},"delta":"a\n\"b\"","logprobs":[]"#)),
            ("output_text.done", format!(r#"{place},"text":"a\n\"b\"","logprobs":[]"#)),
            ("content_part.done", format!(r#"{place},"part":{part}"#)),
            ("output_item.done", format!(r#""output_index":0,"item":{}"#, item("completed", part))),
            (
                "completed",
                format!(r#""response":{}"#, response("completed", &item("completed", part), usage)),
            ),
        ];
        let event = |(number, (kind, rest)): (usize, &(&str, String))| {
            let kind = format!("response.{kind}");
            format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{number},{rest}}}\n\n")
        };
        let expected = expected.iter().enumerate().map(event).collect::<Vec<_>>().concat();
        let stream = stream(&json!({}), said("a\n\"b\""), 1);
        assert_eq!(String::from_utf8(stream).unwrap(), expected);
    }

    #[test]
    fn calls_follow_what_is_said_each_with_its_own_events() {
        let tools = json!({"tools": [{"type": "custom", "name": "c", "format": {"type": "text"}}, {"type": "local_shell"},
            {"type": "namespace", "name": "n", "description": "N.", "tools": [{"type": "function", "name": "f"}]}]});
        let long = format!("{{\"text\":\"{}\"}}", "word ".repeat(60));
        let calls = vec![
            call("n.f", CallKind::Function, &long),
            call("c", CallKind::Custom, "ls"),
            call("local_shell", CallKind::Function, "{\"command\":[\"ls\"]}"),
        ];
        let heard = Heard { calls, finish: Finish::ToolCalls, ..said("I look.") };
        let events = events(&stream(&tools, heard, 1), 0);
        let kinds = kinds(&events);
        let in_order = [
            "output_text.done",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "custom_tool_call_input.delta",
            "custom_tool_call_input.done",
            "completed",
        ];
        let places = in_order.map(|kind| kinds.iter().position(|found| *found == kind).unwrap());
        assert!(places.is_sorted(), "{kinds:?}");
        assert!(kinds.iter().filter(|kind| **kind == "function_call_arguments.delta").count() > 1);
        assert_eq!(deltas(&events, "function_call_arguments"), long);
        assert_eq!(deltas(&events, "custom_tool_call_input"), "ls");
        let done: Vec<_> =
            events.iter().filter(|event| event["type"] == "response.output_item.done").collect();
        assert_eq!((&done[1]["item"]["name"], &done[1]["item"]["namespace"]), (&json!("f"), &json!("n")));
        assert_eq!(done[3]["item"]["type"], "local_shell_call");
        let items: Vec<_> = done.iter().map(|event| event["item"].clone()).collect();
        assert_eq!(events.last().unwrap()["response"]["output"], json!(items));
        for (index, event) in done.iter().enumerate() {
            assert_eq!(event["output_index"], index);
        }
    }

    #[test]
    fn citations_follow_the_text_and_refusals_have_events_of_their_own() {
        let annotations = json!([{"type": "url_citation", "url_citation": {"url": "u"}}]);
        let events_of = |heard| events(&stream(&json!({}), heard, 1), 0);
        let cited = events_of(Heard { annotations: Some(annotations), ..said("see [1]") });
        assert_eq!(
            kinds(&cited)[4..7],
            ["output_text.delta", "output_text.annotation.added", "output_text.done"]
        );
        assert_eq!(cited[5]["annotation"]["url"], "u");
        let refused = events_of(Heard { refusal: Some("no".into()), ..Heard::default() });
        assert_eq!(
            kinds(&refused)[3..7],
            ["content_part.added", "refusal.delta", "refusal.done", "content_part.done"]
        );
        assert_eq!(refused[5]["refusal"], "no");
    }

    #[test]
    fn an_answer_that_was_cut_is_incomplete() {
        let events = events(&stream(&json!({}), Heard { finish: Finish::Length, ..said("cut") }, 1), 0);
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.incomplete");
        assert_eq!(last["response"]["output"][0]["status"], "incomplete");
        assert!(matches!(
            serde_json::from_value(last.clone()).unwrap(),
            ResponseStreamEvent::ResponseIncomplete(_)
        ));
    }

    proptest! {
        #[test]
        fn the_deltas_of_a_stream_are_the_answer(
            text in "(?s:.){0,1500}",
            arguments in "(?s:.){0,600}",
            wanted in 1_usize..20_000,
        ) {
            let made = MadeCall { id: "call_1".into(), name: "f".into(), kind: CallKind::Function, arguments };
            let arguments = made.arguments.clone();
            let heard = Heard { calls: vec![made], finish: Finish::ToolCalls, ..said(&text) };
            let events = events(&stream(&json!({}), heard, wanted), 0);
            prop_assert_eq!(deltas(&events, "output_text"), text);
            prop_assert_eq!(deltas(&events, "function_call_arguments"), arguments);
        }
    }
}
