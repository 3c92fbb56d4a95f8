//! The endpoint against its own description, by a tool that makes requests up: schemathesis.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::harness::{KEY, Scripted, completion, start};

/// The program, where it is installed; in CI it has to be.
fn schemathesis() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/.venv/bin/schemathesis");
    if program.exists() {
        return Some(program);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", program.display());
    eprintln!("SKIPPED: schemathesis is not installed ({} is missing)", program.display());
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_requests_are_answered_as_the_description_says_and_never_with_a_failure_of_ours() {
    let Some(program) = schemathesis() else { return };
    let server = start(Scripted::answering(completion("hello"))).await;
    let room = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(program)
        .args(["run", &format!("http://{}/openapi.json", server.address)])
        .args(["--header", &format!("Authorization: Bearer {KEY}")])
        .args(["--checks", "all"])
        .args(["--max-examples", "25", "--seed", "7", "--workers", "1"])
        .current_dir(room.path())
        .env("HOME", room.path())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).replace(KEY, "KEY");
    assert!(output.status.success(), "{said}");
    assert!(said.contains("passed"), "{said}");
}
