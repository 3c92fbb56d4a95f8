//! Continue: models in `config.yaml`, read by its extensions and by `cn`.

use serde_json::{Value, json};

use super::{Edit, Format, Plan, Planned, Tool, Way};
use crate::setup::{Facts, Step};
use crate::wire::ModelName;

pub(super) const TOOL: Tool = Tool {
    id: "continue",
    aliases: &["cn", "continue-dev"],
    name: "Continue",
    about: "Writes `~/.continue/config.yaml` (or where `CONTINUE_GLOBAL_DIR` says), for VS Code, JetBrains and `cn` alike: every \
            model, the large one first, the cheapest one for summaries. Completion while typing is left as it is: it needs models \
            of another kind, and a call for every pause.",
    way: Way::Writes,
    needs_file: None,
    is_here: |machine| {
        machine.has_program(&["cn"])
            || machine.home(".continue").is_dir()
            || machine.has_extension("continue.continue")
    },
    place: |machine, _| {
        machine.named_or("CONTINUE_GLOBAL_DIR", machine.home(".continue")).join("config.yaml")
    },
    plan: |machine, facts, place| {
        let first = [&facts.choice.main, &facts.choice.small];
        let mut models: Vec<&ModelName> = first.to_vec();
        models.extend(facts.models.iter().filter(|model| !first.contains(model)));
        models.dedup();
        let mut edits = vec![
            Edit::absent("name", "Local settings"),
            Edit::absent("version", "1.0.0"),
            Edit::absent("schema", "v1"),
        ];
        edits.extend(models.into_iter().map(|name| Edit::item("models", "name", model(name, facts))));
        let file = Planned { path: place.to_owned(), format: Format::Yaml, edits, has_key: true };
        let mut steps = vec![Step::say(format!(
            "if you have other models too, choose “{} (llmtor)” in Continue's list of models",
            facts.choice.main
        ))];
        if place.with_file_name("config.json").exists() && !place.exists() {
            steps.push(Step::say(format!(
                "Continue reads {} no more once there is a config.yaml: it can convert the old file for you first",
                machine.shown(&place.with_file_name("config.json"))
            )));
        }
        steps.push(Step::say("Continue's extensions tell their maker of their use unless you switch it off: Settings, Telemetry"));
        Plan { files: vec![file], steps }
    },
};

fn model(name: &ModelName, facts: &Facts) -> Value {
    let mut roles = vec!["chat", "edit", "apply"];
    if *name == facts.choice.small {
        roles.push("summarize");
    }
    let mut model = json!({
        "name": format!("{name} (llmtor)"),
        "provider": "openai",
        "model": name,
        "apiBase": facts.base_url,
        "apiKey": facts.key.expose(),
        "roles": roles,
        "capabilities": ["tool_use", "image_input"],
    });
    if let Some(context) = facts.context {
        model["defaultCompletionOptions"] = json!({"contextLength": context});
    }
    model
}
