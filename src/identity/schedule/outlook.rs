//! What can be said of a stock: how long it lasts, and what happens next by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use super::agenda::{Admission, Kept, Standing};
use super::{Activity, Office, Schedule};
use crate::clock::Timestamp;
use crate::identity::IdentityError;
use crate::wire::ModelName;

/// How a stock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It lasts.
    Ample,
    /// It ends soon, if it is used as before.
    Low,
    /// There is nothing.
    Empty,
}

/// What happens next by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is switched off.
    Off,
    /// Nothing until a sign-in.
    SignIn,
    /// A look then, at which tokens are minted if that is needed.
    Look(Timestamp),
    /// The account had no credit; it is looked again then, if that is planned.
    NoCredit(Option<Timestamp>),
    /// The backend refused; it is asked again then.
    Refused(Timestamp),
    /// Nothing: a signature did not verify.
    Stopped,
    /// An appointment is drawn when the daemon runs.
    Unplanned,
}

/// The outlook of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// How the stock is.
    pub level: Level,
    /// For how many whole days it lasts; `None` if the model was never used.
    pub days: Option<u32>,
    /// What happens next.
    pub next: Next,
}

/// Models of which a low stock was told.
pub(super) type Told = BTreeSet<ModelName>;

impl Schedule {
    /// The outlook of each model with a pinned key. Sends nothing.
    pub async fn outlook(&self, office: &impl Office) -> Result<BTreeMap<ModelName, Outlook>, IdentityError> {
        let keyring = office.keyring();
        let levels = self.levels(&self.stock(&keyring).await?).await?;
        let is_open = office.is_open();
        self.read(|agenda| {
            let next = |model: &ModelName| match (self.activity, agenda.admission(), agenda.of(model)) {
                (Activity::Off, ..) => Next::Off,
                (_, Admission::Ended, _) => Next::SignIn,
                _ if !is_open => Next::SignIn,
                (_, _, None) if agenda.lacks_credit(model) => Next::NoCredit(None),
                (_, _, None) => Next::Unplanned,
                (_, _, Some(entry)) => match entry.standing() {
                    Standing::First | Standing::Regular if !agenda.lacks_credit(model) => {
                        Next::Look(entry.due())
                    }
                    Standing::First | Standing::Regular | Standing::NoCredit => {
                        Next::NoCredit(Some(entry.due()))
                    }
                    Standing::Refused => Next::Refused(entry.due()),
                    Standing::Stopped => Next::Stopped,
                },
            };
            levels
                .into_iter()
                .map(|(model, (level, days))| {
                    let next = next(&model);
                    (model, Outlook { level, days, next })
                })
                .collect()
        })
        .await
    }

    /// When the abuse token of this month comes, if it is not here and that is known. Sends nothing.
    pub async fn abuse_due(&self) -> Result<Option<Timestamp>, IdentityError> {
        Ok(self.rotation().await?.due(self.clock.now()))
    }

    /// Says once that a stock ends soon, and again when it was full in between.
    pub(super) async fn warn(&self, stock: &BTreeMap<ModelName, Kept>) -> Result<(), IdentityError> {
        let levels = self.levels(stock).await?;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for (model, (level, days)) in levels {
            if is_news(&mut told, &model, level, days) {
                tracing::warn!(
                    %model,
                    days = days.unwrap_or(0),
                    "few tokens are left; `llmtor tokens` says when the next come, \
                     `llmtor tokens mint --model {model} --count N` gets some"
                );
            }
        }
        Ok(())
    }

    async fn levels(
        &self,
        stock: &BTreeMap<ModelName, Kept>,
    ) -> Result<BTreeMap<ModelName, (Level, Option<u32>)>, IdentityError> {
        let habits = self.deposits.habits().await?;
        let now = self.clock.now();
        let level = |(model, kept): (&ModelName, &Kept)| {
            let per_day = habits.get(model).and_then(|habit| habit.per_day(now));
            let days = per_day.map(|per_day| lasts(kept.held, per_day));
            let level = match (kept.held, days) {
                (0, _) => Level::Empty,
                (_, Some(days)) if days < self.warn_days => Level::Low,
                _ => Level::Ample,
            };
            (model.clone(), (level, days))
        };
        Ok(stock.iter().map(level).collect())
    }
}

/// Whether a stock is to be warned of: once, until it was ample in between. Of a model that was never used nobody needs to
/// hear.
fn is_news(told: &mut Told, model: &ModelName, level: Level, days: Option<u32>) -> bool {
    if level == Level::Ample || days.is_none() {
        told.remove(model);
        return false;
    }
    told.insert(model.clone())
}

/// Whole days for which `held` tokens last.
fn lasts(held: u64, per_day: f64) -> u32 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let days = held as f64 / per_day.max(f64::EPSILON);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative; the cast saturates"
    )]
    let days = days.floor() as u32;
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_stock_is_told_once_and_again_only_after_it_was_ample() {
        let model: ModelName = "gpt-4.1".parse().unwrap();
        let mut told = Told::default();
        let mut news = |level, days| is_news(&mut told, &model, level, days);
        assert!(!news(Level::Empty, None), "never used");
        assert!(news(Level::Low, Some(2)));
        assert!(!news(Level::Low, Some(1)));
        assert!(!news(Level::Empty, Some(0)));
        assert!(!news(Level::Ample, Some(30)));
        assert!(news(Level::Empty, Some(0)));
    }

    #[test]
    fn a_stock_lasts_for_whole_days_and_one_that_is_not_used_for_ever() {
        assert_eq!(lasts(0, 5.0), 0);
        assert_eq!(lasts(14, 5.0), 2);
        assert_eq!(lasts(14, 0.0), u32::MAX);
    }
}
