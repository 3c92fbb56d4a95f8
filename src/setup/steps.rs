//! What is left to be done by hand.

use serde::Serialize;

/// One thing to do, or to know. May show the key, when it is to be pasted.
#[derive(Clone, PartialEq, Serialize)]
pub struct Step {
    /// In a sentence.
    pub text: String,
    /// What is to be copied, as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paste: Option<String>,
}

impl Step {
    /// A sentence.
    pub fn say(text: impl Into<String>) -> Self {
        Self { text: text.into(), paste: None }
    }

    /// A sentence and what is to be copied.
    pub fn paste(text: impl Into<String>, paste: impl Into<String>) -> Self {
        Self { text: text.into(), paste: Some(paste.into()) }
    }
}
