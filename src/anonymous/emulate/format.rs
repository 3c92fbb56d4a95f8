//! Structured output: the form is told to the model, and its answer brought into it where that is safe.

use serde_json::Value;

use super::answer::Conformity;
use super::ask::Format;

/// The text that is appended to the one system message; `None` when any text will do.
pub fn instructions(_format: &Format) -> Option<String> {
    None
}

/// The answer in the form that was asked for, or the nearest that can be had, and whether it has it.
pub fn read(_format: &Format, text: &str) -> (String, Conformity) {
    (text.to_owned(), Conformity::Kept)
}

/// The text of the user message that asks for the answer again; `None` when it has its form.
/// It stands behind the model's own answer in the conversation.
pub fn repair_prompt(_format: &Format, _conformity: &Conformity) -> Option<String> {
    None
}

/// Whether a client's schema can be used at all; why not, for the client to be told.
pub fn check_schema(_schema: &Value) -> Result<(), String> {
    Ok(())
}
