//! The ids of calls.

use sha2::{Digest, Sha256};

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `call_` and 24 letters and digits: the same for the same call, at the same place, under the same seed.
pub fn id(seed: &[u8; 32], index: usize, name: &str, arguments: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(seed);
    hash.update((index as u64).to_be_bytes());
    // The length keeps `ab` and `c` apart from `a` and `bc`.
    hash.update((name.len() as u64).to_be_bytes());
    hash.update(name);
    hash.update(arguments);
    let letters =
        hash.finalize().into_iter().take(24).map(|byte| char::from(LETTERS[usize::from(byte) % 62]));
    std::iter::once("call_".to_owned()).chain(letters.map(String::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_the_form_of_openai_and_depends_on_all_there_is() {
        let first = id(&[0; 32], 0, "ab", "c");
        assert_eq!(first, id(&[0; 32], 0, "ab", "c"));
        assert_eq!(first.len(), "call_".len() + 24);
        assert!(first.strip_prefix("call_").unwrap().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        for other in [
            id(&[1; 32], 0, "ab", "c"),
            id(&[0; 32], 1, "ab", "c"),
            id(&[0; 32], 0, "a", "bc"),
            id(&[0; 32], 0, "ab", "d"),
        ] {
            assert_ne!(first, other);
        }
    }
}
