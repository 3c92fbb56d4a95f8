//! An answer on its way to the client, and the moment at which its token is settled.

use std::sync::Arc;

use super::parking::{Claim, Landing};
use super::shared::Shared;

/// The provider's answer, whole: `proxy_response` as it came (protocol.md §4).
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// JSON, normally a chat completion; not an error body.
    pub body: Vec<u8>,
}

/// An answer not yet handed over. The token is settled when the client has it ([`Delivery::delivered`]),
/// and kept for the same request when this is dropped first: parked here for a while, in doubt after.
pub struct Delivery {
    answer: Answer,
    /// Taken when the delivery ends.
    claim: Option<Claim>,
    shared: Arc<Shared>,
}

impl Delivery {
    pub(super) fn new(answer: Answer, claim: Claim, shared: Arc<Shared>) -> Self {
        Self { answer, claim: Some(claim), shared }
    }

    /// What to hand over.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// The client has all of it. Settles the token; the settling is not undone if this future is dropped.
    pub async fn delivered(mut self) {
        if let Some(claim) = self.claim.take() {
            // In a task of its own: whoever drops this future cannot un-deliver the answer.
            let settling = self.shared.spawn(claim.settle(Arc::clone(&self.shared)));
            if settling.await.is_err() {
                tracing::error!("settling a token was interrupted; it is kept in doubt");
            }
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            let answer = Answer { body: std::mem::take(&mut self.answer.body) };
            self.shared.park(Landing { claim, result: Ok(answer) });
        }
    }
}
