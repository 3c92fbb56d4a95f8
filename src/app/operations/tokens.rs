//! What is in stock, token by token where there is something to say; and credits that no token came of.

use crate::clock::Timestamp;
use crate::control::message::{
    ExplainReport, LossReport, LossesReport, TokenReport, TokenState, TokensReport,
};
use crate::identity::issuance::IDEMPOTENCY_SECONDS;
use crate::vault::{Doubt, Entry, History, Lookup, Loss, Standing};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::AppError;
use super::super::redemption::pinned;
use super::Operations;

impl Operations {
    pub(super) async fn tokens(&self) -> Result<TokensReport, AppError> {
        let special = self.census.special(pinned(&self.keyring())).await?;
        let (custody, resting_until) = self.standing().await?;
        Ok(TokensReport {
            session: self.session_state().await?,
            custody,
            resting_until,
            models: self.stock().await?,
            supply: self.supply().await?,
            abuse: self.abuse().await?,
            special: special.into_iter().map(token).collect(),
            losses: self.losses().await?.losses,
        })
    }

    pub(super) async fn explain(&self, id: &str) -> Result<ExplainReport, AppError> {
        match self.census.find(id, pinned(&self.keyring())).await? {
            Lookup::Found(entry) => {
                let explanation = explanation(&entry);
                Ok(ExplainReport { token: token(entry), explanation })
            }
            Lookup::Ambiguous => Err(AppError::AmbiguousToken(id.to_owned())),
            Lookup::Unknown => Err(AppError::UnknownToken(id.to_owned())),
        }
    }

    pub(super) async fn losses(&self) -> Result<LossesReport, AppError> {
        let losses = self.census.losses().await?.into_iter().map(loss).collect();
        Ok(LossesReport { losses, forgotten: None })
    }

    pub(super) async fn forget_losses(&self) -> Result<LossesReport, AppError> {
        Ok(LossesReport { losses: Vec::new(), forgotten: Some(self.deposits.forget_losses().await?) })
    }

    /// How many credits no token came of.
    pub(super) async fn credits_lost(&self) -> Result<u64, AppError> {
        Ok(self.census.losses().await?.iter().map(|loss| loss.credits).sum())
    }
}

fn token(entry: Entry) -> TokenReport {
    let (state, since, until) = match entry.standing {
        Standing::Blinded { since } => (TokenState::Pending, since, None),
        Standing::Available => (TokenState::Available, None, None),
        Standing::Maturing { from } => (TokenState::Maturing, None, Some(from)),
        Standing::OtherKey => (TokenState::OtherKey, None, None),
        Standing::Reserved => (TokenState::Reserved, None, None),
        Standing::Presented { since } => (TokenState::Presented, Some(since), None),
        Standing::InDoubt { since, until, doubt } => {
            let state = match doubt {
                Doubt::Unknown => TokenState::InDoubt,
                Doubt::Undelivered => TokenState::Undelivered,
            };
            (state, Some(since), Some(until))
        }
        Standing::Refused => (TokenState::Refused, None, None),
    };
    TokenReport {
        id: entry.id.to_string(),
        model: entry.model,
        state,
        maybe_spent: entry.history == History::MaybeSpent,
        since: since.map(moment),
        until: until.map(moment),
    }
}

fn loss(Loss { model, found, credits, reason }: Loss) -> LossReport {
    LossReport { model, credits, found: moment(found), reason }
}

