//! One caller's hand on a result: it ends delivered, or let go.
//!
//! Of several hands on one result the first that is delivered settles the token, and the others have theirs for nothing.
//! If every one is let go, the result is parked, or its token left in doubt.

use std::sync::Arc;

use super::error::RedeemError;
use super::parking::{Claim, Hand, Outcome};
use super::shared::Shared;
use super::{Delivery, Ending};
use crate::failpoint::{Point, at};
use crate::vault::{CallId, Doubt};

/// A result in one caller's hands. Dropping it without a word lets it go.
pub(super) struct Share {
    shared: Arc<Shared>,
    call: CallId,
    hand: Hand,
    result: Outcome,
}

impl Share {
    pub(super) fn new(shared: Arc<Shared>, call: CallId, hand: Hand, result: Outcome) -> Self {
        Self { shared, call, hand, result }
    }

    /// For the caller: the token is settled when the caller has all of it.
    pub(super) fn hand_over(self) -> Result<Delivery, RedeemError> {
        match self.result.clone() {
            Ok(answer) => Ok(Delivery::new(answer, move |_, ending| match ending {
                Ending::Delivered => self.deliver(),
                Ending::Abandoned => drop(self),
            })),
            Err(error) => {
                // The caller has it: an error is small, and not worth a second token.
                self.deliver();
                Err(error)
            }
        }
    }

    fn deliver(&self) {
        if let Some(claim) = self.shared.parking.deliver(self.call)
            && claim.spent.is_some()
        {
            at(Point::Delivered);
            // In a task of its own: the delivery may end inside a body's poll.
            drop(self.shared.spawn(claim.settle(Arc::clone(&self.shared))));
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // After a delivery there is nothing left to let go.
        if let Some(left) = self.shared.parking.let_go(self.call, self.hand) {
            self.shared.keep(left);
        }
    }
}

impl Claim {
    /// A caller has the result.
    async fn settle(self, shared: Arc<Shared>) {
        if let Some(presented) = self.spent
            && let Err(error) = shared.withdrawals.settle(*presented).await
        {
            tracing::error!(%error, "a spent token could not be settled; it is kept in doubt");
        }
    }

    /// Nobody took the result: the backend still has it.
    pub(super) async fn leave(self, shared: &Shared) {
        if let Some(presented) = self.spent
            && let Err(error) = shared.withdrawals.doubt(*presented, Doubt::Undelivered).await
        {
            tracing::error!(%error, "an undelivered answer's token could not be marked; it is kept in doubt");
        }
    }
}
