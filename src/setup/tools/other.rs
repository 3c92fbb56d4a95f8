//! Any program with settings for an address and a key.

use super::{Plan, Tool, Way, nowhere};
use crate::setup::Step;

pub(super) const TOOL: Tool = Tool {
    id: "other",
    aliases: &["any", "manual"],
    name: "Any other program",
    about: "Prints what any program with settings for an OpenAI-compatible endpoint wants to know.",
    way: Way::Prints,
    needs_file: None,
    is_here: |_| true,
    place: nowhere,
    plan: |_, facts, _| {
        let models: Vec<&str> = facts.models.iter().map(crate::wire::ModelName::as_str).collect();
        let steps = vec![
            Step::paste("base URL (some programs want it without /v1):", facts.base_url.as_str()),
            Step::paste("API key:", facts.key.expose().as_str()),
            Step::paste("models:", models.join("\n")),
            Step::say(format!(
                "where it asks for a small or fast model for titles and the like: {}",
                facts.choice.small
            )),
        ];
        Plan { files: Vec::new(), steps }
    },
};
