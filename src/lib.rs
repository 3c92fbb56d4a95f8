//! llmtor: an OpenAI-compatible endpoint on localhost that pays with blind-signed tokens and prompts
//! through Tor. This library is all of it; the binary only parses and dispatches.

#[cfg(feature = "anonymous")]
pub mod anonymous;
#[cfg(all(feature = "identity", feature = "anonymous", feature = "backend"))]
pub mod app;
#[cfg(feature = "backend")]
pub mod backend;
pub mod backup;
pub mod blind;
#[cfg(feature = "identity")]
pub mod browse;
#[cfg(all(feature = "identity", feature = "anonymous", feature = "backend"))]
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(all(feature = "identity", feature = "anonymous", feature = "backend"))]
pub mod control;
#[cfg(all(feature = "identity", feature = "anonymous", feature = "backend", feature = "desktop"))]
pub mod dashboard;
pub mod datadir;
#[cfg(all(feature = "desktop", feature = "identity", feature = "anonymous", feature = "backend"))]
pub mod desktop;
mod draft;
pub mod failpoint;
#[cfg(feature = "identity")]
pub mod identity;
pub mod keys;
pub mod origin;
pub mod passage;
pub mod secret;
pub mod service;
pub mod setup;
#[cfg(feature = "tor")]
pub mod socket;
pub mod supervisor;
#[cfg(feature = "tor")]
pub mod tor;
pub mod vault;
pub mod wire;
