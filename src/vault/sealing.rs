//! Records at rest: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) under the vault's sealing key, with a
//! random 24-byte nonce in front; and request digests: HMAC-SHA256 (RFC 2104) under its digest key.
//!
//! A sealed record is bound to its place: table, row and model are its associated data, so a record
//! copied to another row does not open.

use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use rand::Rng as _;
use sha2::Sha256;
use zeroize::Zeroize as _;

use super::{RequestDigest, VaultError, VaultKeys};
use crate::secret::Secret;
use crate::wire::ModelName;

const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
const KEY_CHECK: &[u8] = b"llmtor vault key check";

/// Where a record lives; its associated data.
pub(super) struct Place<'a> {
    pub(super) table: &'static str,
    pub(super) row: &'a [u8],
    /// Model name, or the kind of an abuse token.
    pub(super) subject: &'a str,
}

impl Place<'_> {
    fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(96);
        for part in [self.table.as_bytes(), self.row, self.subject.as_bytes()] {
            push_part(&mut data, part);
        }
        data
    }
}

/// Seals and opens records.
pub(super) struct Sealer {
    cipher: XChaCha20Poly1305,
}

impl Sealer {
    pub(super) fn new(keys: &VaultKeys) -> Self {
        Self { cipher: XChaCha20Poly1305::new(keys.sealing.expose().into()) }
    }

    /// `nonce ‖ ciphertext ‖ tag` of the parts, each with its length in front.
    pub(super) fn seal(&self, place: &Place<'_>, parts: &[&[u8]]) -> Vec<u8> {
        let len = parts.iter().map(|part| 4 + part.len()).sum::<usize>();
        // Reserved in full: a buffer that grew would leave plaintext behind in the heap.
        let mut plain = Vec::with_capacity(len);
        for part in parts {
            push_part(&mut plain, part);
        }
        let mut nonce = [0u8; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        let mut sealed = Vec::with_capacity(NONCE_LEN + len + TAG_LEN);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&plain);
        plain.zeroize();
        let tag = self.cipher.encrypt_inout_detached(
            &XNonce::from(nonce),
            &place.associated_data(),
            (&mut sealed[NONCE_LEN..]).into(),
        );
        #[expect(clippy::expect_used, reason = "records are far below the cipher's limit of 256 GiB")]
        let tag = tag.expect("a record is short");
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// The `N` parts of a record.
    pub(super) fn open<const N: usize>(
        &self,
        place: &Place<'_>,
        sealed: &[u8],
    ) -> Result<[Secret<Vec<u8>>; N], VaultError> {
        let damaged = VaultError::DamagedRecord;
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(|| damaged.clone())?;
        let (body, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or_else(|| damaged.clone())?;
        let mut plain = Secret::new(body.to_vec());
        let opened = self.cipher.decrypt_inout_detached(
            &XNonce::from(*nonce),
            &place.associated_data(),
            plain.expose_mut().as_mut_slice().into(),
            tag.into(),
        );
        opened.map_err(|_| damaged.clone())?;
        let mut rest = plain.expose().as_slice();
        let mut parts = Vec::with_capacity(N);
        while let Some((part, after)) = take_part(rest) {
            parts.push(Secret::new(part.to_vec()));
            rest = after;
        }
        parts.try_into().map_err(|_| damaged)
    }
}

/// Computes request digests.
#[derive(Clone)]
pub(super) struct Digester {
    key: Secret<[u8; 32]>,
}

impl Digester {
    pub(super) fn new(keys: &VaultKeys) -> Self {
        Self { key: keys.digest.clone() }
    }

    pub(super) fn digest(&self, model: &ModelName, messages: &[u8]) -> RequestDigest {
        RequestDigest(self.mac(&[model.as_str().as_bytes(), messages]))
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose()).expect("any length");
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// What is stored to recognise both keys again.
pub(super) fn key_check(sealer: &Sealer, digester: &Digester) -> Vec<u8> {
    sealer.seal(&KEY_CHECK_PLACE, &[&digester.mac(&[KEY_CHECK])])
}

/// Whether `stored` was made with these two keys.
pub(super) fn keys_fit(sealer: &Sealer, digester: &Digester, stored: &[u8]) -> bool {
    sealer.open::<1>(&KEY_CHECK_PLACE, stored).is_ok_and(|[mac]| mac.matches(&digester.mac(&[KEY_CHECK])))
}

const KEY_CHECK_PLACE: Place<'static> = Place { table: "meta", row: b"key check", subject: "" };

fn push_part(buffer: &mut Vec<u8>, part: &[u8]) {
    let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&len.to_be_bytes());
    buffer.extend_from_slice(part);
}

fn take_part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(byte: u8) -> VaultKeys {
        VaultKeys { sealing: Secret::new([byte; 32]), digest: Secret::new([byte ^ 0xff; 32]) }
    }

    fn place(row: &[u8]) -> Place<'_> {
        Place { table: "tokens", row, subject: "gpt-4.1" }
    }

