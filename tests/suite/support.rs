//! What several modules share.

pub mod canary;
pub mod chaos;
pub mod front;
pub mod house;
pub mod program;
pub mod provider;
pub mod relay;
pub mod scripted;
pub mod sdk;
pub mod tor_world;
pub mod tornet;
pub mod world;
