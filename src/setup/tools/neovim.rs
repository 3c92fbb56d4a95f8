//! Neovim: a module of ours for a plugin, and the line that uses it. The key is read from its file, so that it never lands in
//! a repository of dotfiles.

use std::path::{Path, PathBuf};

use super::{Edit, Format, Plan, Planned, Tool, Way};
use crate::setup::{Facts, Machine, Step, System};

pub(super) const CODECOMPANION: Tool = Tool {
    id: "codecompanion",
    aliases: &["codecompanion.nvim", "neovim-codecompanion"],
    name: "Neovim: CodeCompanion",
    about: "Writes `lua/llmtor/codecompanion.lua` into Neovim's configuration, a module with everything that CodeCompanion needs, and \
            prints the one line that uses it. The key is read from its file when Neovim starts.",
    way: Way::Writes,
    needs_file: None,
    is_here: |machine| has_plugin(machine, "codecompanion.nvim"),
    place: |machine, _| module(machine, "codecompanion"),
    plan: |_, facts, place| {
        let body = format!(
            r#"-- Options for CodeCompanion that point it at llmtor.
{key}
local function adapter()
  return require("codecompanion.adapters").extend("openai_compatible", {{
    name = "llmtor",
    formatted_name = "llmtor",
    env = {{ url = {origin}, api_key = key, chat_url = "/v1/chat/completions" }},
    schema = {{ model = {{ default = {main}, choices = {{ {models} }} }} }},
  }})
end
local with = {{
  chat = {{ adapter = "llmtor" }},
  inline = {{ adapter = "llmtor" }},
  cmd = {{ adapter = "llmtor" }},
  background = {{ adapter = {{ name = "llmtor", model = {small} }} }},
}}
-- Older versions call interactions strategies.
return {{ adapters = {{ http = {{ llmtor = adapter }} }}, interactions = with, strategies = with }}
"#,
            key = read_key(facts),
            origin = text(facts.origin()),
            main = text(facts.choice.main.as_str()),
            small = text(facts.choice.small.as_str()),
            models = facts.models.iter().map(|model| text(model.as_str())).collect::<Vec<_>>().join(", "),
        );
        plan(
            place,
            body,
            "codecompanion",
            "require(\"codecompanion\").setup(require(\"llmtor.codecompanion\"))",
        )
    },
};

pub(super) const AVANTE: Tool = Tool {
    id: "avante",
    aliases: &["avante.nvim", "neovim-avante"],
    name: "Neovim: avante",
    about: "Writes `lua/llmtor/avante.lua` into Neovim's configuration, a module with everything that avante needs, and prints the \
            one line that uses it. avante itself reads the key from its file.",
    way: Way::Writes,
    needs_file: None,
    is_here: |machine| has_plugin(machine, "avante.nvim"),
    place: |machine, _| module(machine, "avante"),
    plan: |machine, facts, place| {
        // A variable would hand the key to every program that Neovim starts; a command's words are not read by a shell.
        let reader: &[&str] = match machine.system() {
            System::Windows => &["cmd", "/d", "/c", "type"],
            System::Unix | System::MacOs => &["cat"],
        };
        let key_file = facts.key_file.display().to_string();
        let body = format!(
            r#"-- Options for avante that point it at llmtor.
local function provider(model)
  return {{
    __inherited_from = "openai",
    endpoint = {url},
    api_key_name = {{ {command} }},
    model = model,
    context_window = {context},
    timeout = 120000,
  }}
end
return {{
  provider = "llmtor",
  memory_summary_provider = "llmtor-small",
  providers = {{ llmtor = provider({main}), ["llmtor-small"] = provider({small}) }},
}}
"#,
            command = reader.iter().copied().chain([&*key_file]).map(text).collect::<Vec<_>>().join(", "),
            url = text(&facts.base_url),
            context = facts.context.unwrap_or(60_000),
            main = text(facts.choice.main.as_str()),
            small = text(facts.choice.small.as_str()),
        );
        plan(place, body, "avante", "require(\"avante\").setup(require(\"llmtor.avante\"))")
    },
};

fn plan(place: &Path, body: String, plugin: &str, line: &str) -> Plan {
    let edits = vec![Edit::Block { comment: "--".to_owned(), body }];
    let file = Planned { path: place.to_owned(), format: Format::Text, edits, has_key: false };
    let lazy = format!("with lazy.nvim that is `opts = function() return require(\"llmtor.{plugin}\") end`");
    let merge = format!(
        "if you have options of your own: vim.tbl_deep_extend(\"force\", require(\"llmtor.{plugin}\"), {{ … }})"
    );
    let steps = vec![
        Step::paste("in your Neovim configuration, where the plugin is set up:", line),
        Step::say(lazy),
        Step::say(merge),
    ];
    Plan { files: vec![file], steps }
}

fn read_key(facts: &Facts) -> String {
    format!("local key = vim.trim(vim.fn.readfile({})[1])", text(&facts.key_file.display().to_string()))
}

fn module(machine: &Machine, plugin: &str) -> PathBuf {
    directory(machine).join("lua/llmtor").join(format!("{plugin}.lua"))
}

fn directory(machine: &Machine) -> PathBuf {
    match machine.system() {
        System::Windows => machine.named_or("LOCALAPPDATA", machine.home("AppData/Local")).join("nvim"),
        System::Unix | System::MacOs => machine.config("nvim"),
    }
}

/// Where the usual managers put plugins.
fn has_plugin(machine: &Machine, name: &str) -> bool {
    let data = machine.named_or("XDG_DATA_HOME", machine.home(".local/share")).join("nvim");
    [
        "lazy",
        "site/pack/core/opt",
        "site/pack/packer/start",
        "site/pack/packer/opt",
        "site/pack/paqs/start",
        "plugged",
    ]
    .iter()
    .any(|place| data.join(place).join(name).is_dir())
}

/// A text in Lua.
fn text(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
