//! Anthropic's contract, for programs that speak only that: request bytes to a domain request, an answer back to
//! response bytes.
//!
//! What only Anthropic's servers could have made or can read (thoughts, sealed search results, signatures) is passed over,
//! and never refused: it comes from conversations that began elsewhere. Names of models are the client's affair; one that
//! insists on `claude-…` gets an alias.
//!
//! Deliberately absent: citations (theirs refer to results that are sealed), batches, files, prompt caching (its
//! counts are 0), and HTTP. Statuses are chosen in `http::error` alone.

pub mod content;
pub mod error;
pub mod events;
pub mod fields;
pub mod known;
pub mod message;
pub mod models;
pub mod request;
pub mod tools;
