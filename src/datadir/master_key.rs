//! The master key: 32 random bytes, in the system's keyring where there is one, else in `master.key` (0600).
//!
//! `master.toml` records where the key is, and a check value, so that
//!
//! | found | means |
//! | --- | --- |
//! | nothing, and nothing sealed | first use: a key is made |
//! | nothing, but a vault or a session | [`HomeError::KeyGone`]; never a new key |
//! | a record, but the keyring is silent or the file is absent | [`HomeError::KeyringUnavailable`], [`HomeError::KeyGone`] |
//! | a key that does not fit the check value | [`HomeError::KeyDamaged`] |
//!
//! The key is stored before the record is written: a crash in between leaves a key without a record, which is
//! taken up again if it is a file, and is a stray keyring entry otherwise. So does a keyring that is unlocked only
//! after first use has given it up.

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use hkdf::Hkdf;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroize as _;

use super::{Home, HomeError, close_to_others};
use crate::secret::Secret;

/// How long to look for a keyring when there may be none.
const LOOK: Duration = Duration::from_secs(2);
/// How long to wait for the keyring that has the key: its owner may be typing a password.
const UNLOCK: Duration = Duration::from_secs(30);
const SERVICE: &str = "llmtor";
const CHECK_LABEL: &str = "llmtor master key check";

/// Where the master key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyStore {
    /// Where the record says; on first use the keyring if one is evidently there, else a file.
    Auto,
    /// The system's keyring, or an error.
    Keyring,
    /// `master.key` in the home.
    File,
}

/// 32 random bytes; every other key is derived from it (HKDF-SHA256, RFC 5869) by label.
pub struct MasterKey(Secret<[u8; 32]>);

impl MasterKey {
    /// The key for `label`: HKDF-SHA256 without salt, `label` as info.
    #[expect(clippy::missing_panics_doc, reason = "it does not panic: see the expectation inside")]
    pub fn derive(&self, label: &str) -> Secret<[u8; 32]> {
        let mut key = [0u8; 32];
        #[expect(clippy::expect_used, reason = "32 bytes are below HKDF's limit of 255 hashes")]
        Hkdf::<Sha256>::new(None, self.0.expose())
            .expand(label.as_bytes(), &mut key)
            .expect("32 bytes are few");
        let derived = Secret::new(key);
        key.zeroize();
        derived
    }

    /// For a backup: 64 hex digits. Whoever has them and the vault has the tokens.
    pub fn to_backup(&self) -> Secret<String> {
        self.to_text()
    }

    /// Out of a backup.
    pub fn from_backup(text: &str) -> Result<Self, HomeError> {
        Self::from_text(text)
    }

    /// Whether the home at `root` says that another key is its own. One that does not say, or cannot be read, may have
    /// this one.
    pub fn is_foreign_to(&self, root: &std::path::Path) -> bool {
        let text = read_if_there(&root.join("master.toml")).ok().flatten();
        let record = text.and_then(|text| toml::from_str::<Record>(text.expose()).ok());
        record.is_some_and(|record| record.check != self.check())
    }

    fn generate() -> Self {
        let mut bytes = [0u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        let key = Self(Secret::new(bytes));
        bytes.zeroize();
        key
    }

    /// 64 hex digits, as every store keeps it (KWallet keeps nothing but text).
    fn to_text(&self) -> Secret<String> {
        Secret::new(hex(self.0.expose()))
    }

    fn from_text(text: &str) -> Result<Self, HomeError> {
        let digits = text.trim_ascii();
        let mut bytes = Secret::new([0u8; 32]);
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(HomeError::KeyDamaged);
        }
        for (byte, at) in bytes.expose_mut().iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| HomeError::KeyDamaged)?;
        }
        Ok(Self(bytes))
    }

    /// Tells this key from another, and nothing else.
    fn check(&self) -> String {
        hex(&self.derive(CHECK_LABEL).expose()[..8])
    }
}

/// `master.toml`.
#[derive(Serialize, Deserialize)]
struct Record {
    store: Place,
    /// The name of the keyring entry; random, so that two homes do not share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
    check: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Keyring,
    File,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::File => "file",
        }
    }
}

/// A keyring: text by entry name. `Err` means that it cannot be reached.
trait Ring: Send + 'static {
    fn get(&self, entry: &str) -> Result<Option<Secret<String>>, Unreachable>;
    fn set(&self, entry: &str, text: &Secret<String>) -> Result<(), Unreachable>;
}

/// The keyring did not do what it was asked to. Why is not kept: its errors may quote the secret.
#[derive(Debug)]
struct Unreachable;

pub(super) fn load(home: &Home, wanted: KeyStore) -> Result<MasterKey, HomeError> {
    load_with(home, wanted, evident_keyring(), || SystemRing)
}

/// Whether it is worth asking for a keyring unasked: without a session bus the attempt can only hang or fail.
fn evident_keyring() -> bool {
    !cfg!(target_os = "linux") || std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some()
}

