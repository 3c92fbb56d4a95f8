//! What the model is told when its calls were wrong.

use super::super::ask::Toolset;
use super::parse::Parsed;

/// The text of the user message that asks for the calls again; `None` when there is nothing to complain about.
/// It stands behind the model's own answer in the conversation.
pub fn repair_prompt(_parsed: &Parsed, _toolset: &Toolset) -> Option<String> {
    None
}
