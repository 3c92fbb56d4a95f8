//! Voucher codes: what a self-hoster hands out, and its holder turns into credits.
//!
//! Twenty symbols drawn at random (100 bits) and four that check them, in Crockford's alphabet: no letter looks like a
//! digit, case does not matter, and hyphens and blanks are for the eye. The check tells a slip of the pen from a code that
//! nobody gave out, so a slip is never sent anywhere.
//!
//! A code is money. It cannot be printed by accident, and it is kept as its hash alone.

use rand::CryptoRng;
use sha2::{Digest as _, Sha256};

use crate::secret::Secret;

/// The error texts with which the backend refuses a code (all but the first with 500, as protocol.md §2 has it).
pub const TOO_MANY_GUESSES: &str = "too many wrong voucher codes";
/// Nobody gave it out.
pub const UNKNOWN: &str = "unknown voucher code";
/// It was turned into credits before.
pub const USED: &str = "voucher already used";
/// Its time is over.
pub const EXPIRED: &str = "voucher expired";
/// Its host took it back.
pub const REVOKED: &str = "voucher revoked";

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Drawn at random.
const DRAWN: usize = 20;
/// With the four that check.
const LENGTH: usize = 24;
/// Symbols between two hyphens.
const GROUP: usize = 4;

/// A code whose check is right. Whether anybody gave it out is for the backend to say.
#[derive(Clone)]
pub struct VoucherCode(Secret<String>);

/// Why a text is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVoucher {
    /// Something is missing or too much.
    #[error("a voucher code has 24 letters and digits, this one has {0}")]
    Length(usize),
    /// A character that no code has.
    #[error("`{0}` stands in no voucher code")]
    Symbol(char),
    /// A symbol is another than was given out.
    #[error("the voucher code does not add up: something in it is mistyped")]
    Check,
}

/// Why the backend takes no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoucherRefusal {
    /// Nobody gave it out.
    Unknown,
    /// It was turned into credits before.
    Used,
    /// Its time is over.
    Expired,
    /// Its host took it back.
    Revoked,
    /// Too many wrong ones were tried; for a while none is looked at.
    TooMany,
    /// This backend has no vouchers.
    NotTaken,
}

impl VoucherRefusal {
    /// Tells refusals apart by the failure's `error` text.
    pub fn classify(text: &str) -> Option<Self> {
        match text {
            UNKNOWN => Some(Self::Unknown),
            USED => Some(Self::Used),
            EXPIRED => Some(Self::Expired),
            REVOKED => Some(Self::Revoked),
            TOO_MANY_GUESSES => Some(Self::TooMany),
            _ => None,
        }
    }
}

impl VoucherCode {
    /// Draws a code.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = zeroize::Zeroizing::new([0u8; DRAWN]);
        rng.fill_bytes(&mut *bytes);
        // 256 is a multiple of 32: every symbol is as likely.
        let mut text: String = bytes.iter().map(|byte| symbol(usize::from(*byte))).collect();
        let check = check(&text);
        text.push_str(&check);
        Self(Secret::new(text))
    }

    /// Reads what somebody typed.
    pub fn parse(text: &str) -> Result<Self, InvalidVoucher> {
        let mut found = Secret::new(String::with_capacity(LENGTH));
        for character in text.trim().chars().filter(|c| !c.is_whitespace() && *c != '-') {
            let meant = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            if !u8::try_from(meant).is_ok_and(|byte| ALPHABET.contains(&byte)) {
                return Err(InvalidVoucher::Symbol(character));
            }
            found.expose_mut().push(meant);
        }
        let length = found.expose().len();
        if length != LENGTH {
            return Err(InvalidVoucher::Length(length));
        }
        let (drawn, checked) = found.expose().split_at(DRAWN);
        if check(drawn) == checked { Ok(Self(found)) } else { Err(InvalidVoucher::Check) }
    }

    /// As it is handed out: six groups of four.
    pub fn text(&self) -> Secret<String> {
        let symbols: Vec<char> = self.0.expose().chars().collect();
        let groups: Vec<String> = symbols.chunks(GROUP).map(|group| group.iter().collect()).collect();
        Secret::new(groups.join("-"))
    }

    /// As it is kept. A hash without a stretch will do: there are 2^100 codes.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::new().chain_update(b"llmtor voucher\0").chain_update(self.0.expose()).finalize().into()
    }
}

