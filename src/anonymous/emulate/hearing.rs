//! From what the model said to what the client is told: the way of an answer through everything that was asked of
//! it.
//!
//! | step | what |
//! | --- | --- |
//! | length | the text is cut behind its last token that fits |
//! | calls | where tools are on offer, calls are read out of it |
//! | stop | what was said beside calls ends before the first stop sequence; those behind it are not made, those before it are |
//! | form | where there are no calls and a form was asked for, it is brought into that |
//! | stop | so does what is left as text |
//!
//! A refusal goes through untouched. Nothing is invented, and nothing that was cut is completed.

use super::answer::{Conformity, Finish, Given, Heard, MadeCall};
use super::ask::{Choice, Format, Toolset};
use super::tokens::Family;
use super::tools::{self, Ending};
use super::{conversation, format};

/// How an answer is to be heard. No `Debug`: tools and schemas are part of the prompt.
pub struct Reading {
    pub(super) toolset: Toolset,
    pub(super) format: Format,
    pub(super) stop: Vec<String>,
    pub(super) most_tokens: Option<u64>,
    pub(super) family: Family,
    /// Of the conversation: what makes ids of calls the same for the same answer.
    pub(super) seed: [u8; 32],
}

impl Reading {
    /// Models of which family are heard.
    pub fn family(&self) -> Family {
        self.family
    }

    /// How long an answer may be, in the model's own tokens.
    pub fn most_tokens(&self) -> Option<u64> {
        self.most_tokens
    }

    /// Hears one answer.
    pub fn hear(&self, given: Given) -> Heard {
        let Given { text, refusal, annotations, finish } = given;
        let Some(mut text) = text.filter(|_| refusal.is_none()) else {
            return Heard { refusal, annotations, finish, ..Heard::default() };
        };
        let length = text.len();
        let mut finish = finish;
        if let Some(end) = self.most_tokens.and_then(|most| self.family.cut(&text, most)) {
            text.truncate(end);
            finish = Finish::Length;
        }
        let ending = if finish == Finish::Stop { Ending::Whole } else { Ending::Cut };
        let mut heard = self.read(text, ending);
        if heard.calls.is_empty()
            && let Some(text) = &mut heard.text
            && let Some((end, stop)) = tools::first_stop(&self.stop, text)
        {
            text.truncate(end);
            heard.stopped_at = Some(stop.clone());
            // It may have ended in the middle of what had its form.
            if heard.conformity == Conformity::Kept {
                heard.conformity = format::read(&self.format, text).1;
            }
        }
        if heard.stopped_at.is_some() {
            finish = Finish::Stop;
        }
        heard.finish = match finish {
            Finish::Stop if !heard.calls.is_empty() => {
                heard.stopped_at = None;
                Finish::ToolCalls
            }
            other => other,
        };
        if heard.text.as_ref().is_some_and(|text| text.len() == length) {
            heard.annotations = annotations;
        }
        if heard.calls.is_empty() && heard.text.is_none() {
            heard.text = Some(String::new());
        }
        heard
    }

    fn read(&self, text: String, ending: Ending) -> Heard {
        let (mut complaint, mut stopped_at) = (None, None);
        let (text, calls) = if self.toolset.tools.is_empty() || self.toolset.choice == Choice::None {
            (text, Vec::new())
        } else {
            let parsed = tools::parse_until(&text, &self.toolset, ending, &self.stop);
            complaint = tools::repair_prompt(&parsed, &self.toolset);
            stopped_at = parsed.stopped_at;
            (parsed.text, parsed.calls)
        };
        if calls.is_empty() {
            let (text, conformity) = match self.format {
                Format::Text => (text, Conformity::Kept),
                Format::JsonObject | Format::Schema(_) => format::read(&self.format, &text),
            };
            let conformity = match (conformity, complaint) {
                (Conformity::Kept, Some(complaint)) => Conformity::Miscalled(complaint),
                (conformity, _) => conformity,
            };
            return Heard { text: Some(text), conformity, stopped_at, ..Heard::default() };
        }
        let calls = calls.into_iter().enumerate().map(|(index, call)| MadeCall {
            id: tools::id(&self.seed, index, &call.name, &call.arguments),
            name: call.name,
            kind: call.kind,
            arguments: call.arguments,
        });
        Heard {
            text: Some(text).filter(|text| !text.trim().is_empty()),
            calls: calls.collect(),
            stopped_at,
            conformity: complaint.map_or(Conformity::Kept, Conformity::Miscalled),
            ..Heard::default()
        }
    }

