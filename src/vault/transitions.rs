//! What the verbs of [`super::Withdrawals`] do to a row. Each is one guarded statement: it names row, state
//! and owner, and the number of affected rows says whether the guard held.

use rusqlite::{OptionalExtension as _, Row};

use super::books::{Books, HeldAbuse, UNTIMED, model_at};
use super::sealing::Place;
use super::withdrawals::{Farewell, Grip, LastWord, Payment};
use super::{AbuseRule, CallId, Doubt, History, RequestDigest, Shortage, Trust, VaultError};
use crate::blind::Fingerprint;
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::wire::redemption::{Epoch, LlmMask};
use crate::wire::{Base64Bytes, ModelName};

/// Of this request (`?1`), and resumable now (`?2`) in this month (`?3`). One that went with an abuse token of a past month
/// is not: the backend refuses that before it looks for the answer, for ever. It waits for the end of its term.
/// Nor is one that may have been spent on something else before, where an answer's time does not tell.
const RESUMABLE: &str = "state = 'in_doubt' AND digest = ?1
     AND (maybe_spent = 0 OR (not_before <= ?2 AND NOT EXISTS (SELECT 1 FROM meta WHERE name = 'untimed:' || model)))
     AND (transient IS NULL OR (SELECT epoch FROM abuse_tokens WHERE id = transient) >= ?3)";

impl CallId {
    fn column(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl Doubt {
    fn column(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Undelivered => "undelivered",
        }
    }
}

impl Books {
    pub(super) fn reserve(
        &mut self,
        call: CallId,
        model: &ModelName,
        key: Fingerprint,
        rule: AbuseRule,
        trust: Trust,
    ) -> Result<(i64, Timestamp, Trust), VaultError> {
        self.may_spend()?;
        self.abuse_for(rule)?;
        let now = self.clock.now();
        let trust = if self.untimed.contains(model) { Trust::Certain } else { trust };
        if trust == Trust::Certain {
            let id = self.reserve_certain(call, model, key, now)?;
            return Ok((id, now, trust));
        }
        let mut waiting = Vec::new();
        let reserved = loop {
            let id = match self.draw.draw(&mut rand::rng(), model, key, now) {
                Ok(id) => id,
                Err(shortage) => break Err(VaultError::OutOfTokens { model: model.clone(), shortage }),
            };
            // A token that may be spent waits for the end of its term also if the clock showed it once before: only an
            // answer made after that is told from the one that the backend may have kept.
            let changed = self
                .conn
                .prepare_cached(
                    "UPDATE tokens SET state = 'reserved', owner = ?1
                     WHERE id = ?2 AND state = 'available' AND owner IS NULL AND (maybe_spent = 0 OR not_before <= ?3)",
                )?
                .execute((call.column(), id, now.unix()))?;
            if changed == 1 {
                break Ok((id, now, trust));
            }
            // The index says what the file says; if it ever did not, the file is right and the next row is tried.
            waiting.extend(self.waits_until(id)?.map(|until| (id, until)));
        };
        for (id, until) in waiting {
            self.draw.put(model, key, id, until);
        }
        reserved
    }

    /// The same of tokens that are certain; looks through all of them, which is rare.
    fn reserve_certain(
        &mut self,
        call: CallId,
        model: &ModelName,
        key: Fingerprint,
        now: Timestamp,
    ) -> Result<i64, VaultError> {
        let drawn: Option<i64> = self
            .conn
            .prepare_cached(
                "UPDATE tokens SET state = 'reserved', owner = ?1 WHERE id = (
                     SELECT id FROM tokens WHERE state = 'available' AND maybe_spent = 0 AND model = ?2 AND key = ?3
                         AND not_before <= ?4 ORDER BY random() LIMIT 1)
                 RETURNING id",
            )?
            .query_row((call.column(), model.as_str(), key.as_bytes(), now.unix()), |row| row.get(0))
            .optional()?;
        if let Some(id) = drawn {
            self.draw.take(model, key, id);
            return Ok(id);
        }
        let (next, uncertain): (Option<i64>, bool) = self
            .conn
            .prepare_cached(
                "SELECT min(CASE WHEN maybe_spent = 0 THEN not_before END), coalesce(max(maybe_spent), 0) FROM tokens
                 WHERE state = 'available' AND model = ?1 AND key = ?2",
            )?
            .query_row((model.as_str(), key.as_bytes()), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let shortage = match (next, uncertain) {
            (_, true) => Shortage::Uncertain,
            (Some(next), false) => Shortage::Maturing { next: Timestamp::from_unix(next) },
            (None, false) => Shortage::Empty,
        };
        Err(VaultError::OutOfTokens { model: model.clone(), shortage })
    }

