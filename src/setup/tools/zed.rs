//! Zed: a provider in `settings.json`; the key is in the system's keychain or a variable, never in the file.

use serde_json::{Value, json};

use super::{Edit, Format, Plan, Planned, Tool, Way};
use crate::setup::{Facts, Machine, Step, System};
use crate::wire::ModelName;

pub(super) const TOOL: Tool = Tool {
    id: "zed",
    aliases: &["zed-editor", "zeditor"],
    name: "Zed",
    about: "Writes Zed's `settings.json`: a provider `llmtor` with every model, the model for the agent, and the cheapest one for \
            titles and commit messages. Zed keeps keys in the system's keychain, so you paste the key once.",
    way: Way::Writes,
    needs_file: None,
    is_here: |machine| machine.has_program(&["zed", "zeditor", "zedit"]) || settings(machine).exists(),
    place: |machine, _| settings(machine),
    plan: |_, facts, place| {
        let name = |model: &ModelName| json!({"provider": "llmtor", "model": model});
        let provider = json!({
            "api_url": facts.base_url,
            "available_models": facts.models.iter().map(|name| model(name, facts)).collect::<Value>(),
        });
        let edits = vec![
            Edit::own("language_models.openai_compatible.llmtor", provider),
            Edit::shared("agent.default_model", name(&facts.choice.main)),
            Edit::shared("agent.thread_summary_model", name(&facts.choice.small)),
            Edit::shared("agent.commit_message_model", name(&facts.choice.small)),
        ];
        let file = Planned { path: place.to_owned(), format: Format::Json, edits, has_key: false };
        let steps = vec![
            Step::paste(
                "in Zed, run “agent: open settings”, open “llmtor” under LLM Providers, and paste the key:",
                facts.key.expose().as_str(),
            ),
            Step::say("or start Zed with the variable LLMTOR_API_KEY set to it"),
            Step::say(
                "edit predictions are another thing: they go to Zed's servers unless you set \"features\": \
                 {\"edit_prediction_provider\": \"none\"}",
            ),
        ];
        Plan { files: vec![file], steps }
    },
};

fn settings(machine: &Machine) -> std::path::PathBuf {
    match machine.system() {
        System::Windows => machine.app_config("Zed/settings.json"),
        System::MacOs => machine.home(".config/zed/settings.json"),
        System::Unix => machine.config("zed/settings.json"),
    }
}

fn model(name: &ModelName, facts: &Facts) -> Value {
    json!({
        "name": name,
        "display_name": name,
        "max_tokens": facts.context.unwrap_or(60_000),
        "capabilities": {"tools": true, "images": true, "parallel_tool_calls": true, "prompt_cache_key": false},
    })
}
