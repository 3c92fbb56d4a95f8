//! Cursor: nothing can be done, and why.

use super::{Plan, Tool, Way, nowhere};

pub(super) const TOOL: Tool = Tool {
    id: "cursor",
    aliases: &[],
    name: "Cursor",
    about: "Cursor cannot be used with llmtor. Its maker's servers make the call, also with a key and a base URL of your own: they \
            would see every prompt and who you are, and an address on your machine is out of their reach anyway. Codex, opencode, \
            Continue and Zed do the same work and call from your machine.",
    way: Way::Never,
    needs_file: None,
    is_here: |machine| machine.has_program(&["cursor"]) || machine.app_config("Cursor").is_dir(),
    place: nowhere,
    plan: |_, _, _| Plan::default(),
};
