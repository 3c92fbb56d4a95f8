//! Ollama's contract, for programs that speak only that: request bytes to a domain request, an answer back to
//! response bytes.
//!
//! Lenient as Ollama is (no content type, no `stream`, names with and without `:latest`), and silent only about what
//! asks for nothing. Answers have the fields of Ollama 0.12, in its order.
//!
//! Deliberately absent: everything about keeping models on a machine (pull, create, blobs), embeddings, `context` tokens,
//! and HTTP. Statuses are chosen in `http::error` alone.

pub mod error;
pub mod fields;
pub mod lines;
pub mod message;
pub mod models;
pub mod request;
pub mod telling;
