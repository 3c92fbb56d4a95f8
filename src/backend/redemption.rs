//! Redemption: a token for an answer (protocol.md §4 and §5).
//!
//! The checks, in the deployed server's order; the first that fails is what the client hears. Nothing is
//! stored before the last row but one, so everything above it leaves the token as it was.
//!
//! | check | answer |
//! | --- | --- |
//! | whole body's size (by the caller, who alone knows it) | `size_limit_exceeded` in a 200 |
//! | JSON | 400 |
//! | `llmmask` complete | 500 `failed to sanitize proxy request: missing …` |
//! | `model` equals `ModelName`, and is known | 500 |
//! | permanent abuse token: signature, blacklist; transient: signature, epoch, blacklist | `abuse_token_*` in a 200 |
//! | token's signature | 500 `invalid token for model …` |
//! | spent: other request, answer wiped, or the stored answer | 500, 500, 200 |
//! | moderation: fails, or blocks | 500, or `is_blocked` in a 200, stored |
//! | upstream: unreachable, or answers | 500, or 200, stored |
//!
//! One lock per token is held from the spent check to the store, so two at once with one token make
//! one upstream call.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::issuer::Issuer;
use super::locks::KeyedLocks;
use super::moderation::{self, Moderator, Verdict};
use super::provider::{Catalog, Route};
use super::seal::{AnswerKey, request_digest, token_hash};
use super::settings::Generation;
use super::spent::{Kept, SpentStore, Standing, TokenHash};
use crate::clock::SharedClock;
use crate::wire::redemption::{Epoch, ProxyAnswer};
use crate::wire::{ABUSE_PERMANENT, ABUSE_TRANSIENT, Base64Bytes, ModelName, lenient, refusal};

/// Bytes of either abuse token (protocol.md §3).
const ABUSE_TOKEN: usize = 48;
const HOUR: i64 = 3600;

/// Why a redemption is refused outside of a 200.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// 400: not the JSON that was asked for.
    Invalid(&'static str),
    /// 500: the text is the only signal.
    Text(String),
}

/// What redemption works with.
pub(super) struct Redemption {
    pub(super) issuer: Arc<Issuer>,
    pub(super) spent: Arc<dyn SpentStore>,
    pub(super) catalog: Catalog,
    pub(super) moderator: Box<dyn Moderator>,
    pub(super) answers: AnswerKey,
    pub(super) generation: Generation,
    pub(super) answer_days: u32,
    pub(super) clock: SharedClock,
    pub(super) locks: KeyedLocks<TokenHash>,
}

