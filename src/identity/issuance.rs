//! Minting: a saga that turns credits into tokens (protocol.md §3).
//!
//! For each token: blind → `Deposits::begin` (durable) → request → finalize, which verifies under the pinned key →
//! `Deposits::finalize` (durable). Tokens go through it in small batches: one is blinded on all cores while
//! the requests of the one before are in flight.
//!
//! | the process dies | on disk | at the next start ([`recovery`](super::recovery)) |
//! | --- | --- | --- |
//! | while blinding | nothing | nothing to do: no credit was asked for |
//! | after `begin`, before the request | Blinded | the same request, within five minutes of `begin`: debited once |
//! | after the request, before the answer | Blinded | the same request: the same signature, no second debit |
//! | after the answer, before `finalize` | Blinded | as above |
//! | after `finalize` | Available | nothing to do |
//!
//! | the request ends with | row | the mint |
//! | --- | --- | --- |
//! | a signature that verifies | Available from `not_before` on | goes on |
//! | a signature that does not | stays Blinded ([`recovery`](super::recovery) says for how long) | stops with an alarm |
//! | `no quota left`, unknown model, 401, 400, 404 at the first sending | wiped: refused before the ledger is touched | stops |
//! | `no quota left`, unknown model at a repeat | as no answer: another server of the backend may have debited the first sending and remember it | stops |
//! | 401, 400, 404 at a repeat | stays Blinded: the first sending may have been debited | stops |
//! | nothing may leave any more ([`crate::passage`]): not sent | wiped if it never was; else stays Blinded | stops |
//! | no answer, 5xx, 429, HTML, an incomplete answer, a refusal in other words than the backend's | repeated as it is, [`Pace::attempts`] times within five minutes; then stays Blinded | stops |

mod prepared;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::blind::{BlindError, BlindSignature, PublicKey};
use crate::clock::Timestamp;
use crate::failpoint::{Point, at};
use crate::identity::api::Rejected;
use crate::identity::error::{Foreign, IdentityError};
use crate::identity::session::LedgerMark;
use crate::identity::{Account, Identity, Recovered};
use crate::keys::KeyName;
use crate::vault::{NewIssuance, PendingIssuance, Readiness, RequestId};
use crate::wire::ModelName;
use crate::wire::identity::{IssueAnswer, IssueRequest, Me};
use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

pub use prepared::Prepared;
use prepared::not_before;
pub(super) use prepared::request_id;

/// How long the backend remembers a RequestID, seconds (protocol.md §3).
pub const IDEMPOTENCY_SECONDS: i64 = 300;
/// A repeat must arrive while the RequestID is remembered: this much earlier it is not sent any more.
const MARGIN_SECONDS: i64 = 30;
/// Tokens blinded and made durable together: a commit for each would cost more than the blinding. Small, since
/// the five minutes of all of them start with the commit.
const BATCH: usize = 32;

/// How many requests at once, and how patiently one is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Requests in flight; at least 1.
    pub concurrency: usize,
    /// Sendings of one request in one go; at least 1.
    pub attempts: u32,
    /// The pause before the first repeat; it doubles each time, up to [`Pace::ceiling`].
    pub first_pause: Duration,
    /// The longest pause.
    pub ceiling: Duration,
    /// How long a sign-out goes on finishing what is pending.
    pub parting: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            concurrency: 8,
            attempts: 6,
            first_pause: Duration::from_millis(250),
            ceiling: Duration::from_secs(8),
            parting: Duration::from_secs(20),
        }
    }
}

/// What to mint.
#[derive(Clone, Debug)]
pub struct MintOrder {
    /// For which model.
    pub model: ModelName,
    /// How many tokens.
    pub count: usize,
    /// From when on they may be drawn.
    pub readiness: Readiness,
}

/// How far a mint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MintProgress {
    /// Tokens made.
    pub done: usize,
    /// Tokens ordered.
    pub total: usize,
}

