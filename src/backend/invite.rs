//! Invite codes: 100 random bits in letters and digits that are not taken for one another.

use rand::CryptoRng;
use sha2::{Digest as _, Sha256};

use super::ledger::CodeHash;
use crate::secret::Secret;

/// Crockford's base 32: no I, L, O or U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUPS: usize = 4;
const GROUP: usize = 5;

/// A code as it is handed out, such as `7H2KM-…`. Shown once, kept only as a hash.
pub struct InviteCode(Secret<String>);

impl InviteCode {
    /// A new one.
    pub(super) fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = zeroize::Zeroizing::new([0_u8; GROUPS * GROUP]);
        rng.fill_bytes(bytes.as_mut_slice());
        let mut text = String::with_capacity(GROUPS * (GROUP + 1));
        for (at, byte) in bytes.iter().enumerate() {
            if at > 0 && at % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[usize::from(byte % 32)]));
        }
        Self(Secret::new(text))
    }

    /// The text to hand out.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    pub(super) fn hash(&self) -> CodeHash {
        hash(self.expose())
    }
}

/// The hash of a code as somebody typed it: in small letters, without hyphens, with an O for a zero.
pub(super) fn hash(typed: &str) -> CodeHash {
    let plain =
        typed.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        });
    let plain: zeroize::Zeroizing<String> = zeroize::Zeroizing::new(plain.collect());
    Sha256::digest(plain.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_has_four_groups_and_no_two_are_alike() {
        let code = InviteCode::generate(&mut rand::rng());
        let groups: Vec<_> = code.expose().split('-').map(str::len).collect();
        assert_eq!(groups, [5; 4]);
        assert_ne!(code.expose(), InviteCode::generate(&mut rand::rng()).expose());
    }

    proptest! {
        #[test]
        fn a_code_is_known_however_it_is_typed(spaces in "[ \t-]{0,4}", lower: bool) {
            let code = InviteCode::generate(&mut rand::rng());
            let typed = code.expose().replace('-', &spaces).replace('0', "o").replace('1', "L");
            let typed = if lower { typed.to_lowercase() } else { typed };
            prop_assert_eq!(hash(&format!(" {typed}\n")), code.hash());
        }
    }
}
