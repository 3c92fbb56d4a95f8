//! Whose tokens these are: this vault's alone, or perhaps also those of a vault that it was copied from, or to.
//!
//! A token in two vaults is worse than a token lost: whoever presents it second is shown the answer to the other's prompt
//! (protocol.md §5). So a copy is born paused, and a vault that was copied for good is paused in the same commit.
//!
//! | custody | comes about | spends and begins issuances | leaves it |
//! | --- | --- | --- | --- |
//! | ours | a new vault; [`Backups::take_over`](super::Backups::take_over) | yes | snapshot that retires it |
//! | restored | every snapshot carries it ([`backups`](super::backups)), so no restore can forget it; a file that was copied by hand ([`mark`](super::mark)) | no | taking over |
//! | retired | a snapshot that retires its source; another home on this machine took over | no | taking over |
//!
//! Taking over marks every token maybe-spent: whoever had them meanwhile may have spent any of them, and what the backend
//! answers to such a token is believed only if it was made within the call, give or take a minute (`redeem::outcome`). An
//! answer that the other vault had in the last minute would pass for such a one, and a call that it had begun may have its answer
//! as late as a call may take; so nothing is drawn or resumed for [`QUARANTINE`] seconds. Whoever keeps what was confirmed is never shown another prompt's answer.
//!
//! What a paused vault still does: count, settle what is in a call's hands, finish issuances that were begun, and hand out
//! snapshots. *Lineage* is a random number that a vault and its copies share; *generation* counts how often it was taken
//! over. Neither says anything of an account.

use rusqlite::OptionalExtension as _;

use super::VaultError;
use super::books::Books;
use super::losses::LossReason;
use crate::clock::Timestamp;
use crate::wire::ModelName;

/// How long after a take-over its tokens rest, seconds: as long as a call of the other vault may have been under way (ten
/// minutes), a clock that is a minute wrong, a minute for the difference that an answer's time is allowed, and a margin.
pub(super) const QUARANTINE: i64 = 15 * 60;

/// The row of `meta` that says until when; absent before the first take-over.
const RESTS_UNTIL: &str = "rests until";

/// How long the backend answers an issuance that is sent again with the same signature (five minutes), and a margin, seconds.
const IDEMPOTENT: i64 = 10 * 60;

/// Whether the tokens may be spent here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Custody {
    /// They are this vault's alone.
    #[default]
    Ours,
    /// This is a copy, and nobody said yet that the source stopped using them.
    Restored,
    /// A copy was made to be used in this one's stead.
    Retired,
}

/// A random number that a vault shares with its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage(pub [u8; 16]);

/// Which vault, and how often it was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identification {
    /// Shared with every copy.
    pub lineage: Lineage,
    /// Goes up at each taking over.
    pub generation: u32,
    /// Whose its tokens are.
    pub custody: Custody,
    /// Until when the tokens rest that it had when it was taken over last; it may be past.
    pub rests_until: Option<Timestamp>,
    /// Whether the open file is not where it was opened any more.
    pub displaced: bool,
}

impl Custody {
    /// As the table `meta` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Restored => "restored",
            Self::Retired => "retired",
        }
    }

    fn from_name(name: &[u8]) -> Result<Self, VaultError> {
        [Self::Ours, Self::Restored, Self::Retired]
            .into_iter()
            .find(|custody| custody.name().as_bytes() == name)
            .ok_or(VaultError::Corrupt)
    }

    /// Nothing is spent or begun in a paused vault.
    pub(super) fn check(self) -> Result<(), VaultError> {
        match self {
            Self::Ours => Ok(()),
            Self::Restored => Err(VaultError::NotTakenOver),
            Self::Retired => Err(VaultError::Retired),
        }
    }
}