    /// What there is to say about calls where none was made.
    fn missing_call(&self, heard: &Heard) -> Option<String> {
        let none = tools::Parsed { text: String::new(), calls: Vec::new(), stopped_at: None };
        heard.calls.is_empty().then(|| tools::repair_prompt(&none, &self.toolset))?
    }

    /// What to say to the model after an answer that has not the form it should have: its own words, and what is wrong
    /// with them. `None` where nothing is, or where it was cut: asked again, it would be cut again.
    pub fn second_try(&self, said: &str, heard: &Heard) -> Option<[conversation::Turn; 2]> {
        if matches!(heard.finish, Finish::Length | Finish::ContentFilter) {
            return None;
        }
        let complaint = match &heard.conformity {
            Conformity::Kept => return None,
            // Where there should be a call, its form comes after it.
            Conformity::Violated(_) => {
                self.missing_call(heard).or_else(|| format::repair_prompt(&self.format, &heard.conformity))?
            }
            Conformity::Miscalled(complaint) => complaint.clone(),
        };
        let text = |text: &str| conversation::Said {
            name: None,
            parts: vec![conversation::Part::Text(text.to_owned())],
        };
        let own = conversation::Turn::Assistant { said: text(said), calls: Vec::new() };
        Some([own, conversation::Turn::User(text(&complaint))])
    }
}

#[cfg(test)]
mod tests {
    use super::super::ask::{Input, Tool};
    use super::*;

    fn reading() -> Reading {
        Reading {
            toolset: Toolset::default(),
            format: Format::Text,
            stop: Vec::new(),
            most_tokens: None,
            family: Family::OpenAi,
            seed: [7; 32],
        }
    }

    fn given(text: &str) -> Given {
        Given { text: Some(text.into()), annotations: Some(serde_json::json!([{}])), ..Given::default() }
    }

    #[test]
    fn a_plain_answer_is_told_to_the_letter() {
        let heard = reading().hear(given(" a <tool_call> b"));
        assert_eq!(heard.text.as_deref(), Some(" a <tool_call> b"));
        assert!(heard.finish == Finish::Stop && heard.annotations.is_some());
    }

    #[test]
    fn an_answer_ends_before_its_first_stop_sequence() {
        let reading = Reading { stop: vec!["END".into(), "STOP".into()], ..reading() };
        let heard = reading.hear(given("one STOP two END"));
        assert_eq!(heard.text.as_deref(), Some("one "));
        assert!(heard.finish == Finish::Stop && heard.annotations.is_none());
        assert_eq!(heard.stopped_at.as_deref(), Some("STOP"));
        assert_eq!(reading.hear(given("nothing")).stopped_at, None);
    }

