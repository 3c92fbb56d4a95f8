//! A home out of a backup: whole or not at all, and paused.
//!
//! It is filled beside its place ([`Staging`]) in this order: settings, keys, vault, the note of its origin; then the vault is
//! opened under the backup's master key, which shows that the two belong together; then the master key is kept as the
//! settings say; then the home is put in its place. So a process that dies on the way leaves at most sealed records
//! without their key beside the place, but for the instant between the last two steps.
//!
//! A restore into a home that holds something is refused: it would have to lose one vault's tokens or mix two.

mod settings;

use std::path::Path;

use crate::backup::BackupError;
use crate::backup::archive::{Archive, FileName, Manifest, Unlock};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::datadir::{Home, MasterKey, Staging};
use crate::secret::Secret;
use crate::vault::{Custody, Vault};
use crate::wire::shown::shown;

use super::AppError;
use super::operations::backup::{Origin, vault_keys};

pub use settings::Taken;

/// A home that is filled and not in its place yet.
pub struct Restoration {
    staging: Staging,
    master: MasterKey,
    manifest: Manifest,
    left_out: Vec<String>,
}

/// A home that is in its place.
pub struct Restored {
    /// It.
    pub home: Home,
    /// What the backup said of itself.
    pub manifest: Manifest,
}

impl Restoration {
    /// Opens a backup and fills a home that is to be at `target`. Blocks.
    pub fn begin(target: &Path, sealed: &[u8], unlock: &Unlock, taken: Taken) -> Result<Self, AppError> {
        // Before a second is spent on a passphrase.
        drop(Staging::begin(target)?);
        let archive = Archive::open(sealed, unlock)?;
        let file = |name| archive.file(name).map(Secret::expose);
        let (Some(master), Some(vault)) = (file(FileName::MasterKey), file(FileName::Vault)) else {
            return Err(BackupError::Damaged.into());
        };
        let master = std::str::from_utf8(master).map_err(|_| BackupError::Damaged)?;
        let master = MasterKey::from_backup(master)?;

        let staging = Staging::begin(target)?;
        let home = staging.home();
        let mut left_out = Vec::new();
        match (file(FileName::Config), taken) {
            (Some(config), Taken::All) => home.write_private(&home.config_path(), config)?,
            (Some(config), Taken::Harmless) => {
                let (kept, left) = settings::sift(config)?;
                home.write_private(&home.config_path(), kept.as_bytes())?;
                left_out = left;
            }
            (None, _) => {}
        }
        if let Some(keys) = file(FileName::Keys) {
            home.write_private(&home.keys_path(), keys)?;
        }
        home.write_private(&home.vault_path(), vault)?;
        let mut manifest = archive.manifest.clone();
        manifest.made = shown(&manifest.made, 40);
        let origin = Origin { home: manifest.home.clone(), made: manifest.made.clone() };
        let origin = toml::to_string(&origin).map_err(|_| AppError::Internal)?;
        home.write_private(&home.origin_path(), origin.as_bytes())?;
        Ok(Self { staging, master, manifest, left_out })
    }

    /// Settings that the backup has and the home does not get, each in a line that can be shown.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Where the settings can be read.
    pub fn home(&self) -> &Home {
        self.staging.home()
    }

    /// Checks vault and key against each other, keeps the key where `config` says, and puts the home in its place.
    pub async fn finish(self, config: &Config) -> Result<Restored, AppError> {
        let Self { staging, master, manifest, .. } = self;
        let store = config.vault.key_store;
        let opening = (staging, master);
        let (staging, master, vault) = tokio::task::spawn_blocking(move || {
            let (staging, master) = opening;
            let path = staging.home().vault_path();
            let (vault, _) = Vault::open(&path, vault_keys(&master), SystemClock::shared())?;
            Ok::<_, AppError>((staging, master, vault))
        })
        .await
        .map_err(|_| AppError::Internal)??;
        let custody = vault.backups().identification().await;
        vault.close().await?;
        if custody?.custody == Custody::Ours {
            // No snapshot of ours: it would spend at once.
            return Err(BackupError::Damaged.into());
        }
        let home = tokio::task::spawn_blocking(move || {
            staging.home().adopt_master_key(store, &master)?;
            Ok::<_, AppError>(staging.place()?)
        })
        .await
        .map_err(|_| AppError::Internal)??;
        Ok(Restored { home, manifest })
    }
}