impl Books {
    /// What the file says of itself.
    pub(super) fn identification(&self) -> Result<Identification, VaultError> {
        let lineage = Lineage(self.meta("lineage")?.try_into().map_err(|_| VaultError::Corrupt)?);
        let generation = self.meta("generation")?.try_into().map_err(|_| VaultError::Corrupt)?;
        let custody = Custody::from_name(&self.meta("custody")?)?;
        Ok(Identification {
            lineage,
            generation: u32::from_be_bytes(generation),
            custody,
            rests_until: self.meta_time(RESTS_UNTIL)?,
            displaced: self.is_displaced(),
        })
    }

    pub(super) fn set_custody(&mut self, custody: Custody) -> Result<(), VaultError> {
        self.conn
            .prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'custody'")?
            .execute([custody.name().as_bytes()])?;
        self.custody = custody;
        Ok(())
    }

    /// The tokens are this vault's alone from now on.
    pub(super) fn take_over(&mut self) -> Result<(), VaultError> {
        if self.custody != Custody::Ours {
            let generation = self.identification()?.generation.saturating_add(1);
            self.conn
                .prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'generation'")?
                .execute([generation.to_be_bytes()])?;
            self.distrust_tokens()?;
            self.set_custody(Custody::Ours)?;
        }
        Ok(())
    }

    /// Any token may have been spent, by somebody else or by this vault after the state that it is in; and something may
    /// still be under way.
    pub(super) fn distrust_tokens(&mut self) -> Result<(), VaultError> {
        let rested = self.clock.now().plus_seconds(QUARANTINE).unix();
        self.conn
            .prepare_cached("UPDATE tokens SET maybe_spent = 1, not_before = max(not_before, ?1)")?
            .execute([rested])?;
        self.set_meta_time(RESTS_UNTIL, rested)?;
        // The draw index knows the old times.
        self.distrust_caches();
        Ok(())
    }

    /// Issuances that were not sent yet, or a moment ago, as far as this file knows: elsewhere, or later, they may have
    /// become tokens that are spent, and asking for them again would bring the same tokens, unmarked. A credit that this
    /// costs is written down.
    pub(super) fn give_up_fresh_issuances(&mut self) -> Result<(), VaultError> {
        let since = self.clock.now().plus_seconds(-IDEMPOTENT).unix();
        let sent: Vec<String> = {
            let mut statement = self.conn.prepare_cached(
                "DELETE FROM issuances WHERE first_sent IS NULL OR first_sent > ?1
                 RETURNING CASE WHEN first_sent IS NULL THEN NULL ELSE model END",
            )?;
            let models = statement.query_map([since], |row| row.get::<_, Option<String>>(0))?;
            models.filter_map(Result::transpose).collect::<Result<_, _>>()?
        };
        for model in sent {
            let model = ModelName::new(model).map_err(|_| VaultError::Corrupt)?;
            self.record_loss(&model, 1, LossReason::Unclear)?;
        }
        Ok(())
    }

    pub(super) fn read_custody(&mut self) -> Result<(), VaultError> {
        self.custody = self.identification()?.custody;
        Ok(())
    }

    fn set_meta_time(&mut self, name: &str, unix: i64) -> Result<(), VaultError> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?
            .execute((name, unix.to_be_bytes()))?;
        Ok(())
    }

    fn meta_time(&self, name: &str) -> Result<Option<Timestamp>, VaultError> {
        let Some(unix) = self.meta_if_there(name)? else { return Ok(None) };
        let unix = unix.try_into().map_err(|_| VaultError::Corrupt)?;
        Ok(Some(Timestamp::from_unix(i64::from_be_bytes(unix))))
    }

    fn meta(&self, name: &str) -> Result<Vec<u8>, VaultError> {
        self.meta_if_there(name)?.ok_or(VaultError::Corrupt)
    }

    pub(super) fn meta_if_there(&self, name: &str) -> Result<Option<Vec<u8>>, VaultError> {
        let mut statement = self.conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
        Ok(statement.query_row([name], |row| row.get(0)).optional()?)
    }
}
