//! What the endpoint's logs, and those of the crates below it, do not say.

use std::io;
use std::sync::{Arc, Mutex};

use llmtor::anonymous::redeem::{RedeemErrorKind, TokenFate};
use tracing::instrument::WithSubscriber;
use tracing_subscriber::fmt::MakeWriter;

use super::harness::{KEY, Scripted, completion, request, start};

/// One of each API.
const PATHS: [&str; 3] = ["/v1/chat/completions", "/api/chat", "/v1/messages"];

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// One thread, so that the scoped subscriber sees all tasks.
#[test]
fn nothing_of_a_request_or_an_answer_is_logged_even_at_trace_level() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(captured.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(talk().with_current_subscriber());
    });
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    // The log is really being written: the routes are there.
    for path in PATHS {
        assert!(log.contains(path), "{path} is missing in {log}");
    }
    for secret in ["canary", KEY, "llmtor-test"] {
        assert!(!log.contains(secret), "{secret} in the log:\n{log}");
    }
}

async fn talk() {
    let body = r#"{"model":"gpt-4.1","user":"canary","messages":[{"role":"user","content":"canary"}],
        "max_tokens":9,"stream":STREAM}"#;
    let headers = [
        ("user-agent", "canary"),
        ("openai-organization", "canary"),
        ("x-stainless-lang", "canary"),
        ("cookie", "canary=canary"),
    ];
    let server = start(Scripted::answering(completion("canary"))).await;
    for path in PATHS {
        for stream in ["false", "true"] {
            let call = request(&format!("POST {path}?canary=1"), &headers, body.replace("STREAM", stream));
            assert_eq!(server.send(call).await.status, 200, "{path}");
        }
    }
    let broken = PATHS.map(|path| format!("POST {path}"));
    for line in ["GET /v1/models/canary", "GET /canary", "GET /api/canary", "canary /canary"]
        .into_iter()
        .chain(broken.iter().map(String::as_str))
    {
        assert!(server.send(request(line, &headers, "{\"canary")).await.status >= 400);
    }
    let wrong_key = [("authorization", "Bearer canary"), ("host", "canary.example")];
    assert_eq!(server.send(request("GET /v1/models", &wrong_key, "")).await.status, 403);
    server.shutdown.cancel();
    server.serving.await.unwrap();
    let failing = start(Scripted::failing(RedeemErrorKind::Unreachable, TokenFate::Unspent)).await;
    for path in PATHS {
        let call = request(&format!("POST {path}"), &headers, body.replace("STREAM", "false"));
        assert_eq!(failing.send(call).await.status, 503, "{path}");
    }
}
