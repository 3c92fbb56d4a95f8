//! The official OpenAI packages, as programs.

use std::path::{Path, PathBuf};
use std::process::Command;

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// The clients' Python with a script of ours; `None`, and a line that says so, where it is not installed.
pub fn python(script: &str) -> Option<Command> {
    let interpreter = clients().join(".venv/bin/python");
    if !interpreter.exists() {
        assert!(std::env::var_os("CI").is_none(), "{script}: {} is missing", interpreter.display());
        eprintln!("SKIPPED: {script} was not run ({} is missing)", interpreter.display());
        return None;
    }
    let mut command = Command::new(interpreter);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
    Some(command)
}

/// The interpreter and the script of one SDK, `python` or `node`; `None`, and a line that says so, where it is not
/// installed.
pub fn sdk(name: &str) -> Option<Command> {
    let (program, script, needed) = match name {
        "python" => (clients().join(".venv/bin/python"), "call.py", clients().join(".venv/bin/python")),
        _ => (PathBuf::from("node"), "call.mjs", clients().join("node_modules/openai/package.json")),
    };
    if !needed.exists() {
        assert!(std::env::var_os("CI").is_none(), "{name}: {} is missing", needed.display());
        eprintln!("SKIPPED: the {name} SDK is not installed ({} is missing)", needed.display());
        return None;
    }
    let mut command = Command::new(program);
    command.arg(clients().join(script));
    Some(command)
}
