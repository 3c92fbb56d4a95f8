//! The bytes of a redemption: model, messages, payment, and nothing of whoever asked.
//!
//! The body is what [`RedeemRequest`] serialises to, padded at its end with JSON whitespace up to a bucket, so
//! that its length on the wire tells little about the length of the conversation. It depends on nothing
//! but the prompt and the payment: a repeat is the same bytes.

use bytes::Bytes;

use super::Prompt;
use super::error::{RedeemError, RedeemErrorKind, TokenFate};
use crate::vault::AbuseRule;
use crate::wire::redemption::{ExtraBody, LlmMask, RedeemRequest};

/// Base64 of a signature under RSA-2048 (protocol.md §3).
const SIGNATURE: usize = 344;
/// Everything but the model, twice, and the messages.
const ENVELOPE: usize =
    r#"{"model":"","messages":,"extra_body":{"llmmask":{"Token":"","SignedToken":"","ModelName":""}}}"#.len()
        + 48
        + SIGNATURE;
/// What the abuse tokens add: two tokens of 48 bytes, and their signatures.
const ABUSE: usize = concat!(
    r#","PermanentAbuseToken":"","PermanentAbuseTokenSig":"""#,
    r#","TransientAbuseToken":"","TransientAbuseTokenSig":"""#
)
.len()
    + 2 * (64 + SIGNATURE);

/// Refuses a prompt whose body would be over `limit` bytes, before a token is drawn for it. Exact for
/// RSA-2048, which is what the protocol names; with larger keys [`body`] finds the rest.
pub(super) fn check_size(prompt: &Prompt, abuse: AbuseRule, limit: usize) -> Result<(), RedeemError> {
    let payment = match abuse {
        AbuseRule::Required => ENVELOPE + ABUSE,
        AbuseRule::Omitted => ENVELOPE,
    };
    if payment + 2 * prompt.model.as_str().len() + prompt.messages.get().len() > limit {
        return Err(too_large(limit));
    }
    Ok(())
}

/// The body to send, padded; an error if it is over `limit` bytes.
pub(super) fn body(
    prompt: &Prompt,
    llmmask: &LlmMask,
    limit: usize,
    padding: &[usize],
) -> Result<Bytes, RedeemError> {
    let request =
        RedeemRequest { model: &prompt.model, messages: &prompt.messages, extra_body: ExtraBody { llmmask } };
    let mut body =
        Vec::with_capacity(bucket(prompt.messages.get().len() + ENVELOPE + ABUSE + 256, limit, padding));
    // Writing names, base64 and raw JSON into a vector cannot fail; if it does, nothing is sent.
    serde_json::to_writer(&mut body, &request).map_err(|_| too_large(limit))?;
    if body.len() > limit {
        return Err(too_large(limit));
    }
    body.resize(bucket(body.len(), limit, padding), b' ');
    Ok(Bytes::from(body))
}

/// The padded length of `len` bytes, which are within `limit`: the next bucket, or the limit where that is nearer.
fn bucket(len: usize, limit: usize, padding: &[usize]) -> usize {
    if padding.is_empty() {
        return len;
    }
    padding.iter().copied().find(|bucket| len <= *bucket).map_or(limit, |bucket| bucket.min(limit)).max(len)
}

fn too_large(limit: usize) -> RedeemError {
    RedeemError::new(RedeemErrorKind::TooLarge { limit: Some(limit) }, TokenFate::Unspent)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::anonymous::redeem::DEFAULT_PADDING;
    use crate::wire::{BODY_LIMIT, BODY_LIMIT_BEFORE, Base64Bytes, ModelName};

    fn prompt(text: &str) -> Prompt {
        let messages = serde_json::json!([{"role": "user", "content": text}]).to_string();
        Prompt {
            model: ModelName::new("gpt-4.1").unwrap(),
            messages: RawValue::from_string(messages).unwrap(),
        }
    }

    fn payment(abuse: AbuseRule) -> LlmMask {
        let part = |len: usize| Some(Base64Bytes(vec![7; len])).filter(|_| abuse == AbuseRule::Required);
        LlmMask {
            token: vec![1; 36].into(),
            signed_token: vec![2; 256].into(),
            model_name: ModelName::new("gpt-4.1").unwrap(),
            permanent_abuse_token: part(48),
            permanent_abuse_token_sig: part(256),
            transient_abuse_token: part(48),
            transient_abuse_token_sig: part(256),
        }
    }

    proptest! {
        #[test]
        fn the_size_known_beforehand_is_the_size_sent(text in ".{0,300}", required: bool) {
            let abuse = if required { AbuseRule::Required } else { AbuseRule::Omitted };
            let prompt = prompt(&text);
            let sent = body(&prompt, &payment(abuse), 1 << 20, &DEFAULT_PADDING).unwrap();
            let exact = sent.trim_ascii_end().len();
            prop_assert!(check_size(&prompt, abuse, exact).is_ok());
            prop_assert!(check_size(&prompt, abuse, exact - 1).is_err());
            prop_assert!(body(&prompt, &payment(abuse), exact, &DEFAULT_PADDING).is_ok());
            prop_assert!(body(&prompt, &payment(abuse), exact - 1, &DEFAULT_PADDING).is_err());
        }

        #[test]
        fn padding_only_adds_spaces_and_stays_within_the_limit(len in 0usize..400_000, limit in 1usize..400_000) {
            prop_assume!(len <= limit);
            let padded = bucket(len, limit, &DEFAULT_PADDING);
            prop_assert!(len <= padded && padded <= limit);
            prop_assert!(padded == limit || DEFAULT_PADDING.contains(&padded));
            prop_assert_eq!(bucket(len, limit, &[]), len);
        }
    }

    #[test]
    fn a_short_and_a_shorter_conversation_have_the_same_length() {
        let mask = payment(AbuseRule::Required);
        let length = |text| body(&prompt(text), &mask, 250_000, &DEFAULT_PADDING).unwrap().len();
        assert_eq!(["hi", "hello there"].map(length), [DEFAULT_PADDING[0]; 2]);
    }

    #[test]
    fn lengths_are_powers_of_two_and_the_limit_of_the_backend() {
        let lengths =
            [1, 4097, 20_000, 100_000, 200_000].map(|len| bucket(len, BODY_LIMIT, &DEFAULT_PADDING));
        assert_eq!(lengths, [4096, 8192, 32_768, 131_072, BODY_LIMIT]);
        assert_eq!(bucket(20_000, BODY_LIMIT_BEFORE, &DEFAULT_PADDING), BODY_LIMIT_BEFORE);
    }
}
