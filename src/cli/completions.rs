//! `llmtor completions SHELL`

use std::io::Write as _;

use clap::CommandFactory as _;

use super::arguments::{Arguments, CompletionsOptions};
use super::exit::Exit;

pub(super) fn run(options: &CompletionsOptions) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "llmtor", &mut script);
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().lock().write_all(&script);
    Exit::Done
}
