//! Blinding many tokens under one key, with one inversion for all of them.
//!
//! RFC 9474 §4.2 asks for two things that each cost a constant-time extended GCD a message, and together most of the
//! client's work: that the encoded message and n are coprime, and the inverse of the blinding factor r. Both follow for the
//! whole batch from the inverse of the product of all encoded messages and all r (Montgomery's trick): it exists
//! exactly if each factor is coprime with n, and multiplying it by the others leaves the inverse of one. The blinded
//! messages and secrets are those of the RFC's Blind for the same salt and r: the same distribution, and the RFC's vector.
//!
//! Arithmetic on secrets is `crypto-bigint`'s constant-time Montgomery form.

use crypto_bigint::modular::BoxedMontyForm;
use rand::CryptoRng;
use rsa::BoxedUint;
use rsa::traits::PublicKeyParts as _;
use sha2::{Digest as _, Sha384};

use super::{BlindError, BlindedMessage, Blinding, BlindingSecret, PublicKey, TokenMessage};
use crate::secret::Secret;

/// Bytes of SHA-384, and of the salt.
const HASH: usize = 48;

/// What is drawn at random for one message.
struct Drawn {
    salt: [u8; HASH],
    /// Uniform in [1, n).
    r: BoxedUint,
}

impl PublicKey {
    /// [`PublicKey::blind`] of each message, at a fraction of the cost; in the same order.
    pub fn blind_batch<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        messages: &[TokenMessage],
    ) -> Result<Vec<Blinding>, BlindError> {
        let drawn: Vec<Drawn> = messages.iter().map(|_| self.draw(rng)).collect();
        self.blind_drawn(messages, drawn)
    }

    fn draw<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Drawn {
        let mut salt = [0; HASH];
        rng.fill_bytes(&mut salt);
        let n = self.raw.n().as_ref();
        let spare = self.modulus_len * 8 - self.modulus_bits;
        let mut bytes = zeroize::Zeroizing::new(vec![0; self.modulus_len]);
        loop {
            rng.fill_bytes(&mut bytes);
            // Fewer than half of the draws are thrown away; which ones says nothing of the one that is kept.
            bytes[0] &= 0xff >> spare;
            let r = BoxedUint::from_be_slice_truncated(&bytes, n.bits_precision());
            if r < n && !bool::from(r.is_zero()) {
                return Drawn { salt, r };
            }
        }
    }

    fn blind_drawn(&self, messages: &[TokenMessage], drawn: Vec<Drawn>) -> Result<Vec<Blinding>, BlindError> {
        let params = self.raw.n_params();
        let precision = self.raw.n().as_ref().bits_precision();
        // [`PublicKey::from_spki_pem`] admits 65537 only.
        let exponent = BoxedUint::from(65_537u64);
        let mut product = BoxedMontyForm::one(params);
        let mut factors = Vec::with_capacity(messages.len());
        for (message, Drawn { salt, r }) in messages.iter().zip(drawn) {
            let encoded = emsa_pss_encode(message.expose(), self.modulus_bits - 1, &salt);
            let encoded = BoxedUint::from_be_slice_truncated(&encoded, precision);
            let encoded = BoxedMontyForm::new(encoded, params);
            let r = BoxedMontyForm::new(r, params);
            let blinded = encoded.mul(&r.pow_bounded_exp(&exponent, 17)).retrieve();
            // The inverse of r is that of the product so far and of this message's two, times all but r.
            let others = product.mul(&encoded);
            product = others.mul(&r);
            factors.push((blinded, others, encoded.mul(&r)));
        }
        let mut inverse = Option::from(product.invert()).ok_or(BlindError::Blinding)?;
        let mut blindings = Vec::with_capacity(factors.len());
        for (blinded, others, both) in factors.into_iter().rev() {
            let unblinder = BoxedMontyForm::mul(&inverse, &others).retrieve();
            inverse = BoxedMontyForm::mul(&inverse, &both);
            blindings.push(Blinding {
                blinded: BlindedMessage(self.octets(&blinded)),
                secret: BlindingSecret(Secret::new(self.octets(&unblinder))),
            });
        }
        blindings.reverse();
        Ok(blindings)
    }

    /// RFC 8017 §4.1 I2OSP, as long as the modulus.
    fn octets(&self, number: &BoxedUint) -> Vec<u8> {
        let bytes = number.to_be_bytes();
        bytes[bytes.len() - self.modulus_len..].to_vec()
    }
}

