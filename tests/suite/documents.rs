//! What the documents promise: commands that exist, exit codes as printed, settings that parse.

use std::path::Path;

use llmtor::backend::{Moderation, Settings};

use super::support::program;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The `llmtor …` lines of the shell blocks in a Markdown text, without comments and redirections.
fn commands(markdown: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut in_shell = false;
    for line in markdown.lines() {
        if let Some(language) = line.strip_prefix("```") {
            in_shell = language == "sh";
        } else if in_shell && line.starts_with("llmtor ") {
            let plain = line.split(['#', '>', '<', '|']).next().unwrap();
            found.push(plain.split_whitespace().skip(1).map(str::to_owned).collect());
        }
    }
    found
}

#[test]
fn every_command_in_the_readme_exists_with_its_options() {
    let room = tempfile::tempdir().unwrap();
    let commands = commands(&read("README.md"));
    assert!(commands.len() >= 8, "only {} commands were found in README.md", commands.len());
    for command in commands {
        // `--help` is the last word: whatever stands before it must be known.
        let output = program::command(room.path()).args(&command).arg("--help").output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let output = program::command(room.path()).args(["serve", "--no-such", "--help"]).output().unwrap();
    assert!(!output.status.success(), "the check above accepts anything");
}

#[test]
fn the_readme_lists_the_exit_codes_that_help_prints() {
    let room = tempfile::tempdir().unwrap();
    let help = program::run(room.path(), &["--help"], "");
    let help = String::from_utf8(help.stdout).unwrap();
    let section = help.split("Exit codes:").nth(1).unwrap();
    let readme = read("README.md");
    let mut codes = 0;
    for line in section.lines().skip(1).map(str::trim).take_while(|line| !line.is_empty()) {
        let (code, meaning) = line.split_once("  ").unwrap();
        codes += 1;
        let row = if matches!(code, "130" | "143") {
            assert!(meaning.starts_with("stopped by "), "{line}");
            "| 130, 143 |".to_owned()
        } else {
            format!("| {code} | {} |", meaning.trim())
        };
        assert!(readme.contains(&row), "README.md lacks: {row}");
    }
    assert_eq!(codes, 9);
}

#[test]
fn the_example_settings_of_the_backend_parse_and_say_the_defaults() {
    let text = read("config/backend.example.toml");
    let settings = Settings::parse(&text).unwrap();
    let defaults = Settings::default();
    assert_eq!(settings.generation, defaults.generation);
    assert_eq!(settings.planes, defaults.planes);
    assert_eq!(settings.answer_days, defaults.answer_days);
    assert_eq!(settings.limits, defaults.limits);
    assert_eq!(settings.moderation, Moderation::None);
    // What is commented out must be valid too. Only lines that are settings: `# key = value`.
    let mut uncommented = 0;
    let whole: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(key, value)| is_setting(key, value)) => {
                uncommented += 1;
                rest.to_owned()
            }
            _ => line.to_owned(),
        })
        .collect();
    assert!(uncommented >= 2, "no commented setting was found");
    let settings = Settings::parse(&whole.join("\n")).unwrap();
    assert_eq!(settings.body_limit, Some(defaults.effective_body_limit()));
}

fn is_setting(key: &str, value: &str) -> bool {
    !key.contains(' ') && (value.starts_with('"') && value.ends_with('"') || value.parse::<u64>().is_ok())
}
