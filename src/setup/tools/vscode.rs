//! VS Code's own chat with a key of the user's: the key goes into its secret store, which nothing else may write.

use serde_json::json;

use super::{Plan, Tool, Way, nowhere};
use crate::setup::Step;

pub(super) const TOOL: Tool = Tool {
    id: "vscode",
    aliases: &["code", "vs-code", "copilot-chat"],
    name: "VS Code (own-key models)",
    about: "Prints what to click and paste for a model with a key of your own in VS Code's chat, from version 1.122 on. VS Code keeps \
            the key in its own store, which no other program can write.",
    way: Way::Prints,
    needs_file: None,
    is_here: |machine| {
        machine.has_program(&["code", "code-insiders", "codium"]) || machine.app_config("Code/User").is_dir()
    },
    place: nowhere,
    plan: |_, facts, _| {
        let models: Vec<_> = facts
            .models
            .iter()
            .map(|name| {
                json!({
                    "id": name,
                    "name": format!("{name} (llmtor)"),
                    "url": format!("{}/chat/completions", facts.base_url),
                    "toolCalling": true,
                    "vision": true,
                    "maxInputTokens": facts.context.unwrap_or(60_000),
                    "maxOutputTokens": 16_000,
                })
            })
            .collect();
        let models = serde_json::to_string_pretty(&models).unwrap_or_default();
        let steps = vec![
            Step::say(
                "run “Chat: Manage Language Models” (Ctrl+Shift+P), then Add Models, Custom Endpoint; call the group “llmtor”",
            ),
            Step::paste("as the API key, paste:", facts.key.expose().as_str()),
            Step::say("as the API type, choose chat completions"),
            Step::paste(
                "click the gear beside the group; in the file that opens, make this its \"models\" and leave the line with \
                 \"apiKey\" as it is:",
                models,
            ),
            Step::say(format!("choose “{} (llmtor)” in the chat's list of models", facts.choice.main)),
            Step::say(
                "only the chat goes this way: completion while typing and whatever else Copilot does goes to GitHub; sign out \
                 of Copilot to have neither",
            ),
        ];
        Plan { files: Vec::new(), steps }
    },
};
