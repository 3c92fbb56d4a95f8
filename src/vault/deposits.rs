//! The identity plane's capability: it puts tokens in, and can never read one back.
//!
//! An issuance is a saga, see the table in [`crate::vault`]: [`Deposits::begin`] before the request leaves,
//! then [`Deposits::finalize`] or [`Deposits::abandon`]; what a crash leaves behind is found by
//! [`Deposits::pending`].

use std::collections::{BTreeMap, HashSet};

use rusqlite::OptionalExtension as _;

use super::books::{Books, model_at};
use super::sealing::Place;
use super::thread::{Durability, Mailbox};
use super::{
    Abandoned, AbuseHoldings, AbuseKind, LossReason, NewAbuseIssuance, NewIssuance, PendingIssuance,
    PinnedKeys, Readiness, RequestId, Stock, VaultError,
};
use crate::blind::{BlindedMessage, BlindingSecret, Fingerprint, Signature, TokenMessage};
use crate::clock::Timestamp;
use crate::failpoint::{Point, at};
use crate::secret::Secret;
use crate::wire::ModelName;
use crate::wire::redemption::Epoch;

/// The identity plane's capability: it can put tokens in, and never read one back.
#[derive(Clone)]
pub struct Deposits {
    pub(super) mailbox: Mailbox,
}

impl Deposits {
    pub(super) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox }
    }

    /// → Blinded, all of the batch or none; durable on return. `first_sent` is set to now: the requests follow
    /// at once. [`VaultError::DuplicateIssuance`] if a RequestID is pending already.
    pub async fn begin(&self, batch: Vec<NewIssuance>) -> Result<(), VaultError> {
        let work = move |books: &mut Books| books.begin(&batch).inspect(|()| at(Point::BeginWritten));
        self.mailbox.call(Durability::Synced, work).await.inspect(|()| at(Point::BeginCommitted))
    }

    /// Whether issuances may be begun and given new RequestIDs, see [`Custody`](super::Custody); if not, why.
    pub async fn admit(&self) -> Result<(), VaultError> {
        self.mailbox.call(Durability::Relaxed, |books| books.may_spend()).await
    }

    /// Every Blinded row.
    pub async fn pending(&self) -> Result<Vec<PendingIssuance>, VaultError> {
        self.mailbox.call(Durability::Relaxed, Books::pending).await
    }

    /// Gives a pending issuance another RequestID and sets `first_sent` to now; durable. For when the old
    /// idempotency window has passed and the ledger said that no credit was debited (or the user takes the risk). Not in a
    /// vault that is paused: it is a new order.
    pub async fn renew(&self, old: &RequestId, new: RequestId) -> Result<(), VaultError> {
        let old = old.clone();
        let work = move |books: &mut Books| books.renew(&old, &new).inspect(|()| at(Point::RenewWritten));
        self.mailbox.call(Durability::Synced, work).await.inspect(|()| at(Point::RenewCommitted))
    }

    /// Blinded → Available from `not_before` on; durable. Message and signature move into a row of their own
    /// with a fresh random id and the issuing key's fingerprint, and the issuance row goes in the same commit: nothing ties a RequestID to a token.
    pub async fn finalize(
        &self,
        id: &RequestId,
        signature: Signature,
        not_before: Timestamp,
    ) -> Result<(), VaultError> {
        let id = id.clone();
        let work = move |books: &mut Books| {
            books.finalize(&id, &signature, not_before).inspect(|()| at(Point::FinalizeWritten))
        };
        self.mailbox.call(Durability::Synced, work).await.inspect(|()| at(Point::FinalizeCommitted))
    }

    /// Tokens of `model` finalized since the vault was made, spent or not: what the account's ledger is compared with.
    pub async fn finalized(&self, model: &ModelName) -> Result<u64, VaultError> {
        let model = model.clone();
        self.mailbox.call(Durability::Relaxed, move |books| books.finalized(&model)).await
    }

    /// Tokens that can be drawn under the `pinned` keys, now or later, and those of calls that are not settled: what
    /// a stock amounts to. Until a use is in the habit its token is in here, so that the two together do not tell at
    /// what hour somebody calls. Models without any are absent.
    pub async fn held(&self, pinned: PinnedKeys) -> Result<BTreeMap<ModelName, u64>, VaultError> {
        self.mailbox.call(Durability::Relaxed, move |books| books.held(&pinned)).await
    }

    /// The server refused before debiting: the row is wiped. Not synced: if a power cut brings the row back,
    /// it is merely pending again.
    pub async fn abandon(&self, id: &RequestId) -> Result<(), VaultError> {
        let id = id.clone();
        let work = move |books: &mut Books| books.abandon(&id).inspect(|()| at(Point::AbandonWritten));
        self.mailbox.call(Durability::Relaxed, work).await.inspect(|()| at(Point::AbandonCommitted))
    }

    /// Blinding state of an abuse token; durable on return. Leaves the finalized ones alone.
    /// [`VaultError::DuplicateIssuance`] if one of that kind is pending: its secret may be the only way to a
    /// signature that the server gives once.
    pub async fn begin_abuse(&self, new: NewAbuseIssuance) -> Result<(), VaultError> {
        let work =
            move |books: &mut Books| books.begin_abuse(&new).inspect(|()| at(Point::BeginAbuseWritten));
        self.mailbox.call(Durability::Synced, work).await.inspect(|()| at(Point::BeginAbuseCommitted))
    }

    /// A pending abuse issuance of that kind (re-signing is allowed for 10 minutes, protocol.md §3).
    pub async fn pending_abuse(&self, kind: AbuseKind) -> Result<Option<NewAbuseIssuance>, VaultError> {
        self.mailbox.call(Durability::Relaxed, move |books| books.pending_abuse(kind)).await
    }

    /// The abuse token is ready and takes the place of the one before; durable. The one before is wiped as
    /// soon as no presented or in-doubt token went with it. A transient one of a month that is over by the vault's
    /// clock is dropped if one of a later month is held: it came too late to be of use. That of the current
    /// month always takes the place, also of one from a time when the clock was ahead.
    pub async fn finalize_abuse(&self, kind: AbuseKind, signature: Signature) -> Result<(), VaultError> {
        let work = move |books: &mut Books| {
            books.finalize_abuse(kind, &signature).inspect(|()| at(Point::FinalizeAbuseWritten))
        };
        self.mailbox.call(Durability::Synced, work).await.inspect(|()| at(Point::FinalizeAbuseCommitted))
    }

    /// Wipes a pending abuse issuance.
    pub async fn abandon_abuse(&self, kind: AbuseKind) -> Result<(), VaultError> {
        self.mailbox.call(Durability::Relaxed, move |books| books.abandon_abuse(kind)).await
    }

    /// Wipes pending issuances of transient tokens for months before `epoch`: nobody takes them any more.
    pub async fn abandon_abuse_before(&self, epoch: Epoch) -> Result<(), VaultError> {
        self.mailbox.call(Durability::Relaxed, move |books| books.abandon_abuse_before(epoch)).await
    }

    /// Wipes every pending issuance, of credits and of abuse tokens alike, and writes the credits down as given up, in one
    /// commit; durable. For when the account in whose name they were begun is not the one at hand any more: sent in
    /// another's name they would tie both.
    pub async fn abandon_all(&self) -> Result<Abandoned, VaultError> {
        self.mailbox.call(Durability::Synced, Books::abandon_all).await
    }

    /// Which abuse tokens are held ready.
    pub async fn abuse(&self) -> Result<AbuseHoldings, VaultError> {
        self.mailbox.call(Durability::Relaxed, |books| Ok(books.abuse_holdings())).await
    }
}

