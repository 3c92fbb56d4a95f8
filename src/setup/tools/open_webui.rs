//! Open WebUI: a server, mostly in a container, that is set by its environment.

use super::{Plan, Tool, Way, nowhere};
use crate::setup::Step;

pub(super) const TOOL: Tool = Tool {
    id: "open-webui",
    aliases: &["openwebui", "webui"],
    name: "Open WebUI",
    about: "Prints the variables for Open WebUI, and a compose file. It has to share the host's network, because the endpoint \
            listens on this machine only.",
    way: Way::Prints,
    needs_file: None,
    is_here: |machine| machine.has_program(&["open-webui"]),
    place: nowhere,
    plan: |_, facts, _| {
        let (url, key, small) = (&facts.base_url, facts.key.expose(), &facts.choice.small);
        let variables = format!(
            "OPENAI_API_BASE_URL={url}\nOPENAI_API_KEY={key}\nENABLE_OLLAMA_API=false\nDEFAULT_MODELS={main}\n\
             TASK_MODEL_EXTERNAL={small}\nENABLE_FOLLOW_UP_GENERATION=false\nENABLE_TAGS_GENERATION=false\n\
             ENABLE_AUTOCOMPLETE_GENERATION=false",
            main = facts.choice.main
        );
        let compose = format!(
            "services:\n  open-webui:\n    image: ghcr.io/open-webui/open-webui:main\n    network_mode: host\n    environment:\n      \
             PORT: \"3000\"\n{}\n    volumes:\n      - open-webui:/app/backend/data\nvolumes:\n  open-webui:",
            variables
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| format!("      {name}: \"{value}\""))
                .collect::<Vec<_>>()
                .join("\n")
        );
        let steps = vec![
            Step::paste("without a container, set these before `open-webui serve`:", variables),
            Step::paste(
                "with Docker on Linux, as compose.yaml; the host's network, because the endpoint is on 127.0.0.1 only:",
                compose,
            ),
            Step::say(
                "these are read at the first start; later, they are under Admin Panel, Settings, Connections and Interface",
            ),
            Step::say(
                "every title costs a token; tags, follow-up questions and completion cost one more each, so they are off",
            ),
        ];
        Plan { files: Vec::new(), steps }
    },
};
