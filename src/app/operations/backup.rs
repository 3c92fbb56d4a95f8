//! Backups, and what a paused vault needs to spend again.
//!
//! # Abuse tokens
//!
//! A restore stores nothing that the pinned keys did not sign. Then, for each of the two:
//!
//! | the backup's token | held | becomes |
//! | --- | --- | --- |
//! | transient, of another month, or not signed by the pinned key (which may have changed) | any | skipped, and said; the permanent one is restored all the same |
//! | the same | the same | nothing to do |
//! | another | none, or one that no pinned key signed | stored |
//! | transient of this month | another of this month | kept, unless replacing was asked for |
//! | permanent | another | the whole restore is refused, unless replacing was asked for: it is perhaps another account's |
//!
//! # Taking over
//!
//! The old vault should be told that another one spends its tokens now. What channel is there?
//!
//! - The home that the backup was made of, if it is on this machine (a home that was moved or copied): it is retired, under
//!   its lock and if it is of the same lineage, before this one spends anything. A program that runs in it stops the take-over.
//! - A backup made with `--retire`: the source pauses in the commit of the snapshot.
//! - Across machines, nothing. Whatever both could read is the backend's: on the anonymous plane there is nobody to ask
//!   without being recognised, and on the identity plane a record of who uses a vault would tell the operator when a user
//!   changes machines, in a place that the official client overwrites. So a sentence has to be typed.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Operations, month};
use crate::app::identity::Unready;
use crate::app::{AppError, VAULT_DIGEST, VAULT_SEALING};
use crate::backup::archive::{self, Archive, FileName, Lock};
use crate::backup::{self, BackupError, Overwrite, Passphrase, abuse};
use crate::blind::PublicKey;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::control::message::backup::{
    AbuseBackupOrder, AbuseBackupReport, AbuseRestoreOrder, AbuseRestoreReport, AbuseStatusReport,
    BackupOrder, BackupReport, Held, LockOrder, Restoration, RotateLaterReport, RotateReport, SourceOrder,
    TakeOverReport, sentence,
};
use crate::datadir::{Home, HomeError, KeyStore, MasterKey};
use crate::identity::IdentityError;
use crate::keys::KeyName;
use crate::secret::Secret;
use crate::vault::backups::{AbuseTokens, SignedToken, Snapshot, Source, VerifiedAbuse};
use crate::vault::custody::{Identification, Lineage};
use crate::vault::{AbuseKind, Custody, Stock, Vault, VaultError, VaultKeys};
use crate::wire::redemption::Epoch;

/// `origin.toml` of a restored home.
#[derive(Serialize, Deserialize)]
pub(in crate::app) struct Origin {
    /// Where the source was.
    pub(in crate::app) home: PathBuf,
    /// When the backup was made, RFC 3339.
    pub(in crate::app) made: String,
}

impl Operations {
    /// Whose the vault's tokens are.
    pub async fn custody(&self) -> Result<Custody, AppError> {
        Ok(self.identification().await?.custody)
    }

    /// The same, and until when its tokens rest, if they do; RFC 3339.
    pub(super) async fn standing(&self) -> Result<(Custody, Option<String>), AppError> {
        let Identification { custody, rests_until, .. } = self.identification().await?;
        let is_resting = |until: &Timestamp| custody == Custody::Ours && *until > self.clock.now();
        Ok((custody, rests_until.filter(is_resting).map(rfc3339)))
    }

    /// Not of a file that is not in its place any more: what is counted in that will be gone.
    async fn identification(&self) -> Result<Identification, AppError> {
        let found = self.vault.backups().identification().await?;
        if found.displaced { Err(VaultError::Displaced.into()) } else { Ok(found) }
    }

