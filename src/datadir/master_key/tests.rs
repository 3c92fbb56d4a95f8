//! The table of [`super`], with a keyring in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::*;

/// A keyring in memory; `None` inside means locked.
#[derive(Clone)]
struct Fake(Arc<Mutex<Option<HashMap<String, String>>>>);

impl Fake {
    fn unlocked() -> Self {
        Self(Arc::new(Mutex::new(Some(HashMap::new()))))
    }

    fn locked() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }
}

impl Ring for Fake {
    fn get(&self, entry: &str) -> Result<Option<Secret<String>>, Unreachable> {
        let held = self.0.lock().unwrap();
        Ok(held.as_ref().ok_or(Unreachable)?.get(entry).cloned().map(Secret::new))
    }

    fn set(&self, entry: &str, text: &Secret<String>) -> Result<(), Unreachable> {
        let mut held = self.0.lock().unwrap();
        held.as_mut().ok_or(Unreachable)?.insert(entry.into(), text.expose().clone());
        Ok(())
    }
}

struct Scene {
    _dir: tempfile::TempDir,
    home: Home,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        Self { _dir: dir, home }
    }

    fn load(&self, wanted: KeyStore, ring: &Fake) -> Result<String, HomeError> {
        load_with(&self.home, wanted, true, || ring.clone()).map(|key| hex(key.derive("x").expose()))
    }

    fn has_key_file(&self) -> bool {
        self.home.root().join("master.key").exists()
    }
}

#[test]
fn derived_keys_are_hkdf_sha256_of_the_label() {
    // HKDF-SHA256, no salt, input 32 times 0x0b, info "llmtor": computed independently (RFC 5869 §2).
    let key = MasterKey(Secret::new([0x0b; 32]));
    assert_eq!(
        hex(key.derive("llmtor").expose()),
        "8a8114fabf87f08cba3284ec6d5234146adb6dfa0aa67f7452943ef2f0fec2a6"
    );
    assert_ne!(hex(key.derive("a").expose()), hex(key.derive("b").expose()));
}

#[test]
fn without_a_keyring_the_key_is_a_file_and_stays_the_same() {
    let scene = Scene::new();
    let first = scene.load(KeyStore::Auto, &Fake::locked()).unwrap();
    assert!(scene.has_key_file());
    assert_eq!(scene.load(KeyStore::Auto, &Fake::unlocked()).unwrap(), first);
    assert_eq!(scene.load(KeyStore::File, &Fake::locked()).unwrap(), first);
}

#[test]
fn with_a_keyring_the_key_is_nowhere_in_the_home() {
    let (scene, ring) = (Scene::new(), Fake::unlocked());
    let first = scene.load(KeyStore::Auto, &ring).unwrap();
    assert!(!scene.has_key_file());
    let texts: Vec<String> = ring.0.lock().unwrap().as_ref().unwrap().values().cloned().collect();
    assert_eq!(texts.len(), 1);
    for entry in fs::read_dir(scene.home.root()).unwrap() {
        let content = fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&content).contains(&texts[0]));
    }
    assert_eq!(scene.load(KeyStore::Auto, &ring).unwrap(), first);
}

#[test]
fn two_homes_share_no_keyring_entry() {
    let (one, two, ring) = (Scene::new(), Scene::new(), Fake::unlocked());
    let first = one.load(KeyStore::Keyring, &ring).unwrap();
    assert_ne!(two.load(KeyStore::Keyring, &ring).unwrap(), first);
    assert_eq!(one.load(KeyStore::Keyring, &ring).unwrap(), first);
}

#[test]
fn a_keyring_locked_later_is_an_error_and_never_a_new_key() {
    let (scene, ring) = (Scene::new(), Fake::unlocked());
    let first = scene.load(KeyStore::Auto, &ring).unwrap();
    let held = ring.0.lock().unwrap().take();
    assert!(matches!(scene.load(KeyStore::Auto, &ring), Err(HomeError::KeyringUnavailable)));
    assert!(!scene.has_key_file());
    *ring.0.lock().unwrap() = held;
    assert_eq!(scene.load(KeyStore::Auto, &ring).unwrap(), first);
}

#[test]
fn a_key_removed_from_its_store_is_gone_not_remade() {
    let (scene, ring) = (Scene::new(), Fake::unlocked());
    scene.load(KeyStore::Auto, &ring).unwrap();
    ring.0.lock().unwrap().as_mut().unwrap().clear();
    assert!(matches!(scene.load(KeyStore::Auto, &ring), Err(HomeError::KeyGone)));

    let scene = Scene::new();
    scene.load(KeyStore::File, &ring).unwrap();
    fs::remove_file(scene.home.root().join("master.key")).unwrap();
    assert!(matches!(scene.load(KeyStore::File, &ring), Err(HomeError::KeyGone)));
}

#[test]
fn with_a_vault_or_a_session_and_no_key_none_is_made() {
    for sealed in ["vault.db", "session.sealed"] {
        let scene = Scene::new();
        fs::write(scene.home.root().join(sealed), b"x").unwrap();
        let error = scene.load(KeyStore::Auto, &Fake::unlocked()).unwrap_err();
        assert!(error.to_string().starts_with("the vault's key is gone"), "{error}");
        assert!(!scene.has_key_file());
    }
}

#[test]
fn an_explicit_store_that_is_not_there_or_not_the_one_is_an_error() {
    let scene = Scene::new();
    assert!(matches!(scene.load(KeyStore::Keyring, &Fake::locked()), Err(HomeError::NoKeyring)));
    scene.load(KeyStore::File, &Fake::locked()).unwrap();
    let error = scene.load(KeyStore::Keyring, &Fake::unlocked()).unwrap_err();
    assert!(matches!(error, HomeError::OtherStore { recorded: "file" }));
}

#[test]
fn a_damaged_or_exchanged_key_is_noticed() {
    let scene = Scene::new();
    scene.load(KeyStore::File, &Fake::locked()).unwrap();
    let path = scene.home.root().join("master.key");
    for content in [&b"not hex"[..], &[0xff; 64], &[b'0'; 64], b""] {
        fs::write(&path, content).unwrap();
        assert!(matches!(scene.load(KeyStore::Auto, &Fake::locked()), Err(HomeError::KeyDamaged)));
    }
}

#[test]
fn a_key_file_whose_record_was_not_written_yet_is_taken_up() {
    let scene = Scene::new();
    let first = scene.load(KeyStore::File, &Fake::locked()).unwrap();
    fs::remove_file(scene.home.root().join("master.toml")).unwrap();
    assert_eq!(scene.load(KeyStore::Auto, &Fake::unlocked()).unwrap(), first);
}

#[test]
fn a_keyring_that_hangs_is_given_up() {
    let (_sender, receiver) = mpsc::channel::<()>();
    let waited = bounded(Duration::from_millis(20), move || receiver.recv().map_err(|_| Unreachable));
    assert!(waited.is_err());
}
