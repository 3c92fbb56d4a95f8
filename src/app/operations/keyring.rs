//! The pinned keys, as part of a home.

use std::sync::PoisonError;

use crate::control::message::{ChangedKey, ImportReport, KeyFile, KeyReport, KeysReport};
use crate::keys::{self, Keyring, Replacement};

use super::{AppError, Operations};

impl Operations {
    /// Names the pinned keys.
    pub(super) fn keys(&self) -> KeysReport {
        let keys = self.keyring();
        KeysReport { keys: keys.iter().map(|(name, key)| report(&name, key.fingerprint())).collect() }
    }

    /// Pins the keys of `files`, all or none.
    pub(super) fn import(&self, files: &[KeyFile], on_change: ChangedKey) -> Result<ImportReport, AppError> {
        let mut incoming = Keyring::default();
        let mut notes = Vec::new();
        for file in files {
            let read = keys::import::parse(&file.text)
                .map_err(|error| AppError::Import { file: file.name.clone(), error })?;
            notes.extend(
                read.unused.into_iter().map(|name| format!("{}: {name} belongs to no name", file.name)),
            );
            let (merged, _) = incoming.merge(&read.keys, Replacement::Refused).map_err(|changed| {
                AppError::FilesDisagree(changed.0.first().map(|key| key.name.to_string()).unwrap_or_default())
            })?;
            incoming = merged;
        }
        for (_, names) in incoming.shared() {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            notes.push(format!("one key under several names: {}", names.join(", ")));
        }
        let replacement = match on_change {
            ChangedKey::Refuse => Replacement::Refused,
            ChangedKey::Replace => Replacement::Allowed,
        };
        let mut keyring = self.keyring.write().unwrap_or_else(PoisonError::into_inner);
        let (merged, changes) = keyring.merge(&incoming, replacement)?;
        keys::store::save(&self.home, &merged)?;
        *keyring = merged;
        if let Some(watcher) = self.watcher.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            watcher(&keyring);
        }
        let reports = |keys: &[(keys::KeyName, crate::blind::Fingerprint)]| {
            keys.iter().map(|(name, fingerprint)| report(name, *fingerprint)).collect()
        };
        Ok(ImportReport {
            added: reports(&changes.added),
            unchanged: reports(&changes.unchanged),
            replaced: changes.changed.iter().map(|key| report(&key.name, key.new)).collect(),
            notes,
        })
    }
}

fn report(name: &keys::KeyName, fingerprint: crate::blind::Fingerprint) -> KeyReport {
    KeyReport { name: name.to_string(), fingerprint: fingerprint.to_string() }
}
