//! Fetching a picture from the web through Tor, where the user has asked for that in so many words.
//!
//! Every picture gets a circuit of its own, which no call shares. HTTPS, or plain HTTP to an onion service; redirects are
//! followed a few times, each on another circuit, and never to anything less. The request is the same for every user: no
//! cookie, no referrer, and the user agent of Tor Browser, because many sites refuse to answer without one.
//!
//! Invariants: nothing is dialled but through the [`Dialer`] given; neither URL nor picture is logged; at most so many bytes are
//! read as were allowed.
//!
//! Deliberately absent: a fetcher for the loopback transport, which has no Tor to go through.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body_util::{BodyExt as _, Empty};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue,
    LOCATION, USER_AGENT,
};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use url::Url;

use crate::passage::Gate;

use super::Stream;
use super::isolated::Dialer;
use super::target::Target;

/// How often a picture may be somewhere else.
const MOST_REDIRECTS: usize = 3;
/// What the site may take to hand over all of it, after the circuit is there.
const EXCHANGE: Duration = Duration::from_secs(60);

/// A picture as it came.
pub struct Picture {
    /// What follows `image/`, such as `png`.
    pub kind: String,
    /// Undecoded.
    pub bytes: Vec<u8>,
}

/// Why there is no picture. Names nothing of the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL is not one that is fetched.
    #[error("only https:// URLs, and http:// to onion services, are fetched")]
    Address,
    /// Tor, or the way to the site.
    #[error("the site could not be reached through Tor")]
    Unreachable,
    /// The way out is not Tor's.
    #[error(
        "pictures are fetched through Tor, which this llmtor does not use: its backend is on this machine"
    )]
    NoTor,
    /// The site said something else.
    #[error("the site did not answer with the picture")]
    Refused,
    /// What came is no picture.
    #[error("what the site answered with is not a picture")]
    NotAPicture,
    /// More than was allowed.
    #[error("the picture is larger than one call can carry")]
    TooLarge,
    /// The user wants nothing to leave.
    #[error("{}", crate::passage::PAUSED)]
    Paused,
    /// Too slow.
    #[error("the site took too long")]
    TimedOut,
}

/// What [`Fetch::fetch`] returns.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Picture, FetchError>> + Send + 'a>>;

/// Fetches pictures.
pub trait Fetch: Send + Sync + 'static {
    /// The picture at `url`, of at most `most` bytes.
    fn fetch<'a>(&'a self, url: &'a str, most: usize) -> Fetching<'a>;
}

/// Fetches through whatever `dialer` makes for a target.
pub struct Fetcher<F> {
    dialer: F,
    connect: Duration,
    gate: Gate,
}

impl<D: Dialer, F: Fn(Target) -> D + Send + Sync + 'static> Fetcher<F> {
    /// Opening a stream may take `connect`. What is under way when `gate` is shut is broken off.
    pub fn new(dialer: F, connect: Duration, gate: Gate) -> Self {
        Self { dialer, connect, gate }
    }

    async fn follow_unless_paused(&self, url: &str, most: usize) -> Result<Picture, FetchError> {
        tokio::select! {
            biased;
            () = self.gate.shut() => Err(FetchError::Paused),
            fetched = self.follow(url, most) => fetched,
        }
    }

    async fn follow(&self, url: &str, most: usize) -> Result<Picture, FetchError> {
        let mut url = Url::parse(url).map_err(|_| FetchError::Address)?;
        for _ in 0..=MOST_REDIRECTS {
            match self.get(&url, most).await? {
                Got::Picture(picture) => return Ok(picture),
                Got::Elsewhere(location) => {
                    url = url.join(&location).map_err(|_| FetchError::Refused)?;
                }
            }
        }
        Err(FetchError::Refused)
    }

    async fn get(&self, url: &Url, most: usize) -> Result<Got, FetchError> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::Address);
        }
        let origin = url.origin().ascii_serialization();
        let target = Target::new(&origin).map_err(|_| FetchError::Address)?;
        let dialer = (self.dialer)(target);
        dialer.ready().await.map_err(|_| FetchError::Unreachable)?;
        let opened = timeout(self.connect, dialer.dial(&dialer.lane(), &[])).await;
        let opened = opened.map_err(|_| FetchError::TimedOut)?.map_err(|_| FetchError::Unreachable)?;
        let request = request(url, dialer.target().authority())?;
        timeout(EXCHANGE, exchange(opened.stream, request, most)).await.map_err(|_| FetchError::TimedOut)?
    }
}

