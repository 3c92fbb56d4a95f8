//! Orders and reports of backups.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::SecretText;
use crate::backup::Overwrite;
use crate::vault::Custody;

/// A backup of the whole vault into a file.
#[derive(Serialize, Deserialize)]
pub struct BackupOrder {
    /// Absolute.
    pub path: PathBuf,
    /// To whom it is sealed.
    pub lock: LockOrder,
    /// What is done about a file of that name.
    pub overwrite: Overwrite,
    /// What becomes of this vault.
    pub source: SourceOrder,
}

/// To whom a backup is sealed.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockOrder {
    /// To whoever knows it.
    Passphrase(SecretText),
    /// To the holders of these `age1…`.
    Recipients(Vec<String>),
}

/// What becomes of a vault of which a backup is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceOrder {
    /// It goes on.
    Kept,
    /// It is paused: the copy is to be used in its stead.
    Retired,
}

/// A backup was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    /// Where it is.
    pub path: PathBuf,
    /// Whose this vault's tokens are now.
    pub custody: Custody,
    /// Tokens that are in it, in whatever state.
    pub tokens: u64,
    /// Issuances that were under way, which are in no backup.
    pub left_behind: u64,
    /// SHA-256 of the file, in hexadecimal: by it one knows a file again that somebody else kept.
    #[serde(default)]
    pub sha256: String,
}

/// A backup of the abuse tokens.
#[derive(Serialize, Deserialize)]
pub struct AbuseBackupOrder {
    /// Where to; absolute. The server without one.
    pub path: Option<PathBuf>,
    /// Under what.
    pub passphrase: SecretText,
    /// What is done about a file of that name.
    pub overwrite: Overwrite,
}

/// The abuse tokens are backed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbuseBackupReport {
    /// Where to; the server without one.
    pub path: Option<PathBuf>,
    /// `YYYY-MM` of the transient one in it.
    pub transient: Option<String>,
}

/// The abuse tokens out of a backup.
#[derive(Serialize, Deserialize)]
pub struct AbuseRestoreOrder {
    /// The backup's text; the server's copy without one.
    pub text: Option<SecretText>,
    /// Under what it was sealed.
    pub passphrase: SecretText,
    /// What is done about tokens that are held.
    pub held: Held,
}

/// What a restore does about abuse tokens that are held and differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// They stay.
    Keep,
    /// The backup's take their place.
    Replace,
}

/// What a restore of the abuse tokens did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbuseRestoreReport {
    /// The permanent token.
    pub permanent: Restoration,
    /// The transient token.
    pub transient: Restoration,
    /// `YYYY-MM` of the transient token in the backup.
    pub month: Option<String>,
}

/// What became of a token in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restoration {
    /// It is held from now on.
    Restored,
    /// It was held already.
    Held,
    /// Another one of the same month is held and stays.
    OtherKept,
    /// It is not of this month, and the backend would refuse it.
    OtherMonth,
    /// No key that is pinned signed it.
    NotSigned,
    /// There is none in the backup.
    Absent,
}

/// A fresh transient token comes some time later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateLaterReport {
    /// Whether one of this month is held.
    pub held: bool,
    /// Whether a daemon runs that fetches it.
    pub running: bool,
}

/// There is a fresh transient token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateReport {
    /// `YYYY-MM` that it is for.
    pub month: String,
    /// Whether there was one for that month before.
    #[serde(default)]
    pub replaced: bool,
    /// Whether the permanent one is held, without which no call is made.
    #[serde(default)]
    pub permanent: bool,
}

/// Which abuse tokens are held, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbuseStatusReport {
    /// Whether the backend asks for them (its keys are pinned).
    pub required: bool,
    /// Whether the permanent one is held.
    pub permanent: bool,
    /// `YYYY-MM` of the transient one held.
    pub transient: Option<String>,
    /// `YYYY-MM` now.
    pub current: String,
}

/// A paused vault was taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeOverReport {
    /// How often this vault was taken over.
    pub generation: u32,
    /// The home that it was copied from, where that is on this machine and is retired now.
    pub retired: Option<PathBuf>,
    /// Until when the tokens rest that it came with; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting_until: Option<String>,
}

/// What has to be typed before a paused vault spends again; `None` for one that is not paused. It speaks of every other
/// vault: of one backup two may have been restored, and of neither does the other know.
pub fn sentence(custody: Custody) -> Option<&'static str> {
    match custody {
        Custody::Ours => None,
        Custody::Restored | Custody::Retired => Some("no other machine uses these tokens any more"),
    }
}
