//! What a token is before its signature is here, and what is drawn at random for it.

use std::time::Duration;

use rand::CryptoRng;

use crate::blind::{
    BlindError, BlindSignature, BlindedMessage, Blinding, BlindingSecret, PublicKey, Signature, TokenMessage,
};
use crate::clock::Timestamp;
use crate::vault::{NewIssuance, Readiness, RequestId};
use crate::wire::ModelName;

/// A token of which only the signature is missing.
pub struct Prepared {
    pub(super) message: TokenMessage,
    pub(super) blinded: BlindedMessage,
    pub(super) secret: BlindingSecret,
}

impl Prepared {
    /// Fresh credit tokens, blinded under `key`: the client's work before the requests.
    pub fn batch<R: CryptoRng + ?Sized>(
        key: &PublicKey,
        count: usize,
        rng: &mut R,
    ) -> Result<Vec<Self>, BlindError> {
        let messages: Vec<_> = (0..count).map(|_| TokenMessage::credit(rng)).collect();
        let blindings = key.blind_batch(rng, &messages)?;
        let together = messages.into_iter().zip(blindings);
        Ok(together
            .map(|(message, Blinding { blinded, secret })| Self { message, blinded, secret })
            .collect())
    }

    /// What is sent.
    pub fn blinded(&self) -> &BlindedMessage {
        &self.blinded
    }

    /// The client's work after the answer: unblinds, and verifies before anything is returned.
    pub fn finish(&self, key: &PublicKey, signature: &BlindSignature) -> Result<Signature, BlindError> {
        key.finalize(signature, &self.secret, &self.message)
    }

    /// A copy for the vault; this one finishes the token.
    pub(super) fn record(
        &self,
        id: &RequestId,
        model: &ModelName,
        key: &PublicKey,
        readiness: Readiness,
    ) -> NewIssuance {
        NewIssuance {
            request_id: id.clone(),
            model: model.clone(),
            key: key.fingerprint(),
            message: TokenMessage::from_bytes(self.message.expose().to_vec()),
            blinded: self.blinded.clone(),
            secret: BlindingSecret::from_bytes(self.secret.expose().to_vec()),
            readiness,
        }
    }
}

/// A fresh idempotency key.
pub(in crate::identity) fn request_id<R: CryptoRng + ?Sized>(rng: &mut R) -> RequestId {
    let mut bytes = [0u8; 16];
    rng.fill_bytes(&mut bytes);
    RequestId(uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().to_string())
}

/// When a token finalized `now` may be drawn; a delay is exponentially distributed with that `mean`.
pub(in crate::identity) fn not_before<R: CryptoRng + ?Sized>(
    readiness: Readiness,
    mean: Duration,
    now: Timestamp,
    rng: &mut R,
) -> Timestamp {
    match readiness {
        Readiness::Now => now,
        Readiness::Delayed => {
            // 53 uniform bits in [0, 1), so that the logarithm is of (0, 1].
            #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
            let uniform = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            let seconds = -(1.0 - uniform).ln() * mean.as_secs_f64();
            #[expect(clippy::cast_possible_truncation, reason = "at most 37 means; the cast saturates")]
            let delay = seconds.ceil() as i64;
            now.plus_seconds(delay)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_are_exponential_with_the_mean_asked_for() {
        let mean = Duration::from_secs(10_000);
        let start = Timestamp::from_unix(0);
        let mut rng = rand::rng();
        let delays: Vec<i64> =
            (0..40_000).map(|_| not_before(Readiness::Delayed, mean, start, &mut rng).unix()).collect();
        let mean = delays.iter().sum::<i64>() / 40_000;
        assert!((9_500..10_500).contains(&mean), "{mean}");
        // e^-1 of an exponential distribution lies beyond its mean.
        let beyond = delays.iter().filter(|delay| **delay > 10_000).count();
        assert!((14_000..15_500).contains(&beyond), "{beyond}");
        assert_eq!(
            not_before(Readiness::Now, Duration::from_secs(mean.unsigned_abs()), start, &mut rng),
            start
        );
    }

    proptest! {
        #[test]
        fn no_delay_is_in_the_past(mean in any::<u32>(), now in any::<i32>()) {
            let now = Timestamp::from_unix(now.into());
            let mean = Duration::from_secs(mean.into());
            prop_assert!(not_before(Readiness::Delayed, mean, now, &mut rand::rng()) >= now);
        }
    }
}
