//! A whole answer as the lines of Ollama's streaming API: one JSON object each.
//!
//! | line | says | `done` |
//! | --- | --- | --- |
//! | one a piece of text | `message.content`, or `response` | false |
//! | one for all calls, where there are any | `message.tool_calls` | false |
//! | end | nothing; why it ended, what it cost, how long it took | true |
//!
//! `model` and `created_at` are the same in all of them.

use std::time::Duration;

use super::telling::{End, Form, Head, Said, calls_of, text_of};
use crate::anonymous::emulate::answer::Heard;
use crate::anonymous::emulate::pieces;
use crate::anonymous::face::usage::Tally;
use crate::anonymous::face::{Answer, Events, json};

/// An answer being streamed.
pub struct Lines {
    /// `{"model":…,"created_at":…,`: what every line begins with.
    beginning: Vec<u8>,
    form: Form,
    heard: Heard,
    usage: Tally,
    took: Duration,
    next: Next,
}

/// What comes next; the number is of the bytes of the text that are out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Text(usize),
    End,
    Nothing,
}

impl Lines {
    pub(super) fn new(head: &Head<'_>, form: Form, answer: Answer, took: Duration) -> Self {
        let mut beginning = json::to_vec(head);
        // Left open: every line goes on from here.
        beginning.pop();
        beginning.push(b',');
        let choice = answer.choices.into_iter().next().unwrap_or_default();
        Self { beginning, form, heard: choice, usage: answer.usage, took, next: Next::Text(0) }
    }

    fn follow(&self, out: &mut Vec<u8>) -> Next {
        match self.next {
            Next::Text(said) => {
                let rest = &text_of(&self.heard)[said..];
                if !rest.is_empty() {
                    let piece = &rest[..pieces::first(rest)];
                    self.write_said(out, &Said::text(self.form, piece));
                    return Next::Text(said + piece.len());
                }
                if self.form == Form::Chat && !self.heard.calls.is_empty() {
                    let calls = calls_of(&self.heard.calls);
                    self.write_said(out, &Said::calling(self.form, "", &calls));
                }
                Next::End
            }
            Next::End => {
                self.write_open(out, &Said::text(self.form, ""));
                out.push(b',');
                let end = json::to_vec(&End::new(self.heard.finish, &self.usage, self.took));
                out.extend_from_slice(&end[1..]);
                out.push(b'\n');
                Next::Nothing
            }
            Next::Nothing => Next::Nothing,
        }
    }

    fn write_said(&self, out: &mut Vec<u8>, said: &Said<'_>) {
        self.write_open(out, said);
        out.extend_from_slice(b",\"done\":false}\n");
    }

    /// An object that lacks its end.
    fn write_open(&self, out: &mut Vec<u8>, said: &Said<'_>) {
        out.extend_from_slice(&self.beginning);
        let said = json::to_vec(said);
        out.extend_from_slice(&said[1..said.len() - 1]);
    }
}

impl Events for Lines {
    fn write_next(&mut self, out: &mut Vec<u8>) {
        self.next = self.follow(out);
    }

    fn is_over(&self) -> bool {
        self.next == Next::Nothing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::telling::tests::{answer, calling, head};
    use super::*;

    fn said(text: &str) -> Heard {
        Heard { text: Some(text.into()), ..Heard::default() }
    }

    fn all(form: Form, heard: Heard, wanted: usize) -> String {
        let mut lines = Lines::new(&head(), form, answer(heard), Duration::from_nanos(5));
        let mut out = Vec::new();
        while let Some(batch) = lines.next_batch(wanted) {
            assert!(batch.ends_with(b"\n"));
            out.extend(batch);
        }
        assert!(lines.is_over());
        String::from_utf8(out).unwrap()
    }

    const HEAD: &str = r#"{"model":"m","created_at":"2026-11-25T12:00:00Z","#;
    const END: &str = r#""done":true,"done_reason":"stop","total_duration":5,"load_duration":0,"prompt_eval_count":1,"prompt_eval_duration":5,"eval_count":2,"eval_duration":5}"#;

    #[test]
    fn a_stream_is_framed_byte_for_byte_as_ollama_frames_it() {
        let expected = [
            format!(r#"{HEAD}"message":{{"role":"assistant","content":"a\n\"b\""}},"done":false}}"#),
            format!(r#"{HEAD}"message":{{"role":"assistant","content":""}},{END}"#),
        ];
        assert_eq!(all(Form::Chat, said("a\n\"b\""), 1), expected.map(|line| line + "\n").concat());
        let expected =
            [format!(r#"{HEAD}"response":"a","done":false}}"#), format!(r#"{HEAD}"response":"",{END}"#)];
        assert_eq!(all(Form::Generation, said("a"), 16_384), expected.map(|line| line + "\n").concat());
    }

    #[test]
    fn calls_stand_in_a_line_of_their_own() {
        let stream = all(Form::Chat, calling(), 1);
        let calls = r#"[{"id":"call_f","function":{"index":0,"name":"f","arguments":{"a":1.10}}},{"id":"call_g","function":{"index":1,"name":"g","arguments":{"_raw":"ls"}}}]"#;
        assert_eq!(
            stream.lines().next().unwrap(),
            format!(
                r#"{HEAD}"message":{{"role":"assistant","content":"","tool_calls":{calls}}},"done":false}}"#
            )
        );
        assert_eq!(stream.lines().count(), 2);
    }

    proptest! {
        #[test]
        fn the_lines_of_a_stream_are_the_answer(text in "(?s:.){0,1500}", wanted in 1_usize..20_000) {
            for (form, pointer) in [(Form::Chat, "/message/content"), (Form::Generation, "/response")] {
                let stream = all(form, said(&text), wanted);
                let lines = stream.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
                let said: String =
                    lines.map(|line| line.pointer(pointer).unwrap().as_str().unwrap().to_owned()).collect();
                prop_assert_eq!(&said, &text);
            }
        }
    }
}