/// RFC 8017 §9.1.1 EMSA-PSS-ENCODE with SHA-384, MGF1 (§B.2.1) and a salt of 48 bytes. `bits` is at least 2047.
fn emsa_pss_encode(message: &[u8], bits: usize, salt: &[u8; HASH]) -> Vec<u8> {
    let length = bits.div_ceil(8);
    let hash = Sha384::new()
        .chain_update([0; 8])
        .chain_update(Sha384::digest(message))
        .chain_update(salt)
        .finalize();
    let mut encoded = vec![0; length - HASH - HASH - 2];
    encoded.push(1);
    encoded.extend_from_slice(salt);
    for (counter, block) in (0u32..).zip(encoded.chunks_mut(HASH)) {
        let mask = Sha384::new().chain_update(hash).chain_update(counter.to_be_bytes()).finalize();
        block.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    encoded[0] &= 0xff >> (8 * length - bits);
    encoded.extend_from_slice(&hash);
    encoded.push(0xbc);
    encoded
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bytes, number, vector};
    use super::super::{BlindSignature, Signature};
    use super::*;

    #[test]
    fn a_batch_of_the_rfc_vector_blinds_to_the_same_bytes() {
        let vector = vector();
        let key = vector.public_key();
        let n = key.raw.n();
        let draw = || Drawn {
            salt: bytes(&vector.salt).try_into().expect("48 bytes"),
            r: Option::from(number(&vector.inv).invert_mod(n)).expect("invertible"),
        };
        let message = || TokenMessage::from_bytes(bytes(&vector.msg));
        // Between random ones, so that the inversion is really shared.
        let messages =
            [TokenMessage::credit(&mut rand::rng()), message(), TokenMessage::credit(&mut rand::rng())];
        let drawn = vec![key.draw(&mut rand::rng()), draw(), key.draw(&mut rand::rng())];
        let blindings = key.blind_drawn(&messages, drawn).expect("blinded");
        assert!(blindings[1].blinded.as_bytes() == bytes(&vector.blinded_msg));
        assert!(blindings[1].secret.expose().ends_with(&bytes(&vector.inv)));
        assert_eq!(blindings.len(), 3);
    }

    #[test]
    fn every_token_of_a_batch_finalizes_and_no_two_are_alike() {
        let signer = blind_rsa_signatures::KeyPairSha384PSSDeterministic::generate(
            &mut blind_rsa_signatures::DefaultRng,
            2048,
        )
        .expect("key pair");
        let key = PublicKey::from_spki_pem(&signer.pk.to_pem().expect("pem")).expect("key");
        for size in [0, 1, 2, 7] {
            let messages: Vec<_> = (0..size).map(|_| TokenMessage::credit(&mut rand::rng())).collect();
            let blindings = key.blind_batch(&mut rand::rng(), &messages).expect("blinded");
            assert_eq!(blindings.len(), size);
            let mut seen = std::collections::HashSet::new();
            for (blinding, message) in blindings.iter().zip(&messages) {
                assert!(seen.insert(blinding.blinded.as_bytes()) && seen.insert(blinding.secret.expose()));
                let signature = signer.sk.blind_sign(blinding.blinded.as_bytes()).expect("signed");
                let signature = BlindSignature::from_bytes(signature.0);
                let finalized: Signature =
                    key.finalize(&signature, &blinding.secret, message).expect("verifies");
                assert_eq!(key.verify(message.expose(), finalized.expose()), Ok(()));
            }
        }
    }

    #[test]
    fn a_factor_that_is_not_coprime_with_the_modulus_refuses_the_batch() {
        let vector = vector();
        let key = vector.public_key();
        let messages = [TokenMessage::credit(&mut rand::rng()), TokenMessage::credit(&mut rand::rng())];
        let mut bad = key.draw(&mut rand::rng());
        let precision = key.raw.n().as_ref().bits_precision();
        bad.r = BoxedUint::from_be_slice_truncated(&bytes(&vector.p), precision);
        let drawn = vec![key.draw(&mut rand::rng()), bad];
        assert_eq!(key.blind_drawn(&messages, drawn).err(), Some(BlindError::Blinding));
    }
}
