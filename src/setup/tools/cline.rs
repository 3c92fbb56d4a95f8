//! Cline: its extension keeps settings in VS Code's own store, which nothing else may write.

use super::{Plan, Tool, Way, nowhere};
use crate::setup::Step;

pub(super) const TOOL: Tool = Tool {
    id: "cline",
    aliases: &["claude-dev"],
    name: "Cline",
    about: "Prints what to enter in Cline's settings: its extension keeps them where no other program can write.",
    way: Way::Prints,
    needs_file: None,
    is_here: |machine| {
        machine.has_extension("saoudrizwan.claude-dev")
            || machine.has_program(&["cline"])
            || machine.home(".cline").is_dir()
    },
    place: nowhere,
    plan: |_, facts, _| {
        let mut steps = vec![
            Step::say("open Cline's panel and click the gear; as API Provider choose “OpenAI Compatible”"),
            Step::paste("Base URL:", facts.base_url.as_str()),
            Step::paste("API Key:", facts.key.expose().as_str()),
            Step::paste("Model ID:", facts.choice.main.as_str()),
        ];
        if let Some(context) = facts.context {
            steps.push(Step::paste("under Model Configuration, Context Window Size:", context.to_string()));
        }
        steps.push(Step::say(
            "in the same settings, under General, switch off “Allow error and usage reporting”, which goes to its maker",
        ));
        Plan { files: Vec::new(), steps }
    },
};
