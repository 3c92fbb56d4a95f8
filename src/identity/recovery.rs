//! What a start-up does with issuances that an earlier run left Blinded.
//!
//! The backend repeats its answer to a RequestID for five minutes and from one server's memory (protocol.md §3).
//! After that, the only way from a Blinded row to a token is another debit, so an old row is worth what the
//! ledger says: either its credit was never debited, and then a new request costs what the user
//! ordered; or it was, and then the credit is gone and asking again would silently cost a second one.
//!
//! The ledger speaks through a mark that each mint leaves while nothing is pending: the account's used
//! credits, and the tokens finalized here until then. *Unaccounted* debits are those since the mark that no
//! finalized token explains.
//!
//! | a Blinded row | becomes |
//! | --- | --- |
//! | younger than five minutes (less a margin) | the same request again: same RequestID, same BlindedToken |
//! | never sent | a new RequestID, sent |
//! | never sent, or older, in a vault that is paused ([`Custody`](crate::vault::Custody)) | stays: asked for anew, its token would be one that nobody may spend |
//! | older, `/me` unreachable | stays; asked at the next start |
//! | any, nothing may leave ([`crate::passage`]) | stays |
//! | older, fewer unaccounted debits than rows | as many rows as were not debited: a new RequestID, sent |
//! | older, the others | wiped, written down and reported as *lost*: debited, and the signature is not to be had any more |
//! | older, no mark, the account has used no credit of the model | a new RequestID, sent |
//! | older, no mark, otherwise | wiped, written down and reported as *unclear*: possibly debited |
//! | answered with a signature that does not verify | stays and is an alarm: asked again at each start and mint while it is young (what was mangled on the way may come whole), then judged as any other old row |
//! | its account signs out | as above, for a bounded time; then wiped, written down and reported as given up ([`sign_in`](super::sign_in)) |
//! | another account signs in, or it cannot be told whose it is | wiped, written down and reported as given up, and never sent |
//! | blinded under a key that is not pinned any more, younger than five minutes or never sent | stays, reported as *stranded*: pin that key again to resume it |
//! | blinded under such a key, older | no request brings its token any more: as the older ones above, but what was not debited is wiped, and its credit is still in the account |
//!
//! What is wiped is written down ([`crate::vault::Loss`]) in the commit that wipes it, so no credit goes unnoticed; the mark
//! is then moved past the debits of what was lost.
//!
//! An alarm stands in nobody's way. Mints of other models go on and report it. A mint of the same model goes on too, under
//! the same pinned key, but sends one request alone first: if that signature does not verify either it stops there, so
//! a wrong key at the backend costs one credit a try, and the old row does not lock the model for its five
//! minutes. The mint ends with the alarm in any case, also when all its tokens were made, until the row is settled.
//!
//! A start does this at once, so it shows when the program starts after a mint that was cut off; the rows past their five
//! minutes go along, and there are none without such a mint.
//!
//! A row is finished with the [`Readiness`](crate::vault::Readiness) that it was ordered with, whoever finishes it.
//!
//! Another device on the same account makes debits look unaccounted for, so rows may be wiped as lost that were not
//! debited: then nothing is lost. It never makes a row look undebited that was.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};

use crate::blind::PublicKey;
use crate::clock::Timestamp;
use crate::failpoint::{Point, at};
use crate::identity::issuance::{Brake, Flight, Landed, Sending, is_remembered, request_id};
use crate::identity::session::LedgerMark;
use crate::identity::{Account, Identity, IdentityError};
use crate::keys::KeyName;
use crate::vault::{LossReason, PendingIssuance};
use crate::wire::ModelName;
use crate::wire::identity::Me;

/// What became of issuances that were pending.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Tokens that were finished.
    pub made: usize,
    /// Rows that stay for the next start.
    pub pending: usize,
    /// Wiped: the backend refused, and no signature is to be had.
    pub refused: usize,
    /// Wiped: the ledger says that a credit was debited for which no signature is to be had.
    pub lost: usize,
    /// Wiped: too old to be repeated, and the ledger cannot tell whether a credit was debited.
    pub unclear: usize,
    /// Rows blinded under a key that is not pinned any more; they stay.
    pub stranded: usize,
    /// Signatures that do not verify under the pinned key, one a key. Their rows are among those pending.
    pub alarms: Vec<IdentityError>,
    /// What else stands in the way of those pending.
    pub stopped: Option<IdentityError>,
}

/// What the ledger says of the old rows of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    /// Rows whose credit was not debited.
    undebited: usize,
    /// Rows whose credit was.
    lost: usize,
    /// Rows of which the ledger does not tell.
    unclear: usize,
}

