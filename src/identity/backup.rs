//! The server's copy of the abuse tokens' backup (protocol.md §3): one text an account, at most 100 KiB.
//!
//! Only carried here: the text is sealed before it comes and opened after it has left, so this plane learns no token by it.
//! The operator keeps it and knows whose it is, and may try passphrases on it as long as they like; see `SECURITY.md`.
//!
//! Deliberately absent: anything of ours beside the official content. A record of which machine uses a vault would tell the
//! operator when somebody changes machines, and the official client would overwrite it without a word.

use serde::de::IgnoredAny;

use crate::identity::api::Rejected;
use crate::identity::error::Foreign;
use crate::identity::{Identity, IdentityError};
use crate::wire::identity::BackupBlob;

const SEGMENTS: [&str; 2] = ["abuse-token", "backup"];

impl Identity {
    /// Replaces the server's copy.
    pub async fn store_backup(&self, blob: String) -> Result<(), IdentityError> {
        let _turn = self.turn.lock().await;
        match self.api.put::<IgnoredAny>(&SEGMENTS, &BackupBlob { encrypted_blob: blob }).await {
            // There is nothing to be said in answer.
            Ok(_) | Err(Rejected::Foreign(Foreign::Incomplete, _)) => Ok(()),
            Err(rejected) => Err(rejected.into()),
        }
    }

    /// The server's copy. [`IdentityError::NoServerBackup`] if there is none.
    pub async fn fetch_backup(&self) -> Result<String, IdentityError> {
        let _turn = self.turn.lock().await;
        match self.api.get::<BackupBlob>(&SEGMENTS).await {
            Ok(blob) if blob.encrypted_blob.is_empty() => Err(IdentityError::NoServerBackup),
            Ok(blob) => Ok(blob.encrypted_blob),
            Err(Rejected::Invalid(404)) => Err(IdentityError::NoServerBackup),
            Err(rejected) => Err(rejected.into()),
        }
    }
}
