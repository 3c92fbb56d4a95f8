use serde_json::{Value, json};

use super::*;
use crate::secret::Secret;
use crate::setup::edit::apply;
use crate::setup::{Choice, System};
use crate::wire::ModelName;

const KEY: &str = "sk-llmtor-0123456789abcdefghij";

fn facts() -> Facts {
    let name = |text: &str| ModelName::new(text).unwrap();
    Facts {
        base_url: "http://127.0.0.1:8787/v1".into(),
        key: Secret::new(KEY.into()),
        key_file: "/home/some body/llmtor/api-key".into(),
        home: None,
        models: ["gemini-2.5-flash-lite", "gpt-4.1"].map(name).to_vec(),
        choice: Choice { main: name("gpt-4.1"), small: name("gemini-2.5-flash-lite") },
        context: Some(62_500),
    }
}

fn machine() -> Machine {
    Machine::new(System::Unix, Path::new("/nonexistent/user"), &[])
}

/// The texts of the files of a tool, new.
fn written(id: &str) -> Vec<String> {
    let tool = find(id).unwrap();
    let machine = machine();
    let plan = (tool.plan)(&machine, &facts(), &(tool.place)(&machine, None));
    plan.files.iter().map(|file| apply(file.format, "", &file.edits).unwrap().0).collect()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn names_are_typed_one_way_and_each_tool_says_what_it_does() {
    let mut seen = std::collections::BTreeSet::new();
    for tool in TOOLS {
        for name in std::iter::once(&tool.id).chain(tool.aliases) {
            assert!(seen.insert(*name), "{name} is two tools");
            assert_eq!(find(name).unwrap().id, tool.id);
        }
        assert!(tool.about.ends_with('.') && !tool.about.contains("  "), "{}", tool.id);
    }
    assert_eq!(find("CODEX").unwrap().id, "codex");
    assert_eq!(find("opncode").err(), Some("opencode"));
    assert_eq!(find("contine").err(), Some("continue"));
}

#[test]
fn codex_gets_a_provider_that_needs_no_variable() {
    let read: toml::Table = written("codex")[0].parse().unwrap();
    let provider = &read["model_providers"]["llmtor"];
    assert_eq!(read["model_provider"].as_str(), Some("llmtor"));
    assert_eq!(read["model"].as_str(), Some("gpt-4.1"));
    assert_eq!(provider["wire_api"].as_str(), Some("responses"));
    assert_eq!(provider["experimental_bearer_token"].as_str(), Some(KEY));
}

#[test]
fn small_calls_go_to_the_cheapest_model() {
    let opencode = json_of(&written("opencode")[0]);
    assert_eq!(opencode["model"], "llmtor/gpt-4.1");
    assert_eq!(opencode["small_model"], "llmtor/gemini-2.5-flash-lite");
    assert_eq!(opencode["provider"]["llmtor"]["models"]["gpt-4.1"]["limit"]["context"], 62_500);
    let claude = json_of(&written("claude-code")[0]);
    assert_eq!(claude["env"]["ANTHROPIC_DEFAULT_HAIKU_MODEL"], "gemini-2.5-flash-lite");
    assert_eq!(claude["env"]["ANTHROPIC_BASE_URL"], "http://127.0.0.1:8787");
    let zed = json_of(&written("zed")[0]);
    let small = json!({"provider": "llmtor", "model": "gemini-2.5-flash-lite"});
    assert_eq!(zed["agent"]["thread_summary_model"], small);
    assert!(written("aider")[0].contains("weak-model: openai/gemini-2.5-flash-lite\n"));
    assert!(written("continue")[0].contains("summarize"));
    assert!(written("librechat")[0].contains("titleModel: gemini-2.5-flash-lite\n"));
}

#[test]
fn no_key_stands_in_files_that_are_published_as_dotfiles() {
    for id in ["codecompanion", "avante", "gptel", "zed", "env"] {
        for text in written(id) {
            assert!(!text.contains(KEY), "{id}");
        }
    }
    for tool in TOOLS {
        let machine = machine();
        for file in (tool.plan)(&machine, &facts(), &(tool.place)(&machine, None)).files {
            let text = apply(file.format, "", &file.edits).unwrap().0;
            assert_eq!(text.contains(KEY), file.has_key, "{}", tool.id);
        }
    }
}

#[test]
fn everything_that_is_printed_has_address_and_key() {
    for tool in TOOLS.iter().filter(|tool| tool.way == Way::Prints) {
        let plan = (tool.plan)(&machine(), &facts(), Path::new(""));
        let said: String = plan.steps.iter().filter_map(|step| step.paste.clone()).collect();
        assert!(
            plan.files.is_empty() && said.contains("http://127.0.0.1:8787") && said.contains(KEY),
            "{}",
            tool.id
        );
    }
}

#[test]
fn brackets_of_lisp_and_lua_are_closed_and_odd_paths_quoted() {
    for (id, quote) in [("gptel", '"'), ("codecompanion", '"'), ("avante", '"')] {
        let text = &written(id)[0];
        let mut open = Vec::new();
        let mut quoted = false;
        for c in
            text.lines().filter(|line| !line.starts_with("--") && !line.starts_with(';')).flat_map(str::chars)
        {
            match c {
                c if c == quote => quoted = !quoted,
                '(' | '[' | '{' if !quoted => open.push(c),
                ')' | ']' | '}' if !quoted => {
                    let wanted = match c {
                        ')' => '(',
                        ']' => '[',
                        _ => '{',
                    };
                    assert_eq!(open.pop(), Some(wanted), "{text}");
                }
                _ => {}
            }
        }
        assert!(open.is_empty() && !quoted, "{text}");
        assert!(text.contains("\"/home/some body/llmtor/api-key\""), "{text}");
    }
}

#[test]
fn the_document_of_tools_is_that_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tools.md");
    if std::env::var_os("LLMTOR_TEST_WRITE").is_some() {
        std::fs::write(&path, markdown()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text == markdown(),
        "docs/tools.md is not that of the table; write it: LLMTOR_TEST_WRITE=1 cargo test tools"
    );
}