fn symbol(number: usize) -> char {
    char::from(ALPHABET[number % ALPHABET.len()])
}

/// Twenty bits of a hash: of a million slips one passes, and is told as unknown.
fn check(drawn: &str) -> String {
    let hash: [u8; 32] =
        Sha256::new().chain_update(b"llmtor voucher check\0").chain_update(drawn).finalize().into();
    hash[..LENGTH - DRAWN].iter().map(|byte| symbol(usize::from(*byte))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drawn() -> VoucherCode {
        VoucherCode::generate(&mut rand::rng())
    }

    #[test]
    fn a_code_is_read_whatever_its_case_and_its_hyphens() {
        let code = drawn();
        let text = code.text().expose().clone();
        assert_eq!(text.len(), 29);
        for form in [
            text.clone(),
            text.to_lowercase(),
            text.replace('-', ""),
            text.replace('-', " "),
            format!(" {text}\n"),
        ] {
            assert_eq!(VoucherCode::parse(&form).ok().map(|read| read.sha256()), Some(code.sha256()));
        }
        let sloppy: String = text
            .chars()
            .map(|c| {
                if c == '0' {
                    'o'
                } else if c == '1' {
                    'l'
                } else {
                    c
                }
            })
            .collect();
        assert!(VoucherCode::parse(&sloppy).is_ok());
    }

    #[test]
    fn what_is_no_code_is_told_why() {
        let text = drawn().text().expose().clone();
        let why = |text: &str| VoucherCode::parse(text).err();
        assert_eq!(why(""), Some(InvalidVoucher::Length(0)));
        assert_eq!(why(&text[..28]), Some(InvalidVoucher::Length(23)));
        assert_eq!(why(&format!("{text}0")), Some(InvalidVoucher::Length(25)));
        assert_eq!(why("U"), Some(InvalidVoucher::Symbol('U')));
        assert_eq!(why("é"), Some(InvalidVoucher::Symbol('é')));
    }

    #[test]
    fn a_refusal_is_told_by_its_text() {
        for (text, meant) in [
            (UNKNOWN, VoucherRefusal::Unknown),
            (USED, VoucherRefusal::Used),
            (EXPIRED, VoucherRefusal::Expired),
            (REVOKED, VoucherRefusal::Revoked),
            (TOO_MANY_GUESSES, VoucherRefusal::TooMany),
        ] {
            assert_eq!(VoucherRefusal::classify(text), Some(meant));
        }
        assert_eq!(VoucherRefusal::classify("no quota left"), None);
    }

    proptest! {
        #[test]
        fn one_wrong_symbol_or_two_exchanged_are_noticed(seed in any::<[u8; 20]>(), at in 0usize..24, by in 1usize..32) {
            let mut text: String = seed.iter().map(|byte| symbol(usize::from(*byte))).collect();
            let end = check(&text);
            text.push_str(&end);
            let mut symbols: Vec<char> = text.chars().collect();
            let place = ALPHABET.iter().position(|byte| char::from(*byte) == symbols[at]).unwrap();
            symbols[at] = symbol(place + by);
            let wrong: String = symbols.iter().collect();
            // One in a million may pass; never as the code that it was.
            let of = |text: &str| VoucherCode::parse(text).ok().map(|code| code.sha256());
            prop_assert_ne!(of(&wrong), of(&text));
        }

        #[test]
        fn no_text_makes_the_reader_fall_over(text in any::<String>()) {
            let _ = VoucherCode::parse(&text);
        }
    }
}
