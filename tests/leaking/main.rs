//! The program with deliberate leaks (feature `leak`), for the tests that show that leaks are seen. Never shipped.

use std::process::ExitCode;

fn main() -> ExitCode {
    llmtor::cli::run(std::env::args_os())
}
