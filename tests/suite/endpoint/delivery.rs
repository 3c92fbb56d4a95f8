//! When an answer counts as delivered: when the client's side has taken it, and not before.

use std::sync::Arc;
use std::time::Duration;

use llmtor::anonymous::http::Limits;
use llmtor::anonymous::redeem::Ending;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::harness::{Response, Scripted, Settings, completion, hello, post, request, start, start_with};

/// More than the sockets of both sides buffer.
fn huge() -> Vec<u8> {
    completion(&"word ".repeat(3_000_000))
}

#[tokio::test]
async fn a_client_that_hangs_up_while_the_answer_is_being_sent_does_not_have_it() {
    for rest in ["", r#","stream":true"#] {
        let server = start(Scripted::answering(huge())).await;
        let mut stream = server.connect().await;
        stream.write_all(&post(hello(rest))).await.unwrap();
        let mut some = [0; 4096];
        stream.read_exact(&mut some).await.unwrap();
        // Not all of it fits into the kernel's buffers, so it is not delivered, however long we wait.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(server.endings_now().is_empty(), "{rest}");
        drop(stream);
        assert_eq!(server.endings(1).await, [Ending::Abandoned], "{rest}");
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_and_its_answer_stays_with_the_token() {
    for rest in ["", r#","stream":true"#] {
        let limits = Limits { write_time: Duration::from_millis(300), ..Limits::default() };
        let server =
            start_with(Scripted::answering(huge()), Settings { limits, ..Settings::default() }).await;
        let mut stream = server.connect().await;
        stream.write_all(&post(hello(rest))).await.unwrap();
        let mut bytes = vec![0; 4096];
        stream.read_exact(&mut bytes).await.unwrap();
        // Kept open from here on, and not read.
        assert_eq!(server.endings(1).await, [Ending::Abandoned], "{rest}");
        let _ = stream.read_to_end(&mut bytes).await;
        assert!(!Response::parse(&bytes).complete, "{rest}");
        assert_eq!(server.send(request("GET /healthz", &[], "")).await.status, 200, "the endpoint serves on");
    }
}

#[tokio::test]
async fn a_client_that_reads_now_and_then_is_not_cut() {
    let limits = Limits { write_time: Duration::from_millis(800), ..Limits::default() };
    let server = start_with(Scripted::answering(huge()), Settings { limits, ..Settings::default() }).await;
    let mut stream = server.connect().await;
    stream.write_all(&post(hello(""))).await.unwrap();
    let begun = std::time::Instant::now();
    let (mut bytes, mut some) = (Vec::new(), vec![0; 3 << 20]);
    loop {
        // Together far longer than the bound.
        tokio::time::sleep(Duration::from_millis(250)).await;
        let wanted = bytes.len() + some.len();
        while bytes.len() < wanted {
            let read = stream.read(&mut some).await.unwrap();
            bytes.extend_from_slice(&some[..read]);
            if read == 0 {
                assert!(Response::parse(&bytes).complete);
                assert!(begun.elapsed() > Duration::from_millis(800), "{:?}", begun.elapsed());
                assert_eq!(server.endings(1).await, [Ending::Delivered]);
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_it_and_only_then_has_it() {
    let server = start(Scripted::answering(huge())).await;
    let mut stream = server.connect().await;
    stream.write_all(&post(hello(""))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(server.endings_now().is_empty());
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert!(Response::parse(&bytes).complete);
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_drops_the_call() {
    struct Dropped(Arc<Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    // Plain, streaming before the headers, and streaming between heartbeats.
    for (rest, heartbeat) in [("", 60_000), (r#","stream":true"#, 60_000), (r#","stream":true"#, 10)] {
        let dropped = Arc::new(Notify::new());
        let begun = Arc::new(Notify::new());
        let (guard, start_signal) = (Arc::clone(&dropped), Arc::clone(&begun));
        let redeemer = Scripted::new(move |_| {
            let guard = Dropped(Arc::clone(&guard));
            start_signal.notify_one();
            async move {
                let _guard = guard;
                std::future::pending().await
            }
        });
        let settings = Settings { heartbeat: Duration::from_millis(heartbeat), ..Settings::default() };
        let server = start_with(redeemer, settings).await;
        let mut stream = server.connect().await;
        stream.write_all(&post(hello(rest))).await.unwrap();
        begun.notified().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(stream);
        tokio::time::timeout(Duration::from_secs(10), dropped.notified()).await.expect("the call goes on");
        assert!(server.endings_now().is_empty());
    }
}
