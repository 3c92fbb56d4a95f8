//! One call to the identity plane: a request with the session's cookie, and what its answer means.
//!
//! Answers are read up to a limit and judged by status and by the known refusal texts (protocol.md §2, §3). Nothing of
//! an answer's text leaves this file.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::identity::dial::{Client, Deadlines, Lost, Route};
use crate::identity::error::{Distrust, Failing, Foreign, IdentityError};
use crate::identity::record::{Bearing, Sent, Watch, Witness, template};
use crate::identity::session::Session;
use crate::identity::url::IdentityUrl;
use crate::passage::Gate;
use crate::wire::refusal::{Refusal, classify};
use crate::wire::voucher::VoucherRefusal;
use crate::wire::{Envelope, Failure, SESSION_COOKIE, lenient};

/// A client of one backend, in a session or in nobody's name.
pub(crate) struct Api {
    client: Client,
    url: IdentityUrl,
    cookie: Option<HeaderValue>,
    witness: Arc<dyn Witness>,
}

/// Why a call brought no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The user wants nothing to leave: nothing was sent.
    Paused,
    /// No answer.
    Unreachable(Failing),
    /// The TLS handshake failed for the server's certificate: nothing was sent.
    Untrusted(Distrust),
    /// An answer of somebody else, with its status.
    Foreign(Foreign, u16),
    /// 401.
    Unauthorized,
    /// 409 of an abuse endpoint: issued before.
    Conflict,
    /// 429 in JSON of an abuse endpoint: a quota of the protocol.
    Exhausted,
    /// Any other 429: the rate limiter.
    RateLimited,
    /// `no quota left`.
    NoQuota,
    /// `no auth manager found`.
    UnknownModel,
    /// A voucher's code is not taken.
    Voucher(VoucherRefusal),
    /// 400 or 404 in the backend's words: the request was not accepted.
    Invalid(u16),
    /// A 5xx of the backend whose text the protocol does not list.
    Failed(u16),
}

impl Rejected {
    /// Whether the same request may be answered when sent again.
    pub(crate) fn is_transient(self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Foreign(..) | Self::RateLimited | Self::Failed(_) => true,
            Self::Paused
            | Self::Untrusted(_)
            | Self::Unauthorized
            | Self::Conflict
            | Self::Exhausted
            | Self::NoQuota
            | Self::UnknownModel
            | Self::Voucher(_)
            | Self::Invalid(_) => false,
        }
    }
}

impl Rejected {
    /// What it is where the protocol knows of no 409 and of no quota behind a 429: no word of the backend's.
    fn outside_abuse(self) -> Self {
        match self {
            Self::Conflict => Self::Foreign(Foreign::NotJson, StatusCode::CONFLICT.as_u16()),
            Self::Exhausted => Self::RateLimited,
            other => other,
        }
    }
}

impl From<Lost> for Rejected {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Shut => Self::Paused,
            Lost::Unreachable(failing) => Self::Unreachable(failing),
            Lost::Untrusted(distrust) => Self::Untrusted(distrust),
            Lost::Foreign(foreign, status) => Self::Foreign(foreign, status),
        }
    }
}

impl From<Rejected> for IdentityError {
    /// What a rejection means where the call gives it no meaning of its own.
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Paused => Self::Paused,
            Rejected::Unreachable(failing) => Self::Unreachable(failing),
            Rejected::Untrusted(distrust) => Self::Certificate(distrust),
            Rejected::Foreign(foreign, status) => Self::NotTheBackend(foreign, status),
            Rejected::Unauthorized => Self::SessionExpired,
            Rejected::RateLimited | Rejected::Exhausted => Self::RateLimited,
            Rejected::Conflict => Self::Refused(409),
            Rejected::NoQuota | Rejected::UnknownModel => Self::Refused(500),
            Rejected::Voucher(refusal) => Self::Voucher(refusal),
            Rejected::Invalid(status) | Rejected::Failed(status) => Self::Refused(status),
        }
    }
}

impl Api {
    pub(crate) fn new(
        url: IdentityUrl,
        route: Route,
        deadlines: &Deadlines,
        session: &Session,
        gate: Gate,
        witness: Arc<dyn Witness>,
    ) -> Result<Self, IdentityError> {
        let client = Client::new(&url, route, deadlines, gate)?;
        let mut cookie = HeaderValue::from_str(&format!("{SESSION_COOKIE}={}", session.expose()))
            .map_err(|_| IdentityError::InvalidSession)?;
        cookie.set_sensitive(true);
        Ok(Self { client, url, cookie: Some(cookie), witness })
    }

    /// For what everybody may ask: no cookie goes along.
    pub(crate) fn public(
        url: IdentityUrl,
        route: Route,
        deadlines: &Deadlines,
        gate: Gate,
        witness: Arc<dyn Witness>,
    ) -> Result<Self, IdentityError> {
        Ok(Self { client: Client::new(&url, route, deadlines, gate)?, url, cookie: None, witness })
    }

    /// Whether a request would be sent now. Whoever is about to make something durable for one asks before.
    pub(crate) fn admit(&self) -> Result<(), Rejected> {
        Ok(self.client.admit()?)
    }

