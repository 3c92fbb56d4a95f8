//! Blind signatures: RSABSSA-SHA384-PSS-Deterministic (RFC 9474 §5, protocol.md §3), public-key side.
//!
//! A thin skin over `blind-rsa-signatures`: newtypes that cannot be mixed up or printed, strict
//! checks of a key before anything is blinded under it, and blinding in batches ([`PublicKey::blind_batch`]),
//! which that library does not have. The message is signed as it is, without a
//! randomiser; that is safe because every message here is a fresh random token.
//!
//! Deliberately absent: signing (the reference backend's `issuer`), and any key that is not RSA with
//! 2048 to 4096 bits and e = 65537.

mod batch;

use std::fmt;

use blind_rsa_signatures::{
    BlindMessage, BlindSignature as RawBlindSignature, BlindingResult, PublicKeySha384PSSDeterministic,
    Secret as RawSecret, Signature as RawSignature,
};
use rand::CryptoRng;
use sha2::{Digest as _, Sha256};

use crate::secret::Secret;
use crate::wire::redemption::Epoch;

/// SHA-256 of a key's SPKI DER, shown as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The raw digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From a stored digest.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// Why a text is not a key that we blind under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not `-----BEGIN PUBLIC KEY-----` with an rsaEncryption SPKI inside.
    #[error("not an RSA public key in SPKI PEM (-----BEGIN PUBLIC KEY-----)")]
    NotRsaSpki,
    /// Too short or too long.
    #[error("the RSA modulus has {0} bits; 2048 to 4096 are accepted")]
    ModulusBits(usize),
    /// Another exponent.
    #[error("the RSA exponent is not 65537")]
    Exponent,
}

/// Why blinding or finalizing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlindError {
    /// The key cannot blind this message.
    #[error("blinding failed")]
    Blinding,
    /// The signer returned something that is not a signature under the pinned key.
    #[error("the signature does not verify under the pinned key")]
    DoesNotVerify,
}

/// A pinned issuer key.
#[derive(Clone)]
pub struct PublicKey {
    inner: PublicKeySha384PSSDeterministic,
    /// The same key.
    raw: rsa::RsaPublicKey,
    fingerprint: Fingerprint,
    modulus_len: usize,
    modulus_bits: usize,
}

/// A token before it is blinded: the message that gets signed.
pub struct TokenMessage(Secret<Vec<u8>>);

/// What unblinds the signature. Whoever holds it can link token and issuance.
pub struct BlindingSecret(Secret<Vec<u8>>);

/// What the issuer sees.
#[derive(Clone, PartialEq, Eq)]
pub struct BlindedMessage(Vec<u8>);

/// What the issuer answers.
#[derive(Clone, PartialEq, Eq)]
pub struct BlindSignature(Vec<u8>);

/// A finalized, verified signature.
pub struct Signature(Secret<Vec<u8>>);

/// The outcome of blinding.
pub struct Blinding {
    /// To be sent.
    pub blinded: BlindedMessage,
    /// To be kept until the signature is here.
    pub secret: BlindingSecret,
}