/// What is read of a body; everything else in it is dropped.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    model: Option<String>,
    messages: Option<Vec<Value>>,
    #[serde(rename = "extra_body")]
    extra: Option<Extra>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Extra {
    llmmask: Option<Mask>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Mask {
    token: Base64Bytes,
    signed_token: Base64Bytes,
    model_name: Option<String>,
    permanent_abuse_token: Base64Bytes,
    permanent_abuse_token_sig: Base64Bytes,
    transient_abuse_token: Base64Bytes,
    transient_abuse_token_sig: Base64Bytes,
}

impl Redemption {
    /// Answers one body that is not over the limit.
    pub(super) async fn redeem(&self, body: &[u8]) -> Result<ProxyAnswer, Refused> {
        let body: Body =
            lenient::from_slice(body).map_err(|_| Refused::Invalid("the body is not the expected JSON"))?;
        let mask = body.extra.unwrap_or_default().llmmask.unwrap_or_default();
        self.check_complete(&mask)?;
        let (model, route) = self.route(body.model.as_deref(), mask.model_name.as_deref())?;
        if self.generation == Generation::Current
            && let Some(flagged) = self.check_abuse(&mask).await?
        {
            return Ok(flagged);
        }
        if !self.issuer.verifies(model.as_str(), &mask.token.0, &mask.signed_token.0) {
            return Err(Refused::Text(format!("{} {model}", refusal::INVALID_TOKEN)));
        }
        let token = token_hash(&mask.token.0);
        let request = self.digest(&mask, model);
        let _turn = self.locks.lock(token).await;
        if let Some(answer) = self.replay(token, &request, &mask.token.0).await? {
            return Ok(answer);
        }
        let answer = self.answer(route, &body.messages.unwrap_or_default()).await?;
        self.store(token, request, &mask.token.0, &answer).await?;
        Ok(answer)
    }

    /// Wipes the answers whose time is over.
    pub(super) async fn wipe_old(&self) {
        match self.spent.wipe_until(self.clock.now().unix().div_euclid(HOUR)).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "wiped old answers"),
            Err(error) => tracing::error!(%error, "cannot wipe old answers"),
        }
    }

    fn check_complete(&self, mask: &Mask) -> Result<(), Refused> {
        let missing = |what: &str| Err(Refused::Text(format!("{}missing {what}", refusal::SANITIZE_WRAPPER)));
        let mut fields = vec![(&mask.token, "token"), (&mask.signed_token, "signed token")];
        if self.generation == Generation::Current {
            fields.extend([
                (&mask.permanent_abuse_token, "permanent abuse token"),
                (&mask.permanent_abuse_token_sig, "permanent abuse token signature"),
                (&mask.transient_abuse_token, "transient abuse token"),
                (&mask.transient_abuse_token_sig, "transient abuse token signature"),
            ]);
        }
        if let Some((_, name)) = fields.into_iter().find(|(field, _)| field.0.is_empty()) {
            return missing(name);
        }
        if mask.model_name.as_deref().is_none_or(str::is_empty) {
            return missing("model name of the token");
        }
        Ok(())
    }

    fn route(&self, asked: Option<&str>, paid: Option<&str>) -> Result<(&ModelName, &Route), Refused> {
        let paid = paid.unwrap_or_default();
        if asked != Some(paid) {
            return Err(Refused::Text(refusal::MODEL_MISMATCH.into()));
        }
        let known = ModelName::new(paid).ok().and_then(|name| self.catalog.get_key_value(&name));
        known.ok_or_else(|| Refused::Text(refusal::NO_INTENDED_MODEL.into()))
    }

    /// The answer with its flag, if one of the abuse tokens will not do.
    async fn check_abuse(&self, mask: &Mask) -> Result<Option<ProxyAnswer>, Refused> {
        let invalid = || Some(ProxyAnswer { abuse_token_invalid: true, ..ProxyAnswer::default() });
        let expired = || Some(ProxyAnswer { abuse_token_expired: true, ..ProxyAnswer::default() });
        let blacklisted = || Some(ProxyAnswer { abuse_token_blacklisted: true, ..ProxyAnswer::default() });
        let signed = |key: &str, token: &Base64Bytes, signature: &Base64Bytes| {
            token.0.len() == ABUSE_TOKEN && self.issuer.verifies(key, &token.0, &signature.0)
        };
        if !signed(ABUSE_PERMANENT, &mask.permanent_abuse_token, &mask.permanent_abuse_token_sig) {
            return Ok(invalid());
        }
        if self.is_blacklisted(&mask.permanent_abuse_token).await? {
            return Ok(blacklisted());
        }
        if !signed(ABUSE_TRANSIENT, &mask.transient_abuse_token, &mask.transient_abuse_token_sig) {
            return Ok(invalid());
        }
        // The signer cannot see the epoch, so a later one is as wrong as an earlier one.
        let now = Epoch::at(self.clock.now().unix()).to_be_bytes();
        if !mask.transient_abuse_token.0.ends_with(&now) {
            return Ok(expired());
        }
        if self.is_blacklisted(&mask.transient_abuse_token).await? {
            return Ok(blacklisted());
        }
        Ok(None)
    }

    async fn is_blacklisted(&self, token: &Base64Bytes) -> Result<bool, Refused> {
        self.spent.blacklisted(token_hash(&token.0)).await.map_err(|error| storage(&error))
    }

    /// By the `llmmask` fields alone (protocol.md §5); older servers know three of them.
    fn digest(&self, mask: &Mask, model: &ModelName) -> [u8; 32] {
        let mut fields = vec![mask.token.as_ref(), mask.signed_token.as_ref(), model.as_str().as_bytes()];
        if self.generation == Generation::Current {
            fields.extend([
                mask.permanent_abuse_token.as_ref(),
                mask.permanent_abuse_token_sig.as_ref(),
                mask.transient_abuse_token.as_ref(),
                mask.transient_abuse_token_sig.as_ref(),
            ]);
        }
        request_digest(fields.into_iter())
    }

    /// `None` if the token is fresh.
    async fn replay(
        &self,
        token: TokenHash,
        request: &[u8; 32],
        message: &[u8],
    ) -> Result<Option<ProxyAnswer>, Refused> {
        let expired = || Refused::Text(refusal::TOKEN_EXPIRED_USED.into());
        let kept = match self.spent.standing(token).await.map_err(|error| storage(&error))? {
            Standing::Fresh => return Ok(None),
            Standing::Wiped => return Err(expired()),
            Standing::Kept(kept) => kept,
        };
        if kept.until_hour <= self.clock.now().unix().div_euclid(HOUR) {
            return Err(expired());
        }
        if kept.request != *request {
            return Err(Refused::Text(refusal::CANNOT_REUSE.into()));
        }
        let broken = || Refused::Text("the stored answer cannot be read".into());
        let answer = self.answers.open(message, request, &kept.sealed).map_err(|_| broken())?;
        serde_json::from_slice(&answer).map(Some).map_err(|_| broken())
    }

    async fn answer(&self, route: &Route, messages: &[Value]) -> Result<ProxyAnswer, Refused> {
        let failed = |error: moderation::AnalysisError| {
            Refused::Text(format!("{}: {error}", refusal::ANALYSIS_FAILED))
        };
        let texts = moderation::texts(messages).map_err(failed)?;
        if let Verdict::Blocked(blocked_reason) = self.moderator.check(texts).await.map_err(failed)? {
            return Ok(ProxyAnswer { is_blocked: true, blocked_reason, ..ProxyAnswer::default() });
        }
        let upstream = route.complete(messages).await.map_err(|error| {
            tracing::warn!(%error, "nothing stored");
            Refused::Text(error.to_string())
        })?;
        Ok(ProxyAnswer { proxy_response: Some(Base64Bytes(upstream)), ..ProxyAnswer::default() })
    }

    async fn store(
        &self,
        token: TokenHash,
        request: [u8; 32],
        message: &[u8],
        answer: &ProxyAnswer,
    ) -> Result<(), Refused> {
        let broken = || Refused::Text("the answer cannot be stored".into());
        let text = zeroize::Zeroizing::new(serde_json::to_vec(answer).map_err(|_| broken())?);
        let sealed = self.answers.seal(&mut rand::rng(), message, &request, &text).map_err(|_| broken())?;
        let until = self.clock.now().unix().saturating_add(i64::from(self.answer_days) * 24 * HOUR);
        // Rounded up: an answer is kept for its days at least, and the hour is all that is noted.
        let until_hour = until.saturating_add(HOUR - 1).div_euclid(HOUR);
        let kept = Kept { request, until_hour, sealed };
        self.spent.spend(token, kept).await.map_err(|error| storage(&error))
    }
}

fn storage(error: &super::sqlite::StoreError) -> Refused {
    tracing::error!(%error, "the store failed");
    Refused::Text("the server's store failed".into())
}
