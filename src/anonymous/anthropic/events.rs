//! A whole answer as the server-sent events of Anthropic's streaming API.
//!
//! | event | says |
//! | --- | --- |
//! | `message_start` | the message without its content; then a `ping` |
//! | for each block: `content_block_start` | its type, of a call its id and name |
//! | one a piece: `content_block_delta` | `text_delta`, or `input_json_delta` |
//! | `content_block_stop` | |
//! | `message_delta` | why it ended, what it cost |
//! | `message_stop` | |
//!
//! Where the answer is waited for, the first two are out before; then their counts are 0, and the last ones hold.

use serde::Serialize;

use super::content::{Block, Message, Usage, blocks, message_id, stop_reason};
use crate::anonymous::emulate::pieces;
use crate::anonymous::face::usage::Tally;
use crate::anonymous::face::{Answer, Events, json};

/// An answer being streamed.
pub struct Stream {
    id: String,
    model: String,
    blocks: Vec<Told>,
    stop_reason: &'static str,
    stop_sequence: Option<String>,
    usage: Tally,
    next: Next,
}

/// What comes next; numbers are of a block, and the bytes of it that are out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Start,
    Block(usize),
    Delta(usize, usize),
    End,
    Stop,
    Nothing,
}

/// A block, and what its deltas say.
enum Told {
    Text(String),
    Call { id: String, name: String, input: String },
}

impl Stream {
    /// The events of `answer`; `has_begun` if [`start`] is out.
    pub(super) fn new(answer: Answer, has_begun: bool) -> Self {
        let Answer { id, created: _, model, choices, usage } = answer;
        let mut heard = choices.into_iter().next().unwrap_or_default();
        let stop_reason = stop_reason(&heard);
        let told = |block| match block {
            Block::Text { text } => Told::Text(text),
            Block::ToolUse { id, name, input } => Told::Call { id, name, input: input.get().to_owned() },
        };
        Self {
            id: message_id(&id),
            model,
            blocks: blocks(&mut heard).into_iter().map(told).collect(),
            stop_reason,
            stop_sequence: heard.stopped_at,
            usage,
            next: if has_begun { Next::Block(0) } else { Next::Start },
        }
    }

    fn follow(&self, out: &mut Vec<u8>) -> Next {
        match self.next {
            Next::Start => {
                out.extend(start(&self.id, &self.model, self.usage.counts().into()));
                out.extend(ping());
                Next::Block(0)
            }
            Next::Block(index) => match self.blocks.get(index) {
                Some(block) => {
                    let content_block = match block {
                        Told::Text(_) => Opened::Text { text: "" },
                        Told::Call { id, name, .. } => Opened::ToolUse { id, name, input: Empty {} },
                    };
                    write(out, &Event::ContentBlockStart { index, content_block });
                    Next::Delta(index, 0)
                }
                None => Next::End,
            },
            Next::Delta(index, said) => self.write_delta(out, index, said),
            Next::End => {
                let stop_sequence = self.stop_sequence.as_deref();
                let delta = Ended { stop_reason: self.stop_reason, stop_sequence };
                write(out, &Event::MessageDelta { delta, usage: self.usage.counts().into() });
                Next::Stop
            }
            Next::Stop => {
                write(out, &Event::MessageStop {});
                Next::Nothing
            }
            Next::Nothing => Next::Nothing,
        }
    }

    fn write_delta(&self, out: &mut Vec<u8>, index: usize, said: usize) -> Next {
        let (Told::Text(text) | Told::Call { input: text, .. }) = &self.blocks[index];
        let rest = &text[said..];
        if rest.is_empty() {
            write(out, &Event::ContentBlockStop { index });
            return Next::Block(index + 1);
        }
        let piece = &rest[..pieces::first(rest)];
        let delta = match &self.blocks[index] {
            Told::Text(_) => Delta::TextDelta { text: piece },
            Told::Call { .. } => Delta::InputJsonDelta { partial_json: piece },
        };
        write(out, &Event::ContentBlockDelta { index, delta });
        Next::Delta(index, said + piece.len())
    }
}

impl Events for Stream {
    fn write_next(&mut self, out: &mut Vec<u8>) {
        self.next = self.follow(out);
    }

    fn is_over(&self) -> bool {
        self.next == Next::Nothing
    }
}

/// The event that a stream begins with.
pub(super) fn start(id: &str, model: &str, usage: Usage) -> Vec<u8> {
    let message = Message {
        id,
        r#type: "message",
        role: "assistant",
        model,
        content: &[],
        stop_reason: None,
        stop_sequence: None,
        usage,
    };
    let mut out = Vec::with_capacity(512);
    write(&mut out, &Event::MessageStart { message });
    out
}

/// The event that says nothing.
pub(super) fn ping() -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    write(&mut out, &Event::Ping {});
    out
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    MessageStart { message: Message<'a> },
    Ping {},
    ContentBlockStart { index: usize, content_block: Opened<'a> },
    ContentBlockDelta { index: usize, delta: Delta<'a> },
    ContentBlockStop { index: usize },
    MessageDelta { delta: Ended<'a>, usage: Usage },
    MessageStop {},
}

impl Event<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::Ping {} => "ping",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop {} => "message_stop",
        }
    }
}

