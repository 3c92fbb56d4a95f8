//! The abuse tokens: one for good, one for each month (protocol.md §3).
//!
//! | token | how often | an answer was lost | the next start |
//! | --- | --- | --- | --- |
//! | permanent | once per account; re-signed for ten minutes after the first issue | the row stays Blinded | the same BlindedToken again; a 409 says that the ten minutes are over |
//! | transient | 30 times per account and epoch | the row stays Blinded | the same BlindedToken again; costs one of the 30, which are spent ever more sparingly ([`budget`]) |
//!
//! The transient one is asked for first, as there are thirty of it: if it shows that the pinned keys are not the backend's, the
//! permanent one, which cannot be had again, is not asked for under them.
//!
//! The blinding state is durable before the request, as in [`issuance`](super::issuance). What verifies under the
//! pinned key is stored, and nothing else. A row for a month that is over is wiped: nobody takes its token.
//!
//! A token counts as held only if the key that is pinned now signed it; once another key is pinned, a token is
//! obtained anew and takes the place of the one that the backend would refuse.
//!
//! Both tokens tie this user's redemptions together (for the length of the month, and for good); that is what the
//! backend asks for.

mod budget;
mod theft;

use crate::blind::{BlindSignature, BlindedMessage, BlindingSecret, Fingerprint, PublicKey, TokenMessage};
use crate::clock::Timestamp;
use crate::identity::api::Rejected;
use crate::identity::error::Foreign;
use crate::identity::{Identity, IdentityError};
use crate::keys::{KeyName, Keyring};
use crate::vault::{AbuseHoldings, AbuseKind, HeldTransient, NewAbuseIssuance};
use crate::wire::identity::{AbuseIssueAnswer, AbuseIssueRequest};
use crate::wire::redemption::Epoch;

/// What was done about one abuse token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Obtained {
    /// It was there.
    Held,
    /// It was issued now.
    Issued,
    /// It was begun earlier and is finished now.
    Resumed,
}

/// What [`Identity::abuse_setup`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbuseSetup {
    /// The permanent token.
    pub permanent: Obtained,
    /// The transient token.
    pub transient: Obtained,
    /// The month that the transient token is for.
    pub epoch: Epoch,
}

/// Which abuse tokens are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbuseStatus {
    /// Whether the permanent token is held, signed by the pinned key.
    pub permanent: bool,
    /// The month of the transient token that is held, signed by the pinned key.
    pub transient: Option<Epoch>,
    /// The month now.
    pub current: Epoch,
    /// Seconds until the next month (UTC), when a transient token of this one expires.
    pub seconds_left: i64,
}

impl AbuseStatus {
    /// What is held under the keys of `keyring`.
    pub(super) fn of(held: &AbuseHoldings, keyring: &Keyring, now: Timestamp) -> Self {
        Self {
            permanent: is_signed(held.permanent, keyring.abuse_permanent()),
            transient: transient_under(held.transient, keyring.abuse_transient()),
            current: Epoch::at(now.unix()),
            seconds_left: seconds_left(now),
        }
    }

    /// Whether a redemption of today has both tokens.
    pub fn is_complete(&self) -> bool {
        self.permanent && self.transient == Some(self.current)
    }
}

/// Seconds until the next month (UTC).
pub(super) fn seconds_left(now: Timestamp) -> i64 {
    let this = Epoch::at(now.unix());
    // No month is shorter than 28 days or longer than 31.
    let is_over = |at: i64| Epoch::at(now.unix().saturating_add(at)) != this;
    let (mut low, mut high) = (0, 32 * 86_400);
    while low + 1 < high {
        let middle = i64::midpoint(low, high);
        if is_over(middle) { high = middle } else { low = middle }
    }
    high
}

impl Identity {
    pub(super) async fn abuse_holdings(&self) -> Result<AbuseStatus, IdentityError> {
        Ok(AbuseStatus::of(&self.deposits.abuse().await?, &self.keyring, self.clock.now()))
    }

