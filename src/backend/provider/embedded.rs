//! A model that needs nothing: it answers by rule, the same messages always with the same text.
//!
//! | the last user message has | answer |
//! | --- | --- |
//! | `recite N characters`, `recite N words` | that much of a fixed text |
//! | `count to N` | `1, 2, …, N` |
//! | `how many words`/`characters`/`messages` | the number, of what follows a colon or of the message |
//! | anything else | an echo |

use std::fmt::Write as _;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Provider, ProviderError};
use crate::clock::SharedClock;

/// Most units recited or counted.
const MOST: usize = 1_000_000;
const FIXED_TEXT: &str = "The quick brown fox jumps over the lazy dog, and the dog, being lazy, lets it. \
    A second fox, who has read about the first, jumps as well; by then the dog has moved into the shade. ";

/// The embedded provider.
pub(in crate::backend) struct Embedded {
    clock: SharedClock,
}

impl Embedded {
    pub(in crate::backend) fn new(clock: SharedClock) -> Self {
        Self { clock }
    }

    fn answer(&self, model: &str, messages: &[Value]) -> Value {
        if messages.is_empty() {
            return json!({"error": {
                "message": "Invalid 'messages': empty array. Expected an array with minimum length 1.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "empty_array",
            }});
        }
        let text = reply(messages);
        let prompt: usize = messages.iter().map(|message| words(&content(message))).sum();
        let completion = words(&text);
        let digest = Sha256::digest(json!(messages).to_string());
        // Twelve bytes of a digest of the messages: the same for the same question.
        let id = digest.iter().take(12).fold(String::from("chatcmpl-"), |mut id, byte| {
            let _ = write!(id, "{byte:02x}");
            id
        });
        json!({
            "id": id,
            "object": "chat.completion",
            "created": self.clock.now().unix(),
            "model": model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
            },
        })
    }
}

impl Provider for Embedded {
    fn complete<'a>(
        &'a self,
        model: &'a str,
        messages: &'a [Value],
    ) -> BoxFuture<'a, Result<Vec<u8>, ProviderError>> {
        let answer = self.answer(model, messages).to_string().into_bytes();
        Box::pin(std::future::ready(Ok(answer)))
    }
}

fn reply(messages: &[Value]) -> String {
    let of_user = |message: &&Value| message.get("role").and_then(Value::as_str) == Some("user");
    let asked = messages.iter().rfind(of_user).map(content).unwrap_or_default();
    let lower = asked.to_lowercase();
    let clean =
        |word: &str| word.trim_matches(|character: char| !character.is_alphanumeric()).replace(',', "");
    let words: Vec<String> = lower.split_whitespace().map(clean).filter(|word| !word.is_empty()).collect();
    recite(&words)
        .or_else(|| count_up(&words))
        .or_else(|| count_what(&words, &asked, messages))
        .unwrap_or_else(|| format!("You said: {asked}"))
}

fn recite(words: &[String]) -> Option<String> {
    words.windows(3).find_map(|window| {
        let [verb, number, unit] = window else { return None };
        let number = number.parse::<usize>().ok().filter(|_| verb == "recite")?.min(MOST);
        match unit.as_str() {
            "character" | "characters" => Some(FIXED_TEXT.chars().cycle().take(number).collect()),
            "word" | "words" => {
                Some(FIXED_TEXT.split_whitespace().cycle().take(number).collect::<Vec<_>>().join(" "))
            }
            _ => None,
        }
    })
}

fn count_up(words: &[String]) -> Option<String> {
    words.windows(3).find_map(|window| {
        let [verb, to, number] = window else { return None };
        let number = number.parse::<usize>().ok().filter(|_| verb == "count" && to == "to")?.min(MOST);
        Some((1..=number).map(|n| n.to_string()).collect::<Vec<_>>().join(", "))
    })
}

fn count_what(heard: &[String], asked: &str, messages: &[Value]) -> Option<String> {
    let subject = asked.split_once(':').map_or(asked, |(_, subject)| subject.trim());
    heard.windows(3).find_map(|window| {
        let [how, many, unit] = window else { return None };
        let number = match unit.as_str() {
            _ if how != "how" || many != "many" => return None,
            "words" => words(subject),
            "characters" | "letters" => subject.chars().count(),
            "messages" => messages.len(),
            _ => return None,
        };
        Some(format!("{number} {unit}"))
    })
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// A message's text; the texts of its parts one after the other.
fn content(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    fn say(text: &str) -> String {
        reply(&[json!({"role": "system", "content": "s"}), json!({"role": "user", "content": text})])
    }

    #[test]
    fn it_echoes_counts_and_recites() {
        assert_eq!(say("Hello there"), "You said: Hello there");
        assert_eq!(say("Please count to 5."), "1, 2, 3, 4, 5");
        assert_eq!(say("How many words are in this: one two three"), "3 words");
        assert_eq!(say("How many characters: äbc"), "3 characters");
        assert_eq!(say("how many messages?"), "2 messages");
        assert_eq!(say("Recite 5,000 characters").chars().count(), 5000);
        assert_eq!(say("recite 300 words, please").split_whitespace().count(), 300);
        assert_eq!(say("recite many words"), "You said: recite many words");
        assert_eq!(say("recite 99999999999 words").split_whitespace().count(), MOST);
    }

    proptest::proptest! {
        #[test]
        fn it_recites_what_is_asked_for_and_echoes_what_is_no_request(
            number in 0usize..3000,
            text in "[^a-zA-Z]{0,80}",
        ) {
            proptest::prop_assert_eq!(words(&say(&format!("recite {number} words"))), number);
            proptest::prop_assert_eq!(say(&text), format!("You said: {text}"));
        }
    }

    #[test]
    fn an_answer_is_a_completion_with_counted_usage_and_the_same_each_time() {
        let clock = ManualClock::shared(Timestamp::from_unix(7));
        let model = Embedded::new(clock);
        let parts = [json!({"role": "user", "content": [{"type": "text", "text": "a b"}]})];
        let answer = model.answer("m", &parts);
        assert_eq!(answer["choices"][0]["message"]["content"], "You said: a b");
        assert_eq!(answer["usage"], json!({"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}));
        assert_eq!(answer["created"], 7);
        assert_eq!(answer, model.answer("m", &parts));
        assert!(model.answer("m", &[])["error"]["message"].is_string());
    }
}
