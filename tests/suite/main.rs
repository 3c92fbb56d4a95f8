//! Every integration test, in one link target. Names are sentences; each module says what it needs.

mod backend;
mod cli;
mod endpoint;
mod identity;
mod layering;
mod leaks;
mod redemption;
mod sameness;
mod support;
mod vault;
