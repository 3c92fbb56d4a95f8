//! The home: paths, modes, one process at a time, the master key. (Contract.)

use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// `DIR` of `--home`; 0700.
#[derive(Clone)]
pub struct Home {
    root: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum HomeError {/* unwritable, wrong mode/owner, locked by pid, keyring locked, corrupt key, … */}

/// Held as long as the process may touch the home.
pub struct HomeLock {}

/// Where the master key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyStore {
    Auto,
    Keyring,
    File,
}

/// 32 random bytes; every other key is derived from it (HKDF-SHA256, RFC 5869) by label.
pub struct MasterKey {}
impl MasterKey {
    pub fn derive(&self, _label: &str) -> Secret<[u8; 32]> {
        todo!()
    }
}

impl Home {
    /// Creates (0700) or checks the directory.
    pub fn open(_root: &Path) -> Result<Self, HomeError> {
        todo!()
    }
    /// `--home`, else `LLMTOR_HOME`, else the platform's directory is decided by the caller; this is the latter.
    pub fn default_path() -> Option<PathBuf> {
        todo!()
    }
    /// Takes the lock file, writing our pid; `HomeError` names the pid that holds it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        todo!()
    }
    /// Loads the master key, creating it on first use. The store used is recorded, so a keyring that is
    /// locked later is an error and never a new key.
    pub fn master_key(&self, _store: KeyStore) -> Result<MasterKey, HomeError> {
        todo!()
    }
    pub fn root(&self) -> &Path {
        &self.root
    }
    pub fn config_path(&self) -> PathBuf {
        self.root.join("config.toml")
    }
    pub fn keys_path(&self) -> PathBuf {
        self.root.join("keys.json")
    }
    pub fn vault_path(&self) -> PathBuf {
        self.root.join("vault.db")
    }
    pub fn session_path(&self) -> PathBuf {
        self.root.join("session.sealed")
    }
    pub fn api_key_path(&self) -> PathBuf {
        self.root.join("api-key")
    }
    pub fn control_path(&self) -> PathBuf {
        self.root.join("control.sock")
    }
    /// Writes a small file atomically (temp + fsync + rename + fsync dir), 0600.
    pub fn write_private(&self, _path: &Path, _bytes: &[u8]) -> Result<(), HomeError> {
        todo!()
    }
}
