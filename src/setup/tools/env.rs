//! Shells: the lines that give every program started from them the two variables.

use std::path::{Path, PathBuf};

use super::{Edit, Format, Plan, Planned, Tool, Way, nowhere};
use crate::setup::{Facts, Machine, Shell, Step, System};

pub(super) const TOOL: Tool = Tool {
    id: "env",
    aliases: &["shell", "shells", "bash", "zsh", "fish", "profile", "powershell"],
    name: "Shells",
    about: "Writes a few marked lines into the files that your shells read at their start (`~/.profile`, `~/.bashrc`, `~/.zshrc`, fish, \
            PowerShell; those that are there, and that of your login shell). They ask `llmtor env`, so the key is in none of them. Every \
            program that reads `OPENAI_BASE_URL` and `OPENAI_API_KEY` then uses llmtor.",
    way: Way::Writes,
    needs_file: None,
    is_here: |_| true,
    place: nowhere,
    plan: |machine, facts, _| {
        let files = shells(machine)
            .into_iter()
            .map(|(path, shell)| {
                let edits = vec![Edit::Block { comment: "#".to_owned(), body: body(shell, facts) }];
                Planned { path, format: Format::Text, edits, has_key: false }
            })
            .collect();
        let steps = vec![
            Step::say("it counts for terminals that are opened from now on"),
            Step::say(
                "programs with a key of yours for OpenAI in OPENAI_API_KEY use llmtor instead from then on",
            ),
        ];
        Plan { files, steps }
    },
};

/// The lines for a shell.
fn body(shell: Shell, facts: &Facts) -> String {
    let home = facts.home.as_ref().map(|home| home.display().to_string());
    let options = home.map(|home| format!(" --home {}", shell.quoted(&home))).unwrap_or_default();
    let line = match shell {
        Shell::Posix => {
            format!(
                "if command -v llmtor >/dev/null 2>&1; then eval \"$(llmtor env{options} 2>/dev/null)\"; fi"
            )
        }
        Shell::Fish => {
            format!("if command -q llmtor; llmtor env{options} --shell fish 2>/dev/null | source; end")
        }
        Shell::Power => format!(
            "if (Get-Command llmtor -ErrorAction SilentlyContinue) {{ llmtor env{options} --shell powershell | Out-String | Invoke-Expression }}"
        ),
    };
    format!("# Points programs that read OPENAI_BASE_URL and OPENAI_API_KEY at llmtor.\n{line}")
}

/// The files of shells that are there, and that of the login shell.
fn shells(machine: &Machine) -> Vec<(PathBuf, Shell)> {
    if machine.system() == System::Windows {
        let profile = machine.home("Documents/PowerShell/Microsoft.PowerShell_profile.ps1");
        return vec![(profile, Shell::Power)];
    }
    let login =
        machine.variable("SHELL").map(|shell| Path::new(shell).file_name().unwrap_or_default().to_owned());
    let is_login = |name: &str| login.as_deref().is_some_and(|login| login == name);
    let zsh = machine.named_or("ZDOTDIR", machine.home("")).join(".zshrc");
    let fish = machine.config("fish");
    let all = [
        (machine.home(".profile"), Shell::Posix, machine.home(".profile").exists()),
        (machine.home(".bashrc"), Shell::Posix, machine.home(".bashrc").exists() || is_login("bash")),
        (zsh.clone(), Shell::Posix, zsh.exists() || is_login("zsh")),
        (fish.join("conf.d/llmtor.fish"), Shell::Fish, fish.is_dir() || is_login("fish")),
    ];
    let found: Vec<_> =
        all.into_iter().filter(|(.., is_used)| *is_used).map(|(path, shell, _)| (path, shell)).collect();
    // Some shell reads it at login, whichever it is.
    if found.is_empty() { vec![(machine.home(".profile"), Shell::Posix)] } else { found }
}