    pub(super) async fn backup(&self, order: BackupOrder) -> Result<BackupReport, AppError> {
        let BackupOrder { path, lock, overwrite, source } = order;
        let lock = match lock {
            LockOrder::Passphrase(text) => Lock::Passphrase(Passphrase::to_seal(text.0)?),
            LockOrder::Recipients(recipients) => {
                archive::check_recipients(&recipients)?;
                Lock::Recipients(recipients)
            }
        };
        // Before the vault is retired: what is refused has changed nothing.
        check_place(&path, overwrite)?;
        let source = match source {
            SourceOrder::Kept => Source::Kept,
            SourceOrder::Retired => Source::Retired,
        };
        let tokens = self.census.stock().await?.values().map(Stock::held).sum();
        let backups = self.vault.backups();
        let job = (self.home.clone(), self.config.vault.key_store, self.clock.now(), path.clone());
        // On its own: whoever asked may hang up, and a vault that is retired without a copy would be left.
        let work = tokio::spawn(async move {
            let snapshot = backups.snapshot(source).await?;
            let left_behind = snapshot.left_behind;
            let written = tokio::task::spawn_blocking(move || {
                let (home, store, now, path) = job;
                let sealed = pack(&home, store, now, snapshot)?.seal(&lock)?;
                backup::write(&path, &sealed, overwrite)?;
                Ok::<_, AppError>(backup::hex(&Sha256::digest(&sealed)))
            });
            let written = written.await.map_err(|_| AppError::Internal).flatten();
            if written.is_err() && source == Source::Retired {
                // There is no copy, so the tokens are this vault's alone.
                backups.reinstate().await?;
            }
            written.map(|sha256| (left_behind, sha256))
        });
        let (left_behind, sha256) = work.await.map_err(|_| AppError::Internal)??;
        let custody = self.vault.backups().identification().await?.custody;
        Ok(BackupReport { path, custody, tokens, left_behind, sha256 })
    }

    pub(super) async fn take_over(&self, typed: &str) -> Result<TakeOverReport, AppError> {
        let backups = self.vault.backups();
        let before = backups.identification().await?;
        let Some(expected) = sentence(before.custody) else { return Err(AppError::NotPaused) };
        if !says(typed, expected) {
            return Err(AppError::NotConfirmed(expected));
        }
        let retired = match origin(&self.home) {
            Some(origin) => {
                let job = (self.home.clone(), self.config.clone(), origin.home);
                let clock = self.clock.clone();
                let opened = tokio::task::spawn_blocking(move || {
                    let (home, config, source) = job;
                    open_source(&home, &config, &source, clock)
                });
                match opened.await.map_err(|_| AppError::Internal)?? {
                    Some(source) => source.retire(before.lineage).await?,
                    None => None,
                }
            }
            None => None,
        };
        backups.take_over().await?;
        // Of no use any more; if it stays, the next take-over looks there in vain.
        drop(fs::remove_file(self.home.origin_path()));
        let generation = backups.identification().await?.generation;
        Ok(TakeOverReport { generation, retired, resting_until: self.standing().await?.1 })
    }

    pub(super) async fn abuse_status(&self) -> Result<AbuseStatusReport, AppError> {
        let held = self.abuse().await?;
        let current = month(Epoch::at(self.clock.now().unix()));
        let super::AbuseReport { required, permanent, transient, .. } = held;
        Ok(AbuseStatusReport { required, permanent, transient, current })
    }

    pub(super) async fn abuse_rotate(&self) -> Result<RotateReport, AppError> {
        let _turn = self.abuse_turn.lock().await;
        let before = self.abuse().await?;
        let epoch = self.identity(Unready::Fails).await?.abuse_rotate().await?;
        let replaced = before.transient.is_some_and(|held| held == month(epoch));
        Ok(RotateReport { month: month(epoch), replaced, permanent: before.permanent })
    }

    /// Whoever refuses one pseudonym's token and watches who comes for another learns whose it is; hence not now.
    pub(super) async fn abuse_rotate_later(&self) -> Result<RotateLaterReport, AppError> {
        if !self.holds_session()? {
            return Err(IdentityError::NotSignedIn.into());
        }
        let held = self.abuse().await?;
        // Without this month's the schedule fetches it anyway.
        let current = month(Epoch::at(self.clock.now().unix()));
        self.schedule.rotate_later().await?;
        Ok(RotateLaterReport { held: held.transient == Some(current), running: self.is_daemon() })
    }