/// What a mint came to.
#[derive(Debug)]
pub struct Minted {
    /// Tokens made.
    pub made: usize,
    /// Tokens whose credit may be debited and whose signature is not here yet; the next start resumes them.
    pub pending: usize,
    /// What an earlier run had left, and what became of it. Not part of `made`.
    pub recovered: Recovered,
    /// Why fewer than ordered were made. An alarm over the model's key is here even if all of them were, since
    /// what an earlier run began may have raised it.
    pub stopped: Option<IdentityError>,
}

/// Whether a request, under its RequestID, may have been received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    First,
    Repeat,
}

/// One request on its way.
pub(super) struct Flight {
    pub(super) id: RequestId,
    pub(super) model: ModelName,
    pub(super) key: PublicKey,
    pub(super) readiness: Readiness,
    pub(super) prepared: Prepared,
    pub(super) first_sent: Timestamp,
    pub(super) sending: Sending,
}

impl Flight {
    /// Takes up a row of the vault, whose key is `key`.
    pub(super) fn resume(
        pending: PendingIssuance,
        key: PublicKey,
        first_sent: Timestamp,
        sending: Sending,
    ) -> Self {
        let NewIssuance { request_id, model, message, blinded, secret, readiness, .. } = pending.issuance;
        let prepared = Prepared { message, blinded, secret };
        Self { id: request_id, model, key, readiness, prepared, first_sent, sending }
    }
}

/// What became of one request.
pub(super) enum Landed {
    /// A token is in the vault.
    Made,
    /// Wiped: nothing was debited. With the reason, unless it was never sent.
    Abandoned(Option<IdentityError>),
    /// The row stays for the next start.
    Pending(IdentityError),
}

/// Raised by the first request that ends a mint.
#[derive(Default)]
pub(super) struct Brake(AtomicBool);

