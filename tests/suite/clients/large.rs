//! Agents that are programs of their own, of hundreds of megabytes. Each changes a file by way of the model.
//!
//! Left out of a plain run: `.ci/clients` installs them and runs these.

use super::stage::{Run, Stage, drivers, installed, large_clients};
use crate::support::canary::contains;
use crate::support::relay::Relay;

/// The run of `script`, whose client is there if `needed` is; `None` where it is not.
fn agent(stage: &Stage, script: &str, needed: &str) -> Option<Run> {
    let mut command = installed("sh".into(), &large_clients().join(needed))?;
    let driver = format!("large/{script}");
    command.arg(drivers().join(&driver));
    Some(stage.run(command, &driver))
}

/// That a client told the daemon each of `told`, and that none of it left; the task did.
fn assert_stays_here(stage: &Stage, watch: &Relay, told: &[&str]) {
    let (sent, left) = (watch.recorded(), stage.left());
    let any = |all: &[Vec<u8>], what: &str| all.iter().any(|bytes| contains(bytes, what.as_bytes()));
    assert!(any(&left, "greeting.txt"));
    for what in told {
        assert!(any(&sent, what), "{what} was not sent at all");
        assert!(!any(&left, what), "{what} left this machine");
    }
}

#[test]
#[ignore = "a large client; .ci/clients installs it"]
fn codex_writes_a_file_and_what_it_tells_of_the_machine_stays_here() {
    let (stage, watch) = Stage::watched(20);
    let Some(run) = agent(&stage, "codex.sh", "node_modules/@openai/codex") else { return };
    let installation = std::fs::read_to_string(run.room.path().join(".codex/installation_id")).unwrap();
    let told = [
        installation.trim(),
        "installation_id",
        "private-remote.example",
        "latest_git_commit_hash",
        "client_metadata",
        "x-codex-turn-metadata",
        "codex_exec",
        "prompt_cache_key",
        "x86_64) ",
    ];
    assert_stays_here(&stage, &watch, &told);
}

#[test]
#[ignore = "a large client; .ci/clients installs it"]
fn opencode_writes_a_file() {
    agent(&Stage::set(20), "opencode.sh", "node_modules/opencode-ai");
}

#[test]
#[ignore = "a large client; .ci/clients installs it"]
fn continue_writes_a_file() {
    agent(&Stage::set(20), "continue.sh", "node_modules/@continuedev/cli");
}

#[test]
#[ignore = "a large client; .ci/clients installs it"]
fn claude_code_writes_a_file_and_what_it_tells_of_the_machine_stays_here() {
    let (stage, watch) = Stage::watched(20);
    if agent(&stage, "claude-code.sh", "node_modules/@anthropic-ai/claude-code").is_some() {
        let told = [
            "device_id",
            "account_uuid",
            "X-Claude-Code-Session-Id",
            "X-Stainless-Runtime",
            "context_management",
        ];
        assert_stays_here(&stage, &watch, &told);
    }
}

#[test]
#[ignore = "a large client; .ci/clients installs it"]
fn aider_edits_a_file_in_a_repository_and_commits_it() {
    agent(&Stage::set(20), "aider.sh", "aider/bin/aider");
}
