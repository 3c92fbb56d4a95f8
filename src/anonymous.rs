//! The anonymous plane: prompting. `http → openai → emulate → redeem → transport`, downwards only.

pub mod emulate;
pub mod http;
pub mod openai;
pub mod redeem;
pub mod transport;