/// Judges `old` rows of a model by the account's `used` credits, the tokens `finalized` here and the mark.
fn judge(old: usize, used: i64, finalized: u64, mark: Option<LedgerMark>) -> Verdict {
    let Some(mark) = mark else {
        return if used <= 0 {
            Verdict { undebited: old, lost: 0, unclear: 0 }
        } else {
            Verdict { undebited: 0, lost: 0, unclear: old }
        };
    };
    let debited = used.saturating_sub(mark.used);
    let explained = i64::try_from(finalized.saturating_sub(mark.finalized)).unwrap_or(i64::MAX);
    let lost = usize::try_from(debited.saturating_sub(explained)).unwrap_or(0).min(old);
    Verdict { undebited: old - lost, lost, unclear: 0 }
}

impl Recovered {
    fn count(&mut self, landed: Landed) {
        match landed {
            Landed::Made => self.made += 1,
            Landed::Abandoned(reason) => {
                self.refused += 1;
                self.stopped = reason.or(self.stopped.take());
            }
            Landed::Pending(reason) => {
                self.pending += 1;
                match reason {
                    IdentityError::ForgedSignature { name, fingerprint } => {
                        if !self.alarms.iter().any(|alarm| is_over(alarm, &name)) {
                            self.alarms.push(IdentityError::ForgedSignature { name, fingerprint });
                        }
                    }
                    reason => self.stopped = Some(reason),
                }
            }
        }
    }

    /// The alarm over the key of that name, which then is the caller's to report.
    pub(super) fn take_alarm(&mut self, name: &KeyName) -> Option<IdentityError> {
        let at = self.alarms.iter().position(|alarm| is_over(alarm, name))?;
        Some(self.alarms.remove(at))
    }
}

fn is_over(alarm: &IdentityError, key: &KeyName) -> bool {
    matches!(alarm, IdentityError::ForgedSignature { name, .. } if name == key)
}

impl Identity {
    pub(super) async fn recover_in_turn(&self) -> Result<Recovered, IdentityError> {
        let mut recovered = Recovered::default();
        let pending = self.deposits.pending().await?;
        if pending.is_empty() {
            return Ok(recovered);
        }
        let now = self.clock.now();
        let mut young = Vec::new();
        let mut old: BTreeMap<ModelName, Vec<(PendingIssuance, Option<PublicKey>)>> = BTreeMap::new();
        // Of keys that are not pinned any more; judged with the others, and after them.
        let mut orphans = Vec::new();
        let mut unsent = Vec::new();
        for row in pending {
            let pinned = self.keyring.model(&row.issuance.model);
            let Some(key) = pinned.filter(|key| key.fingerprint() == row.issuance.key).cloned() else {
                match row.first_sent {
                    Some(first_sent) if !is_remembered(first_sent, now) => orphans.push(row),
                    _ => recovered.stranded += 1,
                }
                continue;
            };
            match row.first_sent {
                Some(first_sent) if is_remembered(first_sent, now) => {
                    young.push(Flight::resume(row, key, first_sent, Sending::Repeat));
                }
                Some(_) => old.entry(row.issuance.model.clone()).or_default().push((row, Some(key))),
                None => unsent.push((row, key)),
            }
        }
        for row in orphans {
            old.entry(row.issuance.model.clone()).or_default().push((row, None));
        }
        // The young first: what they finish explains debits when the old ones are judged.
        self.fly_all(young, &mut recovered).await?;
        if let Err(paused) = self.deposits.admit().await {
            recovered.pending += unsent.len() + old.values().map(Vec::len).sum::<usize>();
            if recovered.pending > 0 {
                recovered.stopped.get_or_insert(paused.into());
            }
            return Ok(recovered);
        }
        if !old.is_empty() {
            match self.api.get::<Me>(&["me"]).await {
                Ok(me) => unsent.extend(self.settle_old(old, &me.into(), &mut recovered).await?),
                Err(rejected) => {
                    recovered.pending += old.values().map(Vec::len).sum::<usize>();
                    recovered.stopped.get_or_insert(rejected.into());
                }
            }
        }
        if let Err(paused) = self.api.admit() {
            recovered.pending += unsent.len();
            recovered.stopped = Some(paused.into());
            return Ok(recovered);
        }
        let renewed = self.renew(unsent).await?;
        self.fly_all(renewed, &mut recovered).await?;
        tracing::info!(
            made = recovered.made,
            pending = recovered.pending,
            lost = recovered.lost,
            unclear = recovered.unclear,
            "issuances of an earlier run were taken up"
        );
        Ok(recovered)
    }

    /// Writes off what the ledger does not clear; returns the rows whose credit was not debited.
    async fn settle_old(
        &self,
        old: BTreeMap<ModelName, Vec<(PendingIssuance, Option<PublicKey>)>>,
        account: &Account,
        recovered: &mut Recovered,
    ) -> Result<Vec<(PendingIssuance, PublicKey)>, IdentityError> {
        let mut cleared = Vec::new();
        for (model, mut rows) in old {
            let used = account.used.get(model.as_str()).copied().unwrap_or(0);
            let finalized = self.deposits.finalized(&model).await?;
            let mark = self.file.marks()?.get(&model).copied();
            let verdict = judge(rows.len(), used, finalized, mark);
            at(Point::Judged);
            let mut gone = rows.split_off(verdict.undebited);
            let unclear = gone.split_off(verdict.lost);
            for (gone, reason) in [(gone, LossReason::Lost), (unclear, LossReason::Unclear)] {
                self.write_off(&model, gone, reason).await?;
            }
            recovered.lost += verdict.lost;
            recovered.unclear += verdict.unclear;
            if let (Some(mark), 1..) = (mark, verdict.lost) {
                self.explain_debits(&model, mark, verdict.lost)?;
            }
            for (row, key) in rows {
                if let Some(key) = key {
                    cleared.push((row, key));
                } else {
                    self.deposits.abandon(&row.issuance.request_id).await?;
                    recovered.refused += 1;
                }
            }
        }
        Ok(cleared)
    }