    pub(super) async fn abuse_in_turn(&self) -> Result<AbuseSetup, IdentityError> {
        let key_of = |key: Option<&PublicKey>, name: KeyName| key.cloned().ok_or(IdentityError::NoKey(name));
        let permanent_key = key_of(self.keyring.abuse_permanent(), KeyName::AbusePermanent)?;
        let transient_key = key_of(self.keyring.abuse_transient(), KeyName::AbuseTransient)?;

        let (mut transient, mut epoch) = match self.transient_in_turn(&transient_key).await {
            Ok(obtained) => obtained,
            // The other one may be had all the same.
            Err(IdentityError::AbuseExhausted) => {
                self.permanent_in_turn(&permanent_key).await?;
                return Err(IdentityError::AbuseExhausted);
            }
            Err(error) => return Err(error),
        };
        let permanent = self.permanent_in_turn(&permanent_key).await?;
        // A month may end while the other token is being issued.
        if Epoch::at(self.clock.now().unix()) != epoch {
            (transient, epoch) = self.transient_in_turn(&transient_key).await?;
        }
        Ok(AbuseSetup { permanent, transient, epoch })
    }

    async fn permanent_in_turn(&self, key: &PublicKey) -> Result<Obtained, IdentityError> {
        if is_signed(self.deposits.abuse().await?.permanent, Some(key)) {
            return Ok(Obtained::Held);
        }
        self.obtain(AbuseKind::Permanent, key).await
    }

    async fn transient_in_turn(&self, key: &PublicKey) -> Result<(Obtained, Epoch), IdentityError> {
        loop {
            let epoch = Epoch::at(self.clock.now().unix());
            let held = transient_under(self.deposits.abuse().await?.transient, Some(key));
            let obtained = if held == Some(epoch) {
                Obtained::Held
            } else {
                self.obtain(AbuseKind::Transient(epoch), key).await?
            };
            // A month may end while its token is being issued.
            if Epoch::at(self.clock.now().unix()) == epoch {
                return Ok((obtained, epoch));
            }
        }
    }

    /// Finishes abuse issuances that are pending and that some use can come of.
    pub(super) async fn finish_abuse(&self) -> Result<(), IdentityError> {
        let this_month = AbuseKind::Transient(Epoch::at(self.clock.now().unix()));
        for kind in [AbuseKind::Permanent, this_month] {
            let pinned = self.keyring.get(&key_name(kind)).cloned();
            if let (Some(row), Some(key)) = (self.deposits.pending_abuse(kind).await?, pinned)
                && row.key == key.fingerprint()
            {
                self.obtain(kind, &key).await?;
            }
        }
        Ok(())
    }

    async fn obtain(&self, kind: AbuseKind, key: &PublicKey) -> Result<Obtained, IdentityError> {
        if let AbuseKind::Transient(epoch) = kind {
            self.deposits.abandon_abuse_before(epoch).await?;
        }
        let (row, obtained) = match self.deposits.pending_abuse(kind).await? {
            Some(row) if row.key == key.fingerprint() => (row, Obtained::Resumed),
            stale => {
                if stale.is_some() {
                    // Blinded under a key that is not pinned any more: no signature would verify.
                    self.deposits.abandon_abuse(kind).await?;
                }
                (self.begin_abuse(kind, key).await?, Obtained::Issued)
            }
        };
        let signature = self.request_abuse(&row, key).await?;
        let name = key_name(kind);
        let signature = key
            .finalize(&signature, &row.secret, &row.message)
            .map_err(|error| IdentityError::crypto(error, &name, key.fingerprint()))
            .inspect_err(|alarm| tracing::error!("{alarm}"))?;
        self.deposits.finalize_abuse(kind, signature).await?;
        Ok(obtained)
    }

