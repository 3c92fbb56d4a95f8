//! What the vault thread holds: the connection, the keys, and the caches over the file.
//!
//! Caches ([`DrawIndex`], the habits, the current abuse tokens, the custody) change only inside a batch; if its commit fails they are
//! distrusted and read anew before the next.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::custody::Custody;
use super::draw::DrawIndex;
use super::habits::Ledger as Habits;
use super::mark::{FileId, Found, Mark, Nonce, Said};
use super::sealing::{Place, Sealer};
use super::{AbuseHoldings, AbuseKind, HeldTransient, RecoveryReport, VaultError};
use crate::blind::Fingerprint;
use crate::clock::{SharedClock, Timestamp};
use crate::secret::Secret;
use crate::wire::ModelName;
use crate::wire::redemption::Epoch;

/// The row of `meta` that the mark is compared with: two numbers and the count of presentations.
pub(super) const MARK: &str = "mark";
/// Rows of `meta` that name the models whose answers do not say rightly when they were made begin so.
pub(super) const UNTIMED: &str = "untimed:";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Caches {
    Trusted,
    Distrusted,
}

/// One finalized abuse token.
pub(super) struct HeldAbuse {
    pub(super) id: i64,
    pub(super) epoch: Epoch,
    pub(super) key: Fingerprint,
    pub(super) token: Secret<Vec<u8>>,
    pub(super) signature: Secret<Vec<u8>>,
}

/// See the module.
pub(super) struct Books {
    pub(super) conn: Connection,
    pub(super) sealer: Sealer,
    pub(super) clock: SharedClock,
    pub(super) draw: DrawIndex,
    /// How much each model is used.
    pub(super) habits: Habits,
    /// The abuse tokens that new redemptions carry.
    pub(super) permanent: Option<HeldAbuse>,
    pub(super) transient: Option<HeldAbuse>,
    /// Whether there may be superseded abuse tokens to wipe.
    pub(super) sweep_due: bool,
    /// Whether the tokens may be spent here.
    pub(super) custody: Custody,
    /// Models whose answers do not say rightly when they were made.
    pub(super) untimed: BTreeSet<ModelName>,
    /// How often a token was presented, ever.
    presentations: u64,
    /// What lies beside the file.
    mark: Option<Mark>,
    caches: Caches,
    /// When to look for lapsed doubts next.
    pub(super) next_lapse: Timestamp,
    commits: u64,
    /// How many of the next commits shall fail.
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<std::sync::atomic::AtomicU32>,
}

impl Books {
    /// Nothing is read yet; the first [`Books::refresh`] does that.
    pub(super) fn new(conn: Connection, sealer: Sealer, clock: SharedClock) -> Self {
        Self {
            conn,
            sealer,
            clock,
            draw: DrawIndex::default(),
            habits: Habits::default(),
            permanent: None,
            transient: None,
            sweep_due: true,
            custody: Custody::default(),
            untimed: BTreeSet::new(),
            presentations: 0,
            mark: None,
            caches: Caches::Distrusted,
            next_lapse: Timestamp::from_unix(i64::MIN),
            commits: 0,
            #[cfg(test)]
            faults: std::sync::Arc::default(),
        }
    }

    /// Puts right what the last run left, and whatever else the mark beside `path` shows; see [`super::mark`].
    pub(super) fn arrive(&mut self, path: &Path, found: Found) -> Result<RecoveryReport, VaultError> {
        let said = self.said()?;
        let provenance = found.judge(said, FileId::of(path)?);
        // What the mark says until it is written anew. Then it comes right before what the vault says.
        let before = match (found, said) {
            (Found::Note(note), _) => note.nonce(),
            (_, Some(said)) => said.nonce,
            (_, None) => {
                let nonce = rand::random();
                if found == Found::Nothing {
                    drop(Mark::of_a_new_vault(path, nonce)?);
                }
                nonce
            }
        };
        let told = if let Found::Note(note) = found { note.presentations() } else { 0 };
        let presentations = said.map_or(0, |said| said.presentations).max(told);
        let said = Said { nonce: rand::random(), before, presentations };
        let report = self.recover(provenance, said)?;
        self.mark = Some(Mark::of(path, said)?);
        Ok(report)
    }

    /// What the file has for its mark.
    fn said(&self) -> Result<Option<Said>, VaultError> {
        let Some(value) = self.meta_if_there(MARK)? else { return Ok(None) };
        let (nonces, rest) = value.as_chunks::<16>();
        let (&[nonce, before], Ok(presentations)) = (nonces, rest.try_into()) else {
            return Err(VaultError::Corrupt);
        };
        Ok(Some(Said { nonce, before, presentations: u64::from_be_bytes(presentations) }))
    }

