//! What the backend cannot do, done here by pure functions: no I/O, no clock, no randomness.
//!
//! The backend keeps `model` and `messages` and answers one whole text (protocol.md §4). What a client
//! says beyond that is rewritten into messages before the call ([`roles`]), and what it expects beyond a
//! whole text is made out of it afterwards ([`pieces`]).
//!
//! Invariant: equal conversations give equal bytes. The digest that lets an interrupted call resume its
//! own token is taken over these bytes, so nothing here may depend on anything but its arguments.

pub mod answer;
pub mod ask;
pub mod conversation;
pub mod format;
pub mod hearing;
pub mod json;
pub mod pieces;
pub mod plan;
pub mod roles;
pub mod schema;
pub mod tokens;
pub mod tools;
