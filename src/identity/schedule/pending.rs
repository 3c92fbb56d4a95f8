//! What a mint begun here, by itself or by hand, did not get an answer for: asked for again while the backend remembers it.
//!
//! The backend repeats an answer for five minutes (protocol.md §3), and an appointment's repetition comes later than that. So
//! each step of the schedule looks whether something young is pending. The same bytes go to the same account that
//! they went to minutes before; nothing new is ordered by it, except where the ledger says that nothing was debited.

use crate::identity::IdentityError;
use crate::identity::issuance::is_remembered;

use super::{Office, Schedule};

impl Schedule {
    /// Asks again for what is pending and remembered, if there is any.
    pub(super) async fn finish_pending(&self, office: &impl Office) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let pending = self.deposits.pending().await?;
        let is_young = pending.iter().any(|row| row.first_sent.is_some_and(|sent| is_remembered(sent, now)));
        if is_young && let Err(obstacle) = office.recover().await {
            tracing::info!("what was begun is not answered yet; it is asked for again: {}", obstacle.message);
        }
        Ok(())
    }
}