impl Brake {
    fn pull(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn pulled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a RequestID first sent then is still remembered, with a margin. A clock set back says no.
pub(super) fn is_remembered(first_sent: Timestamp, now: Timestamp) -> bool {
    (0..=IDEMPOTENCY_SECONDS - MARGIN_SECONDS).contains(&now.seconds_since(first_sent))
}

impl Identity {
    pub(super) async fn mint_in_turn(
        &self,
        order: MintOrder,
        progress: &(dyn Fn(MintProgress) + Send + Sync),
        stop: &CancellationToken,
    ) -> Result<Minted, IdentityError> {
        let name = KeyName::Model(order.model.clone());
        let key = self.keyring.model(&order.model).ok_or_else(|| IdentityError::NoKey(name.clone()))?.clone();
        let mut recovered = self.recover_in_turn().await?;
        let suspicion = recovered.take_alarm(&name);
        let account: Account = self.api.get::<Me>(&["me"]).await?.into();
        self.mark_ledger(&order.model, &account).await?;
        at(Point::LedgerMarked);

        let mut minted = Minted { made: 0, pending: 0, recovered, stopped: None };
        // Under suspicion one goes ahead, so that at most one more credit is spent on a forgery.
        let scouts = if suspicion.is_some() { order.count.min(1) } else { 0 };
        for count in [scouts, order.count - scouts] {
            if minted.stopped.is_none() && !stop.is_cancelled() {
                self.make(&order, count, &key, &mut minted, progress, stop).await;
            }
        }
        if suspicion.is_some() && !minted.stopped.as_ref().is_some_and(IdentityError::is_alarm) {
            minted.stopped = suspicion;
        }
        Ok(minted)
    }

    /// Makes `count` tokens of the order, until one of them ends it.
    async fn make(
        &self,
        order: &MintOrder,
        count: usize,
        key: &PublicKey,
        minted: &mut Minted,
        progress: &(dyn Fn(MintProgress) + Send + Sync),
        stop: &CancellationToken,
    ) {
        let brake = Brake::default();
        let sizes = (0..count.div_ceil(BATCH)).map(|batch| BATCH.min(count - batch * BATCH));
        let flights = stream::iter(sizes)
            .map(|size| self.prepare(order, key, size, &brake))
            .buffered(2)
            .flat_map(|batch| match batch {
                Ok(flights) => stream::iter(flights.into_iter().map(Ok).collect::<Vec<_>>()),
                Err(error) => stream::iter(vec![Err(error)]),
            });
        let mut landings = flights
            .map(async |flight| match flight {
                Ok(flight) => Ok(self.fly(flight, &brake).await?),
                Err(error) => Err(error),
            })
            .buffer_unordered(self.pace.concurrency.max(1));

        while let Some(landed) = landings.next().await {
            if stop.is_cancelled() {
                brake.pull();
            }
            let reason = match landed {
                Ok(Landed::Made) => {
                    minted.made += 1;
                    progress(MintProgress { done: minted.made, total: order.count });
                    None
                }
                Ok(Landed::Abandoned(reason)) => reason,
                Ok(Landed::Pending(reason)) => {
                    minted.pending += 1;
                    Some(reason)
                }
                // The vault or a worker failed: whatever is in flight stays as it is on disk.
                Err(error) => Some(error),
            };
            if let Some(reason) = reason {
                brake.pull();
                // The first reason, unless an alarm comes later.
                if minted.stopped.is_none() || reason.is_alarm() {
                    minted.stopped = Some(reason);
                }
            }
        }
    }

    /// Blinds `size` tokens on all cores and makes them durable.
    async fn prepare(
        &self,
        order: &MintOrder,
        key: &PublicKey,
        size: usize,
        brake: &Brake,
    ) -> Result<Vec<Flight>, IdentityError> {
        let MintOrder { model, readiness, .. } = order;
        if brake.pulled() {
            return Ok(Vec::new());
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = size.div_ceil(cores);
        let workers: Vec<_> = (0..size.div_ceil(share))
            .map(|worker| {
                let key = key.clone();
                let share = share.min(size - worker * share);
                tokio::task::spawn_blocking(move || {
                    let mut rng = rand::rng();
                    let prepared = Prepared::batch(&key, share, &mut rng)?;
                    Ok::<Vec<_>, BlindError>(
                        prepared.into_iter().map(|prepared| (request_id(&mut rng), prepared)).collect(),
                    )
                })
            })
            .collect();
        let mut batch = Vec::with_capacity(size);
        for worker in workers {
            let prepared = worker.await.map_err(|_| IdentityError::Internal)?;
            batch.extend(prepared.map_err(|_| IdentityError::Blinding(KeyName::Model(model.clone())))?);
        }
        at(Point::Blinded);
        let first_sent = self.clock.now();
        self.deposits
            .begin(batch.iter().map(|(id, prepared)| prepared.record(id, model, key, *readiness)).collect())
            .await?;
        let flight = |(id, prepared)| Flight {
            id,
            model: model.clone(),
            key: key.clone(),
            readiness: *readiness,
            prepared,
            first_sent,
            sending: Sending::First,
        };
        Ok(batch.into_iter().map(flight).collect())
    }

    /// Sends one request until it lands.
    pub(super) async fn fly(&self, flight: Flight, brake: &Brake) -> Result<Landed, IdentityError> {
        let Flight { id, model, key, readiness, prepared, first_sent, mut sending } = flight;
        if sending == Sending::First && brake.pulled() {
            self.deposits.abandon(&id).await?;
            return Ok(Landed::Abandoned(None));
        }
        let request = IssueRequest {
            request_id: id.0.clone(),
            blinded_token: prepared.blinded.as_bytes().to_vec().into(),
            model_name: model.clone(),
        };
        let segments = ["auth-token", model.as_str()];
        let mut pause = self.pace.first_pause;
        for attempt in 1.. {
            let answer = self.api.post::<IssueAnswer>(&segments, &request).await;
            at(Point::Signed);
            let answer = answer.map(|answer| answer.signed_blinded_token.0).and_then(|bytes| {
                if bytes.len() == key.modulus_len() {
                    Ok(BlindSignature::from_bytes(bytes))
                } else {
                    Err(Rejected::Foreign(Foreign::Incomplete, 200))
                }
            });
            let rejected = match answer {
                Ok(signature) => {
                    return self.land(&id, &model, key, prepared, signature, readiness).await;
                }
                Err(rejected) => rejected,
            };
            let in_time = is_remembered(first_sent, self.clock.now());
            // RequestIDs live in one server's memory: another one knows the debit and not its answer.
            let is_elsewhere =
                sending == Sending::Repeat && matches!(rejected, Rejected::NoQuota | Rejected::UnknownModel);
            if (rejected.is_transient() || is_elsewhere)
                && attempt < self.pace.attempts
                && in_time
                && !brake.pulled()
            {
                tracing::debug!(attempt, "an issuance was not answered; the same request follows");
                sending = Sending::Repeat;
                self.api.rest(pause).await;
                pause = (pause * 2).min(self.pace.ceiling);
                continue;
            }
            let (reason, is_refusal) = match rejected {
                Rejected::NoQuota => (IdentityError::NoQuota(model), true),
                Rejected::UnknownModel => (IdentityError::NotOffered(model), true),
                // Of a first sending that was not sent, either.
                Rejected::Unauthorized | Rejected::Invalid(_) | Rejected::Paused => (rejected.into(), true),
                _ => (rejected.into(), false),
            };
            // Only of the first sending is a refusal known to come before any debit.
            if is_refusal && sending == Sending::First {
                self.deposits.abandon(&id).await?;
                return Ok(Landed::Abandoned(Some(reason)));
            }
            return Ok(Landed::Pending(reason));
        }
        Err(IdentityError::Internal)
    }

    /// Finalizes on a worker thread and stores what verifies.
    async fn land(
        &self,
        id: &RequestId,
        model: &ModelName,
        key: PublicKey,
        prepared: Prepared,
        signature: BlindSignature,
        readiness: Readiness,
    ) -> Result<Landed, IdentityError> {
        let fingerprint = key.fingerprint();
        let finished = tokio::task::spawn_blocking(move || prepared.finish(&key, &signature))
            .await
            .map_err(|_| IdentityError::Internal)?;
        match finished {
            Ok(signature) => {
                at(Point::Verified);
                let not_before = not_before(readiness, self.delay, self.clock.now(), &mut rand::rng());
                self.deposits.finalize(id, signature, not_before).await?;
                Ok(Landed::Made)
            }
            Err(error) => {
                let alarm = IdentityError::crypto(error, &KeyName::Model(model.clone()), fingerprint);
                tracing::error!("{alarm}");
                Ok(Landed::Pending(alarm))
            }
        }
    }

    /// Notes the ledger's state, from which a later start counts debits, unless something of the model is pending.
    async fn mark_ledger(&self, model: &ModelName, account: &Account) -> Result<(), IdentityError> {
        let pending = self.deposits.pending().await?;
        if pending.iter().any(|row| row.issuance.model == *model) {
            return Ok(());
        }
        let used = account.used.get(model.as_str()).copied().unwrap_or(0);
        let mark = LedgerMark { used, finalized: self.deposits.finalized(model).await? };
        let mut marks = self.file.marks()?;
        marks.insert(model.clone(), mark);
        self.file.set_marks(&self.session, marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_remembered_for_less_than_five_minutes_and_not_across_a_clock_set_back() {
        let start = Timestamp::from_unix(1_000);
        assert!(is_remembered(start, start));
        assert!(is_remembered(start, start.plus_seconds(270)));
        assert!(!is_remembered(start, start.plus_seconds(271)));
        assert!(!is_remembered(start, start.plus_seconds(-1)));
    }
}
