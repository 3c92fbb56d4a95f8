//! How often this month's transient abuse token was asked for: the backend counts each request, answered or not, and after
//! [`MONTHLY`] the account has none, and no call, until the month is over.
//!
//! | requests of this month that may have been counted | the next one is sent |
//! | --- | --- |
//! | fewer than 12 | at once |
//! | fewer than 20 | ten minutes after the last |
//! | fewer than 26 | six hours after the last |
//! | more | a day after the last, for as long as the backend says no word of its own |
//!
//! Kept before the request leaves. What certainly was not counted (no connection, a session that is over) is taken back.
//! Other homes of the same account are not known here.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::api::Rejected;
use crate::identity::{Identity, IdentityError};
use crate::secret::Secret;
use crate::vault::Note;
use crate::wire::redemption::Epoch;

/// How many an account has in a month (protocol.md §3).
pub(super) const MONTHLY: u32 = 30;
/// Sendings of one request in one go, at most.
pub(super) const AT_ONCE: u32 = 3;
/// From so many on it is said each time.
const MANY: u32 = 12;

/// What was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Budget {
    epoch: u32,
    sent: u32,
    /// When the last was, seconds since 1970.
    last: i64,
}

impl Budget {
    /// Counts one more of `epoch`, or says from when on it may be sent.
    fn count(&mut self, epoch: Epoch, now: Timestamp) -> Result<(), Timestamp> {
        if self.epoch != epoch.number() {
            *self = Self { epoch: epoch.number(), ..Self::default() };
        }
        let due = Timestamp::from_unix(self.last).plus_seconds(match self.sent {
            0..12 => 0,
            12..20 => 600,
            20..26 => 6 * 3600,
            _ => 86_400,
        });
        // A clock that was set back waits no longer than it would have.
        if now < due && now.unix() >= self.last {
            return Err(due);
        }
        self.sent = self.sent.saturating_add(1);
        self.last = now.unix();
        Ok(())
    }
}

impl Identity {
    /// Counts a request for the token of `epoch`, durably, or refuses it.
    pub(super) async fn spend_abuse_request(&self, epoch: Epoch) -> Result<(), IdentityError> {
        let mut budget = self.budget().await?;
        budget
            .count(epoch, self.clock.now())
            .map_err(|due| IdentityError::AbuseSparing { sent: budget.sent, until: due.unix() })?;
        if budget.sent >= MANY {
            tracing::warn!(
                sent = budget.sent,
                of = MONTHLY,
                "many requests for this month's abuse token are used up; without it no call is made until the month is over"
            );
        }
        self.keep_budget(&budget).await
    }

    /// Takes the last one back, if the backend has not counted it.
    pub(super) async fn spare_abuse_request(&self, rejected: Rejected) -> Result<(), IdentityError> {
        if !rejected.is_before_any_count() {
            return Ok(());
        }
        let mut budget = self.budget().await?;
        budget.sent = budget.sent.saturating_sub(1);
        self.keep_budget(&budget).await
    }

    async fn budget(&self) -> Result<Budget, IdentityError> {
        let kept = self.deposits.note(Note::AbuseRequests).await?;
        Ok(kept.and_then(|kept| serde_json::from_slice(kept.expose()).ok()).unwrap_or_default())
    }

    async fn keep_budget(&self, budget: &Budget) -> Result<(), IdentityError> {
        let content = serde_json::to_vec(budget).map_err(|_| IdentityError::Internal)?;
        Ok(self.deposits.keep_note(Note::AbuseRequests, Secret::new(content)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_and_asks_has_some_left_after_days_and_all_of_them_in_the_next_month() {
        let month = Epoch::at(1_796_083_200);
        let (mut budget, mut sent) = (Budget::default(), 0);
        for minute in 0..3 * 24 * 60 {
            let now = Timestamp::from_unix(1_796_083_200 + minute * 60);
            sent += u32::from(budget.count(month, now).is_ok());
        }
        assert!(sent < MONTHLY, "{sent}");
        let next = Epoch::from_number(month.number() + 1);
        let now = Timestamp::from_unix(1_796_083_200 + 31 * 86_400);
        assert!((0..12).all(|_| budget.count(next, now).is_ok()));
        let due = budget.count(next, now).unwrap_err();
        assert_eq!(due, now.plus_seconds(600));
        assert!(budget.count(next, now.plus_seconds(-7_200)).is_ok(), "the clock was set back");
    }
}