    /// Puts it there.
    pub(super) fn say(&mut self, said: Said) -> Result<(), VaultError> {
        let Said { nonce, before, presentations } = said;
        let value = [&nonce[..], &before, &presentations.to_be_bytes()].concat();
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?
            .execute((MARK, value))?;
        self.presentations = presentations;
        Ok(())
    }

    /// A token is presented, in this transaction.
    pub(super) fn count_presentation(&mut self) -> Result<(), VaultError> {
        if let Some(said) = self.said()? {
            self.say(Said { presentations: self.presentations.saturating_add(1), ..said })?;
        }
        Ok(())
    }

    /// After a commit: the mark follows.
    pub(super) fn tell_mark(&mut self) {
        if let Some(mark) = &mut self.mark {
            mark.follow(self.presentations);
        }
    }

    /// The last commit. None if it failed, or is not this file's business any more: then the mark stays as it is.
    pub(super) fn take_leave(&mut self) -> Option<(Mark, Nonce)> {
        let mark = self.mark.take()?;
        let said = self.said().ok()??;
        let nonce: Nonce = rand::random();
        if mark.is_displaced() || self.conn.execute_batch("BEGIN IMMEDIATE").is_err() {
            return None;
        }
        let last = Said { nonce, before: said.nonce, presentations: said.presentations };
        let written = self.say(last).and_then(|()| Ok(self.conn.execute_batch("COMMIT")?));
        if written.is_err() && !self.conn.is_autocommit() {
            drop(self.conn.execute_batch("ROLLBACK"));
        }
        written.ok().map(|()| (mark, nonce))
    }

    /// Whether tokens may be drawn and presented, and issuances begun.
    pub(super) fn may_spend(&self) -> Result<(), VaultError> {
        if self.is_displaced() { Err(VaultError::Displaced) } else { self.custody.check() }
    }

    /// Whether the open file is not any more where the next start would look for it.
    pub(super) fn is_displaced(&self) -> bool {
        self.mark.as_ref().is_some_and(Mark::is_displaced)
    }

    /// A commit failed: what the caches say may not be what the file says.
    pub(super) fn distrust_caches(&mut self) {
        self.caches = Caches::Distrusted;
    }

    /// Ends the transaction.
    pub(super) fn commit(&mut self) -> Result<(), VaultError> {
        #[cfg(test)]
        self.injected_fault()?;
        self.write_habits()?;
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        self.commits += 1;
        Ok(())
    }

    /// Commits since the start, so that a test can see the grouping.
    #[cfg(test)]
    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    #[cfg(test)]
    fn injected_fault(&self) -> Result<(), VaultError> {
        use std::sync::atomic::Ordering;
        let left = self.faults.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() { Err(VaultError::Storage { code: 0 }) } else { Ok(()) }
    }

    /// At the beginning of each transaction: caches that can be trusted, and no doubt past its term.
    pub(super) fn refresh(&mut self) -> Result<(), VaultError> {
        self.read_caches()?;
        self.lapse_if_due()
    }

    /// Caches that can be trusted.
    pub(super) fn read_caches(&mut self) -> Result<(), VaultError> {
        if self.caches == Caches::Distrusted {
            self.custody = self.identification()?.custody;
            self.read_untimed()?;
            self.presentations = self.said()?.map_or(0, |said| said.presentations);
            self.read_draw_index()?;
            self.read_habits()?;
            self.read_abuse_tokens()?;
            self.sweep_due = true;
            self.next_lapse = Timestamp::from_unix(i64::MIN);
            self.caches = Caches::Trusted;
        }
        Ok(())
    }

