//! One call, one token: reserve → present → settle.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::wire::ModelName;

mod delivery;
mod error;

pub use delivery::{Answer, Delivery, Ending};
pub use error::{Phase, RedeemError, RedeemErrorKind, TokenFate, UpstreamReason};

/// What the backend keeps of a call: model and messages, as the bytes that are digested and sent.
pub struct Prompt {
    /// The model that is asked, and paid.
    pub model: ModelName,
    /// A JSON array of protocol.md §4 messages.
    pub messages: Box<RawValue>,
}

/// What [`Redeem::redeem`] returns.
pub type Redemption<'a> = Pin<Box<dyn Future<Output = Result<Delivery, RedeemError>> + Send + 'a>>;

/// The seam between the local endpoint and redemption: a prompt in, an answer or a reason out.
pub trait Redeem: Send + Sync + 'static {
    /// Spends at most one token on `prompt`. Dropping the future does not stop the call: it is parked, and
    /// the next identical prompt adopts it.
    fn redeem(&self, prompt: Prompt) -> Redemption<'_>;
}

/// Redeems tokens at the backend. Cheap to clone.
#[derive(Clone)]
pub struct Redeemer {
    shared: Arc<Shared>,
}

struct Shared {}

impl Redeem for Redeemer {
    fn redeem(&self, _prompt: Prompt) -> Redemption<'_> {
        let _ = &self.shared;
        todo!()
    }
}
