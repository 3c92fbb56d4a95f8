//! Words: help, manual, completions, and what is said about a wrong command line or setting.

use llmtor::config::table;

use super::bench::{llmtor, succeed};
use crate::support::program;

fn room() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn help_names_every_command_and_every_exit_code() {
    let room = room();
    let help = succeed(room.path(), &["--help"], "").stdout;
    for command in [
        "demo",
        "serve",
        "init",
        "keys",
        "login",
        "logout",
        "account",
        "buy",
        "whoami",
        "abuse",
        "tokens",
        "backup",
        "restore",
        "status",
        "doctor",
        "setup",
        "env",
        "backend",
        "completions",
        "man",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in {help}");
        assert!(succeed(room.path(), &[command, "--help"], "").stdout.contains("--home"), "{command}");
    }
    for words in ["Exit codes:", "  130  ", "Examples:", "--set <SECTION.KEY=VALUE>", "LLMTOR_HOME"] {
        assert!(help.contains(words), "{words} is not in {help}");
    }
}

#[test]
fn a_wrong_command_line_is_refused_with_what_would_be_right() {
    let room = room();
    for (arguments, words) in [
        (&["tokns"][..], &["tokens"][..]),
        (&["tokens", "mint", "--model", "gpt-4.1"], &["--count"]),
        (&["tokens", "mint", "--model", "gpt-4.1", "--count", "0"], &["1..=100000"]),
        (&["tokens", "mint", "--model", "gpt 4.1", "--count", "1"], &["a model name has"]),
        (&["login"], &["which backend", "login --backend URL --keys FILE"]),
        (&["login", "--backend", "https://x.example"], &["--keys"]),
        (&["backend", "invite", "create", "alice", "--uses", "2"], &["--uses"]),
        (&["init", "--backend", "https://x.example"], &["--keys"]),
        (&["env", "--shell", "cmd"], &["sh, fish, powershell"]),
        (&["backend", "account", "add", "a", "--credits", "gpt-4.1"], &["MODEL=N"]),
        (&["backend", "serve", "--listen", "nowhere"], &["--listen"]),
        (&["demo", "--upstream-model", "m"], &["--upstream"]),
        (&["keys", "import"], &["FILE"]),
        (&[], &["Usage"]),
    ] {
        llmtor(room.path(), &[], arguments, "").refused(2, words);
    }
    let mut left = std::fs::read_dir(room.path()).unwrap().flatten().map(|entry| entry.file_name());
    assert!(left.all(|name| name == "tmp"), "a refused command leaves nothing behind");
}

#[test]
fn a_wrong_setting_is_refused_wherever_it_stands() {
    let room = room();
    let tokens = |environment: &[(&str, &str)], sets: &[&str]| {
        let mut arguments = vec!["--home", "h", "tokens"];
        arguments.extend_from_slice(sets);
        llmtor(room.path(), environment, &arguments, "")
    };
    tokens(&[], &["--set", "server.lisen=x"]).refused(2, &["server.lisen", "--set", "server.listen"]);
    tokens(&[("LLMTOR_LOG__LEVL", "x")], &[]).refused(2, &["LLMTOR_LOG__LEVL", "did you mean `log.level`"]);
    tokens(&[("LLMTOR_LOG__LEVEL", "loud")], &[]).refused(2, &["LLMTOR_LOG__LEVEL", "warn, info"]);
    tokens(&[], &["--log", "loud"]).refused(2, &["--log", "warn, info"]);
    tokens(&[], &["--set", "server.listen=0.0.0.0:80"]).refused(2, &["loopback"]);
    std::fs::write(room.path().join("h/config.toml"), "[vault]\nkeystore = 1\n").unwrap();
    tokens(&[], &[]).refused(2, &["vault.keystore", "config.toml", "did you mean `vault.key_store`"]);
    std::fs::write(room.path().join("h/config.toml"), "[vault\n").unwrap();
    tokens(&[], &[]).refused(2, &["config.toml", "cannot be read"]);
}

#[test]
fn settings_count_before_and_after_the_command_alike() {
    let room = room();
    let set = ["--set", "log.level=x1", "tokens", "--set", "server.grace_seconds=x2", "--home", "h"];
    llmtor(room.path(), &[], &set, "").refused(2, &["x1"]);
    let set = ["--set", "log.level=info", "tokens", "--set", "server.grace_seconds=x2", "--home", "h"];
    llmtor(room.path(), &[], &set, "").refused(2, &["x2"]);
}

#[test]
fn with_json_an_error_is_an_object_on_standard_output() {
    let room = room();
    let usage = llmtor(room.path(), &[], &["--json", "tokns"], "");
    assert_eq!((usage.code, &usage.json()["kind"]), (Some(2), &"usage".into()));
    let failed = llmtor(room.path(), &[], &["account", "--json", "--home", "h"], "");
    let error = failed.json();
    assert_eq!((failed.code, &error["event"], &error["kind"]), (Some(2), &"error".into(), &"usage".into()));
    assert!(error["advice"].as_str().unwrap().contains("--backend URL --keys FILE"), "{error}");
}

#[test]
fn the_example_configuration_is_the_table_of_keys() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/llmtor.example.toml");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    if std::env::var_os("LLMTOR_TEST_WRITE").is_some() {
        std::fs::write(path, table::example()).unwrap();
        return;
    }
    assert!(written == table::example(), "run this test with LLMTOR_TEST_WRITE=1 to write {path} anew");
}

#[test]
fn completions_and_manual_pages_are_made() {
    let room = room();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = succeed(room.path(), &["completions", shell], "").stdout;
        assert!(script.contains("llmtor") && script.contains("mint"), "{shell}");
    }
    let page = succeed(room.path(), &["man"], "").stdout;
    assert!(page.contains(".TH llmtor 1"), "{page}");
    std::fs::create_dir(room.path().join("man")).unwrap();
    succeed(room.path(), &["man", "--dir", "man"], "");
    for page in ["llmtor.1", "llmtor-tokens.1", "llmtor-tokens-mint.1", "llmtor-backend-account-add.1"] {
        let text = std::fs::read_to_string(room.path().join("man").join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
}

#[test]
fn every_parameter_and_its_treatment_is_listed_and_the_documentation_has_the_same() {
    let room = room();
    let listed = succeed(room.path(), &["compat"], "").stdout;
    for line in ["temperature", "response_format", "audio"] {
        assert!(listed.lines().any(|row| row.trim_start().starts_with(line)), "{line} is missing:\n{listed}");
    }
    let one = succeed(room.path(), &["--json", "compat", "chat/completions"], "").stdout;
    let rows: serde_json::Value = serde_json::from_str(&one).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["field"] == "seed").unwrap();
    assert_eq!(row["treatment"], "ignored");
    let written = succeed(room.path(), &["compat", "--markdown"], "").stdout;
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compat.md");
    if std::env::var_os("LLMTOR_TEST_WRITE").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    assert_eq!(written, std::fs::read_to_string(path).unwrap(), "run this test with LLMTOR_TEST_WRITE=1");
    let unknown = llmtor(room.path(), &[], &["compat", "nothing"], "");
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("/v1/chat/completions"), "{}", unknown.stderr);
}

#[test]
fn a_refusal_that_nobody_reads_ends_as_it_would_have() {
    let room = room();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = program::command(room.path()).args(["setup", "opncode"]).stderr(writer).status().unwrap();
    assert_eq!(ended.code(), Some(2), "{ended}");
}
