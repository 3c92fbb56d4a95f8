//! The appointments of every model: what is kept across restarts, and how it changes. Pure; the clock and the randomness
//! are arguments.
//!
//! Invariants: an appointment is drawn in advance and never moved by what is in stock or was used; two looks at one model
//! are at least [`LEAST`] of real time apart, whatever the clock does; whoever drops out between [`Agenda::begin`] and
//! [`Agenda::conclude`] has the appointment of a look that failed.

use std::collections::{BTreeMap, BTreeSet};

use rand::{CryptoRng, RngExt as _};
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use crate::clock::Timestamp;
use crate::wire::ModelName;

/// Seconds that an appointment is ahead at least when it is drawn.
pub const LEAST: i64 = 300;
/// Seconds before a look that failed is repeated, on average; doubles with each failure.
const PATIENCE: i64 = 600;
/// After a look that found no credit, or a refusal, the next is so many seconds later than it would be.
const HOPELESS: i64 = 86_400;
/// The longest such pause, on average.
const LONGEST_PATIENCE: i64 = 8 * 3600;
/// A clock that stands so many seconds before the drawing of an appointment was set back.
const SET_BACK: i64 = 3600;

/// Whether the time since the last tick was waited through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// It was.
    Unbroken,
    /// The program was just started, the machine slept, somebody signed in, or the clock was set.
    Broken,
}

/// One model's stock, as far as the agenda cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The fingerprint of the pinned key.
    pub key: String,
    /// Tokens that are held under it.
    pub held: u64,
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is enough, or there is now.
    Done,
    /// The account has nothing to mint with.
    NoCredit,
    /// The backend does not want to, and asking again soon will not help.
    Refused,
    /// It may go better next time.
    Failed,
    /// A signature does not verify.
    Alarm,
    /// The session is not good any more.
    SignedOut,
}

/// What stands in a model's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing; its appointment is soon: the first, or the first after credit was seen.
    #[default]
    First,
    /// Nothing.
    Regular,
    /// There was no credit at the last look.
    NoCredit,
    /// The backend refused at the last look.
    Refused,
    /// An alarm: no look until another key is pinned, or a mint by hand succeeds.
    Stopped,
}

/// Whether a model's first stock was minted, the one that is the same for everybody. What stands in the way of a look, and
/// tokens that are minted by hand, do not change it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstStock {
    /// Not yet, or less than that.
    #[default]
    ToCome,
    /// It was.
    Had,
}

/// Whether there is a session to look with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// As far as is known.
    #[default]
    SignedIn,
    /// The backend said that it knows the session no more: nothing is asked until a sign-in.
    Ended,
}

/// One model's appointment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appointment {
    key: String,
    #[serde(with = "unix")]
    due: Timestamp,
    #[serde(with = "unix")]
    drawn: Timestamp,
    standing: Standing,
    failures: u32,
    #[serde(default)]
    first_stock: FirstStock,
    /// A mint was begun: how many tokens of the model will have been finalized in all when it is made.
    #[serde(default)]
    goal: Option<u64>,
}

/// Every model's appointment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agenda {
    #[serde(default)]
    admission: Admission,
    #[serde(default)]
    models: BTreeMap<ModelName, Appointment>,
    /// The models that the account had credits for when it was last seen; `None` if it never was. It is told, and decides
    /// nothing.
    #[serde(default)]
    credited: Option<BTreeSet<String>>,
}

impl Appointment {
    /// When it is.
    pub fn due(&self) -> Timestamp {
        self.due
    }

    /// What stands in its way.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Whether its first stock was minted.
    pub fn first_stock(&self) -> FirstStock {
        self.first_stock
    }

    /// How many tokens will have been finalized, ever, when the mint that was begun last is made; none if it is.
    pub fn goal(&self) -> Option<u64> {
        self.goal
    }

    fn set(&mut self, due: Timestamp, now: Timestamp) {
        self.due = due.max(now.plus_seconds(LEAST));
        self.drawn = now;
    }

