//! One HTTP/1.1 request on one stream, and what came back.
//!
//! The head is fixed: the same fields in the same order for every call, nothing from the local client, no
//! user agent, no cookie (protocol.md §1). `accept-encoding: identity` because an answer that is compressed
//! by something in between is not the backend's. `connection: close`: a stream is never used twice.
//! No field is a secret; the payment is in the body, which hyper does not log.
//!
//! Redirects are not followed. Interim answers (1xx) are skipped by hyper.

use std::pin::pin;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST,
    HeaderMap, HeaderValue, RETRY_AFTER,
};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::error::Phase;
use crate::anonymous::transport::Stream;
use crate::clock::Timestamp;
use crate::wire::LLM_PROXY_PATH;

/// The longest `Retry-After` that is believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// An HTTP answer, whole.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// What the backend's clock showed, if it says so.
    pub(super) date: Option<Timestamp>,
    pub(super) body: Vec<u8>,
}

/// Why there is none. What the token is worth is unknown after each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// A deadline passed.
    Timeout(Phase),
    /// The stream ended first.
    Cut,
    /// Not HTTP, or compressed although we asked not to.
    Garbled,
    /// Longer than is read.
    TooLong,
}

/// Until when, and how much.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// The head of the answer must be here.
    pub(super) head_by: Instant,
    /// All of the answer must be here.
    pub(super) whole_by: Instant,
    /// Bytes of the answer's body.
    pub(super) answer: usize,
}

/// Sends `body` and reads the answer. Dropping the future closes the stream.
pub(super) async fn exchange(
    stream: Box<dyn Stream>,
    authority: &str,
    body: Bytes,
    bounds: Bounds,
) -> Result<Reply, Silence> {
    let request = request(authority, body)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| Silence::Cut)?;
    let talk = async {
        let response = timeout_at(bounds.head_by, sender.send_request(request))
            .await
            .map_err(|_| Silence::Timeout(Phase::FirstByte))?
            .map_err(|error| silence(&error))?;
        timeout_at(bounds.whole_by, read(response, bounds.answer))
            .await
            .map_err(|_| Silence::Timeout(Phase::Whole))?
    };
    let (mut talk, mut connection) = (pin!(talk), pin!(connection));
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            result = &mut talk => return result,
            // Its error, if any, also reaches `talk`.
            _ = &mut connection, if open => open = false,
        }
    }
}

fn request(authority: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Silence> {
    let host = HeaderValue::from_str(authority).map_err(|_| Silence::Garbled)?;
    let length = HeaderValue::from(body.len());
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(LLM_PROXY_PATH);
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

async fn read(response: Response<Incoming>, limit: usize) -> Result<Reply, Silence> {
    let (head, mut incoming) = response.into_parts();
    if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Silence::Garbled);
    }
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|error| silence(&error))?.into_data() else { continue };
        if data.remaining() > limit - body.len() {
            return Err(Silence::TooLong);
        }
        body.extend_from_slice(&data);
    }
    let (retry_after, date) = (retry_after(&head.headers), date(&head.headers));
    Ok(Reply { status: head.status.as_u16(), retry_after, date, body })
}

/// `Date` (RFC 9110 §6.6.1).
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok().map(Timestamp::from_unix)
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3); dates are ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

fn silence(error: &hyper::Error) -> Silence {
    if error.is_parse() { Silence::Garbled } else { Silence::Cut }
}
