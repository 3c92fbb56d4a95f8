//! aider: `~/.aider.conf.yml`.

use super::{Edit, Format, Plan, Planned, Tool, Way};
use crate::setup::Step;

pub(super) const TOOL: Tool = Tool {
    id: "aider",
    aliases: &["aider-chat"],
    name: "aider",
    about: "Writes `~/.aider.conf.yml`: address, key, the model, the cheapest one for commit messages and summaries, and its \
            statistics off.",
    way: Way::Writes,
    needs_file: None,
    is_here: |machine| {
        machine.has_program(&["aider"])
            || machine.home(".aider").is_dir()
            || machine.home(".aider.conf.yml").exists()
    },
    place: |machine, _| machine.home(".aider.conf.yml"),
    plan: |_, facts, place| {
        let edits = vec![
            Edit::shared("openai-api-base", facts.base_url.as_str()),
            Edit::shared("openai-api-key", facts.key.expose().as_str()),
            Edit::shared("model", format!("openai/{}", facts.choice.main)),
            Edit::shared("weak-model", format!("openai/{}", facts.choice.small)),
            // It knows the price of none of these, and would say so at each start.
            Edit::shared("show-model-warnings", false),
            Edit::shared("analytics-disable", true),
        ];
        let file = Planned { path: place.to_owned(), format: Format::Yaml, edits, has_key: true };
        let list =
            "aider fetches a list of models' prices from GitHub once a day; there is no setting against it";
        Plan { files: vec![file], steps: vec![Step::say(list)] }
    },
};