    /// See [`super::Withdrawals::trust_times`].
    pub(super) fn trust_times(&mut self, model: &ModelName, trust: Trust) -> Result<(), VaultError> {
        let name = format!("{UNTIMED}{model}");
        match trust {
            Trust::Certain => {
                self.conn
                    .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, x'')")?
                    .execute([name])?;
                self.untimed.insert(model.clone());
            }
            Trust::Any => {
                self.conn.prepare_cached("DELETE FROM meta WHERE name = ?1")?.execute([name])?;
                self.untimed.remove(model);
            }
        }
        Ok(())
    }

    /// Until when an available row is not to be drawn; None if it is not available.
    fn waits_until(&self, id: i64) -> Result<Option<Timestamp>, VaultError> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT not_before FROM tokens WHERE id = ?1 AND state = 'available'")?;
        let until: Option<i64> = statement.query_row([id], |row| row.get(0)).optional()?;
        Ok(until.map(Timestamp::from_unix))
    }

    /// The parameters of [`RESUMABLE`].
    fn resumable_by(&self, digest: RequestDigest) -> ([u8; 32], i64, u32) {
        let now = self.clock.now().unix();
        (digest.0, now, Epoch::at(now).number())
    }

    /// How many tokens are in doubt about this request, and can be resumed for it now.
    pub(super) fn doubts(&self, digest: RequestDigest) -> Result<usize, VaultError> {
        let query = format!("SELECT count(*) FROM tokens WHERE {RESUMABLE}");
        let count: i64 =
            self.conn.prepare_cached(&query)?.query_row(self.resumable_by(digest), |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    pub(super) fn present(
        &mut self,
        grip: &Grip,
        rule: AbuseRule,
        digest: RequestDigest,
    ) -> Result<(Payment, History), VaultError> {
        self.may_spend()?;
        let (sealed, maybe_spent): (Vec<u8>, bool) = self
            .conn
            .prepare_cached(
                "SELECT sealed, maybe_spent FROM tokens WHERE id = ?1 AND state = 'reserved' AND owner = ?2",
            )?
            .query_row((grip.id, grip.call.column()), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .ok_or(VaultError::LostRace)?;
        let token = match self.open_token(grip.id, &grip.model, &sealed) {
            Ok(token) => token,
            Err(error) => {
                self.refuse(grip, "reserved")?;
                return Err(error);
            }
        };
        let abuse = self.abuse_for(rule)?;
        let changed = self
            .conn
            .prepare_cached(
                "UPDATE tokens SET state = 'presented', digest = ?1, presented_at = ?2, permanent = ?3, transient = ?4
                 WHERE id = ?5 AND state = 'reserved' AND owner = ?6",
            )?
            .execute((
                digest.0,
                self.clock.now().unix(),
                abuse.map(|(permanent, _)| permanent.id),
                abuse.map(|(_, transient)| transient.id),
                grip.id,
                grip.call.column(),
            ))?;
        held(changed)?;
        let payment = payment(&grip.model, &token, abuse);
        self.count_presentation()?;
        Ok((payment, history(maybe_spent)))
    }

    /// None also while the token rests: after a take-over ([`super::custody`]), or because the clock was set back before the
    /// end of an earlier doubt's term; if its abuse token's month is over; and if the record is damaged. The call then takes another token, which is safe.
    pub(super) fn resume(
        &mut self,
        call: CallId,
        digest: RequestDigest,
    ) -> Result<Option<(Grip, Payment, History)>, VaultError> {
        self.may_spend()?;
        match self.resume_intact(call, digest) {
            Err(VaultError::DamagedRecord) => Ok(None),
            other => other,
        }
    }

    fn resume_intact(
        &mut self,
        call: CallId,
        digest: RequestDigest,
    ) -> Result<Option<(Grip, Payment, History)>, VaultError> {
        let query = format!(
            "SELECT id, model, sealed, maybe_spent, permanent, transient FROM tokens
             WHERE {RESUMABLE} ORDER BY presented_at, id LIMIT 1"
        );
        let mut statement = self.conn.prepare_cached(&query)?;
        let mut rows = statement.query(self.resumable_by(digest))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let grip = Grip { id: row.get(0)?, model: model_at(row, 1)?, call };
        let token = self.open_token(grip.id, &grip.model, row.get_ref(2)?.as_blob().unwrap_or_default())?;
        let abuse = match (row.get(4)?, row.get(5)?) {
            (Some(permanent), Some(transient)) => {
                Some((self.abuse_token(permanent)?, self.abuse_token(transient)?))
            }
            _ => None,
        };
        // `doubt` stays: it marks the row as resumed, whatever happens next. `presented_at` moves: if the
        // earlier attempt never arrived, the server's five days begin with this one.
        let changed = self
            .conn
            .prepare_cached(
                "UPDATE tokens SET state = 'presented', owner = ?1, presented_at = ?2
                 WHERE id = ?3 AND state = 'in_doubt' AND owner IS NULL AND digest = ?4",
            )?
            .execute((call.column(), self.clock.now().unix(), grip.id, digest.0))?;
        held(changed)?;
        let abuse = abuse.as_ref().map(|(permanent, transient)| (permanent, transient));
        let payment = payment(&grip.model, &token, abuse);
        let history = history(row.get(3)?);
        drop(rows);
        drop(statement);
        self.count_presentation()?;
        Ok(Some((grip, payment, history)))
    }

    pub(super) fn release(&mut self, grip: &Grip) -> Result<(), VaultError> {
        let place = self
            .conn
            .prepare_cached(
                "UPDATE tokens SET state = 'available', owner = NULL
                 WHERE id = ?1 AND state = 'reserved' AND owner = ?2 RETURNING key, not_before",
            )?
            .query_row((grip.id, grip.call.column()), shelf_at)
            .optional()?;
        self.shelve(grip, place.ok_or(VaultError::LostRace)?);
        Ok(())
    }

    pub(super) fn return_unspent(&mut self, grip: &Grip) -> Result<(), VaultError> {
        let place = self
            .conn
            .prepare_cached(
                "UPDATE tokens SET state = 'available', owner = NULL, digest = NULL, presented_at = NULL,
                     permanent = NULL, transient = NULL
                 WHERE id = ?1 AND state = 'presented' AND owner = ?2 AND doubt IS NULL RETURNING key, not_before",
            )?
            .query_row((grip.id, grip.call.column()), shelf_at)
            .optional()?;
        match place {
            Some(place) => {
                self.shelve(grip, place);
                self.sweep_abuse_tokens()
            }
            // In doubt from an earlier attempt, of which this one says nothing.
            None => self.doubt(grip, Doubt::Unknown),
        }
    }

    pub(super) fn doubt(&mut self, grip: &Grip, doubt: Doubt) -> Result<(), VaultError> {
        let changed = self
            .conn
            .prepare_cached(
                "UPDATE tokens SET state = 'in_doubt', owner = NULL,
                     doubt = CASE WHEN doubt = 'undelivered' THEN doubt ELSE ?1 END
                 WHERE id = ?2 AND state = 'presented' AND owner = ?3",
            )?
            .execute((doubt.column(), grip.id, grip.call.column()))?;
        held(changed)
    }

    pub(super) fn set_aside(&mut self, grip: &Grip) -> Result<(), VaultError> {
        self.refuse(grip, "presented")?;
        self.sweep_abuse_tokens()
    }

    fn refuse(&self, grip: &Grip, from: &'static str) -> Result<(), VaultError> {
        let changed = self
            .conn
            .prepare_cached(
                "UPDATE tokens SET state = 'refused', owner = NULL, digest = NULL, presented_at = NULL, doubt = NULL,
                     permanent = NULL, transient = NULL
                 WHERE id = ?1 AND state = ?2 AND owner = ?3",
            )?
            .execute((grip.id, from, grip.call.column()))?;
        held(changed)
    }

    pub(super) fn settle(&mut self, grip: &Grip) -> Result<(), VaultError> {
        let went_with: (Option<i64>, Option<i64>) = self
            .conn
            .prepare_cached(
                "DELETE FROM tokens WHERE id = ?1 AND state = 'presented' AND owner = ?2
                 RETURNING permanent, transient",
            )?
            .query_row((grip.id, grip.call.column()), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .ok_or(VaultError::LostRace)?;
        self.count_spent(grip.model.as_str(), 1)?;
        // Only a token that went with superseded ones can have been the last to refer to them.
        let current =
            (self.permanent.as_ref().map(|held| held.id), self.transient.as_ref().map(|held| held.id));
        if went_with != (None, None) && went_with != current { self.sweep_abuse_tokens() } else { Ok(()) }
    }

    /// A token's holder is gone. If the row is no longer in that call's hands, there is nothing to do.
    pub(super) fn carry_out(&mut self, farewell: &Farewell) -> Result<(), VaultError> {
        let grip = &farewell.grip;
        let done = match farewell.last_word {
            LastWord::Release => self.release(grip),
            LastWord::Doubt => self.doubt(grip, Doubt::Unknown),
            LastWord::Withdraw => match self.return_unspent(grip) {
                // Its `present` was rolled back.
                Err(VaultError::LostRace) => self.release(grip),
                other => other,
            },
        };
        match done {
            Err(VaultError::LostRace) => Ok(()),
            other => other,
        }
    }

    fn shelve(&mut self, grip: &Grip, (key, not_before): (Fingerprint, Timestamp)) {
        self.draw.put(&grip.model, key, grip.id, not_before);
    }

    fn open_token(
        &self,
        id: i64,
        model: &ModelName,
        sealed: &[u8],
    ) -> Result<[Secret<Vec<u8>>; 2], VaultError> {
        let place = Place { table: "tokens", row: &id.to_be_bytes(), subject: model.as_str() };
        self.sealer.open(&place, sealed)
    }

    fn abuse_for(&self, rule: AbuseRule) -> Result<Option<(&HeldAbuse, &HeldAbuse)>, VaultError> {
        match (rule, &self.permanent, &self.transient) {
            (AbuseRule::Omitted, _, _) => Ok(None),
            // A past month's would be refused, and the backend would see the token with two prompts.
            (AbuseRule::Required, Some(permanent), Some(transient))
                if transient.epoch >= Epoch::at(self.clock.now().unix()) =>
            {
                Ok(Some((permanent, transient)))
            }
            (AbuseRule::Required, _, _) => Err(VaultError::NoAbuseTokens),
        }
    }
}

/// `key, not_before`: where a row that is available again belongs.
fn shelf_at(row: &Row<'_>) -> rusqlite::Result<(Fingerprint, Timestamp)> {
    Ok((Fingerprint::from_bytes(row.get(0)?), Timestamp::from_unix(row.get(1)?)))
}

fn held(changed: usize) -> Result<(), VaultError> {
    if changed == 1 { Ok(()) } else { Err(VaultError::LostRace) }
}

fn history(maybe_spent: bool) -> History {
    if maybe_spent { History::MaybeSpent } else { History::Fresh }
}

fn payment(
    model: &ModelName,
    [token, signature]: &[Secret<Vec<u8>>; 2],
    abuse: Option<(&HeldAbuse, &HeldAbuse)>,
) -> Payment {
    let bytes = |secret: &Secret<Vec<u8>>| Base64Bytes(secret.expose().clone());
    let (permanent, transient) = (abuse.map(|pair| pair.0), abuse.map(|pair| pair.1));
    Payment(LlmMask {
        token: bytes(token),
        signed_token: bytes(signature),
        model_name: model.clone(),
        permanent_abuse_token: permanent.map(|held| bytes(&held.token)),
        permanent_abuse_token_sig: permanent.map(|held| bytes(&held.signature)),
        transient_abuse_token: transient.map(|held| bytes(&held.token)),
        transient_abuse_token_sig: transient.map(|held| bytes(&held.signature)),
    })
}
