//! What a call cost in the model's tokens: as the provider says, or counted here where it does not.

use std::sync::Arc;

use async_openai::types::chat::{CompletionTokensDetails, PromptTokensDetails};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::anonymous::emulate::tokens::Family;

/// Token counts in the form that OpenAI's chat completions have them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Usage {
    /// Of what was sent.
    pub prompt_tokens: u64,
    /// Of what came back.
    pub completion_tokens: u64,
    /// Of both.
    pub total_tokens: u64,
    /// How many of those sent were cached, and such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptTokensDetails>,
    /// How many of those that came back were thoughts, and such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens_details: Option<CompletionTokensDetails>,
}

impl Usage {
    /// The same for an answer that is cut behind so many tokens.
    #[must_use]
    pub fn at_most(mut self, most: Option<u64>) -> Self {
        if let Some(most) = most.filter(|most| *most < self.completion_tokens) {
            self.total_tokens = self.total_tokens.saturating_sub(self.completion_tokens - most);
            self.completion_tokens = most;
        }
        self
    }
}

/// Token counts, or what they can be counted from: counting costs time, and most clients do not ask.
pub struct Tally {
    family: Family,
    questions: Vec<Question>,
    counted: Option<Usage>,
}

/// One question, and what its answers cost.
pub struct Question {
    /// As they were sent.
    pub messages: Arc<RawValue>,
    /// One for each answer.
    pub answers: Vec<Told>,
}

/// What one answer cost.
pub enum Told {
    /// The provider says.
    Given(Usage),
    /// It does not, and this is what the model said.
    Text(String),
}

impl Told {
    /// Both of two calls that one answer took.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Given(mut usage), Self::Given(other)) => {
                usage.prompt_tokens = usage.prompt_tokens.saturating_add(other.prompt_tokens);
                usage.completion_tokens = usage.completion_tokens.saturating_add(other.completion_tokens);
                usage.total_tokens = usage.total_tokens.saturating_add(other.total_tokens);
                Self::Given(usage)
            }
            (Self::Text(text), Self::Text(other)) => Self::Text(text + &other),
            (given @ Self::Given(_), Self::Text(_)) | (Self::Text(_), given @ Self::Given(_)) => given,
        }
    }
}

impl Tally {
    /// For answers by a model of `family`.
    pub fn new(family: Family, questions: Vec<Question>) -> Self {
        Self { family, questions, counted: None }
    }

    /// Whether [`counts`](Self::counts) has to count, which takes its time.
    pub fn has_to_count(&self) -> bool {
        let is_told = |told: &Told| matches!(told, Told::Given(_));
        self.counted.is_none() && !self.questions.iter().flat_map(|question| &question.answers).all(is_told)
    }

    /// The same, counted.
    #[must_use]
    pub fn counted(self) -> Self {
        Self { counted: Some(self.counts()), ..self }
    }

    /// The counts. A question counts once, as OpenAI counts it for several choices.
    pub fn counts(&self) -> Usage {
        if let Some(usage) = &self.counted {
            return usage.clone();
        }
        let answers = self.questions.iter().map(|question| question.answers.len()).sum::<usize>();
        if let (1, Some(Told::Given(usage))) =
            (answers, self.questions.iter().find_map(|question| question.answers.first()))
        {
            return usage.clone();
        }
        let mut sum = Usage::default();
        for question in &self.questions {
            let given = question.answers.iter().find_map(|told| match told {
                Told::Given(usage) => Some(usage.prompt_tokens),
                Told::Text(_) => None,
            });
            sum.prompt_tokens += given.unwrap_or_else(|| prompt_tokens(self.family, &question.messages));
            for told in &question.answers {
                sum.completion_tokens += match told {
                    Told::Given(usage) => usage.completion_tokens,
                    Told::Text(text) => self.family.count(text),
                };
            }
        }
        sum.total_tokens = sum.prompt_tokens + sum.completion_tokens;
        sum
    }
}

/// How many tokens a model of `family` takes `messages` for, about: their texts, and a frame around each. Pictures
/// are not counted.
pub fn prompt_tokens(family: Family, messages: &RawValue) -> u64 {
    const FRAME: u64 = 4;
    let Ok(messages) = serde_json::from_str::<Vec<serde_json::Value>>(messages.get()) else { return 0 };
    let text_of = |part: &serde_json::Value| {
        part.get("text").and_then(serde_json::Value::as_str).map_or(0, |text| family.count(text))
    };
    let contents: u64 = messages
        .iter()
        .map(|message| match &message["content"] {
            serde_json::Value::String(text) => family.count(text),
            serde_json::Value::Array(parts) => parts.iter().map(text_of).sum(),
            _ => 0,
        })
        .sum();
    contents + FRAME * messages.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(answers: Vec<Told>) -> Usage {
        let messages = r#"[{"role":"user","content":"hello world"}]"#;
        let messages = RawValue::from_string(messages.into()).unwrap().into();
        Tally::new(Family::OpenAi, vec![Question { messages, answers }]).counts()
    }

    #[test]
    fn what_is_cut_off_is_not_counted() {
        let usage = Usage { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15, ..Usage::default() };
        let cut = usage.clone().at_most(Some(2));
        assert_eq!((cut.completion_tokens, cut.total_tokens), (2, 12));
        assert_eq!(usage.at_most(Some(9)).total_tokens, 15);
    }

    #[test]
    fn what_the_provider_says_counts_and_the_rest_is_counted() {
        let given = || {
            Told::Given(Usage {
                prompt_tokens: 10,
                completion_tokens: 5,
                total_tokens: 17,
                ..Usage::default()
            })
        };
        assert_eq!(tally(vec![given()]).total_tokens, 17);
        let counted = tally(vec![Told::Text("hello world".into())]);
        assert_eq!((counted.prompt_tokens, counted.completion_tokens, counted.total_tokens), (6, 2, 8));
        let both = tally(vec![given(), Told::Text("hello".into())]);
        assert_eq!((both.prompt_tokens, both.completion_tokens, both.total_tokens), (10, 6, 16));
    }

    #[test]
    fn what_is_counted_once_is_not_counted_again() {
        let messages: Arc<RawValue> = RawValue::from_string("[]".into()).unwrap().into();
        let answers = vec![Told::Text("hello world".into())];
        let tally = Tally::new(Family::OpenAi, vec![Question { messages, answers }]);
        assert!(tally.has_to_count());
        let tally = tally.counted();
        assert!(!tally.has_to_count() && tally.counts().completion_tokens == 2);
    }
}