    #[test]
    fn a_record_opens_only_in_its_place_and_under_its_key() {
        let sealer = Sealer::new(&keys(1));
        let record = sealer.seal(&place(b"one"), &[b"token", b"signature"]);
        let [token, signature] = sealer.open(&place(b"one"), &record).ok().unwrap();
        assert!(token.matches(b"token") && signature.matches(b"signature"));
        assert!(sealer.open::<2>(&place(b"two"), &record).is_err());
        assert!(sealer.open::<2>(&Place { subject: "o1", ..place(b"one") }, &record).is_err());
        assert!(sealer.open::<2>(&Place { table: "issuances", ..place(b"one") }, &record).is_err());
        assert!(Sealer::new(&keys(2)).open::<2>(&place(b"one"), &record).is_err());
        assert!(sealer.open::<3>(&place(b"one"), &record).is_err());
    }

    #[test]
    fn the_same_record_is_never_sealed_to_the_same_bytes() {
        let sealer = Sealer::new(&keys(1));
        assert!(sealer.seal(&place(b"one"), &[b"token"]) != sealer.seal(&place(b"one"), &[b"token"]));
    }

    #[test]
    fn either_wrong_key_is_noticed() {
        let check = key_check(&Sealer::new(&keys(1)), &Digester::new(&keys(1)));
        assert!(keys_fit(&Sealer::new(&keys(1)), &Digester::new(&keys(1)), &check));
        assert!(!keys_fit(&Sealer::new(&keys(2)), &Digester::new(&keys(1)), &check));
        assert!(!keys_fit(&Sealer::new(&keys(1)), &Digester::new(&keys(2)), &check));
    }

    #[test]
    fn moving_a_byte_between_model_and_messages_changes_the_digest() {
        let digester = Digester::new(&keys(1));
        let model = |name: &str| ModelName::new(name).unwrap();
        assert!(digester.digest(&model("o1"), b"x") == digester.digest(&model("o1"), b"x"));
        assert!(digester.digest(&model("o1"), b"x") != digester.digest(&model("o1x"), b""));
        assert!(digester.digest(&model("o1"), b"x") != Digester::new(&keys(2)).digest(&model("o1"), b"x"));
    }

    proptest! {
        #[test]
        fn any_record_comes_back_and_no_flipped_bit_does(
            parts in (proptest::collection::vec(any::<u8>(), 0..80), proptest::collection::vec(any::<u8>(), 0..80)),
            at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let sealer = Sealer::new(&keys(7));
            let mut sealed = sealer.seal(&place(b"row"), &[&parts.0, &parts.1]);
            let [first, second] = sealer.open(&place(b"row"), &sealed).ok().unwrap();
            prop_assert!(first.matches(&parts.0) && second.matches(&parts.1));
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(sealer.open::<2>(&place(b"row"), &sealed).is_err());
        }

        #[test]
        fn garbage_is_refused_without_a_panic(garbage in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Sealer::new(&keys(7)).open::<2>(&place(b"row"), &garbage).is_err());
        }
    }
}
