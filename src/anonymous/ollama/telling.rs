//! Writing an answer: whole here, as a stream in [`lines`](super::lines).

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::RawValue;

use super::error;
use super::lines::Lines;
use crate::anonymous::emulate::answer::{Finish, Heard, MadeCall};
use crate::anonymous::face::error::ErrorObject;
use crate::anonymous::face::json::to_vec;
use crate::anonymous::face::time::rfc3339;
use crate::anonymous::face::toolset::arguments_object;
use crate::anonymous::face::usage::Tally;
use crate::anonymous::face::{Answer, Events, Script};
use crate::clock::Timestamp;

/// When a request came.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the clock.
    pub at: Timestamp,
    /// For durations.
    pub started: Instant,
}

/// Where the text of an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In a `message`.
    Chat,
    /// In `response`.
    Generation,
}

/// How one answer is written.
pub struct Telling {
    form: Form,
    model: String,
    now: Moment,
}

impl Telling {
    /// Of `model`, as the client spells it, to a request of `now`.
    pub fn new(form: Form, model: String, now: Moment) -> Self {
        Self { form, model, now }
    }

    fn head(&self) -> Head<'_> {
        Head { model: &self.model, created_at: rfc3339(self.now.at) }
    }

    fn empty(&self) -> Vec<u8> {
        let mut line = to_vec(&Line { head: self.head(), said: Said::text(self.form, ""), done: false });
        line.push(b'\n');
        line
    }
}

impl Script for Telling {
    fn whole(self: Box<Self>, answer: Answer) -> Vec<u8> {
        to_json(&self.head(), self.form, answer, self.now.started.elapsed())
    }

    /// A line that says nothing, so that the headers go out.
    fn opening(&mut self) -> Vec<u8> {
        self.empty()
    }

    /// The same: there is no other sign of life that clients do not stumble on.
    fn beat(&mut self) -> Vec<u8> {
        self.empty()
    }

    fn speak(self: Box<Self>, answer: Answer) -> Box<dyn Events> {
        Box::new(Lines::new(&self.head(), self.form, answer, self.now.started.elapsed()))
    }

    fn failure(&mut self, error: &ErrorObject) -> Vec<u8> {
        error::line(error)
    }
}

/// What a request to load `model`, or to let it go, is answered with.
pub(super) fn loaded(model: &str, form: Form, now: Moment, done_reason: &'static str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Loaded<'a> {
        #[serde(flatten)]
        line: Line<'a>,
        done_reason: &'static str,
    }
    let head = Head { model, created_at: rfc3339(now.at) };
    to_vec(&Loaded { line: Line { head, said: Said::text(form, ""), done: true }, done_reason })
}

/// What every object begins with.
#[derive(Serialize)]
pub(super) struct Head<'a> {
    pub(super) model: &'a str,
    pub(super) created_at: String,
}

/// An object without an end.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    said: Said<'a>,
    done: bool,
}

/// What is said in one object: one of both. No enum: serde would take arguments apart in flattening it.
#[derive(Serialize)]
pub(super) struct Said<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [ToolCall<'a>],
}

#[derive(Serialize)]
pub(super) struct ToolCall<'a> {
    id: &'a str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    index: usize,
    name: &'a str,
    arguments: Box<RawValue>,
}

/// The end of an answer.
///
/// What of the time was spent on what is not known here: it all counts for both, and there was nothing to load.
#[derive(Serialize)]
pub(super) struct End {
    done: bool,
    done_reason: &'static str,
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: u64,
    prompt_eval_duration: u64,
    eval_count: u64,
    eval_duration: u64,
}

impl<'a> Said<'a> {
    /// A text, and nothing else.
    pub(super) fn text(form: Form, text: &'a str) -> Self {
        Self::calling(form, text, &[])
    }

    /// Calls, beside a text.
    pub(super) fn calling(form: Form, content: &'a str, tool_calls: &'a [ToolCall<'a>]) -> Self {
        match form {
            Form::Chat => {
                Self { message: Some(Message { role: "assistant", content, tool_calls }), response: None }
            }
            // It is offered no tools.
            Form::Generation => Self { message: None, response: Some(content) },
        }
    }
}

impl End {
    /// Of an answer that ended by `finish`, cost `usage` and took `took`.
    pub(super) fn new(finish: Finish, usage: &Tally, took: Duration) -> Self {
        let counts = usage.counts();
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        Self {
            done: true,
            done_reason: if finish == Finish::Length { "length" } else { "stop" },
            total_duration: nanoseconds,
            load_duration: 0,
            prompt_eval_count: counts.prompt_tokens,
            prompt_eval_duration: nanoseconds,
            eval_count: counts.completion_tokens,
            eval_duration: nanoseconds,
        }
    }
}

/// What is said; an empty text does not hide a refusal.
pub(super) fn text_of(heard: &Heard) -> &str {
    let text = heard.text.as_deref().filter(|text| !text.is_empty());
    text.or(heard.refusal.as_deref()).unwrap_or_default()
}

/// Calls in Ollama's form.
pub(super) fn calls_of<'a>(calls: &'a [MadeCall]) -> Vec<ToolCall<'a>> {
    let call = |(index, call): (usize, &'a MadeCall)| {
        let MadeCall { id, name, kind: _, arguments } = call;
        ToolCall { id, function: Function { index, name, arguments: arguments_object(arguments) } }
    };
    calls.iter().enumerate().map(call).collect()
}