    /// In one commit per model and reason, with the losses, so that what is wiped is never untold.
    async fn write_off(
        &self,
        model: &ModelName,
        rows: Vec<(PendingIssuance, Option<PublicKey>)>,
        reason: LossReason,
    ) -> Result<(), IdentityError> {
        if rows.is_empty() {
            return Ok(());
        }
        let credits = rows.len();
        let ids = rows.into_iter().map(|(row, _)| row.issuance.request_id).collect();
        self.deposits.write_off(ids, reason).await?;
        tracing::warn!(%model, credits, ?reason, "credits are gone; `llmtor tokens losses` tells when and why");
        Ok(())
    }

    /// The debits of what was written off are accounted for: they must not make the next old row look debited. A crash
    /// before this is written makes one look so, which loses nothing that the ledger does not show.
    fn explain_debits(&self, model: &ModelName, mark: LedgerMark, lost: usize) -> Result<(), IdentityError> {
        let used = mark.used.saturating_add(i64::try_from(lost).unwrap_or(i64::MAX));
        let mut marks = self.file.marks()?;
        marks.insert(model.clone(), LedgerMark { used, ..mark });
        self.file.set_marks(&self.session, marks)
    }

    /// Gives each row a new RequestID and a new five minutes.
    async fn renew(&self, rows: Vec<(PendingIssuance, PublicKey)>) -> Result<Vec<Flight>, IdentityError> {
        let mut flights = Vec::with_capacity(rows.len());
        for (mut row, key) in rows {
            let first_sent: Timestamp = self.clock.now();
            let id = request_id(&mut rand::rng());
            self.deposits.renew(&row.issuance.request_id, id.clone()).await?;
            row.issuance.request_id = id;
            flights.push(Flight::resume(row, key, first_sent, Sending::First));
        }
        Ok(flights)
    }

    async fn fly_all(&self, flights: Vec<Flight>, recovered: &mut Recovered) -> Result<(), IdentityError> {
        let brake = Brake::default();
        let mut landings = stream::iter(flights)
            .map(async |flight| match self.api.admit() {
                Ok(()) => self.fly(flight, &brake).await,
                // Renewed or not, it was ordered: it stays.
                Err(paused) => Ok(Landed::Pending(paused.into())),
            })
            .buffer_unordered(self.pace.concurrency.max(1));
        while let Some(landed) = landings.next().await {
            recovered.count(landed?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(used: i64, finalized: u64) -> LedgerMark {
        LedgerMark { used, finalized }
    }

    #[test]
    fn the_ledger_tells_debited_rows_from_others() {
        // Ten used and seven finalized at the mark; since then two tokens were finished here.
        assert_eq!(judge(3, 12, 9, Some(mark(10, 7))), Verdict { undebited: 3, lost: 0, unclear: 0 });
        assert_eq!(judge(3, 13, 9, Some(mark(10, 7))), Verdict { undebited: 2, lost: 1, unclear: 0 });
        assert_eq!(judge(3, 15, 9, Some(mark(10, 7))), Verdict { undebited: 0, lost: 3, unclear: 0 });
    }

    #[test]
    fn debits_of_another_device_never_make_a_debited_row_look_undebited() {
        assert_eq!(judge(2, 100, 9, Some(mark(10, 7))), Verdict { undebited: 0, lost: 2, unclear: 0 });
    }

    #[test]
    fn without_a_mark_only_an_untouched_ledger_clears_a_row() {
        assert_eq!(judge(2, 0, 0, None), Verdict { undebited: 2, lost: 0, unclear: 0 });
        assert_eq!(judge(2, 5, 0, None), Verdict { undebited: 0, lost: 0, unclear: 2 });
    }

    proptest! {
        #[test]
        fn every_row_gets_one_verdict_and_no_debited_row_is_repeated(
            old in 0usize..50, debited in 0usize..50, elsewhere in 0i64..50, made in 0u64..50, base in 0i64..50,
        ) {
            let debited = debited.min(old);
            let used = base + i64::try_from(made).unwrap() + i64::try_from(debited).unwrap() + elsewhere;
            let verdict = judge(old, used, made, Some(mark(base, 0)));
            prop_assert_eq!(verdict.undebited + verdict.lost + verdict.unclear, old);
            prop_assert!(verdict.undebited <= old - debited);
        }
    }
}
