//! Every integration test, in one link target. Names are sentences; each module says what it needs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "helpers of tests are tests too"
)]

mod advice;
mod backend;
mod chaos;
mod cli;
mod clients;
mod documents;
mod endpoint;
mod guide;
mod identity;
mod layering;
mod leaks;
mod packets;
mod page;
mod redemption;
mod refusals;
mod sameness;
mod sign_in;
mod store;
mod support;
mod tor;
mod vault;
