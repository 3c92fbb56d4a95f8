//! llm, the command: models in `extra-openai-models.yaml`, the key in `keys.json`, the default in a file of its own.

use serde_json::json;

use super::{Edit, Format, Plan, Planned, Tool, Way};

pub(super) const TOOL: Tool = Tool {
    id: "llm",
    aliases: &["datasette-llm"],
    name: "llm",
    about: "Writes into the directory of `llm` (or where `LLM_USER_PATH` says): every model as `llmtor/MODEL` in \
            `extra-openai-models.yaml`, the key in `keys.json`, and the default model.",
    way: Way::Writes,
    needs_file: None,
    is_here: |machine| machine.has_program(&["llm"]) || machine.app_config("io.datasette.llm").is_dir(),
    place: |machine, _| machine.named_or("LLM_USER_PATH", machine.app_config("io.datasette.llm")),
    plan: |_, facts, place| {
        let model = |name: &crate::wire::ModelName| {
            let about = json!({
                "model_id": format!("llmtor/{name}"),
                "model_name": name,
                "api_base": facts.base_url,
                "api_key_name": "llmtor",
                "supports_tools": true,
                "supports_schema": true,
                "vision": true,
            });
            Edit::item("", "model_id", about)
        };
        let file =
            |name: &str, format, edits, has_key| Planned { path: place.join(name), format, edits, has_key };
        let default = format!("llmtor/{}", facts.choice.main);
        Plan {
            files: vec![
                file(
                    "extra-openai-models.yaml",
                    Format::Yaml,
                    facts.models.iter().map(model).collect(),
                    false,
                ),
                file("keys.json", Format::Json, vec![Edit::own("llmtor", facts.key.expose().as_str())], true),
                file("default_model.txt", Format::Text, vec![Edit::Whole(default)], false),
            ],
            steps: Vec::new(),
        }
    },
};
