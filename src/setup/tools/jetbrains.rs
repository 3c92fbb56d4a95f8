//! AI Assistant in the editors of JetBrains: the key goes into their password store.

use super::{Plan, Tool, Way, nowhere};
use crate::setup::{Machine, Step};

pub(super) const TOOL: Tool = Tool {
    id: "jetbrains",
    aliases: &[
        "intellij",
        "idea",
        "pycharm",
        "webstorm",
        "goland",
        "rustrover",
        "clion",
        "phpstorm",
        "rider",
    ],
    name: "JetBrains AI Assistant",
    about: "Prints what to enter in AI Assistant of IntelliJ IDEA, PyCharm and the others; they keep the key in a store of their own.",
    way: Way::Prints,
    needs_file: None,
    is_here: |machine| {
        machine.app_config("JetBrains").is_dir()
            || Machine::has_entry(&machine.home(".local/share"), "jetbrains")
            || machine.has_program(&["idea", "pycharm", "webstorm", "goland", "rustrover", "clion"])
    },
    place: nowhere,
    plan: |_, facts, _| {
        let steps = vec![
            Step::say(
                "open AI Chat and click “Use API Key or Local Models” (or Settings, Tools, AI Assistant, Providers & API keys)",
            ),
            Step::say("as Provider choose “OpenAI-compatible”"),
            Step::paste("Base URL:", facts.base_url.as_str()),
            Step::paste("Key:", facts.key.expose().as_str()),
            Step::paste("Model:", facts.choice.main.as_str()),
            Step::paste("where it asks for a model for quick or light tasks:", facts.choice.small.as_str()),
            Step::say(
                "chat and agents go this way; what needs JetBrains' own service (completion in the cloud, for one) does not, so \
                 stay signed out of JetBrains AI",
            ),
        ];
        Plan { files: Vec::new(), steps }
    },
};
