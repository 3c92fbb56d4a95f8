//! What is looked at before a prompt goes upstream.
//!
//! Reading the messages comes first and can fail on its own, whatever the moderator: part types other than
//! `text` and `image_url`, and images that are not `data:image/…;base64,…`, end as `failed to analyze
//! text: …` (protocol.md §4). The token is not spent then.

use futures_util::future::BoxFuture;
use serde_json::Value;

/// What a moderator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// JSON text of the categories.
    Blocked(String),
}

/// The messages cannot be read, or the service failed. The text quotes nothing of a prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct AnalysisError(pub(super) String);

/// Looks at a prompt's texts.
pub(super) trait Moderator: Send + Sync {
    fn check(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Verdict, AnalysisError>>;
}

/// Lets everything pass.
pub(super) struct NoModerator;

impl Moderator for NoModerator {
    fn check(&self, _texts: Vec<String>) -> BoxFuture<'_, Result<Verdict, AnalysisError>> {
        Box::pin(std::future::ready(Ok(Verdict::Passed)))
    }
}

/// Blocks a prompt in which one of the words stands, as a whole word, in any case.
pub(super) struct WordList(Vec<String>);

impl WordList {
    /// One word or phrase a line; `#` starts a comment line.
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.map(normal).collect())
    }

    fn has_one_in(&self, text: &str) -> bool {
        let text = normal(text);
        self.0.iter().any(|word| text.contains(word.as_str()))
    }
}

/// Lower-case words, one blank before, between and after, so that a phrase is found as whole words.
fn normal(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(String::from(" "), |line, word| line + word + " ")
}

impl Moderator for WordList {
    fn check(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Verdict, AnalysisError>> {
        let blocked = texts.iter().any(|text| self.has_one_in(text));
        let verdict =
            if blocked { Verdict::Blocked(r#"{"word_list":true}"#.into()) } else { Verdict::Passed };
        Box::pin(std::future::ready(Ok(verdict)))
    }
}

/// Every text in the messages, in order.
pub(super) fn texts(messages: &[Value]) -> Result<Vec<String>, AnalysisError> {
    let mut texts = Vec::new();
    for message in messages {
        match message.get("content") {
            Some(Value::String(text)) => texts.push(text.clone()),
            Some(Value::Array(parts)) => {
                for part in parts {
                    texts.extend(text_of(part)?);
                }
            }
            // What a provider makes of a message without content is the provider's affair.
            None | Some(Value::Null) => {}
            Some(_) => return Err(AnalysisError("content is neither text nor parts".into())),
        }
    }
    Ok(texts)
}

fn text_of(part: &Value) -> Result<Option<String>, AnalysisError> {
    match part.get("type").and_then(Value::as_str) {
        Some("text") => {
            let text = part.get("text").and_then(Value::as_str);
            text.map(|text| Some(text.to_owned()))
                .ok_or_else(|| AnalysisError("text part has no text".into()))
        }
        Some("image_url") => {
            let url = part.pointer("/image_url/url").and_then(Value::as_str).unwrap_or_default();
            if is_data_image(url) { Ok(None) } else { Err(AnalysisError("image is not a data URL".into())) }
        }
        _ => Err(AnalysisError("unsupported content part type".into())),
    }
}

fn is_data_image(url: &str) -> bool {
    let kind = url.strip_prefix("data:image/").and_then(|rest| rest.split_once(";base64,"));
    kind.is_some_and(|(kind, data)| {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || b".+-".contains(&byte);
        !kind.is_empty() && kind.bytes().all(word) && !data.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_listed_word_blocks_as_a_whole_word_in_any_case() {
        let list = WordList::parse("# comment\nforbidden fruit\n\nApple\n");
        assert!(list.has_one_in("An APPLE, please"));
        assert!(list.has_one_in("the forbidden-fruit"));
        assert!(!list.has_one_in("pineapple and forbidden"));
        assert!(!WordList::parse("").has_one_in("anything"));
    }

    #[test]
    fn only_texts_and_data_images_can_be_read() {
        let with = |content: Value| texts(&[json!({"role": "user", "content": content})]);
        assert_eq!(with(json!("a")).unwrap(), ["a"]);
        let png = "data:image/png;base64,AAAA";
        let parts = json!([{"type":"text","text":"b"},{"type":"image_url","image_url":{"url":png}}]);
        assert_eq!(with(parts).unwrap(), ["b"]);
        for bad in [
            json!([{"type":"input_audio"}]),
            json!([{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]),
            json!([{"type":"image_url","image_url":{"url":"data:text/html;base64,AAAA"}}]),
            json!([{"type":"text"}]),
            json!([7]),
            json!(7),
        ] {
            assert!(with(bad.clone()).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_listed_word_is_found_wherever_it_stands(before in "\\PC{0,40}", after in "\\PC{0,40}") {
            let list = WordList::parse("forbidden");
            let text = format!("{before} Forbidden {after}");
            proptest::prop_assert!(list.has_one_in(&text));
        }
    }
}
