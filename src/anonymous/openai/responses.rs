//! `POST /v1/responses`: OpenAI's Responses API.
//!
//! | step | where |
//! | --- | --- |
//! | body → call | [`request`] |
//! | `input` → turns | [`items`] |
//! | `tools`, `tool_choice` → toolset, and the names under which calls go back | [`tools`] |
//! | answer → output items | [`output`] |
//! | answer → the response object | [`object`] |
//! | answer → events | [`events`] |
//!
//! Nothing is stored, whatever `store` says: what would need it (`previous_response_id`, `conversation`, `background`,
//! item references) is refused before it costs a token. What of the parameters has which effect says
//! [`RESPONSES`](super::fields::RESPONSES).
//!
//! Deliberately absent: tools that OpenAI's own servers run. Where an answer without them would pass for one with
//! them (`file_search`, `mcp`, computers) they are refused; where the model answers as well without (`web_search`,
//! …) they are left out and reported.

pub mod events;
pub mod items;
pub mod object;
pub mod output;
pub mod request;
pub mod tools;

pub use request::read;
