//! `GET /me`: whose session it is and what credits are left (protocol.md §3).

use std::collections::BTreeMap;

use crate::wire::identity::{Counts, Me};

/// The account as the backend sees it. Kept nowhere; shown to its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Account {
    /// The backend's id for it.
    #[serde(skip)]
    pub id: String,
    /// Mail address.
    pub email: String,
    /// Display name.
    pub name: String,
    /// Credits left by model.
    pub active: BTreeMap<String, i64>,
    /// Credits used by model.
    pub used: BTreeMap<String, i64>,
    /// When the permanent abuse token was first issued, RFC 3339.
    pub permanent_abuse_issued_at: Option<String>,
    /// Epoch of the last transient abuse token; `None` if there never was one.
    pub transient_abuse_epoch: Option<i64>,
}

impl From<Me> for Account {
    fn from(me: Me) -> Self {
        // Go writes models without credits as 0, and an absent map as null: both mean none.
        let held = |counts: Option<Counts>| counts.unwrap_or_default();
        Self {
            id: me.id,
            email: me.email,
            name: me.name,
            active: held(me.subscription_info.active_auth_tokens),
            used: held(me.subscription_info.used_auth_tokens),
            permanent_abuse_issued_at: me.permanent_abuse_token_issued_at,
            transient_abuse_epoch: (me.transient_abuse_token_epoch > 0)
                .then_some(me.transient_abuse_token_epoch),
        }
    }
}