/// A block without its content.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Opened<'a> {
    Text { text: &'static str },
    ToolUse { id: &'a str, name: &'a str, input: Empty },
}

/// `{}`
#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta<'a> {
    TextDelta { text: &'a str },
    InputJsonDelta { partial_json: &'a str },
}

#[derive(Serialize)]
struct Ended<'a> {
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
}

fn write(out: &mut Vec<u8>, event: &Event<'_>) {
    for text in ["event: ", event.name(), "\ndata: "] {
        out.extend_from_slice(text.as_bytes());
    }
    json::write(out, event);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::content::Telling;
    use super::super::content::tests::{answer, calling, said};
    use serde_json::Value;

    use super::*;
    use crate::anonymous::emulate::answer::Heard;
    use crate::anonymous::face::Script;

    fn all(mut stream: Stream, wanted: usize) -> String {
        let mut out = Vec::new();
        while let Some(batch) = stream.next_batch(wanted) {
            assert!(batch.ends_with(b"\n\n"));
            out.extend(batch);
        }
        assert!(stream.is_over());
        String::from_utf8(out).unwrap()
    }

    fn streamed(heard: Heard) -> String {
        all(Stream::new(answer(heard), false), 1)
    }

    /// What each event says; checks that its name is its type.
    fn events(stream: &str) -> Vec<Value> {
        stream
            .split_terminator("\n\n")
            .map(|event| {
                let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
                let data: Value = serde_json::from_str(data).unwrap();
                assert_eq!(data["type"], name);
                data
            })
            .collect()
    }

    const USAGE: &str = r#""usage":{"input_tokens":1,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":2}"#;

    #[test]
    fn a_stream_is_framed_byte_for_byte_as_anthropic_frames_it() {
        let expected = [
            format!(
                r#"{{"type":"message_start","message":{{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,{USAGE}}}}}"#
            ),
            r#"{"type":"ping"}"#.into(),
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.into(),
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\n\"b\""}}"#
                .into(),
            r#"{"type":"content_block_stop","index":0}"#.into(),
            format!(
                r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn","stop_sequence":null}},{USAGE}}}"#
            ),
            r#"{"type":"message_stop"}"#.into(),
        ];
        let names = [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ];
        let framed: Vec<String> = names
            .iter()
            .zip(&expected)
            .map(|(name, data)| format!("event: {name}\ndata: {data}\n\n"))
            .collect();
        assert_eq!(streamed(said("a\n\"b\"")), framed.concat());
    }

    #[test]
    fn a_call_has_its_name_first_and_then_its_input_in_pieces() {
        let long = format!("{{\"text\":\"{}\"}}", "word ".repeat(60));
        let heard = Heard { text: Some("I look.".into()), ..calling(&[("f", &long), ("g", "ls")]) };
        let events = events(&streamed(heard));
        let of = |kind: &str, index: usize| {
            events.iter().filter(|event| event["type"] == kind && event["index"] == index).collect::<Vec<_>>()
        };
        assert_eq!(
            of("content_block_start", 1)[0]["content_block"],
            serde_json::json!({"type": "tool_use", "id": "toolu_f", "name": "f", "input": {}})
        );
        let deltas = of("content_block_delta", 1);
        assert!(deltas.len() > 3, "in pieces");
        let input: String =
            deltas.iter().map(|event| event["delta"]["partial_json"].as_str().unwrap()).collect();
        assert_eq!(input, long);
        assert_eq!(of("content_block_delta", 2)[0]["delta"]["partial_json"], r#"{"_raw":"ls"}"#);
        assert_eq!(of("content_block_stop", 2).len(), 1);
        assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");
    }

    #[test]
    fn what_was_waited_for_goes_on_from_its_opening() {
        let mut telling = Box::new(Telling::new("m".into()));
        let mut stream = String::from_utf8(telling.opening()).unwrap();
        stream.push_str(std::str::from_utf8(&telling.beat()).unwrap());
        let mut rest = telling.speak(answer(said("late")));
        while let Some(batch) = rest.next_batch(1) {
            stream.push_str(std::str::from_utf8(&batch).unwrap());
        }
        let events = events(&stream);
        let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            [
                "message_start",
                "ping",
                "ping",
                "content_block_start",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop"
            ]
        );
        assert_eq!(events[0]["message"]["usage"]["input_tokens"], 0);
        assert_eq!(events[6]["usage"]["input_tokens"], 1);
        assert!(events[0]["message"]["id"].as_str().unwrap().starts_with("msg_"));
    }

    proptest! {
        #[test]
        fn the_deltas_of_a_stream_are_the_answer(text in "(?s:.){0,1500}", wanted in 1_usize..20_000) {
            let stream = all(Stream::new(answer(said(&text)), false), wanted);
            let said: String =
                events(&stream).iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
            prop_assert_eq!(said, text);
        }
    }
}