    /// Blinds a fresh token and makes it durable.
    async fn begin_abuse(&self, kind: AbuseKind, key: &PublicKey) -> Result<NewAbuseIssuance, IdentityError> {
        let fingerprint = key.fingerprint();
        let (message, blinding) = {
            let mut rng = rand::rng();
            let message = match kind {
                AbuseKind::Permanent => TokenMessage::permanent_abuse(&mut rng),
                AbuseKind::Transient(epoch) => TokenMessage::transient_abuse(&mut rng, epoch),
            };
            let blinding = key.blind(&mut rng, &message);
            (message, blinding.map_err(|error| IdentityError::crypto(error, &key_name(kind), fingerprint))?)
        };
        let row = |message: &[u8], blinded: &BlindedMessage, secret: &[u8]| NewAbuseIssuance {
            kind,
            key: fingerprint,
            message: TokenMessage::from_bytes(message.to_vec()),
            blinded: blinded.clone(),
            secret: BlindingSecret::from_bytes(secret.to_vec()),
        };
        let copy = row(message.expose(), &blinding.blinded, blinding.secret.expose());
        self.deposits.begin_abuse(copy).await?;
        Ok(row(message.expose(), &blinding.blinded, blinding.secret.expose()))
    }

    /// Sends the request, again while that may help. Refusals that end the row wipe it.
    async fn request_abuse(
        &self,
        row: &NewAbuseIssuance,
        key: &PublicKey,
    ) -> Result<BlindSignature, IdentityError> {
        let request = AbuseIssueRequest { blinded_token: row.blinded.as_bytes().to_vec().into() };
        let segments = match row.kind {
            AbuseKind::Permanent => ["abuse-token", "permanent"],
            AbuseKind::Transient(_) => ["abuse-token", "transient"],
        };
        let (mut pause, attempts) = match row.kind {
            AbuseKind::Permanent => (self.pace.first_pause, self.pace.attempts),
            // Each counts; a gateway that has lost its breath needs longer than a moment.
            AbuseKind::Transient(_) => (self.pace.first_pause * 8, self.pace.attempts.min(budget::AT_ONCE)),
        };
        for attempt in 1.. {
            if let AbuseKind::Transient(epoch) = row.kind {
                self.spend_abuse_request(epoch).await?;
            }
            let rejected = match self.api.post_bare::<AbuseIssueAnswer>(&segments, &request).await {
                Ok(answer) if answer.signed_blinded_token.0.len() == key.modulus_len() => {
                    return Ok(BlindSignature::from_bytes(answer.signed_blinded_token.0));
                }
                Ok(_) => Rejected::Foreign(Foreign::Incomplete, 200),
                Err(rejected) => rejected,
            };
            if matches!(row.kind, AbuseKind::Transient(_)) {
                self.spare_abuse_request(rejected).await?;
            }
            if rejected.is_transient() && attempt < attempts {
                self.api.rest(pause).await;
                pause = (pause * 2).min(self.pace.ceiling);
                continue;
            }
            return Err(match (rejected, row.kind) {
                (Rejected::Conflict, AbuseKind::Permanent) => {
                    self.deposits.abandon_abuse(row.kind).await?;
                    IdentityError::AbuseAlreadyIssued
                }
                (Rejected::Exhausted, AbuseKind::Transient(_)) => {
                    self.deposits.abandon_abuse(row.kind).await?;
                    IdentityError::AbuseExhausted
                }
                // What was blinded under a larger key than the backend's cannot be signed with it.
                (Rejected::Failed(status), kind) => {
                    IdentityError::Unsigned { name: key_name(kind), fingerprint: row.key, status }
                }
                _ => rejected.into(),
            });
        }
        Err(IdentityError::Internal)
    }
}

/// Whether the key that signed a token is the pinned one.
fn is_signed(by: Option<Fingerprint>, pinned: Option<&PublicKey>) -> bool {
    by.is_some() && by == pinned.map(PublicKey::fingerprint)
}

/// The month of a transient token that the pinned key signed.
fn transient_under(held: Option<HeldTransient>, pinned: Option<&PublicKey>) -> Option<Epoch> {
    held.filter(|held| is_signed(Some(held.key), pinned)).map(|held| held.epoch)
}

fn key_name(kind: AbuseKind) -> KeyName {
    match kind {
        AbuseKind::Permanent => KeyName::AbusePermanent,
        AbuseKind::Transient(_) => KeyName::AbuseTransient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_at_its_last_second() {
        // 2025-12-31T23:59:59Z, and the second after.
        assert_eq!(seconds_left(Timestamp::from_unix(1_767_225_599)), 1);
        assert_eq!(seconds_left(Timestamp::from_unix(1_767_225_600)), 31 * 86_400);
    }
}