/// What it is, what the same request does, what else happens and when, what a restart does.
fn explanation(entry: &Entry) -> Vec<String> {
    let model = &entry.model;
    let mut lines = match entry.standing {
        Standing::Blinded { since } => vec![
            "It was ordered and its signature is not here yet; its credit may have been taken.".to_owned(),
            match since {
                Some(since) => format!(
                    "Until {} the backend repeats its answer for the same credit; a running daemon asks it to each \
                     minute, and so do the next start and the next `llmtor tokens mint`. Later they look into the account's ledger first: if the credit is \
                     still there the token is ordered anew, otherwise the credit is written down as lost (`llmtor tokens losses`).",
                    moment(since.plus_seconds(IDEMPOTENCY_SECONDS))
                ),
                None => "The next start, and the next `llmtor tokens mint`, send the order.".to_owned(),
            },
            "A restart loses nothing of it.".to_owned(),
        ],
        Standing::Available => vec![
            format!("Any call for {model} may draw it; which of those in stock it takes is left to chance."),
            "A restart changes nothing.".to_owned(),
        ],
        Standing::Maturing { from } => vec![
            format!(
                "Calls for {model} may draw it from {} on. Until then it waits, so that its issue and its use cannot be \
                 matched by their times.",
                moment(from)
            ),
            "A restart changes nothing.".to_owned(),
        ],
        Standing::OtherKey => vec![
            "Another key than the pinned one signed it. It is kept and not drawn; if that key is pinned again \
             (`llmtor keys import`), calls may draw it."
                .to_owned(),
            "A restart changes nothing.".to_owned(),
        ],
        Standing::Reserved => vec![
            "A call has drawn it and looks for a way out; nothing of it has left this machine.".to_owned(),
            "If the call finds none, it is back in stock. A restart puts it back, too.".to_owned(),
        ],
        Standing::Presented { since } => vec![
            format!(
                "A call has sent it at {}, and waits for the answer or hands it over. When the client has all of the answer, \
                 the token is wiped.",
                moment(since)
            ),
            "If no answer comes, or the daemon is killed, it is in doubt: the very same request resumes it, with the same \
             bytes and for no second token."
                .to_owned(),
        ],
        Standing::InDoubt { since, until, doubt: Doubt::Unknown } => vec![
            format!(
                "It was sent at {}, and no answer came back: the backend may hold one.",
                moment(since)
            ),
            "The very same request (same model, same messages) resumes it with the same bytes: it gets the answer that is \
             there, or a new one, and takes no second token. No other request is shown this token. Once the abuse token that \
             it was sent with is of a past month, it waits for its term, and the same request takes another."
                .to_owned(),
            format!(
                "If none comes by {}, the backend has forgotten: the token is back in stock as maybe spent. A call that \
                 finds it spent then takes another without a word.",
                moment(until)
            ),
            "A restart changes nothing.".to_owned(),
        ],
        Standing::InDoubt { since, until, doubt: Doubt::Undelivered } => vec![
            format!(
                "The backend answered it (sent at {}), but the client was gone: the token is spent, its answer is not had.",
                moment(since)
            ),
            "The very same request (same model, same messages) fetches that answer and takes no second token; the backend \
             keeps it for five days."
                .to_owned(),
            format!("If none comes by {}, the token is wiped.", moment(until)),
            "A restart changes nothing.".to_owned(),
        ],
        Standing::Refused => vec![
            "The backend says that its signature is not its own, though it accepted another of the same key.".to_owned(),
            "It is kept and never drawn; nothing brings it back by itself. Ask the operator, and compare \
             `llmtor keys list` with the published keys."
                .to_owned(),
            "A restart changes nothing.".to_owned(),
        ],
    };
    if entry.history == History::MaybeSpent {
        lines.insert(
            1,
            "It was in doubt before, until the backend had forgotten what it may have answered, or it came with a backup \
             that another vault could spend from: maybe it is spent. A call that finds it so takes another without a word, and this one is wiped."
                .to_owned(),
        );
    }
    lines
}

/// RFC 3339, UTC.
fn moment(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp(at.unix())
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| "a far time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::LossReason;
    use crate::wire::ModelName;

    #[test]
    fn a_loss_is_told_with_its_day_and_reason() {
        let model = ModelName::new("gpt-4.1").unwrap();
        let found = Timestamp::from_unix(1_790_000_000);
        let told = loss(Loss { model, found, credits: 2, reason: LossReason::Lost });
        assert_eq!((told.found.as_str(), told.credits), ("2026-09-21T14:13:20Z", 2));
    }
}
