//! Keeping the appointments: reads what there is, has done what is due, and notes it before and after.

use std::collections::BTreeMap;
use std::pin::pin;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::agenda::{Admission, Agenda, Appointment, Continuity, FirstStock, Kept, News, Outcome};
use super::policy::{Decision, Shelf};
use super::rotation::{Holding, Rotation, Step};
use super::{Activity, Obstacle, Office, Schedule};
use crate::clock::Timestamp;
use crate::identity::abuse::{self, AbuseStatus};
use crate::identity::{ErrorKind, IdentityError};
use crate::keys::Keyring;
use crate::secret::Secret;
use crate::vault::{Note, PinnedKeys};
use crate::wire::ModelName;

impl Schedule {
    /// One step: whatever is due by now is done.
    pub async fn tick(
        &self,
        office: &impl Office,
        continuity: Continuity,
        stop: &CancellationToken,
    ) -> Result<(), IdentityError> {
        let keyring = office.keyring();
        let stock = self.stock(&keyring).await?;
        self.warn(&stock).await?;
        // First: without the month's abuse token no call is made, and a top-up may take an hour.
        if self.is_admitted(office).await? {
            self.rotate(office, &keyring, continuity).await?;
        }
        let mut work = pin!(async {
            if self.is_admitted(office).await? {
                self.finish_pending(office).await?;
            }
            if self.activity == Activity::On && self.is_admitted(office).await? {
                self.top_up(office, &stock, continuity, stop).await?;
            }
            Ok(())
        });
        // A month may turn while it is minted.
        let rotating = Mutex::new(());
        let mut watching = pin!(async {
            loop {
                tokio::time::sleep(super::STEP).await;
                let _busy = rotating.lock().await;
                if self.is_admitted(office).await? {
                    self.rotate(office, &keyring, Continuity::Unbroken).await?;
                }
            }
        });
        let done = tokio::select! {
            biased;
            done = &mut work => done,
            failed = &mut watching => return failed,
        };
        // A fetch that was begun ends.
        tokio::select! {
            biased;
            _free = rotating.lock() => done,
            failed = &mut watching => failed,
        }
    }

    /// Whether anything can be asked of the backend.
    pub(super) async fn is_admitted(&self, office: &impl Office) -> Result<bool, IdentityError> {
        Ok(office.is_open() && self.read(Agenda::admission).await? == Admission::SignedIn)
    }

    /// Whether the backend said that it does not know the session any more, since the last sign-in.
    pub async fn is_ended(&self) -> Result<bool, IdentityError> {
        Ok(self.read(Agenda::admission).await? == Admission::Ended)
    }

    /// The backend does not know the session any more, as something found out that is not of the schedule.
    pub async fn session_refused(&self) -> Result<News, IdentityError> {
        self.change(Agenda::session_ended).await
    }

    /// Somebody signed in, with these credits: what was missed is kept, late.
    pub async fn signed_in(&self, credits: &BTreeMap<String, i64>) -> Result<(), IdentityError> {
        self.change(Agenda::signed_in).await?;
        self.account_seen(credits).await
    }

    /// Tokens of `model` were minted by hand.
    pub async fn minted_by_hand(&self, model: &ModelName) -> Result<(), IdentityError> {
        self.change(|agenda| agenda.minted_by_hand(model)).await
    }

    /// The account was asked for, and has these credits and no others.
    pub async fn account_seen(&self, credits: &BTreeMap<String, i64>) -> Result<(), IdentityError> {
        self.change(|agenda| agenda.account_seen(credits)).await?;
        self.credits_seen(credits).await
    }

    /// The account has these credits, perhaps among others.
    pub async fn credits_seen(&self, credits: &BTreeMap<String, i64>) -> Result<(), IdentityError> {
        let now = self.clock.now();
        self.change(|agenda| {
            agenda.credits_seen(credits, |model| self.plans.of(model), now, &mut rand::rng());
        })
        .await
    }

