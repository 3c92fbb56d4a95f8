//! The local endpoint's key: made once, kept in `api-key`, shown to the user who asks.

use rand::CryptoRng;

use crate::datadir::{Home, HomeError, HomeLock};
use crate::secret::Secret;

use super::AppError;

const PREFIX: &str = "sk-llmtor-";
/// Random characters; 40 of 62 are 238 bits.
const LENGTH: usize = 40;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The kept key, if there is one.
pub(super) fn read(home: &Home) -> Result<Option<Secret<String>>, AppError> {
    let path = home.api_key_path();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(AppError::ApiKeyDamaged),
        Err(error) => return Err(HomeError::Unreadable { path, kind: error.kind() }.into()),
    };
    let key = text.expose().trim();
    // Users may put a key of their own there; it must survive a header and a shell's quotes.
    let fits = key.len() >= 16 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if fits { Ok(Some(Secret::new(key.to_owned()))) } else { Err(AppError::ApiKeyDamaged) }
}

/// The kept key, made now if there is none.
pub(super) fn read_or_make(
    home: &Home,
    _lock: &HomeLock,
    rng: &mut impl CryptoRng,
) -> Result<Secret<String>, AppError> {
    if let Some(key) = read(home)? {
        return Ok(key);
    }
    let key = Secret::new(generate(rng));
    home.write_private(&home.api_key_path(), key.expose().as_bytes())?;
    Ok(key)
}

fn generate(rng: &mut impl CryptoRng) -> String {
    let mut key = String::with_capacity(PREFIX.len() + LENGTH);
    key.push_str(PREFIX);
    let mut random = [0_u8; 64];
    while key.len() < PREFIX.len() + LENGTH {
        rng.fill_bytes(&mut random);
        // 248 is the largest multiple of 62 in a byte: the rest would favour some characters.
        let fair = random.iter().filter(|byte| **byte < 248).map(|byte| ALPHABET[usize::from(byte % 62)]);
        key.extend(fair.take(PREFIX.len() + LENGTH - key.len()).map(char::from));
    }
    zeroize::Zeroize::zeroize(&mut random);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let lock = home.lock().unwrap();
        assert!(read(&home).unwrap().is_none());
        let made = read_or_make(&home, &lock, &mut rand::rng()).unwrap();
        assert_eq!(made.expose().len(), PREFIX.len() + LENGTH);
        let again = read_or_make(&home, &lock, &mut rand::rng()).unwrap();
        assert!(made.expose() == again.expose());
    }

    #[test]
    fn a_damaged_key_is_told_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let lock = home.lock().unwrap();
        for bad in ["", "short", "with a space in the middle", "quote'quote'quote'quote"] {
            std::fs::write(home.api_key_path(), bad).unwrap();
            assert!(matches!(read_or_make(&home, &lock, &mut rand::rng()), Err(AppError::ApiKeyDamaged)));
            assert_eq!(std::fs::read_to_string(home.api_key_path()).unwrap(), bad);
        }
    }
}