impl<D: Dialer, F: Fn(Target) -> D + Send + Sync + 'static> Fetch for Fetcher<F> {
    fn fetch<'a>(&'a self, url: &'a str, most: usize) -> Fetching<'a> {
        Box::pin(self.follow_unless_paused(url, most))
    }
}

enum Got {
    Picture(Picture),
    Elsewhere(String),
}

fn request(url: &Url, authority: &str) -> Result<Request<Empty<Bytes>>, FetchError> {
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = path.parse().map_err(|_| FetchError::Address)?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(authority).map_err(|_| FetchError::Address)?);
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static("Mozilla/5.0 (Windows NT 10.0; rv:128.0) Gecko/20100101 Firefox/128.0"),
    );
    headers.insert(ACCEPT, HeaderValue::from_static("image/webp,image/png,image/jpeg,image/gif"));
    headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("en-US,en;q=0.5"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<Empty<Bytes>>,
    most: usize,
) -> Result<Got, FetchError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|_| FetchError::Unreachable)?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(|_| FetchError::Refused)?;
        read(response, most).await
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

async fn read(response: Response<hyper::body::Incoming>, most: usize) -> Result<Got, FetchError> {
    let (head, mut incoming) = response.into_parts();
    if head.status.is_redirection() {
        let location = head.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        return location.map(|location| Got::Elsewhere(location.to_owned())).ok_or(FetchError::Refused);
    }
    if head.status != hyper::StatusCode::OK {
        return Err(FetchError::Refused);
    }
    let kind = kind(&head.headers).ok_or(FetchError::NotAPicture)?;
    let mut bytes = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame.map_err(|_| FetchError::Refused)?.into_data() else { continue };
        if data.remaining() > most - bytes.len() {
            return Err(FetchError::TooLarge);
        }
        bytes.extend_from_slice(&data);
    }
    if bytes.is_empty() { Err(FetchError::NotAPicture) } else { Ok(Got::Picture(Picture { kind, bytes })) }
}