    fn read_untimed(&mut self) -> Result<(), VaultError> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT substr(name, length(?1) + 1) FROM meta WHERE name GLOB ?1 || '*'")?;
        let mut rows = statement.query([UNTIMED])?;
        self.untimed.clear();
        while let Some(row) = rows.next()? {
            self.untimed.insert(model_at(row, 0)?);
        }
        Ok(())
    }

    fn read_draw_index(&mut self) -> Result<(), VaultError> {
        self.draw.clear();
        let mut statement = self
            .conn
            .prepare_cached("SELECT model, key, id, not_before FROM tokens WHERE state = 'available'")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let not_before = Timestamp::from_unix(row.get(3)?);
            self.draw.put(&model_at(row, 0)?, key_at(row, 1)?, row.get(2)?, not_before);
        }
        Ok(())
    }

    /// Reads the current abuse tokens again.
    pub(super) fn read_abuse_tokens(&mut self) -> Result<(), VaultError> {
        self.permanent = self.current_abuse("permanent")?;
        self.transient = self.current_abuse("transient")?;
        Ok(())
    }

    fn current_abuse(&self, kind: &str) -> Result<Option<HeldAbuse>, VaultError> {
        let id: Option<i64> = self
            .conn
            .prepare_cached("SELECT id FROM abuse_tokens WHERE kind = ?1 AND superseded = 0")?
            .query_row([kind], |row| row.get(0))
            .optional()?;
        match id.map(|id| self.abuse_token(id)).transpose() {
            // Not held is what a damaged one amounts to; `abuse setup` replaces it.
            Err(VaultError::DamagedRecord) => Ok(None),
            other => other,
        }
    }

    /// One abuse token, current or superseded.
    pub(super) fn abuse_token(&self, id: i64) -> Result<HeldAbuse, VaultError> {
        let (kind, epoch, key, sealed): (String, u32, [u8; 32], Vec<u8>) = self
            .conn
            .prepare_cached("SELECT kind, epoch, key, sealed FROM abuse_tokens WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        let place = Place { table: "abuse_tokens", row: &id.to_be_bytes(), subject: &kind };
        let [token, signature] = self.sealer.open(&place, &sealed)?;
        let (epoch, key) = (Epoch::from_number(epoch), Fingerprint::from_bytes(key));
        Ok(HeldAbuse { id, epoch, key, token, signature })
    }

    /// Which abuse tokens new redemptions would carry.
    pub(super) fn abuse_holdings(&self) -> AbuseHoldings {
        AbuseHoldings {
            permanent: self.permanent.as_ref().map(|held| held.key),
            transient: self.transient.as_ref().map(|held| HeldTransient { epoch: held.epoch, key: held.key }),
        }
    }

    /// Wipes superseded abuse tokens that no token refers to any more. Reads all of `tokens` if there are superseded
    /// ones, so it is called only where the last reference to one may have gone.
    pub(super) fn sweep_abuse_tokens(&mut self) -> Result<(), VaultError> {
        if !self.sweep_due {
            return Ok(());
        }
        self.conn
            .prepare_cached(
                "DELETE FROM abuse_tokens WHERE superseded = 1
                 AND id NOT IN (SELECT permanent FROM tokens WHERE permanent IS NOT NULL)
                 AND id NOT IN (SELECT transient FROM tokens WHERE transient IS NOT NULL)",
            )?
            .execute([])?;
        self.sweep_due = self
            .conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM abuse_tokens WHERE superseded = 1)")?
            .query_row([], |row| row.get(0))?;
        Ok(())
    }

    /// Adds to the number of tokens of `model` ever spent. Deliberately without a time.
    pub(super) fn count_spent(&mut self, model: &str, spent: u64) -> Result<(), VaultError> {
        self.conn
            .prepare_cached(
                "INSERT INTO counters (model, spent) VALUES (?1, ?2)
                 ON CONFLICT (model) DO UPDATE SET spent = spent + excluded.spent",
            )?
            .execute((model, i64::try_from(spent).unwrap_or(i64::MAX)))?;
        self.habits.note(model, spent, self.clock.now());
        Ok(())
    }

    /// A random id that is not taken in `table`.
    pub(super) fn fresh_id(&self, table: &'static str) -> Result<i64, VaultError> {
        let query = match table {
            "tokens" => "SELECT EXISTS (SELECT 1 FROM tokens WHERE id = ?1)",
            _ => "SELECT EXISTS (SELECT 1 FROM abuse_tokens WHERE id = ?1)",
        };
        loop {
            let id: i64 = rand::random();
            if !self.conn.prepare_cached(query)?.query_row([id], |row| row.get(0))? {
                return Ok(id);
            }
        }
    }
}

/// The model name in a column.
pub(super) fn model_at(row: &Row<'_>, column: usize) -> Result<ModelName, VaultError> {
    ModelName::new(row.get::<_, String>(column)?).map_err(|_| VaultError::Corrupt)
}

/// The issuing key's fingerprint in a column.
pub(super) fn key_at(row: &Row<'_>, column: usize) -> Result<Fingerprint, VaultError> {
    Ok(Fingerprint::from_bytes(row.get(column)?))
}

impl AbuseKind {
    /// As the columns `kind` and `epoch` have it.
    pub(super) fn columns(self) -> (&'static str, u32) {
        match self {
            Self::Permanent => ("permanent", 0),
            Self::Transient(epoch) => ("transient", epoch.number()),
        }
    }
}