fn load_with<R: Ring>(
    home: &Home,
    wanted: KeyStore,
    evident: bool,
    ring: impl Fn() -> R,
) -> Result<MasterKey, HomeError> {
    let record_path = home.root().join("master.toml");
    let file_path = home.root().join("master.key");
    if let Some(text) = read_if_there(&record_path)? {
        let record: Record = toml::from_str(text.expose()).map_err(|_| HomeError::KeyDamaged)?;
        match (wanted, record.store) {
            (KeyStore::Keyring, Place::File) | (KeyStore::File, Place::Keyring) => {
                return Err(HomeError::OtherStore { recorded: record.store.name() });
            }
            _ => {}
        }
        let text = match record.store {
            Place::File => {
                let text = read_if_there(&file_path)?.ok_or(HomeError::KeyGone)?;
                close_to_others(&file_path, 0o600)?;
                text
            }
            Place::Keyring => {
                let (ring, entry) = (ring(), record.entry.ok_or(HomeError::KeyDamaged)?);
                bounded(UNLOCK, move || ring.get(&entry))
                    .map_err(|Unreachable| HomeError::KeyringUnavailable)?
                    .ok_or(HomeError::KeyGone)?
            }
        };
        let key = MasterKey::from_text(text.expose())?;
        return if key.check() == record.check { Ok(key) } else { Err(HomeError::KeyDamaged) };
    }
    let (key, store, entry) = if let Some(text) = read_if_there(&file_path)? {
        close_to_others(&file_path, 0o600)?;
        (MasterKey::from_text(text.expose())?, Place::File, None)
    } else {
        if home.vault_path().exists() || home.session_path().exists() {
            return Err(HomeError::KeyGone);
        }
        let key = MasterKey::generate();
        let (store, entry) = keep(home, wanted, evident, &ring, &key)?;
        (key, store, entry)
    };
    record(home, &key, store, entry)?;
    Ok(key)
}

/// Keeps a key that was made elsewhere, in a home that has none.
pub(super) fn adopt(home: &Home, wanted: KeyStore, key: &MasterKey) -> Result<(), HomeError> {
    let (store, entry) = keep(home, wanted, evident_keyring(), &|| SystemRing, key)?;
    record(home, key, store, entry)
}

/// Puts the key where it is to be.
fn keep<R: Ring>(
    home: &Home,
    wanted: KeyStore,
    evident: bool,
    ring: &impl Fn() -> R,
    key: &MasterKey,
) -> Result<(Place, Option<String>), HomeError> {
    let in_keyring = match wanted {
        KeyStore::File => None,
        KeyStore::Auto if !evident => None,
        KeyStore::Auto => {
            let stored = store_in(ring(), key, LOOK);
            if stored.is_err() {
                tracing::warn!(
                    "the keyring did not take the master key (none there, or locked): it is kept in the file master.key"
                );
            }
            stored.ok()
        }
        KeyStore::Keyring => Some(store_in(ring(), key, UNLOCK).map_err(|Unreachable| HomeError::NoKeyring)?),
    };
    if let Some(entry) = in_keyring {
        return Ok((Place::Keyring, Some(entry)));
    }
    home.write_private(&home.root().join("master.key"), key.to_text().expose().as_bytes())?;
    Ok((Place::File, None))
}

/// Writes down where the key is.
fn record(home: &Home, key: &MasterKey, store: Place, entry: Option<String>) -> Result<(), HomeError> {
    let record = Record { store, entry, check: key.check() };
    let text = toml::to_string(&record).map_err(|_| HomeError::KeyDamaged)?;
    home.write_private(&home.root().join("master.toml"), text.as_bytes())
}

/// Stores the key under a fresh entry and reads it back before anything relies on it.
fn store_in<R: Ring>(ring: R, key: &MasterKey, wait: Duration) -> Result<String, Unreachable> {
    let (text, entry) = (key.to_text(), hex(&rand::random::<[u8; 8]>()));
    bounded(wait, move || {
        ring.set(&entry, &text)?;
        let read_back = ring.get(&entry)?;
        if read_back.is_some_and(|read| read.matches(text.expose().as_bytes())) {
            Ok(entry)
        } else {
            Err(Unreachable)
        }
    })
}

/// Runs `work` on a thread of its own and waits no longer than `wait`: a keyring may block for ever, and its
/// client must not find itself inside an async runtime.
fn bounded<T: Send + 'static>(
    wait: Duration,
    work: impl FnOnce() -> Result<T, Unreachable> + Send + 'static,
) -> Result<T, Unreachable> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new()
        .name("keyring".into())
        .spawn(move || drop(sender.send(work())))
        .map_err(|_| Unreachable)?;
    receiver.recv_timeout(wait).unwrap_or(Err(Unreachable))
}

struct SystemRing;

impl Ring for SystemRing {
    fn get(&self, entry: &str) -> Result<Option<Secret<String>>, Unreachable> {
        match system_entry(entry)?.get_password() {
            Ok(text) => Ok(Some(Secret::new(text))),
            Err(keyring_core::Error::NoEntry) => Ok(None),
            Err(_) => Err(Unreachable),
        }
    }

    fn set(&self, entry: &str, text: &Secret<String>) -> Result<(), Unreachable> {
        system_entry(entry)?.set_password(text.expose()).map_err(|_| Unreachable)
    }
}

#[cfg(any(target_os = "linux", target_os = "macos", windows))]
fn system_entry(entry: &str) -> Result<keyring_core::Entry, Unreachable> {
    use keyring_core::api::CredentialStoreApi as _;
    #[cfg(target_os = "linux")]
    let store = zbus_secret_service_keyring_store::Store::new();
    #[cfg(target_os = "macos")]
    let store = apple_native_keyring_store::keychain::Store::new();
    #[cfg(windows)]
    let store = windows_native_keyring_store::Store::new();
    store.and_then(|store| store.build(SERVICE, entry, None)).map_err(|_| Unreachable)
}

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
fn system_entry(_entry: &str) -> Result<keyring_core::Entry, Unreachable> {
    Err(Unreachable)
}

fn read_if_there(path: &std::path::Path) -> Result<Option<Secret<String>>, HomeError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(Secret::new(text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(HomeError::KeyDamaged),
        Err(error) => Err(HomeError::Unreadable { path: path.to_path_buf(), kind: error.kind() }),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