    #[test]
    fn a_stop_sequence_ends_what_follows_it_and_not_the_calls_before_it() {
        let call = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
        let tool = Tool { name: "f".into(), description: None, input: Input::Json { schema: None } };
        let toolset = Toolset { tools: vec![tool], ..Toolset::default() };
        let reading = Reading { toolset, stop: vec!["Observation:".into(), "STOP".into()], ..reading() };
        let cases = [
            (format!("{call}\nObservation: sunny"), None, 1),
            (format!("I look.\n{call}\nIt is Observation: sunny\n{call}"), Some("I look.\n\nIt is "), 1),
            (format!("{call}\n{call}\nObservation: sunny\n{call}"), None, 2),
            (format!("Wait. STOP\n{call}"), Some("Wait. "), 0),
            (format!("STOP\n{call}"), Some(""), 0),
        ];
        for (text, left, calls) in cases {
            let heard = reading.hear(given(&text));
            assert_eq!((heard.text.as_deref(), heard.calls.len()), (left, calls), "{text}");
            assert!(heard.conformity == Conformity::Kept);
            // Why it ended is said once.
            assert_eq!(heard.stopped_at.is_some(), calls == 0);
            assert_eq!(heard.finish, if calls > 0 { Finish::ToolCalls } else { Finish::Stop });
        }
        // The line break that stands behind the call is a part of it.
        let broken = Reading { stop: vec!["\nObservation".into()], ..reading };
        let heard = broken.hear(given(&format!("{call}\nObservation: sunny")));
        assert_eq!((heard.text, heard.calls.len()), (None, 1));
        let reading = Reading { stop: vec!["STOP".into()], ..broken };
        let bare = "{\"name\": \"f\", \"arguments\": {}}";
        for text in [format!("{bare}\nSTOP: sunny"), format!("```json\n{bare}\n```\nSTOP")] {
            let heard = reading.hear(given(&text));
            assert_eq!((heard.text, heard.calls.len()), (None, 1), "{text}");
        }
        let heard = reading.hear(given(&call.replace("{}", "{\"a\": \"STOP\"}")));
        assert_eq!((heard.calls.len(), heard.stopped_at), (1, None));
    }

    #[test]
    fn a_form_that_is_not_kept_is_said_whatever_took_it() {
        let reading = Reading { format: Format::JsonObject, stop: vec!["}".into()], ..reading() };
        let heard = reading.hear(given("{\"a\": {\"b\": 1}, \"c\": 2}"));
        assert_eq!(heard.text.as_deref(), Some("{\"a\": {\"b\": 1"));
        assert!(matches!(heard.conformity, Conformity::Violated(_)));

        let tool = Tool { name: "f".into(), description: None, input: Input::Json { schema: None } };
        let toolset = Toolset { tools: vec![tool], choice: Choice::Required, ..Toolset::default() };
        let reading = Reading { toolset, stop: Vec::new(), ..reading };
        let heard = reading.hear(given("just text"));
        assert!(matches!(heard.conformity, Conformity::Violated(_)));
        let Some([_, conversation::Turn::User(said)]) = reading.second_try("just text", &heard) else {
            panic!("nothing to say")
        };
        assert!(
            matches!(&said.parts[..], [conversation::Part::Text(text)] if text.contains("at least one is required"))
        );
        assert!(matches!(reading.hear(given("{\"a\": 1}")).conformity, Conformity::Miscalled(_)));
    }

    #[test]
    fn an_answer_that_is_too_long_is_cut_and_says_so_unless_a_stop_came_first() {
        let cut = |stop: &[&str]| {
            let stop = stop.iter().map(|stop| (*stop).to_owned()).collect();
            Reading { most_tokens: Some(2), stop, ..reading() }.hear(given("hello world again"))
        };
        let heard = cut(&[]);
        assert_eq!((heard.text.as_deref(), heard.finish), (Some("hello world"), Finish::Length));
        let heard = cut(&[" world"]);
        assert_eq!((heard.text.as_deref(), heard.finish), (Some("hello"), Finish::Stop));
        assert_eq!(cut(&["again"]).finish, Finish::Length);
    }

    #[test]
    fn a_refusal_goes_through() {
        let given = Given { refusal: Some("no".into()), ..Given::default() };
        let heard = Reading { most_tokens: Some(1), ..reading() }.hear(given);
        assert_eq!((heard.text, heard.refusal.as_deref()), (None, Some("no")));
    }
}
