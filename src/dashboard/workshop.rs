//! A token made on the spot, for show: the same code as for real ones, under a key pair that exists for this page alone.
//!
//! The key pair is made once, on a thread of its own, when somebody first comes in; a token takes milliseconds. The issuer
//! and the list of spent tokens are stand-ins in memory, and the page says so: they do what the backend's do (sign without
//! seeing; remember the SHA-256 of what was spent), but nothing of it is at a backend, and nothing of it can pay.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blind_rsa_signatures::KeyPairSha384PSSDeterministic;
use sha2::{Digest as _, Sha256};

use crate::blind::{BlindSignature, PublicKey, TokenMessage};

/// As the protocol has it.
const MODULUS_BITS: usize = 2048;

/// Makes tokens for show.
pub(super) struct Workshop(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    stage: Stage,
    shown: Option<Arc<Shown>>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Closed,
    /// The key pair is being made.
    Making,
    Open(Arc<Pair>),
}

struct Pair {
    signing: KeyPairSha384PSSDeterministic,
    public: PublicKey,
}

/// What a redemption came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redeemed {
    /// The token was good and is spent now.
    Accepted,
    /// It was spent before.
    Replayed,
    /// The signature is not the issuer's.
    Forged,
}

/// All values of one token's life.
pub(super) struct Shown {
    pub(super) fingerprint: String,
    /// SPKI PEM.
    pub(super) key: String,
    pub(super) token: String,
    pub(super) blinding_secret: Vec<u8>,
    pub(super) blinded: Vec<u8>,
    pub(super) blind_signature: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) spent_entry: [u8; 32],
    pub(super) first: Redeemed,
    pub(super) replay: Redeemed,
    /// The same signature under a token with one letter changed.
    pub(super) changed: Redeemed,
}

impl Workshop {
    pub(super) fn open() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    /// Makes the key pair and a first token, in the background; once.
    pub(super) fn prepare(self: &Arc<Self>) {
        let mut inner = self.inner();
        if !matches!(inner.stage, Stage::Closed) {
            return;
        }
        inner.stage = Stage::Making;
        drop(inner);
        let workshop = Arc::clone(self);
        drop(tokio::task::spawn_blocking(move || {
            let pair = Pair::generate().map(Arc::new);
            let shown = pair.as_ref().and_then(|pair| pair.make()).map(Arc::new);
            let mut inner = workshop.inner();
            inner.shown = shown;
            inner.stage = pair.map_or(Stage::Closed, Stage::Open);
        }));
    }

    /// Makes another token. Some milliseconds.
    pub(super) fn another(self: &Arc<Self>) {
        let pair = match &self.inner().stage {
            Stage::Open(pair) => Arc::clone(pair),
            Stage::Closed | Stage::Making => return,
        };
        if let Some(shown) = pair.make() {
            self.inner().shown = Some(Arc::new(shown));
        }
    }

    /// The last token, once there is one.
    pub(super) fn shown(&self) -> Option<Arc<Shown>> {
        self.inner().shown.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pair {
    fn generate() -> Option<Self> {
        let signing = KeyPairSha384PSSDeterministic::generate(&mut rand::rng(), MODULUS_BITS).ok()?;
        let public = PublicKey::from_spki_pem(&signing.pk.to_pem().ok()?).ok()?;
        Some(Self { signing, public })
    }

    /// One token's life, from its making to its second redemption.
    fn make(&self) -> Option<Shown> {
        let message = TokenMessage::credit(&mut rand::rng());
        let blinding = self.public.blind(&mut rand::rng(), &message).ok()?;
        let blinded = blinding.blinded.as_bytes().to_vec();
        // All that the issuer is given.
        let blind_signature = self.signing.sk.blind_sign(&blinded).ok()?.0;
        let returned = BlindSignature::from_bytes(blind_signature.clone());
        let signature = self.public.finalize(&returned, &blinding.secret, &message).ok()?;
        let mut spent = Spent { public: &self.public, list: HashSet::new() };
        let first = spent.redeem(message.expose(), signature.expose());
        let replay = spent.redeem(message.expose(), signature.expose());
        let mut other = message.expose().to_vec();
        if let Some(last) = other.last_mut() {
            *last = if *last == b'0' { b'1' } else { b'0' };
        }
        let changed = spent.redeem(&other, signature.expose());
        Some(Shown {
            fingerprint: self.public.fingerprint().to_string(),
            key: self.public.to_spki_pem().ok()?,
            token: String::from_utf8_lossy(message.expose()).into_owned(),
            blinding_secret: blinding.secret.expose().to_vec(),
            blinded,
            blind_signature,
            signature: signature.expose().to_vec(),
            spent_entry: hash(message.expose()),
            first,
            replay,
            changed,
        })
    }
}

/// The stand-in for the backend's list of spent tokens.
struct Spent<'a> {
    public: &'a PublicKey,
    list: HashSet<[u8; 32]>,
}

impl Spent<'_> {
    fn redeem(&mut self, token: &[u8], signature: &[u8]) -> Redeemed {
        if self.public.verify(token, signature).is_err() {
            return Redeemed::Forged;
        }
        if self.list.insert(hash(token)) { Redeemed::Accepted } else { Redeemed::Replayed }
    }
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_token_takes_the_place_of_the_first() {
        let workshop = Workshop::open();
        workshop.another();
        assert!(workshop.shown().is_none(), "there is no key pair yet");
        workshop.prepare();
        while workshop.shown().is_none() || !matches!(workshop.inner().stage, Stage::Open(_)) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let first = workshop.shown().unwrap();
        workshop.another();
        assert_ne!(workshop.shown().unwrap().token, first.token);
        assert_eq!(workshop.shown().unwrap().fingerprint, first.fingerprint);
    }

    #[test]
    fn a_token_for_show_is_a_real_one_and_is_spent_once() {
        let pair = Pair::generate().unwrap();
        let (one, two) = (pair.make().unwrap(), pair.make().unwrap());
        assert_eq!((one.first, one.replay), (Redeemed::Accepted, Redeemed::Replayed));
        assert_eq!(one.changed, Redeemed::Forged);
        assert!(pair.public.verify(one.token.as_bytes(), &one.signature).is_ok());
        assert!(pair.public.verify(two.token.as_bytes(), &one.signature).is_err());
        assert_ne!(one.blinded, two.blinded);
        assert_ne!(one.blind_signature, one.signature);
        assert_eq!(one.token.len(), 36);
    }
}
