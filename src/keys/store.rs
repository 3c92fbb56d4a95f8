//! `keys.json` in the home: a JSON object `{key name: SPKI PEM}`.
//!
//! Written whole and atomically, so a crash leaves the old keys or the new ones. Every entry passes the
//! checks of [`PublicKey::from_spki_pem`] again on each start.

use std::collections::BTreeMap;
use std::io;

use crate::datadir::{Home, HomeError};
use crate::keys::Keyring;
use crate::keys::import::{self, ImportError};

/// Why the pinned keys cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is there and cannot be read.
    #[error("keys.json in the home cannot be read ({0}); check its owner and mode")]
    Unreadable(io::ErrorKind),
    /// The file was edited or damaged.
    #[error("keys.json in the home is damaged: {0}. Remove it and run `llmtor keys import FILE` again")]
    Damaged(#[from] ImportError),
    /// The home does not take it.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A key that was accepted does not encode.
    #[error(
        "the key of `{0}` cannot be encoded; run `llmtor keys import FILE` with the operator's published keys"
    )]
    Encoding(String),
}

/// Reads the pinned keys; none when there is no file yet.
pub fn load(home: &Home) -> Result<Keyring, StoreError> {
    match std::fs::read_to_string(home.keys_path()) {
        Ok(text) => Ok(import::from_json(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Keyring::default()),
        Err(error) => Err(StoreError::Unreadable(error.kind())),
    }
}

/// Replaces the pinned keys.
pub fn save(home: &Home, keys: &Keyring) -> Result<(), StoreError> {
    Ok(home.write_private(&home.keys_path(), to_json(keys)?.as_bytes())?)
}

/// The keys as `{key name: SPKI PEM}`, names in order: what [`load`] and `llmtor keys import` read.
pub fn to_json(keys: &Keyring) -> Result<String, StoreError> {
    let mut entries = BTreeMap::new();
    for (name, key) in keys.iter() {
        let pem = key.to_spki_pem().map_err(|_| StoreError::Encoding(name.to_string()))?;
        entries.insert(name.to_string(), pem);
    }
    let mut text = serde_json::to_string_pretty(&entries).map_err(|_| StoreError::Encoding(String::new()))?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blind::PublicKey;

    const ONE: &str = include_str!("../../tests/vectors/rsa2048-a.pem");

    #[test]
    fn keys_are_kept_as_they_were_imported() {
        let dir = tempfile::tempdir().expect("directory");
        let home = Home::open(&dir.path().join("home")).expect("home");
        assert!(load(&home).expect("loaded").is_empty());
        let mut keys = Keyring::default();
        for name in ["gpt-4.1", "abuse-transient"] {
            keys.insert(name.parse().expect("name"), PublicKey::from_spki_pem(ONE).expect("key"));
        }
        save(&home, &keys).expect("saved");
        let changes = crate::keys::diff(&keys, &load(&home).expect("loaded"));
        assert_eq!((changes.unchanged.len(), changes.added.len(), changes.changed.len()), (2, 0, 0));
    }

    #[test]
    fn an_edited_file_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().expect("directory");
        let home = Home::open(&dir.path().join("home")).expect("home");
        for text in ["", "{", "[]", r#"{"gpt-4.1":"-----BEGIN PUBLIC KEY-----"}"#] {
            std::fs::write(home.keys_path(), text).expect("written");
            let Err(error) = load(&home) else { panic!("accepted: {text}") };
            assert!(error.to_string().contains("llmtor keys import"), "{error}");
        }
    }
}
