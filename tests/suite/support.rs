//! (to come)

pub mod program;
pub mod relay;
pub mod world;
