//! What can go wrong with the vault, in words for its user.

use crate::clock::Timestamp;
use crate::wire::ModelName;

/// Why a draw found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// No token of that model at all.
    Empty,
    /// There are some, but all of them may be spent, and only certain ones were wanted.
    Uncertain,
    /// There are some, but none may be used before this time.
    Maturing {
        /// When the first of them may be.
        next: Timestamp,
    },
}

/// What went wrong, by kind; the message is for the user and names no secret, no path and no SQL.
///
/// Cloneable because one failed commit answers every operation that was in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The file is an SQLite database of some other program. Nothing was changed.
    #[error(
        "vault.db belongs to another program and was left alone; move it away, or choose another home with --home"
    )]
    Foreign,
    /// The file was written by a newer llmtor. Nothing was changed.
    #[error(
        "vault.db has format {found}, this llmtor knows up to {known}; it was left alone: install a newer llmtor"
    )]
    Newer {
        /// `user_version` of the file.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The file is no SQLite database, or a damaged one. Nothing was changed.
    #[error(
        "vault.db is damaged and was left alone. If you have a backup of `llmtor backup`, put that into another home: \
         `llmtor restore FILE --home DIR`. An older copy of the file can be put in its place, with vault.db-wal moved away: then \
         its tokens rest for fifteen minutes and count as maybe spent. To start with an empty vault (the tokens in it are lost \
         then), move vault.db, vault.db-wal and vault.db.mark away"
    )]
    Corrupt,
    /// There was a vault, as its mark shows, and there is none.
    #[error(
        "vault.db is missing, and with it the tokens: if it was only moved, put it back; or restore a backup of `llmtor backup` \
         into another home (`llmtor restore FILE --home DIR`); or, if they are lost, move vault.db.mark away to start with an \
         empty vault"
    )]
    Missing,
    /// The open file was moved, removed or replaced.
    #[error(
        "vault.db was moved, removed or replaced while llmtor has it open, so nothing is spent or minted: put the same file \
         back, or save what is in it with `llmtor backup --retire FILE` before llmtor ends; then restore that into another home"
    )]
    Displaced,
    /// `vault.db` is gone while its write-ahead log is still there.
    #[error(
        "vault.db is missing but vault.db-wal is there; put vault.db back, or move vault.db-wal away to start empty"
    )]
    Orphaned,
    /// The master key is not the one that this vault was made with.
    #[error(
        "the master key does not open this vault; restore the key that belongs to it (keyring or master.key)"
    )]
    WrongKey,
    /// Some other process has the file open.
    #[error("another program has vault.db open; close it and try again")]
    InUse,
    /// No space left. What was asked for did not happen; nothing was lost.
    #[error("the disk is full: make room where the home is, then try again; what the vault holds is safe")]
    Full,
    /// The file cannot be written, or cannot be created.
    #[error(
        "vault.db cannot be written; check the permissions of the home and that its disk is not read-only"
    )]
    Unwritable,
    /// The disk failed in some other way.
    #[error("reading or writing vault.db failed (SQLite code {code}); check the disk, then start again")]
    Storage {
        /// SQLite's extended result code.
        code: i32,
    },
    /// One record cannot be unsealed; it was set aside.
    #[error(
        "a record in vault.db is damaged and was set aside; try again, and check the disk if it comes again"
    )]
    DamagedRecord,
    /// The vault was closed, the program is stopping.
    #[error("the vault is closed because llmtor is stopping; try again when it is back")]
    Closed,
    /// A copy that nobody has taken over. Nothing was drawn.
    #[error(
        "this vault was restored from a backup, or its files were copied or moved to another disk, and it is paused, so that no \
         token is spent in two places: when no other machine or copy uses these tokens any more, run `llmtor restore --take-over`"
    )]
    NotTakenOver,
    /// A copy was made to be used in its stead. Nothing was drawn.
    #[error(
        "this vault was moved elsewhere by a backup and is retired, so that no token is spent in two places: use the \
         copy, or, when no other machine uses these tokens, run `llmtor restore --take-over` here"
    )]
    Retired,
    /// Nothing to draw.
    #[error("{}", out_of_tokens(model, *shortage))]
    OutOfTokens {
        /// The model asked for.
        model: ModelName,
        /// None at all, or none yet.
        shortage: Shortage,
    },
    /// The backend wants both abuse tokens and at least one is not here.
    #[error("the backend asks for abuse tokens and they are not set up: run `llmtor abuse setup`")]
    NoAbuseTokens,
    /// The token is no longer in the state, or with the owner, that the operation asks for.
    #[error("the token changed hands meanwhile; try again")]
    LostRace,
    /// No such issuance is pending.
    #[error("no such issuance is pending; `llmtor tokens` lists those that are")]
    UnknownIssuance,
    /// An issuance with this RequestID, or an abuse issuance of this kind, is pending already.
    #[error("such an issuance is pending already; finish it or give it up first")]
    DuplicateIssuance,
}

