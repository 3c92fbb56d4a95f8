//! Every command's help has an example, and every example is one that this program understands.

use clap::{Command, CommandFactory as _, Parser as _};

use super::Arguments;

/// Every command, with its help as `--help` prints it.
fn commands() -> Vec<(String, String)> {
    fn collect(command: &mut Command, found: &mut Vec<(String, String)>) {
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
        found.push((name, command.render_long_help().to_string()));
        let below = command.get_subcommands_mut().filter(|below| below.get_name() != "help");
        below.for_each(|below| collect(below, found));
    }
    let mut root = Arguments::command();
    root.build();
    let mut found = Vec::new();
    collect(&mut root, &mut found);
    found
}

/// The commands that a help shows: ours, without what a shell does around them.
fn examples(help: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in help.split("Example").skip(1).flat_map(str::lines) {
        let line = line.trim_start_matches('s').trim_start_matches(':').trim();
        let line = line.strip_prefix("eval \"$(").unwrap_or(line);
        if !line.starts_with("llmtor ") {
            continue;
        }
        let line = line.split(['<', '>', '|', '#']).next().unwrap_or_default();
        let words = line.split_whitespace().map(|word| word.trim_matches(['"', '\'', ')']).to_owned());
        found.push(words.collect());
    }
    found
}

#[test]
fn every_commands_help_has_an_example() {
    let commands = commands();
    assert!(commands.len() > 30, "only {} commands were found", commands.len());
    let without: Vec<_> =
        commands.iter().filter(|(_, help)| examples(help).is_empty()).map(|(name, _)| name).collect();
    assert!(without.is_empty(), "no example in the help of {without:?}; add it with `after_help`");
}

#[test]
fn an_example_of_a_commands_help_is_of_that_command() {
    for (name, help) in commands() {
        let own: Vec<&str> = name.split(' ').collect();
        let fits = examples(&help).iter().any(|words| words.iter().zip(&own).all(|(word, own)| word == own));
        assert!(fits, "the help of `{name}` shows other commands only");
    }
}

#[test]
fn every_example_is_understood() {
    for (name, help) in commands() {
        for words in examples(&help) {
            let parsed = Arguments::try_parse_from(&words);
            let told = parsed.as_ref().err().map(ToString::to_string).unwrap_or_default();
            assert!(parsed.is_ok(), "the help of `{name}` shows {words:?}: {told}");
        }
    }
}

#[test]
fn an_example_that_is_none_is_not_taken_for_one() {
    assert!(examples("Examples are nice\n  and llmtor likes them").is_empty());
    assert_eq!(examples("Example: eval \"$(llmtor env)\""), [["llmtor", "env"]]);
    assert_eq!(examples("Examples:\n  llmtor keys list > x"), [["llmtor", "keys", "list"]]);
}
