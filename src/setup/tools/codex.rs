//! Codex: `config.toml`, a provider of our name that speaks the Responses API.

use serde_json::json;

use super::{Edit, Format, Plan, Planned, Tool, Way};
use crate::setup::Step;

pub(super) const TOOL: Tool = Tool {
    id: "codex",
    aliases: &["openai-codex"],
    name: "Codex",
    about: "Writes `~/.codex/config.toml` (or where `CODEX_HOME` says): a provider `llmtor` with its key, the model, how much \
            fits into a call, and Codex's own statistics and feedback off. `codex` then works as it is; no variable is needed.",
    way: Way::Writes,
    needs_file: None,
    is_here: |machine| machine.has_program(&["codex"]) || machine.home(".codex").is_dir(),
    place: |machine, _| machine.named_or("CODEX_HOME", machine.home(".codex")).join("config.toml"),
    plan: |_, facts, place| {
        let mut edits =
            vec![Edit::shared("model", facts.choice.main.as_str()), Edit::shared("model_provider", "llmtor")];
        edits.extend(facts.context.map(|context| Edit::shared("model_context_window", context)));
        edits.extend([
            Edit::shared("analytics.enabled", false),
            Edit::shared("feedback.enabled", false),
            Edit::own(
                "model_providers.llmtor",
                json!({
                    "name": "llmtor",
                    "base_url": facts.base_url,
                    "wire_api": "responses",
                    "experimental_bearer_token": facts.key.expose(),
                }),
            ),
        ]);
        let file = Planned { path: place.to_owned(), format: Format::Toml, edits, has_key: true };
        let profile =
            "a profile (`codex -p NAME`) with a `model_provider` of its own goes there and not through Tor";
        Plan { files: vec![file], steps: vec![Step::say(profile)] }
    },
};
