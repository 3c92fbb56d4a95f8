//! Blind signatures: RSABSSA-SHA384-PSS-Deterministic (RFC 9474 §5, protocol.md §3), public-key side.
//!
//! A thin skin over `blind-rsa-signatures`: newtypes that cannot be mixed up or printed, and strict
//! checks of a key before anything is blinded under it. The message is signed as it is, without a
//! randomiser; that is safe because every message here is a fresh random token.
//!
//! Deliberately absent: signing (the reference backend's `issuer`), and any key that is not RSA with
//! 2048 to 4096 bits and e = 65537.

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
    fingerprint: Fingerprint,
    modulus_len: usize,
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
    /// Reads an SPKI PEM and checks algorithm, size and exponent.
    pub fn from_spki_pem(pem: &str) -> Result<Self, KeyError> {
        use rsa::pkcs8::DecodePublicKey as _;
        use rsa::traits::PublicKeyParts as _;

        let key = rsa::RsaPublicKey::from_public_key_pem(pem.trim()).map_err(|_| KeyError::NotRsaSpki)?;
        let bits = usize::try_from(key.n().as_ref().bits()).unwrap_or(usize::MAX);
        if !(2048..=4096).contains(&bits) {
            return Err(KeyError::ModulusBits(bits));
        }
        if key.e().to_be_bytes().iter().skip_while(|byte| **byte == 0).ne([1u8, 0, 1].iter()) {
            return Err(KeyError::Exponent);
        }
        let modulus_len = key.size();
        let inner = PublicKeySha384PSSDeterministic::new(key);
        let spki = inner.to_der().map_err(|_| KeyError::NotRsaSpki)?;
        let fingerprint = Fingerprint(Sha256::digest(&spki).into());
        Ok(Self { inner, fingerprint, modulus_len })
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
