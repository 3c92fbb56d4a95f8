//! What the model is told when its calls were wrong.

use super::super::ask::{Need, Toolset};
use super::offer::Offer;
use super::parse::Parsed;

/// The text of the user message that asks for the calls again; `None` when there is nothing to complain about.
///
/// It stands behind the model's own answer, because the same prompt again would be the same call again.
pub fn repair_prompt(parsed: &Parsed, toolset: &Toolset) -> Option<String> {
    let offer = Offer::of(toolset)?;
    let mut wrong = Vec::new();
    for (index, call) in parsed.calls.iter().enumerate() {
        if let Some(complaint) = &call.complaint {
            let which = if parsed.calls.len() > 1 {
                format!("call {} of ", index + 1)
            } else {
                "call of ".to_owned()
            };
            wrong.push(format!("- {which}{}: {complaint}", call.name));
        }
    }
    if parsed.calls.is_empty() && offer.need == Need::Required {
        wrong.push("- there is no call, but at least one is required".to_owned());
    }
    if wrong.is_empty() {
        return None;
    }
    Some(format!(
        "Your tool calls could not be run:\n{}\nAnswer again with all the calls, corrected, as <tool_call> blocks and \
         nothing else.",
        wrong.join("\n")
    ))
}