impl PublicKey {
    /// Reads an SPKI PEM and checks algorithm, size and exponent. Lines may have any width (RFC 7468 §2).
    ///
    /// Strict: one block with nothing beside it, algorithm rsaEncryption (RFC 8017 §A.1; not RSASSA-PSS), and the
    /// DER that encoding the key again gives, so that one key has one fingerprint.
    pub fn from_spki_pem(pem: &str) -> Result<Self, KeyError> {
        use base64::Engine as _;
        use rsa::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
        use rsa::traits::PublicKeyParts as _;

        let body = pem.trim().strip_prefix(PEM_BEGIN).and_then(|rest| rest.strip_suffix(PEM_END));
        let body: String = body.ok_or(KeyError::NotRsaSpki)?.split_ascii_whitespace().collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body).map_err(|_| KeyError::NotRsaSpki)?;
        // Longer ones are refused before big-number arithmetic sees them.
        if der.len() > 2_200 {
            return Err(KeyError::NotRsaSpki);
        }
        let key = rsa::RsaPublicKey::from_public_key_der(&der).map_err(|_| KeyError::NotRsaSpki)?;
        if !key.to_public_key_der().is_ok_and(|again| again.as_ref() == der) {
            return Err(KeyError::NotRsaSpki);
        }
        let bits = usize::try_from(key.n().as_ref().bits()).unwrap_or(usize::MAX);
        if !(2048..=4096).contains(&bits) {
            return Err(KeyError::ModulusBits(bits));
        }
        if key.e().to_be_bytes().iter().skip_while(|byte| **byte == 0).ne([1u8, 0, 1].iter()) {
            return Err(KeyError::Exponent);
        }
        let modulus_len = key.size();
        let inner = PublicKeySha384PSSDeterministic::new(key.clone());
        let spki = inner.to_der().map_err(|_| KeyError::NotRsaSpki)?;
        let fingerprint = Fingerprint(Sha256::digest(&spki).into());
        Ok(Self { inner, raw: key, fingerprint, modulus_len, modulus_bits: bits })
    }

    /// The key as SPKI PEM.
    pub fn to_spki_pem(&self) -> Result<String, KeyError> {
        self.inner.to_pem().map_err(|_| KeyError::NotRsaSpki)
    }

    /// SHA-256 of the SPKI.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Bytes of the modulus, so of every blinded message and signature.
    pub fn modulus_len(&self) -> usize {
        self.modulus_len
    }

    /// RFC 9474 §4.2 Blind, with the identity as PrepareIdentity.
    pub fn blind<R: CryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        message: &TokenMessage,
    ) -> Result<Blinding, BlindError> {
        let result = self.inner.blind(rng, message.expose()).map_err(|_| BlindError::Blinding)?;
        Ok(Blinding {
            blinded: BlindedMessage(result.blind_message.0),
            secret: BlindingSecret(Secret::new(result.secret.0)),
        })
    }

    /// RFC 9474 §4.4 Finalize: unblinds, and verifies before anything is returned.
    pub fn finalize(
        &self,
        signature: &BlindSignature,
        secret: &BlindingSecret,
        message: &TokenMessage,
    ) -> Result<Signature, BlindError> {
        let mut blinding = BlindingResult {
            blind_message: BlindMessage(Vec::new()),
            secret: RawSecret(secret.expose().to_vec()),
            msg_randomizer: None,
        };
        let raw = RawBlindSignature(signature.0.clone());
        let finalized = self.inner.finalize(&raw, &blinding, message.expose());
        zeroize::Zeroize::zeroize(&mut blinding.secret.0);
        finalized.map(|signature| Signature(Secret::new(signature.0))).map_err(|_| BlindError::DoesNotVerify)
    }

    /// RFC 8017 §8.1.2 RSASSA-PSS-VERIFY of a bare token.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BlindError> {
        self.inner
            .verify(&RawSignature(signature.to_vec()), None, message)
            .map_err(|_| BlindError::DoesNotVerify)
    }
}

