//! A fresh transient abuse token before the month is over, because somebody else may have the one in use.
//!
//! | | after a rotation |
//! | --- | --- |
//! | the transient token | another one; calls from now on carry it. The old one counts until the month is over, whoever has it |
//! | the permanent token | the same: an account is issued one for good, so whoever has it can still be taken for this user |
//! | tokens in doubt | keep the old one, because only the same bytes fetch their answer |
//! | the 30 of the month | one less |

use crate::identity::{Identity, IdentityError};
use crate::keys::KeyName;
use crate::vault::AbuseKind;
use crate::wire::redemption::Epoch;

impl Identity {
    /// Obtains a fresh transient token of this month, though one is held. One that was begun and is pending is as fresh
    /// as another, and is finished instead. [`IdentityError::AbuseExhausted`] after 30 in a month.
    pub async fn abuse_rotate(&self) -> Result<Epoch, IdentityError> {
        let _turn = self.turn.lock().await;
        let pinned = self.keyring.abuse_transient().cloned();
        let key = pinned.ok_or(IdentityError::NoKey(KeyName::AbuseTransient))?;
        loop {
            let epoch = Epoch::at(self.clock.now().unix());
            self.obtain(AbuseKind::Transient(epoch), &key).await?;
            // A month may end while its token is being issued.
            if Epoch::at(self.clock.now().unix()) == epoch {
                return Ok(epoch);
            }
        }
    }
}
