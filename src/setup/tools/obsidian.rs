//! Copilot for Obsidian: `data.json` of the plugin, in a vault.

use serde_json::json;

use super::{Edit, Format, Plan, Planned, Tool, Way};
use crate::setup::Step;

/// What the plugin calls endpoints like ours.
const PROVIDER: &str = "3rd party (openai-format)";

pub(super) const TOOL: Tool = Tool {
    id: "obsidian",
    aliases: &["obsidian-copilot", "copilot-obsidian"],
    name: "Obsidian: Copilot",
    about: "Writes the settings of the plugin Copilot in a vault of Obsidian, which you name: every model, and the one to begin \
            with. Close Obsidian first, for it writes the same file.",
    way: Way::Writes,
    needs_file: Some("the vault: give its directory"),
    is_here: |machine| machine.app_config("obsidian").is_dir() || machine.has_program(&["obsidian"]),
    place: |machine, file| match file.map(|file| machine.here(file)) {
        Some(file) if file.extension().is_some_and(|end| end == "json") => file,
        Some(vault) => vault.join(".obsidian/plugins/copilot/data.json"),
        None => machine.here(".obsidian/plugins/copilot/data.json"),
    },
    plan: |_, facts, place| {
        let mut edits: Vec<Edit> = facts
            .models
            .iter()
            .map(|name| {
                let model = json!({
                    "name": name,
                    "provider": PROVIDER,
                    "displayName": format!("{name} (llmtor)"),
                    "enabled": true,
                    "isBuiltIn": false,
                    "isEmbeddingModel": false,
                    "baseUrl": facts.base_url,
                    "apiKey": facts.key.expose(),
                    "enableCors": true,
                    "stream": true,
                    "capabilities": ["vision"],
                });
                Edit::item("activeModels", "displayName", model)
            })
            .collect();
        edits.push(Edit::shared("defaultModelKey", format!("{}|{PROVIDER}", facts.choice.main)));
        let file = Planned { path: place.to_owned(), format: Format::Json, edits, has_key: true };
        let steps = vec![
            Step::say(
                "Obsidian has to be closed while the file is written; if it was open, close it and give the command again",
            ),
            Step::say(
                "the vault now holds the key: it is of use on this machine only, but a vault that is synchronised takes it along",
            ),
            Step::say("the search index of the plugin asks for embeddings, which the endpoint does not have"),
        ];
        Plan { files: vec![file], steps }
    },
};
