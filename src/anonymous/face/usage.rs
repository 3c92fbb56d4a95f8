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

/// Token counts, or what they can be counted from: counting costs time, and most clients do not ask.
pub struct Tally {
    family: Family,
    messages: Arc<RawValue>,
    answers: Vec<Told>,
}

/// What one answer cost.
pub enum Told {
    /// The provider says.
    Given(Usage),
    /// It does not, and this is what the model said.
    Text(String),
}

impl Tally {
    /// For `answers` to `messages`, by a model of `family`.
    pub fn new(family: Family, messages: Arc<RawValue>, answers: Vec<Told>) -> Self {
        Self { family, messages, answers }
    }

    /// The counts. What was sent counts once, as OpenAI counts it for several choices.
    pub fn counts(&self) -> Usage {
        let mut sum: Option<Usage> = None;
        for told in &self.answers {
            let one = match told {
                Told::Given(usage) => usage.clone(),
                Told::Text(text) => Usage {
                    prompt_tokens: match &sum {
                        Some(sum) => sum.prompt_tokens,
                        None => self.prompt(),
                    },
                    completion_tokens: self.family.count(text),
                    ..Usage::default()
                },
            };
            match &mut sum {
                None => sum = Some(one),
                Some(sum) => sum.completion_tokens = sum.completion_tokens.saturating_add(one.completion_tokens),
            }
        }
        let mut sum = sum.unwrap_or_default();
        let both = sum.prompt_tokens.saturating_add(sum.completion_tokens);
        if self.answers.len() > 1 || sum.total_tokens < both {
            sum.total_tokens = both;
        }
        sum
    }

    fn prompt(&self) -> u64 {
        prompt_tokens(self.family, &self.messages)
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
        Tally::new(Family::OpenAi, Arc::from(RawValue::from_string(messages.into()).unwrap()), answers).counts()
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
}