fn to_json(head: &Head<'_>, form: Form, answer: Answer, took: Duration) -> Vec<u8> {
    #[derive(Serialize)]
    struct Whole<'a> {
        model: &'a str,
        created_at: &'a str,
        #[serde(flatten)]
        said: Said<'a>,
        #[serde(flatten)]
        end: End,
    }
    let choice = answer.choices.into_iter().next().unwrap_or_default();
    let calls = calls_of(&choice.calls);
    to_vec(&Whole {
        model: head.model,
        created_at: &head.created_at,
        said: Said::calling(form, text_of(&choice), &calls),
        end: End::new(choice.finish, &answer.usage, took),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::anonymous::emulate::answer::CallKind;
    use crate::anonymous::emulate::tokens::Family;
    use crate::anonymous::face::usage::{Question, Told, Usage};

    /// An answer of this choice.
    pub(in super::super) fn answer(heard: Heard) -> Answer {
        let usage = Usage { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3, ..Usage::default() };
        let messages: Arc<RawValue> = RawValue::from_string("[]".into()).unwrap().into();
        Answer {
            id: "chatcmpl-1".into(),
            created: 9,
            model: "m".into(),
            choices: vec![heard],
            usage: Tally::new(Family::OpenAi, vec![Question { messages, answers: vec![Told::Given(usage)] }]),
        }
    }

    pub(in super::super) fn head() -> Head<'static> {
        Head { model: "m", created_at: "2026-11-25T12:00:00Z".into() }
    }

    pub(in super::super) fn calling() -> Heard {
        let call = |name: &str, arguments: &str| MadeCall {
            id: format!("call_{name}"),
            name: name.into(),
            kind: CallKind::Function,
            arguments: arguments.into(),
        };
        let calls = vec![call("f", "{\"a\":\n1.10}"), call("g", "ls")];
        Heard { calls, finish: Finish::ToolCalls, ..Heard::default() }
    }

    fn written(form: Form, heard: Heard) -> String {
        String::from_utf8(to_json(&head(), form, answer(heard), Duration::from_nanos(5))).unwrap()
    }

    const END: &str = r#""total_duration":5,"load_duration":0,"prompt_eval_count":1,"prompt_eval_duration":5,"eval_count":2,"eval_duration":5}"#;

    #[test]
    fn an_answer_is_written_as_ollama_writes_it() {
        let cut = || Heard { text: Some("hi".into()), finish: Finish::Length, ..Heard::default() };
        let head = r#"{"model":"m","created_at":"2026-11-25T12:00:00Z","#;
        let done = r#","done":true,"done_reason":"length","#;
        assert_eq!(
            written(Form::Chat, cut()),
            format!(r#"{head}"message":{{"role":"assistant","content":"hi"}}{done}{END}"#)
        );
        assert_eq!(written(Form::Generation, cut()), format!(r#"{head}"response":"hi"{done}{END}"#));
        let refused = Heard { text: Some(String::new()), refusal: Some("no".into()), ..Heard::default() };
        assert!(written(Form::Chat, refused).contains(r#""content":"no""#));
    }

    #[test]
    fn calls_have_objects_for_arguments() {
        assert!(written(Form::Chat, calling()).contains(
            r#""content":"","tool_calls":[{"id":"call_f","function":{"index":0,"name":"f","arguments":{"a":1.10}}},{"id":"call_g","function":{"index":1,"name":"g","arguments":{"_raw":"ls"}}}]},"done":true,"done_reason":"stop""#
        ));
    }

    #[test]
    fn a_sign_of_life_says_nothing() {
        let now = Moment { at: Timestamp::from_unix(0), started: Instant::now() };
        let mut telling = Telling::new(Form::Chat, "m".into(), now);
        let line = "{\"model\":\"m\",\"created_at\":\"1970-01-01T00:00:00Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":false}\n";
        assert_eq!(String::from_utf8(telling.opening()).unwrap(), line);
        assert_eq!(String::from_utf8(telling.beat()).unwrap(), line);
    }
}
