//! Tool calling over a backend that knows only messages: the tools are told to the model ([`block`]), earlier calls
//! and results are replayed in the same form ([`render`]), and calls are read out of its answer ([`parse`]).

pub mod ids;
pub mod offer;
pub mod parse;
pub mod prompt;
pub mod render;
pub mod repair;

pub use ids::id;
pub use parse::{Call, Ending, Parsed, first_stop, parse, parse_until};
pub use prompt::block;
pub use repair::repair_prompt;