    async fn top_up(
        &self,
        office: &impl Office,
        stock: &BTreeMap<ModelName, Kept>,
        continuity: Continuity,
        stop: &CancellationToken,
    ) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let due = self
            .change(|agenda| {
                agenda.reconcile(stock, |model| self.plans.of(model), now, continuity, &mut rand::rng());
                agenda.due(now)
            })
            .await?;
        for model in due {
            // The session may have ended at the one before.
            if stop.is_cancelled() || !self.is_admitted(office).await? {
                break;
            }
            self.look(office, &model, stop).await?;
        }
        Ok(())
    }

    /// Counts, and tops up if that does not last.
    async fn look(
        &self,
        office: &impl Office,
        model: &ModelName,
        stop: &CancellationToken,
    ) -> Result<(), IdentityError> {
        let (now, plan) = (self.clock.now(), self.plans.of(model));
        // Durable before anything is asked.
        let then = self.change(|agenda| agenda.begin(model, plan, now, &mut rand::rng())).await?;
        let (outcome, said) = if self.wanted(office, model, u64::MAX).await? == Decision::Enough {
            (Outcome::Done, None)
        } else {
            match self.mint(office, model, stop).await {
                Ok(outcome) => (outcome, None),
                Err(obstacle) => (outcome_of(obstacle.kind), Some(obstacle.message)),
            }
        };
        let news = self.change(|agenda| agenda.conclude(model, then, outcome)).await?;
        tell(model, outcome, said.as_deref(), news);
        Ok(())
    }

    /// What to do about `model`, with so many credits. Counts anew each time: the look before may have minted for an hour.
    async fn wanted(
        &self,
        office: &impl Office,
        model: &ModelName,
        credits: u64,
    ) -> Result<Decision, IdentityError> {
        if let Some(goal) = self.read(|agenda| agenda.of(model).and_then(Appointment::goal)).await? {
            return self.rest(model, goal, credits).await;
        }
        let held = self.stock(&office.keyring()).await?.get(model).map_or(0, |kept| kept.held);
        let now = self.clock.now();
        let pace = self.deposits.habits().await?.get(model).and_then(|habit| habit.pace(now));
        let first = self.first_stock(model).await?;
        Ok(self.plans.of(model).decide(&Shelf { held, pace, credits }, first))
    }

    /// What to do about a mint that was broken off. What of it is pending the next mint recovers in any case, be it a mint of
    /// nothing else.
    async fn rest(&self, model: &ModelName, goal: u64, credits: u64) -> Result<Decision, IdentityError> {
        let missing = goal.saturating_sub(self.deposits.finalized(model).await?);
        let rest = missing.saturating_sub(self.pending(model).await?);
        Ok(match u32::try_from(rest.min(credits)).unwrap_or(u32::MAX) {
            _ if missing == 0 => Decision::Enough,
            0 if rest > 0 => Decision::NoCredit,
            count => Decision::Mint(count),
        })
    }

    async fn pending(&self, model: &ModelName) -> Result<u64, IdentityError> {
        let pending = self.deposits.pending().await?;
        Ok(pending.iter().filter(|row| row.issuance.model == *model).count() as u64)
    }

    /// Notes, durably, that `count` tokens are begun.
    async fn mint_begun(&self, model: &ModelName, count: u32) -> Result<(), IdentityError> {
        let before = self.deposits.finalized(model).await? + self.pending(model).await?;
        self.change(|agenda| agenda.mint_begun(model, before + u64::from(count))).await
    }

    async fn first_stock(&self, model: &ModelName) -> Result<FirstStock, IdentityError> {
        self.read(|agenda| agenda.of(model).map_or(FirstStock::ToCome, Appointment::first_stock)).await
    }

    async fn mint(
        &self,
        office: &impl Office,
        model: &ModelName,
        stop: &CancellationToken,
    ) -> Result<Outcome, Obstacle> {
        let storage = |error: IdentityError| Obstacle::from(&error);
        let account = office.credits().await?;
        self.account_seen(&account).await.map_err(storage)?;
        let credits = account.get(model.as_str()).copied().unwrap_or(0).max(0).unsigned_abs();
        let decision = self.wanted(office, model, credits).await.map_err(storage)?;
        let count = match decision {
            Decision::Enough => return Ok(Outcome::Done),
            Decision::NoCredit => return Ok(Outcome::NoCredit),
            Decision::Mint(count) => count,
        };
        let is_first = self.first_stock(model).await.map_err(storage)? == FirstStock::ToCome;
        let whole = self.wanted(office, model, u64::MAX).await.map_err(storage)?;
        self.mint_begun(model, count).await.map_err(storage)?;
        let minted = office.mint(model, count, stop).await?;
        tracing::info!(%model, made = minted.made, "topped up");
        match minted.stopped {
            Some(error) => {
                let mut obstacle = Obstacle::from(&error);
                if obstacle.kind == ErrorKind::Storage && minted.pending > 0 {
                    let begun = minted.pending;
                    obstacle.message = format!(
                        "{}. Within five minutes {begun} begun can be finished; afterwards credits that were taken for them are lost",
                        obstacle.message
                    );
                }
                Err(obstacle)
            }
            // Asked to stop: the rest at the repetition.
            None if minted.made < count as usize => Ok(Outcome::Failed),
            // A part of the first stock is not the first stock.
            None if is_first && decision != whole => Ok(Outcome::NoCredit),
            None => Ok(Outcome::Done),
        }
    }

    /// Fetches the abuse token of a new month, if that is due.
    async fn rotate(
        &self,
        office: &impl Office,
        keyring: &Keyring,
        continuity: Continuity,
    ) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let status = AbuseStatus::of(&self.deposits.abuse().await?, keyring, now);
        let holding = holding(&status, keyring);
        // Durable before anything is asked.
        let (step, asked, rotation) = self
            .change_rotation(|rotation| {
                let rng = &mut rand::rng();
                let step = rotation.tick(holding, abuse::seconds_left(now), now, continuity, rng);
                let asked = rotation.tick_asked(holding, now, continuity, rng);
                (step, asked, rotation.clone())
            })
            .await?;
        if asked == Step::Fetch {
            return self.fetch_asked(office).await;
        }
        if step == Step::Wait {
            return Ok(());
        }
        match office.renew_abuse().await {
            Ok(()) => tracing::info!("the abuse token of this month is here"),
            Err(obstacle) if obstacle.kind == ErrorKind::SignIn => {
                let ended = self.change(Agenda::session_ended).await?;
                if ended == News::Yes {
                    tracing::warn!("no abuse token for this month: {}", obstacle.message);
                }
            }
            Err(obstacle) if rotation.failures() == 1 => {
                tracing::warn!("no abuse token for this month yet, it is tried again: {}", obstacle.message);
            }
            Err(obstacle) => tracing::info!("no abuse token for this month yet: {}", obstacle.message),
        }
        Ok(())
    }

    /// Fetches the abuse token that the user asked for.
    async fn fetch_asked(&self, office: &impl Office) -> Result<(), IdentityError> {
        match office.rotate_abuse().await {
            Ok(()) => tracing::info!("the abuse token that was asked for is here"),
            Err(obstacle) if obstacle.kind == ErrorKind::Transient => {
                tracing::info!("the abuse token that was asked for is tried again: {}", obstacle.message);
                return Ok(());
            }
            Err(obstacle) => {
                tracing::warn!("the abuse token that was asked for does not come: {}", obstacle.message);
            }
        }
        self.change_rotation(Rotation::answered).await
    }

    /// Has another abuse token of this month fetched, some time within [`super::rotation::ASKED`] seconds; when at the latest.
    pub async fn rotate_later(&self) -> Result<Timestamp, IdentityError> {
        let now = self.clock.now();
        self.change_rotation(|rotation| rotation.ask(now, &mut rand::rng())).await
    }

    /// What is held of each model with a pinned key.
    pub(super) async fn stock(&self, keyring: &Keyring) -> Result<BTreeMap<ModelName, Kept>, IdentityError> {
        let pinned: PinnedKeys = keyring
            .models()
            .filter_map(|model| Some((model.clone(), keyring.model(model)?.fingerprint())))
            .collect();
        let mut held = self.deposits.held(pinned.clone()).await?;
        let stock = pinned.into_iter().map(|(model, key)| {
            let held = held.remove(&model).unwrap_or(0);
            (model, Kept { key: key.to_string(), held })
        });
        Ok(stock.collect())
    }

    /// Looks into the agenda, which is read if it was not.
    pub(super) async fn read<T>(&self, look: impl FnOnce(&Agenda) -> T) -> Result<T, IdentityError> {
        let mut agenda = self.agenda.lock().await;
        let read = match agenda.take() {
            Some(read) => read,
            None => self.note(Note::TopUps).await?,
        };
        Ok(look(agenda.insert(read)))
    }

    /// Changes the agenda; durable on return.
    pub(super) async fn change<T>(&self, edit: impl FnOnce(&mut Agenda) -> T) -> Result<T, IdentityError> {
        self.edit(Note::TopUps, &self.agenda, edit).await
    }

    /// When the abuse token comes.
    pub(super) async fn rotation(&self) -> Result<Rotation, IdentityError> {
        let mut rotation = self.rotation.lock().await;
        if rotation.is_none() {
            *rotation = Some(self.note(Note::Rotation).await?);
        }
        Ok(rotation.clone().unwrap_or_default())
    }

    /// Changes it; durable on return.
    async fn change_rotation<T>(&self, edit: impl FnOnce(&mut Rotation) -> T) -> Result<T, IdentityError> {
        self.edit(Note::Rotation, &self.rotation, edit).await
    }

    /// Changes what `held` has of `note`, and the note if it is another then; if that cannot be written, nothing has changed.
    async fn edit<N, T>(
        &self,
        note: Note,
        held: &Mutex<Option<N>>,
        edit: impl FnOnce(&mut N) -> T,
    ) -> Result<T, IdentityError>
    where
        N: Clone + Default + PartialEq + serde::Serialize + serde::de::DeserializeOwned,
    {
        let mut held = held.lock().await;
        let before = match held.take() {
            Some(read) => read,
            None => self.note(note).await?,
        };
        let mut after = before.clone();
        let answer = edit(&mut after);
        if after != before
            && let Err(error) = self.keep(note, &after).await
        {
            *held = Some(before);
            return Err(error);
        }
        *held = Some(after);
        Ok(answer)
    }

    /// A note that is not there, or of another version, is begun anew.
    async fn note<T: serde::de::DeserializeOwned + Default>(&self, note: Note) -> Result<T, IdentityError> {
        let content = self.deposits.note(note).await?;
        Ok(content.and_then(|content| serde_json::from_slice(content.expose()).ok()).unwrap_or_default())
    }

    async fn keep<T: serde::Serialize>(&self, note: Note, content: &T) -> Result<(), IdentityError> {
        let content = serde_json::to_vec(content).map_err(|_| IdentityError::Internal)?;
        Ok(self.deposits.keep_note(note, Secret::new(content)).await?)
    }
}

