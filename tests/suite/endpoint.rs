//! The local endpoint over real sockets, with a scripted redemption behind it. Needs nothing but loopback.

mod anthropic;
mod bad_input;
mod completions;
mod contract;
mod cors;
mod delivery;
mod emulation;
mod failures;
mod harness;
mod http2;
mod ollama;
mod pictures;
mod privacy;
mod responses;
mod serving;
mod streaming;