impl TokenMessage {
    /// A credit token: the 36 ASCII bytes of a random lower-case UUIDv4 (protocol.md §3).
    pub fn credit<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut bytes = [0u8; 16];
        rng.fill_bytes(&mut bytes);
        let text = uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().to_string();
        Self(Secret::new(text.into_bytes()))
    }

    /// A permanent abuse token: 48 random bytes (protocol.md §3).
    pub fn permanent_abuse<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut bytes = vec![0u8; 48];
        rng.fill_bytes(&mut bytes);
        Self(Secret::new(bytes))
    }

    /// A transient abuse token: 44 random bytes, then the epoch, big-endian (protocol.md §3).
    pub fn transient_abuse<R: CryptoRng + ?Sized>(rng: &mut R, epoch: Epoch) -> Self {
        let mut bytes = vec![0u8; 48];
        rng.fill_bytes(&mut bytes[..44]);
        bytes[44..].copy_from_slice(&epoch.to_be_bytes());
        Self(Secret::new(bytes))
    }

    /// From the vault.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Secret::new(bytes))
    }

    /// The bytes that get signed.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl BlindingSecret {
    /// From the vault.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Secret::new(bytes))
    }

    /// The inverse of the blinding factor, big-endian.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl BlindedMessage {
    /// From the vault.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl BlindSignature {
    /// From the issuer's answer.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Signature {
    /// From the vault.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Secret::new(bytes))
    }

    /// What the redemption carries.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = include_str!("../tests/vectors/rsa2048-a.pem");

    fn refusal(pem: &str) -> Option<KeyError> {
        PublicKey::from_spki_pem(pem).err()
    }

    #[test]
    fn a_key_is_the_same_however_its_pem_is_laid_out() {
        let key = PublicKey::from_spki_pem(GOOD).expect("key");
        let body: String = GOOD.lines().filter(|line| !line.starts_with('-')).collect();
        let texts = [
            format!("\n {} \r\n", GOOD.replace('\n', "\r\n").trim()),
            format!("{PEM_BEGIN}\n{body}\n{PEM_END}"),
            key.to_spki_pem().expect("pem"),
        ];
        for text in texts {
            let again = PublicKey::from_spki_pem(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(again.fingerprint(), key.fingerprint());
        }
        assert_eq!(key.modulus_len(), 256);
    }

    #[test]
    fn the_fingerprint_is_sha_256_of_the_spki() {
        use base64::Engine as _;
        let body: String = GOOD.lines().filter(|line| !line.starts_with('-')).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body).expect("base64");
        let expected: [u8; 32] = Sha256::digest(der).into();
        assert_eq!(PublicKey::from_spki_pem(GOOD).expect("key").fingerprint().as_bytes(), &expected);
    }

    #[test]
    fn keys_that_we_do_not_blind_under_are_refused() {
        let other_label = GOOD.replace("PUBLIC KEY", "RSA PUBLIC KEY");
        let half = &GOOD[..GOOD.len() / 2];
        let junk_inside = GOOD.replace(PEM_END, &format!("QUJD\n{PEM_END}"));
        let cases = [
            (include_str!("../tests/vectors/rsa1024.pem"), KeyError::ModulusBits(1024)),
            (include_str!("../tests/vectors/rsa8192.pem"), KeyError::ModulusBits(8192)),
            (include_str!("../tests/vectors/rsa2048-e3.pem"), KeyError::Exponent),
            (include_str!("../tests/vectors/ec-p256.pem"), KeyError::NotRsaSpki),
            (include_str!("../tests/vectors/rsa2048-pkcs1.pem"), KeyError::NotRsaSpki),
            (include_str!("../tests/vectors/rsa2048-pss-oid.pem"), KeyError::NotRsaSpki),
            (&other_label, KeyError::NotRsaSpki),
            (half, KeyError::NotRsaSpki),
            (&junk_inside, KeyError::NotRsaSpki),
            (&format!("{GOOD}junk"), KeyError::NotRsaSpki),
            (&format!("{GOOD}{GOOD}"), KeyError::NotRsaSpki),
            (&format!("# name\n{GOOD}"), KeyError::NotRsaSpki),
            ("", KeyError::NotRsaSpki),
        ];
        for (pem, expected) in cases {
            assert_eq!(refusal(pem), Some(expected), "{pem}");
        }
    }

    #[test]
    fn a_private_key_is_refused() {
        use rsa::pkcs8::EncodePrivateKey as _;
        let pem = vector().private_key().to_pkcs8_pem(rsa::pkcs8::LineEnding::LF).expect("pem");
        assert_eq!(refusal(&pem), Some(KeyError::NotRsaSpki));
        let relabelled = pem.replace("PRIVATE KEY", "PUBLIC KEY");
        assert_eq!(refusal(&relabelled), Some(KeyError::NotRsaSpki));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_key_reader_panic(text in "\\PC{0,300}") {
            let _ = PublicKey::from_spki_pem(&format!("{PEM_BEGIN}\n{text}\n{PEM_END}"));
        }
    }

    /// RFC 9474 §A.3, RSABSSA-SHA384-PSS-Deterministic; all values hex.
    #[derive(serde::Deserialize)]
    pub(super) struct Vector {
        pub(super) p: String,
        q: String,
        n: String,
        e: String,
        d: String,
        pub(super) msg: String,
        pub(super) salt: String,
        pub(super) inv: String,
        pub(super) blinded_msg: String,
        blind_sig: String,
        sig: String,
    }

    pub(super) fn vector() -> Vector {
        serde_json::from_str(include_str!("../tests/vectors/rfc9474.json")).expect("vector")
    }

    pub(super) fn bytes(hex: &str) -> Vec<u8> {
        let hex = hex.strip_prefix("0x").unwrap_or(hex);
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    }

    pub(super) fn number(hex: &str) -> rsa::BoxedUint {
        rsa::BoxedUint::from_be_slice_vartime(&bytes(hex))
    }

    impl Vector {
        fn private_key(&self) -> rsa::RsaPrivateKey {
            let primes = vec![number(&self.p), number(&self.q)];
            rsa::RsaPrivateKey::from_components(number(&self.n), number(&self.e), number(&self.d), primes)
                .expect("key")
        }

        pub(super) fn public_key(&self) -> PublicKey {
            use rsa::pkcs8::EncodePublicKey as _;
            let pem = self.private_key().to_public_key().to_public_key_pem(rsa::pkcs8::LineEnding::LF);
            PublicKey::from_spki_pem(&pem.expect("pem")).expect("key")
        }
    }

    #[test]
    fn the_rfc_vector_verifies_and_finalizes() {
        let vector = vector();
        let key = vector.public_key();
        let (message, signature) = (bytes(&vector.msg), bytes(&vector.sig));
        assert_eq!(key.verify(&message, &signature), Ok(()));
        let finalized = key.finalize(
            &BlindSignature::from_bytes(bytes(&vector.blind_sig)),
            &BlindingSecret::from_bytes(bytes(&vector.inv)),
            &TokenMessage::from_bytes(message.clone()),
        );
        assert!(finalized.expect("finalized").expose() == signature);

        let mut other = message;
        other[0] ^= 1;
        assert_eq!(key.verify(&other, &signature), Err(BlindError::DoesNotVerify));
    }

    /// Gives out the vector's salt, then its blinding factor in whatever words the generator draws it.
    struct Scripted(std::collections::VecDeque<u8>);

    impl rand::TryRng for Scripted {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            let mut word = [0; 4];
            self.try_fill_bytes(&mut word).map(|()| u32::from_le_bytes(word))
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            let mut word = [0; 8];
            self.try_fill_bytes(&mut word).map(|()| u64::from_le_bytes(word))
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.fill_with(|| self.0.pop_front().expect("the script is long enough"));
            Ok(())
        }
    }

    impl rand::TryCryptoRng for Scripted {}

    #[test]
    fn the_rfc_vector_blinds_to_the_same_bytes() {
        let vector = vector();
        // r is drawn little-endian by words; the vector gives its inverse.
        let key = vector.private_key();
        let r = number(&vector.inv).invert_mod(rsa::traits::PublicKeyParts::n(&key)).expect("invertible");
        let mut little_endian = r.to_be_bytes().to_vec();
        little_endian.reverse();
        let mut rng = Scripted(bytes(&vector.salt).into_iter().chain(little_endian).collect());
        let message = TokenMessage::from_bytes(bytes(&vector.msg));
        let blinding = vector.public_key().blind(&mut rng, &message).expect("blinded");
        assert!(blinding.blinded.as_bytes() == bytes(&vector.blinded_msg));
        assert!(blinding.secret.expose().ends_with(&bytes(&vector.inv)));
    }

    #[test]
    fn tokens_have_the_forms_of_the_protocol() {
        let mut rng = rand::rng();
        let credit = TokenMessage::credit(&mut rng);
        let text = std::str::from_utf8(credit.expose()).expect("ascii");
        let uuid = uuid::Uuid::parse_str(text).expect("uuid");
        assert_eq!((text.len(), uuid.get_version_num()), (36, 4));
        assert_eq!(text, uuid.hyphenated().to_string());
        assert_eq!(TokenMessage::permanent_abuse(&mut rng).expose().len(), 48);
        let transient = TokenMessage::transient_abuse(&mut rng, Epoch::from_number(24_323));
        assert_eq!(transient.expose().len(), 48);
        assert_eq!(transient.expose()[44..], [0, 0, 0x5f, 0x03]);
    }
}
