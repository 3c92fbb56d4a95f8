//! LibreChat: an endpoint of its own in `librechat.yaml`, which is where the server was put.

use serde_json::json;

use super::{Edit, Format, Plan, Planned, Tool, Way};
use crate::setup::Step;

pub(super) const TOOL: Tool = Tool {
    id: "librechat",
    aliases: &["libre-chat"],
    name: "LibreChat",
    about: "Writes a custom endpoint into `librechat.yaml` in LibreChat's directory, which you name: every model, and the cheapest one for \
            titles.",
    way: Way::Writes,
    needs_file: Some("librechat.yaml, in the directory in which you have put it"),
    is_here: |machine| machine.here("librechat.yaml").exists() || machine.home("LibreChat").is_dir(),
    place: |machine, file| match file.map(|file| machine.here(file)) {
        Some(file) if file.is_dir() => file.join("librechat.yaml"),
        Some(file) => file,
        None => machine.here("librechat.yaml"),
    },
    plan: |_, facts, place| {
        let endpoint = json!({
            "name": "llmtor",
            "apiKey": facts.key.expose(),
            "baseURL": facts.base_url,
            "models": {"default": facts.models, "fetch": false},
            "titleConvo": true,
            "titleModel": facts.choice.small,
            "summaryModel": facts.choice.small,
            "modelDisplayLabel": "llmtor",
        });
        let edits = vec![Edit::absent("version", "1.2.1"), Edit::item("endpoints.custom", "name", endpoint)];
        let file = Planned { path: place.to_owned(), format: Format::Yaml, edits, has_key: true };
        let steps = vec![
            Step::say(
                "the file holds the key, so your account alone can read it; in a container LibreChat has to run as that account (`UID` in its .env)",
            ),
            Step::say(
                "in a container it has to share the host's network (`network_mode: host`), because the endpoint is on 127.0.0.1 only; \
             start it again for the change to count",
            ),
        ];
        Plan { files: vec![file], steps }
    },
};
