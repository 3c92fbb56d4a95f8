//! One call, one token: reserve → present → settle. (Contract.)

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::wire::ModelName;

/// What the backend keeps of a call: model and messages, as the bytes that are digested and sent.
pub struct Prompt {
    pub model: ModelName,
    /// A JSON array of protocol.md §4 messages.
    pub messages: Box<RawValue>,
}

/// The provider's answer, whole: `proxy_response` as it came.
pub struct Answer {
    pub body: Vec<u8>,
}

/// An answer not yet handed over. The token is settled when the client has it (`delivered`), and kept for
/// the same request (InDoubt, Undelivered) when this is dropped first.
pub struct Delivery {}
impl Delivery {
    pub fn answer(&self) -> &Answer {
        todo!()
    }
    pub async fn delivered(self) {
        todo!()
    }
}

/// Why a call has no answer, by kind; `http::error` turns each into a status and an OpenAI error object.
#[derive(Debug)]
pub enum RedeemErrorKind {}

pub struct Redeemer {}
impl Redeemer {
    pub async fn redeem(self: &Arc<Self>, _prompt: Prompt) -> Result<Delivery, RedeemErrorKind> {
        todo!()
    }
}
