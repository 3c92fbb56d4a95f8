//! The anonymous plane: prompting. It knows models, messages and tokens, and nobody's name.
//!
//! The path of a call, and the only direction in which modules here may import one another:
//! `http → openai, ollama, anthropic → face → emulate → redeem → transport`.
//!
//! - [`http`]: the endpoint on loopback; who may call it, and what each failure looks like from outside.
//! - [`openai`]: OpenAI's contract; request bytes to a domain request, an answer back to response bytes.
//! - [`ollama`], [`anthropic`]: the same for programs that speak only these. No face knows of another.
//! - [`face`]: what these APIs have in common.
//! - [`emulate`]: what the backend cannot do, done here by pure functions.
//! - [`redeem`]: one call, one token.
//! - [`transport`]: ways out of the machine.
//!
//! Deliberately absent: anything that could name an account, and any import from the identity plane (a
//! build with only this plane's feature proves it).

pub mod anthropic;
pub mod emulate;
pub mod face;
pub mod http;
pub mod ollama;
pub mod openai;
pub mod redeem;
pub mod transport;