/// [`VaultError`] by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultErrorKind {
    /// Get tokens, or wait: [`VaultError::OutOfTokens`], [`VaultError::NoAbuseTokens`].
    Shortage,
    /// The operation does not fit the state: a lost race or an issuance that is not, or already, there.
    Conflict,
    /// The file or its key is not what it should be; needs its owner.
    File,
    /// The disk: full, read-only, failing. May pass.
    Storage,
    /// The vault is closed.
    Closed,
    /// Its tokens may be another vault's: [`VaultError::NotTakenOver`], [`VaultError::Retired`].
    Paused,
}

impl VaultError {
    /// What the caller can do about it.
    pub fn kind(&self) -> VaultErrorKind {
        match self {
            Self::OutOfTokens { .. } | Self::NoAbuseTokens => VaultErrorKind::Shortage,
            Self::LostRace | Self::UnknownIssuance | Self::DuplicateIssuance => VaultErrorKind::Conflict,
            Self::Foreign
            | Self::Newer { .. }
            | Self::Corrupt
            | Self::Orphaned
            | Self::Missing
            | Self::Displaced
            | Self::WrongKey
            | Self::InUse
            | Self::DamagedRecord => VaultErrorKind::File,
            Self::Full | Self::Unwritable | Self::Storage { .. } => VaultErrorKind::Storage,
            Self::Closed => VaultErrorKind::Closed,
            Self::NotTakenOver | Self::Retired => VaultErrorKind::Paused,
        }
    }

    /// Whether SQLite itself failed, so that nothing of the batch may be committed. Every other error is
    /// an answer to one operation and leaves the rest of the batch alone.
    pub(super) fn aborts_batch(&self) -> bool {
        matches!(self, Self::Full | Self::Unwritable | Self::Storage { .. } | Self::Corrupt | Self::InUse)
    }
}

impl From<rusqlite::Error> for VaultError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        // Only the code is kept: messages may quote values.
        let Some(failure) = error.sqlite_error() else {
            // A column of a type that our schema does not allow.
            return Self::Corrupt;
        };
        match failure.code {
            ErrorCode::DiskFull => Self::Full,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Corrupt,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::InUse,
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => Self::Unwritable,
            _ => Self::Storage { code: failure.extended_code },
        }
    }
}

impl From<std::io::Error> for VaultError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Unwritable,
        }
    }
}

fn out_of_tokens(model: &ModelName, shortage: Shortage) -> String {
    match shortage {
        Shortage::Empty => {
            format!(
                "no token for {model} is left: `llmtor tokens` says when the next come by themselves, \
                 `llmtor tokens mint --model {model} --count N --now` gets some now"
            )
        }
        Shortage::Uncertain => {
            format!(
                "all tokens for {model} that are left may have been spent elsewhere; \
                 `llmtor tokens mint --model {model} --count N --now` gets certain ones"
            )
        }
        Shortage::Maturing { next } => format!(
            "no token for {model} may be used yet, the first from {} on: wait, or get some with \
             `llmtor tokens mint --model {model} --count N --now`",
            rfc3339(next)
        ),
    }
}

fn rfc3339(at: Timestamp) -> String {
    time::OffsetDateTime::from_unix_timestamp(at.unix())
        .ok()
        .and_then(|date| date.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| String::from("a far time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_says_when_the_next_token_may_be_used_and_what_to_do() {
        let model = ModelName::new("gpt-4.1").unwrap();
        let shortage = Shortage::Maturing { next: Timestamp::from_unix(1_795_305_600) };
        let text = VaultError::OutOfTokens { model: model.clone(), shortage }.to_string();
        assert!(text.contains("2026-11-22T00:00:00Z") && text.contains("--now"), "{text}");
        let text = VaultError::OutOfTokens { model, shortage: Shortage::Empty }.to_string();
        assert!(text.contains("llmtor tokens mint --model gpt-4.1"), "{text}");
    }
}
