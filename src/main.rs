//! Parse, dispatch; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(debug_assertions)]
    let _armed = llmtor::failpoint::arm();
    llmtor::cli::run(std::env::args_os())
}
