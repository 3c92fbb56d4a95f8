//! The signing side of the blind signatures: RSABSSA-SHA384-PSS-Deterministic (RFC 9474 §4.3, protocol.md §3).
//!
//! One RSA-2048 pair per model and two for the abuse tokens, each a PKCS#8 PEM file (0600) under `keys/`
//! of the home. A file is named by the hex of its key's name, since a model id may hold a slash.
//!
//! Signing blinds its own exponentiation and checks the result (the library's `blind_sign`), so neither
//! time nor a fault tells of the key. It takes milliseconds: it runs on blocking threads, as many at a time
//! as there are cores.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blind_rsa_signatures::{KeyPairSha384PSSDeterministic, SecretKeySha384PSSDeterministic};
use tokio::sync::Semaphore;

use super::home;
use crate::blind::PublicKey;
use crate::wire::{ABUSE_PERMANENT, ABUSE_TRANSIENT};

const MODULUS_BITS: usize = 2048;

/// Why a key pair cannot be used. No key material in the text.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// There is none.
    #[error("no key for `{0}`; run `llmtor backend init`")]
    Missing(String),
    /// The file is not a key that we wrote.
    #[error("the key file of `{0}` is damaged; restore it, or remove it and run `llmtor backend init`")]
    Damaged(String),
    /// The file system.
    #[error("key files: {0}")]
    File(#[from] std::io::Error),
    /// The generator.
    #[error("generating a key failed")]
    Generation,
}

/// A blinded message that is not a number below the modulus and as long as it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsignable;

struct Pair {
    secret: SecretKeySha384PSSDeterministic,
    public: PublicKey,
    spki_pem: String,
}

/// Every key pair of this backend, by key name.
pub(super) struct Issuer {
    pairs: BTreeMap<String, Arc<Pair>>,
    signing: Semaphore,
}

/// The key names that a set of models needs.
pub(super) fn key_names<'a>(models: impl Iterator<Item = &'a str>, abuse: bool) -> Vec<String> {
    let abuse = if abuse { &[ABUSE_PERMANENT, ABUSE_TRANSIENT][..] } else { &[] };
    models.chain(abuse.iter().copied()).map(str::to_owned).collect()
}

/// Makes the pairs that are missing, one thread a core. Slow; blocks.
pub(super) fn generate_missing(home: &Path, names: &[String]) -> Result<(), KeyStoreError> {
    home::ensure_private_directory(&home.join("keys"))?;
    let missing: Vec<&String> = names.iter().filter(|name| !key_path(home, name).exists()).collect();
    let lanes = cores().min(missing.len()).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..lanes)
            .map(|lane| {
                let share = missing.iter().skip(lane).step_by(lanes);
                scope.spawn(move || share.into_iter().try_for_each(|name| generate(home, name)))
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| KeyStoreError::Generation)?)
    })
}

fn generate(home: &Path, name: &str) -> Result<(), KeyStoreError> {
    let pair = KeyPairSha384PSSDeterministic::generate(&mut rand::rng(), MODULUS_BITS)
        .map_err(|_| KeyStoreError::Generation)?;
    let pem = zeroize::Zeroizing::new(pair.sk.to_pem().map_err(|_| KeyStoreError::Generation)?);
    Ok(home::write_private(&key_path(home, name), pem.as_bytes())?)
}

fn key_path(home: &Path, name: &str) -> PathBuf {
    let mut file = name.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    file.push_str(".pem");
    home.join("keys").join(file)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Issuer {
    /// Reads the pairs of `names`.
    pub(super) fn load(home: &Path, names: &[String]) -> Result<Self, KeyStoreError> {
        let load = |name: &String| Ok((name.clone(), Arc::new(Pair::load(home, name)?)));
        let pairs = names.iter().map(load).collect::<Result<_, KeyStoreError>>()?;
        Ok(Self { pairs, signing: Semaphore::new(cores()) })
    }

    /// Whether there is a pair for a model of that name. The abuse tokens' pairs are no model's.
    pub(super) fn knows_model(&self, name: &str) -> bool {
        ![ABUSE_PERMANENT, ABUSE_TRANSIENT].contains(&name) && self.pairs.contains_key(name)
    }

    /// Key name → SPKI PEM.
    pub(super) fn export(&self) -> BTreeMap<String, String> {
        self.pairs.iter().map(|(name, pair)| (name.clone(), pair.spki_pem.clone())).collect()
    }

    /// RFC 9474 §4.3 BlindSign. `blinded` has as many bytes as the modulus (256).
    pub(super) async fn sign(&self, name: &str, blinded: Vec<u8>) -> Result<Vec<u8>, Unsignable> {
        let pair = Arc::clone(self.pairs.get(name).ok_or(Unsignable)?);
        let _turn = self.signing.acquire().await.map_err(|_| Unsignable)?;
        tokio::task::spawn_blocking(move || pair.secret.blind_sign(&blinded).map(|signature| signature.0))
            .await
            .map_err(|_| Unsignable)?
            .map_err(|_| Unsignable)
    }

    /// Whether `signature` is one of `message` under the pair of that name.
    pub(super) fn verifies(&self, name: &str, message: &[u8], signature: &[u8]) -> bool {
        self.pairs.get(name).is_some_and(|pair| pair.public.verify(message, signature).is_ok())
    }
}

impl Pair {
    fn load(home: &Path, name: &str) -> Result<Self, KeyStoreError> {
        let damaged = || KeyStoreError::Damaged(name.to_owned());
        let pem = match std::fs::read_to_string(key_path(home, name)) {
            Ok(pem) => zeroize::Zeroizing::new(pem),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(KeyStoreError::Missing(name.to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        let secret = SecretKeySha384PSSDeterministic::from_pem(&pem).map_err(|_| damaged())?;
        let spki_pem = secret.public_key().and_then(|key| key.to_pem()).map_err(|_| damaged())?;
        let public = PublicKey::from_spki_pem(&spki_pem).map_err(|_| damaged())?;
        Ok(Self { secret, public, spki_pem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blind::{BlindSignature, TokenMessage};

    #[tokio::test]
    async fn what_is_signed_blind_verifies_and_survives_a_reload() {
        let home = tempfile::tempdir().unwrap();
        let names = key_names(["a/b"].into_iter(), false);
        generate_missing(home.path(), &names).unwrap();
        let issuer = Issuer::load(home.path(), &names).unwrap();
        let public = PublicKey::from_spki_pem(&issuer.export()["a/b"]).unwrap();
        let message = TokenMessage::credit(&mut rand::rng());
        let blinding = public.blind(&mut rand::rng(), &message).unwrap();
        let signed = issuer.sign("a/b", blinding.blinded.as_bytes().to_vec()).await.unwrap();
        let signature =
            public.finalize(&BlindSignature::from_bytes(signed), &blinding.secret, &message).unwrap();
        generate_missing(home.path(), &names).unwrap();
        let reloaded = Issuer::load(home.path(), &names).unwrap();
        assert!(reloaded.verifies("a/b", message.expose(), signature.expose()));
        assert!(!reloaded.verifies("a/b", b"another", signature.expose()));
        assert_eq!(issuer.sign("a/b", vec![0xff; 256]).await, Err(Unsignable));
        assert_eq!(issuer.sign("a/b", vec![1; 255]).await, Err(Unsignable));
        assert!(matches!(
            Issuer::load(home.path(), &["c".to_owned()]),
            Err(KeyStoreError::Missing(name)) if name == "c"
        ));
    }
}