    /// Waits before a repetition, or until there is none.
    pub(crate) async fn rest(&self, pause: Duration) {
        self.client.rest(pause).await;
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, Rejected> {
        enveloped(&self.call(Method::GET, segments, None).await.map_err(Rejected::outside_abuse)?)
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Rejected> {
        let answer = self.call(Method::POST, segments, Some(encode(body)?)).await;
        enveloped(&answer.map_err(Rejected::outside_abuse)?)
    }

    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Rejected> {
        let answer = self.call(Method::PUT, segments, Some(encode(body)?)).await;
        enveloped(&answer.map_err(Rejected::outside_abuse)?)
    }

    /// As [`Api::post`], for the abuse endpoints: the protocol does not say that they wrap their answer, so both are
    /// read, and gives their 409 and 429 a meaning.
    pub(crate) async fn post_bare<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Rejected> {
        let answer = self.call(Method::POST, segments, Some(encode(body)?)).await?;
        enveloped(&answer).or_else(|rejected| lenient::from_slice(&answer).map_err(|_| rejected))
    }

    /// Where an endpoint is, for somebody else to go to.
    pub(crate) fn endpoint(&self, segments: &[&str]) -> url::Url {
        self.url.endpoint(segments)
    }

    /// The body of a 200.
    async fn call(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Rejected> {
        let url = self.url.endpoint(segments);
        let mut watch = Watch::over(&*self.witness, self.sent(&method, segments, body.as_deref()));
        let answer = self.client.call(method, url, self.cookie.clone(), body).await;
        if matches!(answer, Err(Lost::Shut | Lost::Unreachable(Failing::Connecting) | Lost::Untrusted(_))) {
            watch.nothing_left();
        }
        drop(watch);
        let (status, body) = answer?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        match judge(status, &body) {
            // Of a session that was not sent it says nothing.
            Rejected::Unauthorized if self.cookie.is_none() => Err(Rejected::Invalid(status.as_u16())),
            rejected => Err(rejected),
        }
    }

    /// What is remembered of a request.
    fn sent(&self, method: &Method, segments: &[&str], body: Option<&[u8]>) -> Sent {
        let method = match *method {
            Method::GET => "GET",
            Method::PUT => "PUT",
            _ => "POST",
        };
        let bearing = if self.cookie.is_some() { Bearing::Account } else { Bearing::Nobody };
        let body = body.map_or(0, <[u8]>::len) as u64;
        Sent { method, path: template(segments), body, way: self.client.way(), bearing }
    }
}

/// What a status other than 200 says (protocol.md §2). Only the backend's own word refuses: whatever else has a
/// `status` may be a gateway's, which may have passed the request on before it gave up.
fn judge(status: StatusCode, body: &[u8]) -> Rejected {
    let failure = lenient::from_slice::<Failure>(body).ok();
    let code = status.as_u16();
    match (status, failure) {
        (StatusCode::TOO_MANY_REQUESTS, Some(failure)) => {
            // Only its own text is about vouchers: a rate limiter may speak JSON, too.
            let refusal = failure.error.as_deref().and_then(VoucherRefusal::classify);
            refusal.map_or(Rejected::Exhausted, Rejected::Voucher)
        }
        (StatusCode::TOO_MANY_REQUESTS, None) => Rejected::RateLimited,
        (StatusCode::CONFLICT, Some(_)) => Rejected::Conflict,
        (status, Some(failure)) if failure.is_the_backends(code) => match status {
            StatusCode::UNAUTHORIZED => Rejected::Unauthorized,
            StatusCode::INTERNAL_SERVER_ERROR => {
                let text = failure.error.as_deref().unwrap_or_default();
                match (classify(text), VoucherRefusal::classify(text)) {
                    (_, Some(refusal)) => Rejected::Voucher(refusal),
                    (Refusal::NoQuota, _) => Rejected::NoQuota,
                    (Refusal::UnknownModel, _) => Rejected::UnknownModel,
                    _ => Rejected::Failed(code),
                }
            }
            _ => Rejected::Invalid(code),
        },
        (status, _) if status.is_server_error() => Rejected::Unreachable(Failing::Gateway),
        _ => Rejected::Foreign(Foreign::NotJson, code),
    }
}

fn encode(body: &impl Serialize) -> Result<Vec<u8>, Rejected> {
    // A DTO of strings and numbers always encodes.
    serde_json::to_vec(body).map_err(|_| Rejected::Invalid(0))
}

fn enveloped<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejected> {
    match lenient::from_slice::<Envelope<T>>(body) {
        Ok(envelope) => Ok(envelope.data),
        Err(_) if serde_json::from_slice::<IgnoredAny>(body).is_ok() => {
            Err(Rejected::Foreign(Foreign::Incomplete, StatusCode::OK.as_u16()))
        }
        Err(_) => Err(Rejected::Foreign(Foreign::NotJson, StatusCode::OK.as_u16())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::voucher::TOO_MANY_GUESSES;

    #[test]
    fn a_rate_limiter_that_speaks_json_counts_no_vouchers() {
        let said = |error: &str| {
            let body = format!(r#"{{"status":"Too many requests.","error":"{error}"}}"#);
            judge(StatusCode::TOO_MANY_REQUESTS, body.as_bytes())
        };
        assert!(matches!(said(TOO_MANY_GUESSES), Rejected::Voucher(VoucherRefusal::TooMany)));
        assert!(matches!(IdentityError::from(said("slow down")), IdentityError::RateLimited));
        let plain = judge(StatusCode::TOO_MANY_REQUESTS, b"Too many requests.");
        assert!(matches!(IdentityError::from(plain), IdentityError::RateLimited));
    }
}
