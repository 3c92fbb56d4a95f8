//! Clients that take seconds. All use one daemon.

use super::stage::{Stage, drivers, installed};

fn python(environment: &str, script: &str) {
    let python = drivers().join(environment).join("bin/python");
    let driver = format!("python/{script}");
    let Some(mut command) = installed(python.clone(), &python) else { return };
    command.arg(drivers().join(&driver));
    Stage::shared().run(command, &driver);
}

fn node(script: &str, package: &str) {
    let driver = format!("node/{script}");
    let needed = drivers().join("node_modules").join(package);
    let Some(mut command) = installed("node".into(), &needed) else { return };
    command.arg(drivers().join(&driver));
    Stage::shared().run(command, &driver);
}

#[test]
fn openai_for_python_chats_streams_parses_and_calls_tools() {
    python(".venv", "openai_chat.py");
}

#[test]
fn openai_for_python_creates_and_streams_responses() {
    python(".venv", "openai_responses.py");
}

#[test]
fn openai_for_python_completes_prompts() {
    python(".venv", "openai_completions.py");
}

#[test]
fn openai_for_python_raises_its_own_class_for_each_failure() {
    python(".venv", "openai_errors.py");
}

#[test]
fn openai_for_node_does_the_same_and_rejects_with_its_own_classes() {
    node("openai.mjs", "openai");
}

#[test]
fn agents_of_openai_run_a_tool_loop_over_both_endpoints() {
    python(".venv", "agents_sdk.py");
}

#[test]
fn langchain_invokes_streams_binds_tools_and_structures_output() {
    python(".venv", "langchain_openai_client.py");
}

#[test]
fn pydantic_ai_calls_a_tool_and_validates_its_output_in_every_mode() {
    python(".venv", "pydantic_ai_client.py");
}

#[test]
fn instructor_validates_its_output_in_every_mode() {
    python(".venv-instructor", "instructor_client.py");
}

#[test]
fn litellm_is_a_client_like_others() {
    python(".venv", "litellm_client.py");
}

#[test]
fn the_llm_command_streams_continues_calls_tools_and_keeps_to_a_schema() {
    python(".venv", "llm_cli.py");
}

#[test]
fn a_shell_that_was_set_up_tells_openai_for_python_where_to_go() {
    python(".venv", "openai_by_shell.py");
}

#[test]
fn the_ai_sdk_generates_streams_and_runs_a_tool_loop() {
    node("ai-sdk.mjs", "ai");
}

#[test]
fn curl_sees_an_answer_and_a_stream_at_whatever_people_mistype() {
    let path = std::env::var_os("PATH").unwrap();
    let curl =
        std::env::split_paths(&path).map(|directory| directory.join("curl")).find(|curl| curl.exists());
    let Some(mut command) = installed("sh".into(), &curl.unwrap_or_else(|| "curl".into())) else { return };
    command.arg(drivers().join("shell/curl.sh"));
    Stage::shared().run(command, "shell/curl.sh");
}

#[test]
fn anthropic_for_python_streams_loops_and_raises_its_own_classes() {
    python(".venv", "anthropic_client.py");
}

#[test]
fn anthropic_for_node_streams_loops_and_rejects_with_its_own_classes() {
    node("anthropic.mjs", "@anthropic-ai/sdk");
}

#[test]
fn ollama_for_python_chats_generates_lists_and_shows() {
    python(".venv", "ollama_client.py");
}

#[test]
fn ollama_for_node_chats_generates_lists_and_shows() {
    node("ollama.mjs", "ollama");
}
