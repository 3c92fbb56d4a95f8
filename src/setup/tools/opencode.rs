//! opencode: `opencode.json`, a provider by the AI SDK's package for compatible endpoints, which opencode brings along.

use serde_json::{Map, Value, json};

use super::{Edit, Format, Plan, Planned, Tool, Way};
use crate::setup::Facts;

/// How much of the window a single answer may take.
const MOST_ANSWER: u32 = 16_000;

pub(super) const TOOL: Tool = Tool {
    id: "opencode",
    aliases: &["opencode-ai"],
    name: "opencode",
    about: "Writes `~/.config/opencode/opencode.json` (or `opencode.jsonc`, if you have that): a provider `llmtor` with every \
            model, the model to begin with, the cheapest for titles, and sharing of conversations off.",
    way: Way::Writes,
    needs_file: None,
    is_here: |machine| {
        machine.has_program(&["opencode"])
            || machine.config("opencode").is_dir()
            || machine.home(".opencode").is_dir()
    },
    place: |machine, _| {
        let with_comments = machine.config("opencode/opencode.jsonc");
        if with_comments.exists() { with_comments } else { machine.config("opencode/opencode.json") }
    },
    plan: |_, facts, place| {
        let provider = json!({
            "npm": "@ai-sdk/openai-compatible",
            "name": "llmtor",
            "options": {"baseURL": facts.base_url, "apiKey": facts.key.expose()},
            "models": models(facts),
        });
        let edits = vec![
            // It would write that itself, at its first start.
            Edit::absent("$schema", "https://opencode.ai/config.json"),
            Edit::shared("model", format!("llmtor/{}", facts.choice.main)),
            Edit::shared("small_model", format!("llmtor/{}", facts.choice.small)),
            Edit::shared("share", "disabled"),
            Edit::own("provider.llmtor", provider),
        ];
        let file = Planned { path: place.to_owned(), format: Format::Json, edits, has_key: true };
        Plan { files: vec![file], steps: Vec::new() }
    },
};

fn models(facts: &Facts) -> Value {
    let models = facts.models.iter().map(|model| {
        let mut about = json!({"name": model, "attachment": true, "tool_call": true});
        if let Some(context) = facts.context {
            about["limit"] = json!({"context": context, "output": MOST_ANSWER.min(context / 4)});
        }
        (model.to_string(), about)
    });
    Value::Object(models.collect::<Map<_, _>>())
}
