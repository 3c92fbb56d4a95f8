//! The same endpoint over HTTP/2 with prior knowledge; above all, when an answer counts as delivered there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use llmtor::anonymous::http::Limits;
use llmtor::anonymous::redeem::{Answer, Asking, Delivery, Ending, Prompt, Redeem, Redemption};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::harness::{KEY, Scripted, Server, Settings, completion, hello, request, start, start_with};

/// More than the sockets of both sides buffer.
fn huge() -> Vec<u8> {
    completion(&"word ".repeat(3_000_000))
}

struct Client {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    /// A client that lets the endpoint send `window` bytes ahead of its reading.
    async fn connect(server: &Server, window: u32) -> Self {
        let socket = TokioIo::new(server.connect().await);
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(window)
            .initial_connection_window_size(window)
            .handshake(socket)
            .await
            .unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    async fn send(&mut self, line: &str, headers: &[(&str, &str)], body: &str) -> hyper::Response<Incoming> {
        self.try_send(line, headers, body).await.unwrap()
    }

    async fn try_send(
        &mut self,
        line: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> hyper::Result<hyper::Response<Incoming>> {
        let (method, path) = line.split_once(' ').unwrap();
        let bearer = format!("Bearer {KEY}");
        let mut all = BTreeMap::from([
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            (":authority", "localhost:8787"),
        ]);
        all.extend(headers.iter().copied());
        let uri = format!("http://{}{path}", all.remove(":authority").unwrap());
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in all {
            request = request.header(name, value);
        }
        self.sender.ready().await?;
        self.sender.send_request(request.body(Full::from(body.to_owned())).unwrap()).await
    }

    async fn chat(&mut self, rest: &str) -> hyper::Response<Incoming> {
        self.send("POST /v1/chat/completions", &[], &hello(rest)).await
    }
}

async fn read(response: hyper::Response<Incoming>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

async fn said(response: hyper::Response<Incoming>) -> String {
    let body: Value = serde_json::from_slice(&read(response).await).unwrap();
    body["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn calls_are_answered_over_http2_side_by_side() {
    let server = start(Scripted::echo()).await;
    let mut client = Client::connect(&server, 65_535).await;
    let response = client.chat(r#","temperature":1"#).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-llmtor-ignored"], "temperature");
    assert_eq!(said(response).await, r#"[{"role":"user","content":"hi"}]"#);
    let calls: Vec<_> = (0..300)
        .map(|index| {
            let mut client =
                Client { sender: client.sender.clone(), connection: tokio::spawn(async { Ok(()) }) };
            let rest = if index % 2 == 0 { "" } else { r#","stream":true"# };
            tokio::spawn(async move { read(client.chat(rest).await).await })
        })
        .collect();
    for (index, call) in calls.into_iter().enumerate() {
        let body = call.await.unwrap();
        assert_eq!(body.ends_with(b"data: [DONE]\n\n"), index % 2 == 1, "{index}");
    }
    assert_eq!(server.endings(301).await, vec![Ending::Delivered; 301]);
}

#[tokio::test]
async fn a_client_that_grants_no_window_and_hangs_up_does_not_have_the_answer() {
    for rest in ["", r#","stream":true"#] {
        let server = start(Scripted::answering(huge())).await;
        let mut client = Client::connect(&server, 1 << 20).await;
        let mut body = client.chat(rest).await.into_body();
        body.frame().await.unwrap().unwrap();
        // The window is full, the socket is not; the answer is not delivered, however long we wait.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(server.endings_now().is_empty(), "{rest}");
        client.connection.abort();
        drop((body, client));
        assert_eq!(server.endings(1).await, [Ending::Abandoned], "{rest}");
    }
}

#[tokio::test]
async fn a_client_that_wants_no_more_of_one_answer_does_not_have_it_and_can_ask_again() {
    let server = start(Scripted::answering(huge())).await;
    let mut client = Client::connect(&server, 1 << 20).await;
    let mut body = client.chat("").await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(server.endings(1).await, [Ending::Abandoned]);
    assert_eq!(read(client.chat("").await).await.len(), read(client.chat("").await).await.len());
    assert_eq!(server.endings(3).await, [Ending::Abandoned, Ending::Delivered, Ending::Delivered]);
}

#[tokio::test]
async fn an_answer_that_lacks_its_last_byte_of_window_is_not_delivered() {
    // The window ends before, at, and after the end of the answer.
    let answer = completion(&"a".repeat(70_000));
    let length = {
        let server = start(Scripted::answering(answer.clone())).await;
        read(Client::connect(&server, 1 << 20).await.chat("").await).await.len()
    };
    for (missing, delivered) in [(1, false), (300, false), (0, true)] {
        let server = start(Scripted::answering(answer.clone())).await;
        let window = u32::try_from(length - missing).unwrap();
        let mut client = Client::connect(&server, window).await;
        // Nothing of it is read, so no window is granted.
        let response = client.chat("").await;
        if delivered {
            assert_eq!(server.endings(1).await, [Ending::Delivered]);
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(server.endings_now().is_empty(), "{missing}");
        }
        client.connection.abort();
        drop((response, client));
        let ending = if delivered { Ending::Delivered } else { Ending::Abandoned };
        assert_eq!(server.endings(1).await, [ending], "{missing}");
    }
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_it_and_only_then_has_it() {
    let limits = Limits { write_time: Duration::from_millis(1500), ..Limits::default() };
    let server = start_with(Scripted::answering(huge()), Settings { limits, ..Settings::default() }).await;
    let mut client = Client::connect(&server, 1 << 20).await;
    let begun = std::time::Instant::now();
    let mut body = client.chat("").await.into_body();
    let (mut length, mut paused) = (0, 0);
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
        if length / (4 << 20) > paused {
            paused += 1;
            // Together longer than the bound.
            tokio::time::sleep(Duration::from_millis(600)).await;
            assert!(server.endings_now().is_empty());
        }
    }
    assert!(
        length > 15_000_000 && begun.elapsed() > Duration::from_millis(1500),
        "{length} {:?}",
        begun.elapsed()
    );
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_and_its_answer_stays_with_the_token() {
    for rest in ["", r#","stream":true"#] {
        let limits = Limits { write_time: Duration::from_millis(300), ..Limits::default() };
        let server =
            start_with(Scripted::answering(huge()), Settings { limits, ..Settings::default() }).await;
        let mut client = Client::connect(&server, 100_000).await;
        let mut body = client.chat(rest).await.into_body();
        // Kept open from here on, and not read.
        assert_eq!(server.endings(1).await, [Ending::Abandoned], "{rest}");
        while let Some(Ok(_)) = body.frame().await {}
        assert!(client.try_send("GET /healthz", &[], "").await.is_err(), "the connection is gone");
    }
}

/// Redemption as the real one resumes: an answer that was not delivered is found again by the same request.
#[derive(Clone, Default)]
struct Resuming(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    tokens: usize,
    kept: Option<Vec<u8>>,
}

impl Resuming {
    /// Waits until there is an answer that was not delivered.
    async fn abandoned(&self) {
        for _ in 0..2_000 {
            if self.0.lock().unwrap().kept.is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the answer counts as delivered");
    }
}

impl Redeem for Resuming {
    fn redeem(&self, _prompt: Prompt, _asking: Asking) -> Redemption<'_> {
        let mut books = self.0.lock().unwrap();
        let body = books.kept.take().unwrap_or_else(|| {
            books.tokens += 1;
            completion(&format!("{}{}", books.tokens, "word ".repeat(1_000_000)))
        });
        let kept = Arc::clone(&self.0);
        Box::pin(async move {
            Ok(Delivery::new(Answer { body }, move |answer, ending| {
                if ending == Ending::Abandoned {
                    kept.lock().unwrap().kept = Some(answer.body.clone());
                }
            }))
        })
    }
}

#[tokio::test]
async fn the_same_request_after_a_hang_up_gets_the_same_answer_for_the_same_token() {
    let books = Resuming::default();
    let server = super::harness::serve_with(Box::new(books.clone()), Settings::default()).await;
    for _ in 0..3 {
        let mut client = Client::connect(&server, 100_000).await;
        let response = client.chat("").await;
        client.connection.abort();
        drop((response, client));
        books.abandoned().await;
    }
    let mut client = Client::connect(&server, 100_000).await;
    assert!(said(client.chat("").await).await.starts_with("1word"));
    assert!(said(client.chat("").await).await.starts_with("2word"), "it was delivered");
    assert_eq!(books.0.lock().unwrap().tokens, 2);
}

#[tokio::test]
async fn a_stream_that_is_waited_for_shows_signs_of_life_and_is_delivered_at_its_end() {
    let (release, released) = tokio::sync::watch::channel(false);
    let script = move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.unwrap();
            Ok(completion("late"))
        }
    };
    let settings = Settings { heartbeat: Duration::from_millis(10), ..Settings::default() };
    let server = start_with(Scripted::new(script), settings).await;
    let mut client = Client::connect(&server, 65_535).await;
    let mut body = client.chat(r#","stream":true"#).await.into_body();
    for _ in 0..3 {
        let comment = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(comment.starts_with(b": "), "{comment:?}");
    }
    assert!(server.endings_now().is_empty());
    release.send(true).unwrap();
    assert!(body.collect().await.unwrap().to_bytes().ends_with(b"data: [DONE]\n\n"));
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn a_client_that_wants_the_answer_no_more_drops_the_call() {
    struct Dropped(Arc<Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (begun, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (beginning, guard) = (Arc::clone(&begun), Arc::clone(&dropped));
    let script = move |_| {
        let guard = Dropped(Arc::clone(&guard));
        beginning.notify_one();
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    };
    let server = start_with(Scripted::new(script), Settings::default()).await;
    let mut client = Client::connect(&server, 65_535).await;
    {
        let body = hello("");
        let mut call = std::pin::pin!(client.try_send("POST /v1/chat/completions", &[], &body));
        tokio::select! {
            _ = &mut call => panic!("answered"),
            () = begun.notified() => {}
        }
    }
    tokio::time::timeout(Duration::from_secs(10), dropped.notified()).await.expect("the call goes on");
    assert!(server.endings_now().is_empty());
    assert_eq!(client.send("GET /healthz", &[], "").await.status(), StatusCode::OK, "the connection goes on");
}

#[tokio::test]
async fn bodies_beyond_the_window_are_read_and_beyond_the_limit_refused() {
    let limits = Limits { body_bytes: 6_000_000, ..Limits::default() };
    let server = start_with(Scripted::echo(), Settings { limits, ..Settings::default() }).await;
    let mut client = Client::connect(&server, 65_535).await;
    let padded = |length: usize| format!(r#","user":"{}""#, "a".repeat(length));
    assert_eq!(client.chat(&padded(5_500_000)).await.status(), StatusCode::OK);
    assert_eq!(client.chat(&padded(6_500_000)).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(client.chat("").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_name_of_the_machine_is_required_over_http2_too() {
    let server = start(Scripted::untouched()).await;
    let mut client = Client::connect(&server, 65_535).await;
    for authority in ["evil.example", "localhost.evil.example:8787", "192.168.0.1"] {
        let response = client.send("GET /healthz", &[(":authority", authority)], "").await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{authority}");
    }
    let response = client.send("GET /healthz", &[("host", "evil.example")], "").await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let response = client.send("GET /v1/models", &[("authorization", "Bearer wrong")], "").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let response = client.send("GET /healthz", &[("origin", "http://localhost")], "").await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let server = start(Scripted::untouched()).await;
    let mut client = Client::connect(&server, 65_535).await;
    let get = client.send("GET /v1/models", &[], "").await;
    let head = client.send("HEAD /v1/models", &[], "").await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()["content-length"], get.headers()["content-length"]);
    assert!(read(head).await.is_empty() && !read(get).await.is_empty());
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused_and_the_endpoint_lives_on() {
    let server = start(Scripted::untouched()).await;
    let mut client = Client::connect(&server, 65_535).await;
    let long = "a".repeat(40_000);
    if let Ok(response) = client.try_send("GET /v1/models", &[("x-long", &long)], "").await {
        assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let mut client = Client::connect(&server, 65_535).await;
    assert_eq!(client.send("GET /healthz", &[], "").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn whoever_asks_for_nothing_is_sent_away() {
    let limits = Limits { head_time: Duration::from_millis(200), ..Limits::default() };
    let server = start_with(Scripted::untouched(), Settings { limits, ..Settings::default() }).await;
    let beginnings: [&[u8]; 4] = [b"", b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HT"];
    for beginning in beginnings {
        let mut stream = server.connect().await;
        stream.write_all(beginning).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "{beginning:?}");
    }
    // One that behaves is told to leave, and does.
    let mut client = Client::connect(&server, 65_535).await;
    assert_eq!(client.send("GET /healthz", &[], "").await.status(), StatusCode::OK);
    tokio::time::timeout(Duration::from_secs(20), client.connection).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_shutdown_closes_idle_connections_and_lets_calls_end() {
    let (release, released) = tokio::sync::watch::channel(false);
    let begun = Arc::new(Notify::new());
    let beginning = Arc::clone(&begun);
    let server = start(Scripted::new(move |_| {
        let mut released = released.clone();
        beginning.notify_one();
        async move {
            released.wait_for(|released| *released).await.unwrap();
            Ok(completion("late"))
        }
    }))
    .await;
    let mut idle = Client::connect(&server, 65_535).await;
    assert_eq!(idle.send("GET /healthz", &[], "").await.status(), StatusCode::OK);
    let mut busy = Client::connect(&server, 65_535).await;
    let call = tokio::spawn(async move { said(busy.chat("").await).await });
    begun.notified().await;
    server.shutdown.cancel();
    idle.connection.await.unwrap().unwrap();
    assert!(!server.serving.is_finished());
    release.send(true).unwrap();
    assert_eq!(call.await.unwrap(), "late");
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
    server.serving.await.unwrap();
}

#[tokio::test]
async fn calls_that_outlast_the_grace_period_are_cut() {
    let begun = Arc::new(Notify::new());
    let beginning = Arc::clone(&begun);
    let settings = Settings { grace: Duration::from_millis(20), ..Settings::default() };
    let script = move |_| {
        beginning.notify_one();
        std::future::pending()
    };
    let server = start_with(Scripted::new(script), settings).await;
    let mut client = Client::connect(&server, 65_535).await;
    let call =
        tokio::spawn(async move { client.try_send("POST /v1/chat/completions", &[], &hello("")).await });
    begun.notified().await;
    server.shutdown.cancel();
    server.serving.await.unwrap();
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn http1_beside_it_is_as_it_was() {
    let server = start(Scripted::echo()).await;
    let mut client = Client::connect(&server, 65_535).await;
    assert_eq!(client.chat("").await.status(), StatusCode::OK);
    // Shares its first letters with the preface.
    assert_eq!(server.send(request("PRINT /v1/models", &[], "")).await.status, 405);
    assert_eq!(server.chat(hello("")).await.status, 200);
}