    pub(super) async fn abuse_backup(&self, order: AbuseBackupOrder) -> Result<AbuseBackupReport, AppError> {
        let AbuseBackupOrder { path, passphrase, overwrite } = order;
        let passphrase = Passphrase::to_seal(passphrase.0)?;
        if let Some(path) = &path {
            check_place(path, overwrite)?;
        }
        let tokens = self.vault.backups().export_abuse().await?.ok_or(AppError::NothingToBackUp)?;
        let transient = tokens.transient.as_ref().map(|(_, epoch)| month(*epoch));
        let sealed = tokio::task::spawn_blocking(move || abuse::seal(&tokens, &passphrase, &mut rand::rng()))
            .await
            .map_err(|_| AppError::Internal)??;
        match &path {
            Some(path) => backup::write(path, sealed.as_bytes(), overwrite)?,
            None if sealed.len() > abuse::SERVER_LIMIT => return Err(BackupError::TooLarge.into()),
            None => {
                let _turn = self.abuse_turn.lock().await;
                let identity = self.identity(Unready::Fails).await?;
                if overwrite == Overwrite::Refuse {
                    match identity.fetch_backup().await {
                        // Perhaps another client's, under another passphrase and of other tokens.
                        Ok(_) => return Err(BackupError::ExistsOnServer.into()),
                        Err(IdentityError::NoServerBackup) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                identity.store_backup(sealed).await?;
            }
        }
        Ok(AbuseBackupReport { path, transient })
    }

    pub(super) async fn abuse_restore(
        &self,
        order: AbuseRestoreOrder,
    ) -> Result<AbuseRestoreReport, AppError> {
        let AbuseRestoreOrder { text, passphrase, held } = order;
        let keyring = self.keyring();
        let key = |key: Option<&PublicKey>, name| key.cloned().ok_or(AppError::NoAbuseKey(name));
        let permanent_key = key(keyring.abuse_permanent(), KeyName::AbusePermanent)?;
        let transient_key = key(keyring.abuse_transient(), KeyName::AbuseTransient)?;
        let text = if let Some(text) = text {
            text.0
        } else {
            let _turn = self.abuse_turn.lock().await;
            Secret::new(self.identity(Unready::Fails).await?.fetch_backup().await?)
        };
        let passphrase = Passphrase::new(passphrase.0);
        let opened = tokio::task::spawn_blocking(move || abuse::open(text.expose(), &passphrase));
        let AbuseTokens { permanent, transient } = opened.await.map_err(|_| AppError::Internal)??;

        // Both are judged before either is stored.
        verify(&permanent, &permanent_key, KeyName::AbusePermanent)?;
        let this_month = Epoch::at(self.clock.now().unix());
        if let Some((token, epoch)) = &transient
            && *epoch == this_month
            && verify(token, &transient_key, KeyName::AbuseTransient).is_ok()
            && !token.token.expose().ends_with(&epoch.to_be_bytes())
        {
            let other = "its transient token is of another month than it says";
            return Err(BackupError::NotABackup(other).into());
        }
        let now = self.abuse().await?;
        let current = self.vault.backups().export_abuse().await?;
        let is_held = |held: Option<&SignedToken>, token: &SignedToken| {
            held.is_some_and(|held| held.token.matches(token.token.expose()))
        };
        let mut stored = Vec::new();
        let restored_permanent =
            if now.permanent && is_held(current.as_ref().map(|tokens| &tokens.permanent), &permanent) {
                Restoration::Held
            } else if now.permanent && held == Held::Keep {
                return Err(AppError::OtherPermanentToken);
            } else {
                stored.push((AbuseKind::Permanent, &permanent_key, permanent));
                Restoration::Restored
            };
        let backup_month = transient.as_ref().map(|(_, epoch)| month(*epoch));
        let restored_transient = match transient {
            None => Restoration::Absent,
            Some((_, epoch)) if epoch != this_month => Restoration::OtherMonth,
            // The operator may have changed the key within the month, and a fresh one is to be had.
            Some((token, _)) if verify(&token, &transient_key, KeyName::AbuseTransient).is_err() => {
                Restoration::NotSigned
            }
            Some((token, epoch)) => {
                let current = current.as_ref().and_then(|tokens| tokens.transient.as_ref());
                let counts = now.transient == Some(month(this_month));
                if counts && is_held(current.map(|(token, _)| token), &token) {
                    Restoration::Held
                } else if counts && held == Held::Keep {
                    Restoration::OtherKept
                } else {
                    stored.push((AbuseKind::Transient(epoch), &transient_key, token));
                    Restoration::Restored
                }
            }
        };
        let stored = stored
            .into_iter()
            .map(|(kind, key, token)| VerifiedAbuse { kind, key: key.fingerprint(), token })
            .collect();
        self.vault.backups().import_abuse(stored).await?;
        Ok(AbuseRestoreReport {
            permanent: restored_permanent,
            transient: restored_transient,
            month: backup_month,
        })
    }
}

/// A backup replaces a plain file, and that only when it was asked to; never anything of a home.
fn check_place(path: &Path, overwrite: Overwrite) -> Result<(), BackupError> {
    match Home::around(path) {
        Some(home) => Err(BackupError::InsideHome { path: path.to_owned(), home }),
        None => backup::check_place(path, overwrite),
    }
}

/// The keys that a vault works under.
pub(in crate::app) fn vault_keys(master: &MasterKey) -> VaultKeys {
    VaultKeys { sealing: master.derive(VAULT_SEALING), digest: master.derive(VAULT_DIGEST) }
}

/// Everything that another home needs; in memory.
fn pack(home: &Home, store: KeyStore, now: Timestamp, snapshot: Snapshot) -> Result<Archive, AppError> {
    let mut files = Vec::new();
    for (name, path) in [(FileName::Config, home.config_path()), (FileName::Keys, home.keys_path())] {
        match fs::read(&path) {
            Ok(content) => files.push((name, Secret::new(content))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(HomeError::Unreadable { path, kind: error.kind() }.into()),
        }
    }
    let master = home.master_key(store)?.to_backup();
    files.push((FileName::MasterKey, Secret::new(master.expose().as_bytes().to_vec())));
    let Snapshot { database, of, .. } = snapshot;
    files.push((FileName::Vault, database));
    // Unambiguous where the vault is restored: a relative path would be another's.
    let root = home.root().canonicalize().unwrap_or_else(|_| home.root().to_owned());
    Ok(Archive::new(rfc3339(now), backup::hex(&of.lineage.0), of.generation, root, files))
}

/// The vault that a backup was made of, found on this machine and locked.
struct SourceVault {
    path: PathBuf,
    vault: Vault,
    _lock: crate::datadir::HomeLock,
}

/// None where there is no vault at `source` that our master key opens.
fn open_source(
    home: &Home,
    config: &Config,
    source: &Path,
    clock: crate::clock::SharedClock,
) -> Result<Option<SourceVault>, AppError> {
    let is_home = |path: &Path| {
        path.canonicalize().ok().is_some_and(|found| home.root().canonicalize().ok() == Some(found))
    };
    if !source.join("vault.db").is_file() || is_home(source) {
        return Ok(None);
    }
    // On another machine the same path may be a stranger's, and in use.
    let master = home.master_key(config.vault.key_store)?;
    if master.is_foreign_to(source) {
        return Ok(None);
    }
    let there = Home::open(source)?;
    let lock = match there.lock() {
        Err(HomeError::InUse { pid }) => {
            return Err(AppError::SourceInUse { home: source.to_owned(), pid });
        }
        other => other?,
    };
    match Vault::open(&there.vault_path(), vault_keys(&master), clock) {
        Ok((vault, _)) => Ok(Some(SourceVault { path: source.to_owned(), vault, _lock: lock })),
        // Some other vault has its place, or none that can spend.
        Err(
            VaultError::WrongKey
            | VaultError::Foreign
            | VaultError::Corrupt
            | VaultError::Orphaned
            | VaultError::Missing,
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl SourceVault {
    /// Where it was, if it is of that lineage.
    async fn retire(self, lineage: Lineage) -> Result<Option<PathBuf>, AppError> {
        let backups = self.vault.backups();
        let same = backups.identification().await?.lineage == lineage;
        if same {
            backups.retire().await?;
        }
        self.vault.close().await?;
        Ok(same.then_some(self.path))
    }
}

fn origin(home: &Home) -> Option<Origin> {
    toml::from_str(&fs::read_to_string(home.origin_path()).ok()?).ok()
}

/// Case, spacing and a full stop are nothing to be strict about.
fn says(typed: &str, expected: &str) -> bool {
    let words = |text: &str| text.to_lowercase().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    words(typed.trim().trim_end_matches('.')) == words(expected)
}

fn verify(token: &SignedToken, key: &PublicKey, name: KeyName) -> Result<(), AppError> {
    key.verify(token.token.expose(), token.signature.expose()).map_err(|_| AppError::NotSigned(name))
}

fn rfc3339(at: Timestamp) -> String {
    time::OffsetDateTime::from_unix_timestamp(at.unix())
        .ok()
        .and_then(|date| date.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| "at an unknown time".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_is_typed_in_full_and_its_case_does_not_matter() {
        let expected = sentence(Custody::Restored).unwrap();
        assert!(says("  No other machine  uses these tokens any more.\n", expected));
        for wrong in
            ["", "yes", "no other machine uses these tokens", "the old machine uses these tokens no more"]
        {
            assert!(!says(wrong, expected), "{wrong}");
        }
    }
}
