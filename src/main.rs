//! Parse, dispatch; nothing else.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes memory that is given back, whoever had it: HTTP and TLS libraries have tokens, prompts and answers in their
/// buffers, too.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    #[cfg(debug_assertions)]
    let _armed = llmtor::failpoint::arm();
    llmtor::cli::run(std::env::args_os())
}
