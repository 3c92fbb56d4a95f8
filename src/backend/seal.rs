//! Answers at rest, sealed so that only the token's holder can have them opened.
//!
//! XChaCha20-Poly1305 under HKDF-SHA256 (RFC 5869) with the server's secret as salt and **the token itself**
//! as input keying material. The server keeps of the token only SHA-256, so neither the database nor
//! the database together with the server's secret opens an answer; the next presentation of the token
//! does. The additional data bind the answer to its token and to its request.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use rand::CryptoRng;
use sha2::{Digest as _, Sha256};

use super::spent::TokenHash;
use crate::secret::Secret;

const NONCE: usize = 24;
const INFO: &[u8] = b"llmtor backend: answer at rest, 1";

/// The answer cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealError;

/// The server's part of every answer's key: 32 random bytes.
pub(super) struct AnswerKey(Secret<[u8; 32]>);

impl AnswerKey {
    pub(super) fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(Secret::new(bytes))
    }

    /// From its file; `None` if that has another length.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Secret::new(bytes)))
    }

    pub(super) fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// `nonce[24] ‖ ciphertext ‖ tag[16]`.
    pub(super) fn seal(
        &self,
        rng: &mut impl CryptoRng,
        token: &[u8],
        request: &[u8; 32],
        answer: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let aad = additional_data(token, request);
        let payload = Payload { msg: answer, aad: &aad };
        let sealed = self.cipher(token)?.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    pub(super) fn open(&self, token: &[u8], request: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(SealError)?;
        let aad = additional_data(token, request);
        let payload = Payload { msg: sealed, aad: &aad };
        self.cipher(token)?.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError)
    }

    fn cipher(&self, token: &[u8]) -> Result<XChaCha20Poly1305, SealError> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(self.expose()), token)
            .expand(INFO, key.as_mut_slice())
            .map_err(|_| SealError)?;
        Ok(XChaCha20Poly1305::new(key.as_slice().try_into().map_err(|_| SealError)?))
    }
}

fn additional_data(token: &[u8], request: &[u8; 32]) -> [u8; 64] {
    let mut data = [0; 64];
    data[..32].copy_from_slice(&token_hash(token));
    data[32..].copy_from_slice(request);
    data
}

/// Under what a token is stored (protocol.md §5).
pub(super) fn token_hash(token: &[u8]) -> TokenHash {
    Sha256::digest(token).into()
}

/// What recognises the same request: SHA-256 over the `llmmask` fields, each with its length in front.
/// The token among them has 122 random bits, so the digest gives none of the others away.
pub(super) fn request_digest<'a>(fields: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_opens_with_its_token_its_request_and_the_servers_secret_only() {
        let mut rng = rand::rng();
        let key = AnswerKey::generate(&mut rng);
        let request = [7; 32];
        let sealed = key.seal(&mut rng, b"token", &request, b"answer").unwrap();
        assert_eq!(key.open(b"token", &request, &sealed).unwrap(), b"answer");
        assert_eq!(key.open(b"tokem", &request, &sealed), Err(SealError));
        assert_eq!(key.open(b"token", &[8; 32], &sealed), Err(SealError));
        assert_eq!(AnswerKey::generate(&mut rng).open(b"token", &request, &sealed), Err(SealError));
        assert_eq!(key.open(b"token", &request, &sealed[..20]), Err(SealError));
    }

    #[test]
    fn a_digest_tells_where_one_field_ends() {
        let digest = |fields: &[&'static [u8]]| request_digest(fields.iter().copied());
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"a", b""]), digest(&[b"a"]));
    }
}