    /// A look, drawn anew.
    fn draw<R: CryptoRng + ?Sized>(&self, plan: &Plan, now: Timestamp, rng: &mut R) -> Timestamp {
        let held = u64::from(self.standing != Standing::First);
        plan.appoint(held, now, rng)
    }
}

impl Agenda {
    /// Whether there is a session to look with, as far as is known.
    pub fn admission(&self) -> Admission {
        self.admission
    }

    /// The appointment of `model`.
    pub fn of(&self, model: &ModelName) -> Option<&Appointment> {
        self.models.get(model)
    }

    /// Whether the account had no credit for `model` when it was last seen.
    pub fn lacks_credit(&self, model: &ModelName) -> bool {
        self.credited.as_ref().is_some_and(|credited| !credited.contains(model.as_str()))
    }

    /// The account was seen, with all its credits.
    pub fn account_seen(&mut self, credits: &BTreeMap<String, i64>) {
        let left = credits.iter().filter(|(_, left)| **left > 0);
        self.credited = Some(left.map(|(model, _)| model.clone()).collect());
    }

    /// Somebody signed in. What was begun is not made whole: it may be another account, and the rest of a batch would tie it to
    /// the one before.
    pub fn signed_in(&mut self) {
        self.admission = Admission::SignedIn;
        self.models.values_mut().for_each(|entry| entry.goal = None);
    }

    /// The backend does not know the session any more.
    pub fn session_ended(&mut self) -> News {
        match std::mem::replace(&mut self.admission, Admission::Ended) {
            Admission::SignedIn => News::Yes,
            Admission::Ended => News::No,
        }
    }

