//! What a start finds, and what becomes of it; and the term of a doubt.
//!
//! At a start no call holds anything, so whatever is in some call's hands was left by a crash: Reserved was
//! not sent anywhere, Presented may have been. Both are put right in one transaction before the first
//! operation. Blinded rows are left to the identity plane ([`super::Deposits::pending`]).
//!
//! A vault that is not the one that was here ([`super::mark`]) is put right first: one that was put back has the tokens that
//! were spent since, so all of them count as maybe spent and rest, as after a take-over; one that was copied is paused, because
//! the original may go on. Issuances that the backend may still finish are given up in both, or one token would come of each
//! twice.

use super::books::{Books, key_at, model_at};
use super::custody::Custody;
use super::mark::{Provenance, Said};
use super::{RecoveryReport, VaultError};
use crate::clock::Timestamp;
use crate::failpoint::{Point, at};

/// How long after it was last presented a token stays in doubt, seconds: the server keeps an answer for 5 days
/// (protocol.md §5), and a day is added for clocks that differ and for requests that were long on their way.
pub(super) const TERM: i64 = 6 * 24 * 3600;
/// How often to look for doubts past their term, seconds.
const LOOK_EVERY: i64 = 3600;

/// Reserved → Available: nothing was sent.
pub(super) const RELEASE_ALL: &str =
    "UPDATE tokens SET state = 'available', owner = NULL WHERE state = 'reserved'";
/// Presented → InDoubt: it may have been.
pub(super) const DOUBT_ALL: &str = "UPDATE tokens SET state = 'in_doubt', owner = NULL, doubt = coalesce(doubt, 'unknown') WHERE state = 'presented'";

/// Doubts past their term.
#[derive(Default)]
pub(super) struct Lapsed {
    /// Unknown → Available, maybe spent.
    returned: u64,
    /// Undelivered → wiped.
    wiped: u64,
}

impl Books {
    /// Puts right what the last run left, and reads the caches; one transaction, synced.
    pub(super) fn recover(
        &mut self,
        provenance: Provenance,
        said: Said,
    ) -> Result<RecoveryReport, VaultError> {
        self.conn.execute_batch("PRAGMA synchronous = FULL; BEGIN IMMEDIATE")?;
        let report = self.put_right(provenance).and_then(|report| {
            self.say(said)?;
            at(Point::RecoverWritten);
            self.write_habits()?;
            self.conn.execute_batch("COMMIT")?;
            at(Point::RecoverCommitted);
            Ok(report)
        });
        if report.is_err() {
            self.distrust_caches();
            if !self.conn.is_autocommit() {
                drop(self.conn.execute_batch("ROLLBACK"));
            }
        }
        report
    }

    fn put_right(&mut self, provenance: Provenance) -> Result<RecoveryReport, VaultError> {
        match provenance {
            Provenance::Same => {}
            Provenance::PutBack => {
                self.read_custody()?;
                self.distrust_tokens()?;
                self.give_up_fresh_issuances()?;
            }
            Provenance::Copied => {
                self.read_custody()?;
                self.give_up_fresh_issuances()?;
                if self.custody == Custody::Ours {
                    self.set_custody(Custody::Restored)?;
                }
            }
        }
        let released = self.conn.execute(RELEASE_ALL, [])?;
        let doubted = self.conn.execute(DOUBT_ALL, [])?;
        let blinded: i64 = self.conn.query_row("SELECT count(*) FROM issuances", [], |row| row.get(0))?;
        // Before the lapse, which counts what it wipes among the uses.
        self.read_caches()?;
        let lapsed = self.lapse()?;
        Ok(RecoveryReport {
            released: released as u64,
            doubted: doubted as u64,
            blinded: blinded.unsigned_abs(),
            lapsed: lapsed.returned,
            wiped: lapsed.wiped,
            provenance,
        })
    }

    /// [`Books::lapse`], if the last look was long enough ago.
    pub(super) fn lapse_if_due(&mut self) -> Result<(), VaultError> {
        let now = self.clock.now();
        // Also if the clock was set back since: or there would be no look until it has caught up.
        if now >= self.next_lapse || self.next_lapse > now.plus_seconds(LOOK_EVERY) {
            self.lapse()?;
        }
        Ok(())
    }

    /// Ends the doubts past their term.
    fn lapse(&mut self) -> Result<Lapsed, VaultError> {
        let now = self.clock.now();
        let until = now.plus_seconds(-TERM).unix();
        let mut lapsed = Lapsed::default();
        let wiped = {
            let mut statement = self.conn.prepare_cached(
                // The end of its term stays with it: a clock that is turned back makes it wait again.
                "UPDATE tokens SET state = 'available', maybe_spent = 1, not_before = max(not_before, presented_at + ?2),
                     digest = NULL, presented_at = NULL, doubt = NULL, permanent = NULL, transient = NULL
                 WHERE state = 'in_doubt' AND doubt = 'unknown' AND presented_at <= ?1
                 RETURNING model, key, id, not_before",
            )?;
            let mut rows = statement.query([until, TERM])?;
            while let Some(row) = rows.next()? {
                let not_before = Timestamp::from_unix(row.get(3)?);
                self.draw.put(&model_at(row, 0)?, key_at(row, 1)?, row.get(2)?, not_before);
                lapsed.returned += 1;
            }
            let mut statement = self.conn.prepare_cached(
                "DELETE FROM tokens WHERE state = 'in_doubt' AND doubt = 'undelivered' AND presented_at <= ?1
                 RETURNING model",
            )?;
            let models: Vec<String> =
                statement.query_map([until], |row| row.get(0))?.collect::<Result<_, _>>()?;
            models
        };
        for model in wiped {
            self.count_spent(&model, 1)?;
            lapsed.wiped += 1;
        }
        if lapsed.returned + lapsed.wiped > 0 {
            at(Point::LapseWritten);
        }
        self.sweep_abuse_tokens()?;
        self.next_lapse = now.plus_seconds(LOOK_EVERY);
        Ok(lapsed)
    }
}