/// What follows `image/`, in a form that a data URL takes.
fn kind(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let kind = essence.strip_prefix("image/")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-');
    (!kind.is_empty() && kind.bytes().all(plain)).then(|| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use crate::passage::Passage;

    use super::super::{Exit, Opened, TransportError, Way};
    use super::*;

    /// A web whose sites answer one after the other, and what each was asked.
    #[derive(Clone, Default)]
    struct Web {
        answers: Arc<Mutex<Vec<&'static str>>>,
        asked: Arc<Mutex<Vec<(String, String)>>>,
    }

    struct WebDialer {
        web: Web,
        target: Target,
    }

    impl Dialer for WebDialer {
        type Lane = ();

        fn lane(&self) {}

        async fn dial(&self, _lane: &(), _avoid: &[Exit]) -> Result<Opened, TransportError> {
            let (near, mut far) = tokio::io::duplex(64 * 1024);
            let (web, host) = (self.web.clone(), self.target.host().to_owned());
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let read = far.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                web.asked.lock().unwrap().push((host, request));
                let answer = web.answers.lock().unwrap().remove(0);
                far.write_all(answer.as_bytes()).await.unwrap();
                // It does not hang up before the client does.
                let _ = far.read(&mut [0]).await;
            });
            Ok(Opened { stream: Box::new(near), exit: None })
        }

        async fn ready(&self) -> Result<(), TransportError> {
            Ok(())
        }

        fn target(&self) -> &Target {
            &self.target
        }

        fn way(&self) -> Way {
            Way::Tor
        }
    }

    async fn fetched(url: &str, answers: &[&'static str], most: usize) -> (Result<Picture, FetchError>, Web) {
        let web = Web::default();
        web.answers.lock().unwrap().extend(answers);
        let dialled = web.clone();
        let dialer = move |target| WebDialer { web: dialled.clone(), target };
        let fetched = Fetcher::new(dialer, Duration::from_secs(5), Gate::default()).fetch(url, most).await;
        (fetched, web)
    }

    const PNG: &str = "HTTP/1.1 200 OK\r\ncontent-type: image/PNG; x=y\r\ncontent-length: 4\r\n\r\nabcd";

    #[tokio::test]
    async fn a_picture_is_fetched_with_a_request_that_says_nothing_of_the_user() {
        let (picture, web) = fetched("https://a.example/p/x.png?q=1#here", &[PNG], 4).await;
        let picture = picture.ok().unwrap();
        assert_eq!((picture.kind.as_str(), picture.bytes.as_slice()), ("png", &b"abcd"[..]));
        let asked = web.asked.lock().unwrap().clone();
        assert_eq!(asked[0].0, "a.example");
        assert_eq!(
            asked[0].1,
            "GET /p/x.png?q=1 HTTP/1.1\r\nhost: a.example\r\nuser-agent: Mozilla/5.0 (Windows NT 10.0; rv:128.0) \
             Gecko/20100101 Firefox/128.0\r\naccept: image/webp,image/png,image/jpeg,image/gif\r\naccept-language: \
             en-US,en;q=0.5\r\naccept-encoding: identity\r\nconnection: close\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn a_redirect_is_followed_on_another_stream_and_never_to_anything_less() {
        const ELSEWHERE: &str =
            "HTTP/1.1 302 Found\r\nlocation: https://b.example/y\r\ncontent-length: 0\r\n\r\n";
        let (picture, web) = fetched("https://a.example/x", &[ELSEWHERE, PNG], 100).await;
        assert!(picture.is_ok());
        let hosts: Vec<_> = web.asked.lock().unwrap().iter().map(|(host, _)| host.clone()).collect();
        assert_eq!(hosts, ["a.example", "b.example"]);
        for location in ["http://b.example/", "http://127.0.0.1/", "file:///etc/passwd", "https://localhost/"]
        {
            let answer: &'static str = Box::leak(
                format!("HTTP/1.1 301 Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
                    .into_boxed_str(),
            );
            let (picture, web) = fetched("https://a.example/x", &[answer], 100).await;
            assert_eq!(picture.err(), Some(FetchError::Address), "{location}");
            assert_eq!(web.asked.lock().unwrap().len(), 1);
        }
        let (picture, _) = fetched("https://a.example/x", &[ELSEWHERE; 4], 100).await;
        assert_eq!(picture.err(), Some(FetchError::Refused));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_breaks_off_a_picture_that_is_being_fetched_and_none_is_begun_after_it() {
        const NEVER: &str = "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 4\r\n\r\na";
        let web = Web::default();
        web.answers.lock().unwrap().push(NEVER);
        let (dialled, gate) = (web.clone(), Gate::default());
        let dialer = move |target| WebDialer { web: dialled.clone(), target };
        let fetcher = Arc::new(Fetcher::new(dialer, Duration::from_secs(5), gate.clone()));
        let fetching = tokio::spawn({
            let fetcher = Arc::clone(&fetcher);
            async move { fetcher.fetch("https://a.example/x", 100).await.err() }
        });
        while web.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        gate.set(Passage::Paused);
        assert_eq!(fetching.await.unwrap(), Some(FetchError::Paused));
        assert_eq!(fetcher.fetch("https://a.example/x", 100).await.err(), Some(FetchError::Paused));
        assert_eq!(web.asked.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_is_no_picture_or_too_large_is_refused() {
        let cases = [
            (
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 1\r\n\r\na",
                FetchError::NotAPicture,
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 0\r\n\r\n",
                FetchError::NotAPicture,
            ),
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", FetchError::Refused),
            (PNG, FetchError::TooLarge),
        ];
        for (answer, expected) in cases {
            assert_eq!(fetched("https://a.example/x", &[answer], 3).await.0.err(), Some(expected));
        }
        for url in ["http://a.example/x", "https://u:p@a.example/", "https://localhost/x", "ftp://a/", "x"] {
            assert_eq!(fetched(url, &[], 3).await.0.err(), Some(FetchError::Address), "{url}");
        }
    }
}