fn outcome_of(kind: ErrorKind) -> Outcome {
    match kind {
        ErrorKind::SignIn => Outcome::SignedOut,
        ErrorKind::NoQuota => Outcome::NoCredit,
        ErrorKind::Refused => Outcome::Refused,
        ErrorKind::Alarm => Outcome::Alarm,
        ErrorKind::Transient | ErrorKind::Storage | ErrorKind::Configuration => Outcome::Failed,
    }
}

/// Says once what stands in the way. The model's name is the user's to see.
fn tell(model: &ModelName, outcome: Outcome, said: Option<&str>, news: News) {
    let said = said.unwrap_or_default();
    match (outcome, news) {
        (Outcome::Done, _) | (_, News::No) => {}
        (Outcome::Failed, News::Yes) => {
            tracing::info!(%model, "not topped up this time, it is tried again: {said}");
        }
        (Outcome::NoCredit, News::Yes) => tracing::warn!(
            %model,
            "no top-up is possible: the account has no credit left for it; `llmtor buy {model}` gets some"
        ),
        (Outcome::SignedOut, News::Yes) => {
            tracing::warn!("no more top-ups until the next sign-in: {said}");
        }
        (Outcome::Refused | Outcome::Alarm, News::Yes) => tracing::warn!(%model, "not topped up: {said}"),
    }
}

fn holding(status: &AbuseStatus, keyring: &Keyring) -> Holding {
    if keyring.abuse_transient().is_none() || !status.permanent {
        Holding::None
    } else if status.transient.is_some_and(|held| held >= status.current) {
        Holding::Current
    } else {
        Holding::Old
    }
}
