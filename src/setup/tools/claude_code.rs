//! Claude Code: variables in its `settings.json`.

use super::{Edit, Format, Plan, Planned, Tool, Way};
use crate::setup::Step;

/// What it takes every model's window to be, tokens.
const ASSUMED_WINDOW: u32 = 200_000;

pub(super) const TOOL: Tool = Tool {
    id: "claude-code",
    aliases: &["claude", "claudecode"],
    name: "Claude Code",
    about: "Writes the `env` of `~/.claude/settings.json` (or where `CLAUDE_CONFIG_DIR` says): address, key, the model for each of \
            the sizes that it knows, the cheapest one for its background calls, a key for Anthropic put aside, and its statistics off.",
    way: Way::Writes,
    needs_file: None,
    is_here: |machine| machine.has_program(&["claude"]) || machine.home(".claude").is_dir(),
    place: |machine, _| machine.named_or("CLAUDE_CONFIG_DIR", machine.home(".claude")).join("settings.json"),
    plan: |_, facts, place| {
        let (main, small) = (facts.choice.main.as_str(), facts.choice.small.as_str());
        let set = |name: &str, value: &str| Edit::shared(&format!("env.{name}"), value);
        let mut edits = vec![
            set("ANTHROPIC_BASE_URL", facts.origin()),
            set("ANTHROPIC_AUTH_TOKEN", facts.key.expose()),
            // One of the user's, from here or from the shell, would be sent along, and refused.
            set("ANTHROPIC_API_KEY", ""),
            set("ANTHROPIC_MODEL", main),
            set("ANTHROPIC_DEFAULT_OPUS_MODEL", main),
            set("ANTHROPIC_DEFAULT_SONNET_MODEL", main),
            set("ANTHROPIC_DEFAULT_HAIKU_MODEL", small),
            set("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ];
        if let Some(context) = facts.context.filter(|context| *context < ASSUMED_WINDOW) {
            // A tenth is left for what it does not count.
            let percent = (u64::from(context) * 90 / u64::from(ASSUMED_WINDOW)).max(1);
            edits.push(set("CLAUDE_AUTOCOMPACT_PCT_OVERRIDE", &percent.to_string()));
        }
        let file = Planned { path: place.to_owned(), format: Format::Json, edits, has_key: true };
        let again = "at its first start it may ask you to sign in: it is not needed, because the key is in the settings";
        Plan { files: vec![file], steps: vec![Step::say(again)] }
    },
};
