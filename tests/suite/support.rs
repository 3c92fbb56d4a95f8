//! What several modules share.

pub mod scripted;
