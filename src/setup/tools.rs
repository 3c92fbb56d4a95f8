//! The tools that are known: a row each, in a file of its own.
//!
//! A row knows where the settings are ([`Tool::place`]), what belongs in them ([`Tool::plan`]), and how to tell that the tool is
//! here. Small calls (titles, summaries) go to the cheapest model wherever a tool has a setting for it. Names under which we
//! enter ourselves are `llmtor`.
//!
//! `docs/tools.md` is made of this table ([`markdown`]).

mod aider;
mod claude_code;
mod cline;
mod codex;
mod r#continue;
mod cursor;
mod emacs;
mod env;
mod jetbrains;
mod librechat;
mod llm;
mod neovim;
mod obsidian;
mod ollama;
mod open_webui;
mod opencode;
mod other;
mod vscode;
mod zed;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::edit::{Edit, Format};
use super::{Facts, Machine, Step};

/// One tool.
pub struct Tool {
    /// What is typed.
    pub id: &'static str,
    /// What else may be typed.
    pub aliases: &'static [&'static str],
    /// What it is called.
    pub name: &'static str,
    /// What is done, in a sentence or two, for `docs/tools.md`.
    pub about: &'static str,
    /// How it is set up.
    pub way: Way,
    /// Where the settings are, in words, if only the user knows.
    pub needs_file: Option<&'static str>,
    /// Whether it is on this machine, as far as can be seen.
    pub is_here: fn(&Machine) -> bool,
    /// Where the settings are; the second is what `--file` said.
    pub place: fn(&Machine, Option<&Path>) -> PathBuf,
    /// What is to be done, with the settings there.
    pub plan: fn(&Machine, &Facts, &Path) -> Plan,
}

/// How a tool is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Its settings are written.
    Writes,
    /// Its settings cannot be written from outside; what to do is printed.
    Prints,
    /// It would show every prompt to its vendor.
    Never,
}

/// What is to be done.
#[derive(Default)]
pub struct Plan {
    /// The files.
    pub files: Vec<Planned>,
    /// What is left to do by hand.
    pub steps: Vec<Step>,
}

/// One file.
pub struct Planned {
    /// Where.
    pub path: PathBuf,
    /// How it is written.
    pub format: Format,
    /// What belongs in it.
    pub edits: Vec<Edit>,
    /// Whether the key is among it.
    pub has_key: bool,
}

/// Every tool, in the order in which they are listed.
pub const TOOLS: &[Tool] = &[
    codex::TOOL,
    opencode::TOOL,
    claude_code::TOOL,
    aider::TOOL,
    llm::TOOL,
    r#continue::TOOL,
    cline::TOOL,
    zed::TOOL,
    vscode::TOOL,
    jetbrains::TOOL,
    neovim::CODECOMPANION,
    neovim::AVANTE,
    emacs::TOOL,
    open_webui::TOOL,
    librechat::TOOL,
    obsidian::TOOL,
    ollama::TOOL,
    env::TOOL,
    other::TOOL,
    cursor::TOOL,
];

/// The tool that is called `word`; or the id of the nearest.
pub fn find(word: &str) -> Result<&'static Tool, &'static str> {
    let word = word.to_lowercase();
    let names =
        |tool: &Tool| std::iter::once(tool.id).chain(tool.aliases.iter().copied()).collect::<Vec<_>>();
    if let Some(tool) = TOOLS.iter().find(|tool| names(tool).contains(&word.as_str())) {
        return Ok(tool);
    }
    let likeness =
        |tool: &&Tool| names(tool).iter().map(|name| strsim::jaro_winkler(&word, name)).fold(0.0, f64::max);
    let nearest = TOOLS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    Err(nearest.map_or("other", |tool| tool.id))
}

/// `docs/tools.md`.
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for tool in TOOLS {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## {}\n\n{}\n", tool.name, tool.about);
        let file = if tool.needs_file.is_some() { " --file PATH" } else { "" };
        if tool.way != Way::Never {
            let _ = write!(text, "\n```sh\nllmtor setup {}{file}\n```\n", tool.id);
        }
    }
    text
}

/// A program without a place of its own.
fn nowhere(machine: &Machine, _: Option<&Path>) -> PathBuf {
    machine.home("")
}

const INTRODUCTION: &str = "\
# Tools

`llmtor setup` lists the tools that it knows, and which of them are on this machine. `llmtor setup TOOL` shows what it would
change, asks, and writes; `--yes` does not ask. A copy of the file as it was is kept beside it.

| option | what it does |
| --- | --- |
| `--model M` | the model for the work; otherwise a large one of which you have tokens |
| `--print` | prints what belongs into the settings, and writes nothing |
| `--undo` | puts everything back; what you changed since stays |
| `--file PATH` | where the settings are, for a tool that keeps them where you say |

Small calls, such as titles and summaries, are pointed at the cheapest model: a call costs one token whatever its length, and that
model's tokens cost least. The settings hold the key of the endpoint, which is of use on this machine only.
";

#[cfg(test)]
mod tests;
