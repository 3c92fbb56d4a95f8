//! `GET /me`: whose session it is and what credits are left (protocol.md §3).

use std::collections::BTreeMap;

use crate::wire::ModelName;
use crate::wire::identity::{Counts, Me};
use crate::wire::shown::shown;

/// Longest name, address or time that is shown, characters.
const LONGEST: usize = 120;

/// The account as the backend sees it. Kept nowhere; shown to its owner, so its texts are fit for a terminal.
///
/// A model whose name is none (protocol.md §4) cannot be minted for and is left out; counts below 0 are 0.
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
        let held = |counts: Option<Counts>| {
            let named = counts.unwrap_or_default().into_iter();
            named
                .filter(|(model, _)| ModelName::new(model.as_str()).is_ok())
                .map(|(model, count)| (model, count.max(0)))
        };
        Self {
            id: me.id,
            email: shown(&me.email, LONGEST),
            name: shown(&me.name, LONGEST),
            active: held(me.subscription_info.active_auth_tokens).collect(),
            used: held(me.subscription_info.used_auth_tokens).collect(),
            permanent_abuse_issued_at: me.permanent_abuse_token_issued_at.map(|time| shown(&time, LONGEST)),
            transient_abuse_epoch: (me.transient_abuse_token_epoch > 0)
                .then_some(me.transient_abuse_token_epoch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::lenient;

    #[test]
    fn what_the_backend_says_of_an_account_cannot_steer_a_terminal() {
        let me: Me = lenient::from_slice(
            br#"{"ID":"1","Name":"ali\u001b[2Jce\n\nllmtor: fine","Email":"a@b\u001b]52;c;cm0=\u0007",
                "PermanentAbuseTokenIssuedAt":"2026\u0007",
                "SubscriptionInfo":{"ActiveAuthTokens":{"gpt-4.1":7,"gpt\u001b[1m":9,"gpt-4.1-mini":-5}}}"#,
        )
        .unwrap();
        let account = Account::from(me);
        for text in [&account.name, &account.email, account.permanent_abuse_issued_at.as_ref().unwrap()] {
            assert!(!text.contains(char::is_control), "{text:?}");
        }
        let held: Vec<_> = account.active.into_iter().collect();
        assert_eq!(held, [("gpt-4.1".to_owned(), 7), ("gpt-4.1-mini".to_owned(), 0)]);
    }
}
