//! What all faces of the endpoint have in common. A face is an API that clients speak: OpenAI's, Ollama's,
//! Anthropic's.
//!
//! A face reads the body of a request into a [`Call`], and brings a [`Script`] by which the answer is
//! written, whole or as a stream. In between it is not asked: planning, redemption and the reading of the answer are the
//! same for all.
//!
//! | step | who |
//! | --- | --- |
//! | body → [`Call`] | the face's reader |
//! | [`Call::asks`] → messages, answer → [`Heard`] | `emulate` |
//! | messages → the provider's answer | `redeem` |
//! | the provider's answer → `Given` | [`provider`] |
//! | [`Answer`] → bytes | the face's [`Script`] |
//!
//! Deliberately absent: HTTP. Statuses are chosen in `http::error` alone.

pub mod catalog;
pub mod error;
pub mod fields;
pub mod images;
pub mod json;
pub mod provider;
pub mod time;
pub mod toolset;
pub mod usage;
pub mod verbatim;

use crate::anonymous::emulate::answer::Heard;
use crate::anonymous::emulate::ask::Ask;
use error::ErrorObject;
use json::Object;
use usage::Tally;

/// A call as it is understood. No `Debug`: it holds the prompt.
pub struct Call {
    /// The model as the client spells it; the catalog knows which one is meant.
    pub model: String,
    /// What is wanted of it: one question, or the several that one request may have.
    pub asks: Vec<Ask>,
    /// How many answers are wanted to each; each costs a token. At least 1.
    pub copies: usize,
    /// What was asked for beyond that.
    pub ignored: Ignored,
    /// Whole, or as a stream.
    pub manner: Manner,
    /// How the answer is written.
    pub script: Box<dyn Script>,
}

/// What a request may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How many answers at most; each costs a token.
    pub most_choices: usize,
    /// Pictures that are not in the request.
    pub images: Images,
}

/// Pictures that are not in the request, but somewhere on the web.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Images {
    /// Are refused.
    #[default]
    InlineOnly,
    /// Are fetched through Tor.
    Fetched,
}

impl Default for Rules {
    fn default() -> Self {
        Self { most_choices: 8, images: Images::InlineOnly }
    }
}

/// How an answer is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// One object.
    Whole,
    /// Events, one after the other.
    Stream(Framing),
}

/// How the events of a stream are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Events,
    /// One JSON object a line.
    Lines,
}

/// What was asked for, and has no effect here.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Ignored {
    known: Vec<&'static str>,
    /// Parameters that the API does not have, where their names fit into a header.
    unknown: Vec<String>,
    /// Whether there are more: too many, or with names that are none.
    more: bool,
}

/// How many parameters that nobody knows are named.
const MOST_UNKNOWN: usize = 16;

/// Stands for those that are not named.
const OTHERS: &str = "others";

impl Ignored {
    /// A parameter of the API that has no effect.
    pub fn note(&mut self, name: &'static str) {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
    }

    /// A parameter that the API does not have: other servers' APIs do, and their users expect an effect.
    pub fn note_unknown(&mut self, name: &str) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if self.unknown.iter().any(|known| known == name) {
            return;
        }
        if self.unknown.len() < MOST_UNKNOWN && (1..=64).contains(&name.len()) && name.bytes().all(plain) {
            self.unknown.push(name.to_owned());
        } else {
            self.more = true;
        }
    }

    /// What is left of the object at `place`, when all that is known was taken out of it.
    pub fn note_rest(&mut self, place: &str, rest: &Object) {
        for (key, _) in rest.iter().filter(|(_, value)| !value.is_null()) {
            self.note_unknown(&format!("{place}.{key}"));
        }
    }

    /// Their names, in alphabetical order, and then whether there are others.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> =
            self.known.iter().copied().chain(self.unknown.iter().map(String::as_str)).collect();
        names.sort_unstable();
        names.extend(self.more.then_some(OTHERS));
        names
    }

    /// The first one.
    pub fn first(&self) -> Option<&str> {
        self.names().first().copied()
    }
}

/// What came back for a call. No `Debug`: it is the answer.
pub struct Answer {
    /// `chatcmpl-…`: the provider's if it has that form.
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// As the client spelled it.
    pub model: String,
    /// For each question, as many as were asked for.
    pub choices: Vec<Heard>,
    /// What it cost in the model's tokens.
    pub usage: Tally,
}

/// How a face writes an answer. The calls come in this order, each at most once but for `beat`:
///
/// whole: `begin`, `whole`. Stream: `begin`, `opening`, `beat` …, then `speak` or `failure`; where the answer is quick, `speak` at once.
pub trait Script: Send + Sync + 'static {
    /// When the call began, in Unix seconds: for faces that say so before there is an answer.
    fn begin(&mut self, _at: i64) {}

    /// The answer as one object.
    fn whole(self: Box<Self>, answer: Answer) -> Vec<u8>;

    /// What a stream begins with while its answer is waited for.
    fn opening(&mut self) -> Vec<u8>;

    /// Whether a stream says what the answer cost.
    fn counts_in_streams(&self) -> bool {
        true
    }

    /// A sign of life.
    fn beat(&mut self) -> Vec<u8>;

    /// The answer as events; whatever `opening` has not said included.
    fn speak(self: Box<Self>, answer: Answer) -> Box<dyn Events>;

    /// The end of a stream that has begun and has no answer.
    fn failure(&mut self, error: &ErrorObject) -> Vec<u8>;
}

/// An answer being streamed: yields batches of events, so that a large answer is never held twice.
pub trait Events: Send + Sync {
    /// Writes one event more, or a few that belong together; nothing once [`is_over`](Self::is_over).
    fn write_next(&mut self, out: &mut Vec<u8>);

    /// Whether everything is written.
    fn is_over(&self) -> bool;

    /// The next events, whole, in at least `wanted` bytes unless the stream ends before; `None` after the last.
    fn next_batch(&mut self, wanted: usize) -> Option<Vec<u8>> {
        if self.is_over() {
            return None;
        }
        let mut out = Vec::with_capacity(wanted.min(32 * 1024) + 1024);
        while !self.is_over() && out.len() < wanted {
            self.write_next(&mut out);
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_named_once_and_in_order_inventions_too() {
        let mut ignored = Ignored::default();
        for name in ["user", "seed", "user"] {
            ignored.note(name);
        }
        for name in ["top-k", "top_k", "top_k", "options.foo"] {
            ignored.note_unknown(name);
        }
        assert_eq!(ignored.names(), ["options.foo", "seed", "top-k", "top_k", "user"]);
        assert_eq!(ignored.first(), Some("options.foo"));
        for number in 0..100 {
            ignored.note_unknown(&format!("invention_{number}"));
        }
        assert_eq!(ignored.names().len(), 2 + MOST_UNKNOWN + 1);
        assert_eq!(ignored.names().last(), Some(&OTHERS));
    }

    #[test]
    fn what_cannot_be_named_is_not_swallowed() {
        for name in ["no such\nthing", "", "größe"] {
            let mut ignored = Ignored::default();
            ignored.note_unknown(name);
            assert_eq!(ignored.first(), Some(OTHERS), "{name}");
        }
    }
}
