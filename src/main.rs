//! Parse, dispatch; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    llmtor::cli::run(std::env::args_os())
}
