//! What several modules share.

pub mod canary;
pub mod program;
pub mod relay;
pub mod scripted;
pub mod world;
