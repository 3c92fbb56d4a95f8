//! Tools that Anthropic's models know without being told: which the backend makes up for, which it does on its own, and
//! which nobody can do.
//!
//! | `type` begins with | |
//! | --- | --- |
//! | `bash_`, `text_editor_`, `memory_` | the client's to execute: told to the model as functions |
//! | `web_search_`, `web_fetch_`, `code_execution_` | the server's to execute: the backend does so on its own, or not; reported |
//! | `tool_search_tool_` | finds tools that were not told; all are: reported |
//! | `computer_` | wants a model that was trained to see where to click: refused |
//! | `mcp_toolset` | wants a server that calls others: refused |

use serde_json::{Value, json};

/// What becomes of a tool of a known type.
pub(super) enum Known {
    /// It is a function of this description and these parameters.
    Function(&'static str, Value),
    /// It is passed over, and reported by this name.
    PassedOver(&'static str),
    /// It cannot be had.
    Refused,
}

/// The tools of type `kind`, `None` if there is no such type.
pub(super) fn of(kind: &str) -> Option<Known> {
    let begins = |prefix: &str| kind.starts_with(prefix);
    Some(if begins("bash_") {
        Known::Function(
            "Runs a command in a bash session that is kept from call to call. `restart` begins a new one.",
            bash(),
        )
    } else if begins("text_editor_") {
        Known::Function(
            "Views, creates and edits text files. `view` shows a file with its line numbers, or a directory; \
             `str_replace` replaces the one place where `old_str` stands to the letter; `insert` adds a text behind the \
             line `insert_line`, 0 for the beginning.",
            text_editor(),
        )
    } else if begins("memory_") {
        Known::Function(
            "Keeps notes in files below /memories from one conversation to the next. Look there before you begin; write \
             down what will be needed again.",
            memory(),
        )
    } else if begins("web_search_") {
        Known::PassedOver("tools.web_search")
    } else if begins("web_fetch_") {
        Known::PassedOver("tools.web_fetch")
    } else if begins("code_execution_") {
        Known::PassedOver("tools.code_execution")
    } else if begins("tool_search_tool_") {
        Known::PassedOver("tools.tool_search")
    } else if begins("computer_") || kind == "mcp_toolset" {
        Known::Refused
    } else {
        return None;
    })
}

fn bash() -> Value {
    json!({
        "type": "object",
        "properties": {"command": {"type": "string"}, "restart": {"type": "boolean"}},
    })
}

fn text_editor() -> Value {
    json!({
        "type": "object",
        "properties": {
            "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
            "path": {"type": "string"},
            "view_range": {"type": "array", "items": {"type": "integer"}, "description": "first and last line; -1 is the end"},
            "file_text": {"type": "string", "description": "for create"},
            "old_str": {"type": "string", "description": "for str_replace"},
            "new_str": {"type": "string", "description": "for str_replace"},
            "insert_line": {"type": "integer", "description": "for insert"},
            "insert_text": {"type": "string", "description": "for insert"},
        },
        "required": ["command", "path"],
    })
}

fn memory() -> Value {
    json!({
        "type": "object",
        "properties": {
            "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
            "path": {"type": "string"},
            "view_range": {"type": "array", "items": {"type": "integer"}},
            "file_text": {"type": "string", "description": "for create"},
            "old_str": {"type": "string", "description": "for str_replace"},
            "new_str": {"type": "string", "description": "for str_replace"},
            "insert_line": {"type": "integer", "description": "for insert"},
            "insert_text": {"type": "string", "description": "for insert"},
            "old_path": {"type": "string", "description": "for rename"},
            "new_path": {"type": "string", "description": "for rename"},
        },
        "required": ["command"],
    })
}