/// A blinding state as sealed: message, blinded message, secret.
type Blinded = [Secret<Vec<u8>>; 3];

impl Books {
    fn finalized(&mut self, model: &ModelName) -> Result<u64, VaultError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT (SELECT count(*) FROM tokens WHERE model = ?1)
                 + coalesce((SELECT spent FROM counters WHERE model = ?1), 0)",
        )?;
        let count: i64 = statement.query_row([model.as_str()], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    fn held(&mut self, pinned: &PinnedKeys) -> Result<BTreeMap<ModelName, u64>, VaultError> {
        let sum = |stock: Stock| {
            stock.available + stock.maturing + stock.reserved + stock.presented + stock.in_doubt
        };
        let stock = self.stock(Some(pinned))?.into_iter();
        Ok(stock.map(|(model, stock)| (model, sum(stock))).filter(|(_, held)| *held > 0).collect())
    }

    fn begin(&mut self, batch: &[NewIssuance]) -> Result<(), VaultError> {
        self.may_spend()?;
        // All checks before the first write: a refusal must leave nothing behind.
        let mut seen = HashSet::new();
        for new in batch {
            if !seen.insert(&new.request_id) || self.issuance_pending(&new.request_id)? {
                return Err(VaultError::DuplicateIssuance);
            }
        }
        let now = self.clock.now().unix();
        for new in batch {
            let parts = [new.message.expose(), new.blinded.as_bytes(), new.secret.expose()];
            let sealed = self.sealer.seal(&issuance_place(&new.request_id, new.model.as_str()), &parts);
            self.conn
                .prepare_cached(
                    "INSERT INTO issuances (request_id, model, key, first_sent, readiness, sealed)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute((
                    &new.request_id.0,
                    new.model.as_str(),
                    new.key.as_bytes(),
                    now,
                    new.readiness.column(),
                    sealed,
                ))?;
        }
        Ok(())
    }

    fn issuance_pending(&self, id: &RequestId) -> Result<bool, VaultError> {
        let mut statement =
            self.conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM issuances WHERE request_id = ?1)")?;
        Ok(statement.query_row([&id.0], |row| row.get(0))?)
    }

    fn pending(&mut self) -> Result<Vec<PendingIssuance>, VaultError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT request_id, model, key, first_sent, sealed, readiness FROM issuances ORDER BY first_sent",
        )?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let request_id = RequestId(row.get(0)?);
            let model = model_at(row, 1)?;
            let place = issuance_place(&request_id, model.as_str());
            let blinded: Blinded =
                match self.sealer.open(&place, row.get_ref(4)?.as_blob().unwrap_or_default()) {
                    Ok(blinded) => blinded,
                    // The others can still be saved.
                    Err(_) => continue,
                };
            let first_sent = row.get::<_, Option<i64>>(3)?.map(Timestamp::from_unix);
            let key = Fingerprint::from_bytes(row.get(2)?);
            let (message, blinded, secret) = unblinded(&blinded);
            let readiness = Readiness::from_column(&row.get::<_, String>(5)?)?;
            let issuance = NewIssuance { request_id, model, key, message, blinded, secret, readiness };
            found.push(PendingIssuance { issuance, first_sent });
        }
        Ok(found)
    }

    fn issuance(&self, id: &RequestId) -> Result<(String, Fingerprint, Blinded), VaultError> {
        let (model, key, sealed): (String, [u8; 32], Vec<u8>) = self
            .conn
            .prepare_cached("SELECT model, key, sealed FROM issuances WHERE request_id = ?1")?
            .query_row([&id.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?
            .ok_or(VaultError::UnknownIssuance)?;
        let blinded = self.sealer.open(&issuance_place(id, &model), &sealed)?;
        Ok((model, Fingerprint::from_bytes(key), blinded))
    }

    fn renew(&mut self, old: &RequestId, new: &RequestId) -> Result<(), VaultError> {
        self.may_spend()?;
        let (model, _, [message, blinded, secret]) = self.issuance(old)?;
        if old != new && self.issuance_pending(new)? {
            return Err(VaultError::DuplicateIssuance);
        }
        let parts = [message.expose().as_slice(), blinded.expose(), secret.expose()];
        let sealed = self.sealer.seal(&issuance_place(new, &model), &parts);
        self.conn
            .prepare_cached(
                "UPDATE issuances SET request_id = ?1, first_sent = ?2, sealed = ?3 WHERE request_id = ?4",
            )?
            .execute((&new.0, self.clock.now().unix(), sealed, &old.0))?;
        Ok(())
    }

    fn finalize(
        &mut self,
        id: &RequestId,
        signature: &Signature,
        not_before: Timestamp,
    ) -> Result<(), VaultError> {
        let (model, key, [message, _, _]) = self.issuance(id)?;
        let token = self.fresh_id("tokens")?;
        let place = Place { table: "tokens", row: &token.to_be_bytes(), subject: &model };
        let sealed = self.sealer.seal(&place, &[message.expose(), signature.expose()]);
        self.conn
            .prepare_cached(
                "INSERT INTO tokens (id, model, key, state, not_before, sealed)
                 VALUES (?1, ?2, ?3, 'available', ?4, ?5)",
            )?
            .execute((token, &model, key.as_bytes(), not_before.unix(), sealed))?;
        self.wipe_issuance(id)?;
        // A habit begins with the first token, not with the first use: the backend knows the former anyway.
        self.habits.begin(&model, self.clock.now());
        let model = model.parse().map_err(|_| VaultError::Corrupt)?;
        self.draw.put(&model, key, token, not_before);
        Ok(())
    }

    fn abandon(&mut self, id: &RequestId) -> Result<(), VaultError> {
        if self.wipe_issuance(id)? == 1 { Ok(()) } else { Err(VaultError::UnknownIssuance) }
    }

    fn abandon_all(&mut self) -> Result<Abandoned, VaultError> {
        for (model, credits) in self.pending_by_model()? {
            self.record_loss(&model, credits, LossReason::GivenUp)?;
        }
        let credits = self.conn.prepare_cached("DELETE FROM issuances")?.execute([])?;
        let abuse = self.conn.prepare_cached("DELETE FROM abuse_issuances")?.execute([])?;
        Ok(Abandoned { credits, abuse })
    }

    fn pending_by_model(&self) -> Result<Vec<(ModelName, u64)>, VaultError> {
        let mut statement =
            self.conn.prepare_cached("SELECT model, count(*) FROM issuances GROUP BY model")?;
        let mut rows = statement.query([])?;
        let mut pending = Vec::new();
        while let Some(row) = rows.next()? {
            pending.push((model_at(row, 0)?, row.get::<_, i64>(1)?.unsigned_abs()));
        }
        Ok(pending)
    }

    /// The model of a pending issuance.
    pub(super) fn model_of_issuance(&self, id: &RequestId) -> Result<ModelName, VaultError> {
        let mut statement = self.conn.prepare_cached("SELECT model FROM issuances WHERE request_id = ?1")?;
        let mut rows = statement.query([&id.0])?;
        model_at(rows.next()?.ok_or(VaultError::UnknownIssuance)?, 0)
    }

    pub(super) fn wipe_issuance(&self, id: &RequestId) -> Result<usize, VaultError> {
        let mut statement = self.conn.prepare_cached("DELETE FROM issuances WHERE request_id = ?1")?;
        Ok(statement.execute([&id.0])?)
    }

    fn begin_abuse(&mut self, new: &NewAbuseIssuance) -> Result<(), VaultError> {
        let (kind, epoch) = new.kind.columns();
        let parts = [new.message.expose(), new.blinded.as_bytes(), new.secret.expose()];
        let sealed = self.sealer.seal(&abuse_issuance_place(kind, &epoch.to_be_bytes()), &parts);
        let inserted = self
            .conn
            .prepare_cached(
                "INSERT INTO abuse_issuances (kind, epoch, key, sealed) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )?
            .execute((kind, epoch, new.key.as_bytes(), sealed))?;
        if inserted == 1 { Ok(()) } else { Err(VaultError::DuplicateIssuance) }
    }

    fn pending_abuse(&mut self, kind: AbuseKind) -> Result<Option<NewAbuseIssuance>, VaultError> {
        let (name, epoch) = kind.columns();
        let row: Option<([u8; 32], Vec<u8>)> = self
            .conn
            .prepare_cached("SELECT key, sealed FROM abuse_issuances WHERE kind = ?1 AND epoch = ?2")?
            .query_row((name, epoch), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((key, sealed)) = row else { return Ok(None) };
        let opened: Blinded = self.sealer.open(&abuse_issuance_place(name, &epoch.to_be_bytes()), &sealed)?;
        let (message, blinded, secret) = unblinded(&opened);
        Ok(Some(NewAbuseIssuance { kind, key: Fingerprint::from_bytes(key), message, blinded, secret }))
    }

    fn finalize_abuse(&mut self, kind: AbuseKind, signature: &Signature) -> Result<(), VaultError> {
        let pending = self.pending_abuse(kind)?.ok_or(VaultError::UnknownIssuance)?;
        let (_, epoch) = kind.columns();
        let held = match kind {
            AbuseKind::Permanent => None,
            AbuseKind::Transient(_) => self.transient.as_ref().map(|held| held.epoch.number()),
        };
        let is_over = epoch < Epoch::at(self.clock.now().unix()).number();
        if !is_over || held.is_none_or(|held| held <= epoch) {
            self.hold_abuse(kind, pending.key, pending.message.expose(), signature.expose())?;
        }
        self.abandon_abuse(kind)?;
        self.read_abuse_tokens()
    }

    fn abandon_abuse_before(&mut self, epoch: Epoch) -> Result<(), VaultError> {
        let (name, before) = AbuseKind::Transient(epoch).columns();
        self.conn
            .prepare_cached("DELETE FROM abuse_issuances WHERE kind = ?1 AND epoch < ?2")?
            .execute((name, before))?;
        Ok(())
    }

    fn abandon_abuse(&mut self, kind: AbuseKind) -> Result<(), VaultError> {
        let wiped = self
            .conn
            .prepare_cached("DELETE FROM abuse_issuances WHERE kind = ?1 AND epoch = ?2")?
            .execute(kind.columns())?;
        if wiped == 1 { Ok(()) } else { Err(VaultError::UnknownIssuance) }
    }
}

impl Readiness {
    fn column(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Delayed => "delayed",
        }
    }

    fn from_column(text: &str) -> Result<Self, VaultError> {
        match text {
            "now" => Ok(Self::Now),
            "delayed" => Ok(Self::Delayed),
            _ => Err(VaultError::Corrupt),
        }
    }
}

fn issuance_place<'a>(id: &'a RequestId, model: &'a str) -> Place<'a> {
    Place { table: "issuances", row: id.0.as_bytes(), subject: model }
}

fn abuse_issuance_place<'a>(kind: &'a str, epoch: &'a [u8; 4]) -> Place<'a> {
    Place { table: "abuse_issuances", row: epoch, subject: kind }
}

fn unblinded([message, blinded, secret]: &Blinded) -> (TokenMessage, BlindedMessage, BlindingSecret) {
    (
        TokenMessage::from_bytes(message.expose().clone()),
        BlindedMessage::from_bytes(blinded.expose().clone()),
        BlindingSecret::from_bytes(secret.expose().clone()),
    )
}