    /// The models of `stock` have appointments that can be kept, and no others have. Those that were slept through become
    /// late.
    pub fn reconcile<'p, R: CryptoRng + ?Sized>(
        &mut self,
        stock: &BTreeMap<ModelName, Kept>,
        plans: impl Fn(&ModelName) -> &'p Plan,
        now: Timestamp,
        continuity: Continuity,
        rng: &mut R,
    ) {
        self.models.retain(|model, entry| stock.get(model).is_some_and(|kept| kept.key == entry.key));
        for (model, kept) in stock {
            let plan = plans(model);
            let entry = self.models.entry(model.clone()).or_insert_with(|| {
                let first_stock = plan.first_stock(kept.held);
                let standing = match first_stock {
                    FirstStock::ToCome => Standing::First,
                    FirstStock::Had => Standing::Regular,
                };
                let key = kept.key.clone();
                let mut entry =
                    Appointment { key, due: now, drawn: now, standing, failures: 0, first_stock, goal: None };
                let due = entry.draw(plan, now, rng);
                entry.set(due, now);
                entry
            });
            if now.plus_seconds(SET_BACK) < entry.drawn {
                let due = entry.draw(plan, now, rng);
                entry.set(due, now);
            }
            if continuity == Continuity::Broken && entry.due <= now {
                // Not soon after the waking: when somebody's day begins tells where they live.
                let due = entry.draw(plan, now, rng);
                entry.set(due, now);
            }
        }
    }

    /// The models to look at now.
    pub fn due(&self, now: Timestamp) -> Vec<ModelName> {
        if self.admission == Admission::Ended {
            return Vec::new();
        }
        let due =
            self.models.iter().filter(|(_, entry)| entry.standing != Standing::Stopped && entry.due <= now);
        due.map(|(model, _)| model.clone()).collect()
    }

    /// The next appointment that is ahead of `now`.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.models.values().map(|entry| entry.due).filter(|due| *due > now).min()
    }

    /// A look begins. Until it is concluded its appointment is that of a repetition. Returns the one after it, which is
    /// drawn here and now: what the look finds must not show in it.
    pub fn begin<R: CryptoRng + ?Sized>(
        &mut self,
        model: &ModelName,
        plan: &Plan,
        now: Timestamp,
        rng: &mut R,
    ) -> Timestamp {
        // The first stock is made by this look, if there is anything to make it with; so the one after is a regular one.
        let then = plan.appoint(1, now, rng);
        let share = rng.random_range(0.5..1.5);
        if let Some(entry) = self.models.get_mut(model) {
            entry.set(now.plus_seconds(patience(entry.failures, share)), now);
            entry.failures = entry.failures.saturating_add(1);
        }
        then
    }

    /// A mint begins, and is made when `goal` tokens were finalized in all. Whoever breaks off leaves it to the repetition,
    /// which makes the rest and no second batch.
    pub fn mint_begun(&mut self, model: &ModelName, goal: u64) {
        if let Some(entry) = self.models.get_mut(model) {
            entry.goal.get_or_insert(goal);
        }
    }

    /// A look came to `outcome`; `then` is what [`Agenda::begin`] drew. Returns whether that is news.
    pub fn conclude(&mut self, model: &ModelName, then: Timestamp, outcome: Outcome) -> News {
        let Some(entry) = self.models.get_mut(model) else { return News::No };
        let before = entry.standing;
        match outcome {
            // What `begin` noted holds.
            Outcome::Failed => return if entry.failures == 1 { News::Yes } else { News::No },
            Outcome::SignedOut => {
                entry.failures = 0;
                return self.session_ended();
            }
            Outcome::Done => {
                entry.standing = Standing::Regular;
                entry.first_stock = FirstStock::Had;
            }
            // Looks are hours apart; of what somebody has to change first, the backend need not hear every few hours.
            Outcome::NoCredit => entry.standing = Standing::NoCredit,
            Outcome::Refused => entry.standing = Standing::Refused,
            Outcome::Alarm => entry.standing = Standing::Stopped,
        }
        entry.failures = 0;
        entry.goal = None;
        let patience = match entry.standing {
            Standing::NoCredit | Standing::Refused => HOPELESS,
            Standing::First | Standing::Regular | Standing::Stopped => 0,
        };
        entry.due = then.plus_seconds(patience).max(entry.drawn.plus_seconds(LEAST));
        if entry.standing == before && outcome != Outcome::Done { News::No } else { News::Yes }
    }

    /// The account was seen to have these credits, perhaps among others: models that lacked some get their first stock after all.
    pub fn credits_seen<'p, R: CryptoRng + ?Sized>(
        &mut self,
        credits: &BTreeMap<String, i64>,
        plans: impl Fn(&ModelName) -> &'p Plan,
        now: Timestamp,
        rng: &mut R,
    ) {
        if let Some(credited) = &mut self.credited {
            credited.extend(credits.iter().filter(|(_, left)| **left > 0).map(|(model, _)| model.clone()));
        }
        for (model, entry) in &mut self.models {
            if entry.standing == Standing::NoCredit
                && credits.get(model.as_str()).is_some_and(|left| *left > 0)
            {
                entry.standing = Standing::First;
                let due = entry.draw(plans(model), now, rng);
                entry.set(due, now);
            }
        }
    }

    /// Tokens of `model` were minted by hand: what stood in its way does not any more. Its appointment stays, and its first
    /// stock is to come as before.
    pub fn minted_by_hand(&mut self, model: &ModelName) {
        if let Some(entry) = self.models.get_mut(model) {
            if entry.standing != Standing::First {
                entry.standing = Standing::Regular;
            }
            entry.failures = 0;
        }
    }
}

/// Whether something is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is.
    Yes,
    /// It was told before.
    No,
}

/// Seconds until what failed `failures` times before is tried again; `share` is between 0.5 and 1.5.
pub(super) fn patience(failures: u32, share: f64) -> i64 {
    let mean = PATIENCE.saturating_mul(1 << failures.min(10)).min(LONGEST_PATIENCE);
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a few hours")]
    let pause = (mean as f64 * share) as i64;
    pause.max(LEAST)
}

/// A [`Timestamp`] in a note.
pub(super) mod unix {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::clock::Timestamp;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
    pub(in crate::identity::schedule) fn serialize<S: Serializer>(
        at: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.unix())
    }

    pub(in crate::identity::schedule) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_unix)
    }
}

#[cfg(test)]
mod tests;
