//! OpenAI's contract: request bytes to a domain request, an answer back to response bytes.
//!
//! Lenient where clients differ (unknown fields never fail a call; `null` means absent), strict where a wrong
//! guess would cost a token. Field names, orders and messages follow OpenAI's API; `async-openai`'s types
//! are used where they can say what has to be said, and check every answer in the tests.
//!
//! Deliberately absent: HTTP. Statuses are chosen in `http::error` alone.

pub mod chat;
pub mod chunks;
pub mod fields;
pub mod format;
pub mod message;
pub mod models;
pub mod request;
pub mod responses;
pub mod schemas;
pub mod tools;
