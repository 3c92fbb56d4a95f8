//! Proper calls, connections, and the end of serving.

use std::time::Duration;

use async_openai::types::chat::CreateChatCompletionResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmtor::anonymous::face::catalog::Listing;
use llmtor::anonymous::redeem::{Attempt, Ending};
use llmtor::clock::Timestamp;
use llmtor::wire::ModelName;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::harness::{
    KEY, Response, Scripted, Settings, completion, connect, find, hello, post, request, start, start_with,
};

#[tokio::test]
async fn a_plain_call_is_answered_byte_for_byte() {
    let server = start(Scripted::answering(completion("hello"))).await;
    let response = server.chat(hello("")).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(
        response.text(),
        r#"{"id":"chatcmpl-1","object":"chat.completion","created":9,"model":"gpt-4.1","choices":[{"index":0,"message":{"role":"assistant","content":"hello","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#
    );
    serde_json::from_slice::<CreateChatCompletionResponse>(&response.body).unwrap();
    assert!(response.header("x-llmtor-ignored").is_none());
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn only_model_and_messages_go_further_and_the_rest_is_reported() {
    let server = start(Scripted::echo()).await;
    let rest = r#","user":"canary","temperature":0.3,"logit_bias":{"50256":-100},"canary":{"a":"canary"},
        "metadata":{"canary":"canary"},"seed":null,"n":1"#;
    let response = server.chat(hello(rest)).await;
    assert_eq!(response.header("x-llmtor-ignored"), Some("canary, logit_bias, metadata, temperature, user"));
    let answer = response.json();
    assert_eq!(answer["choices"][0]["message"]["content"], r#"[{"role":"user","content":"hi"}]"#);
    assert!(!response.text().contains("canary"));
}

#[tokio::test]
async fn a_mistyped_base_url_works() {
    let server = start(Scripted::echo()).await;
    for path in
        ["/chat/completions", "/v1/v1/chat/completions", "/v1/chat/completions/", "//v1//chat/completions"]
    {
        assert_eq!(server.send(request(&format!("POST {path}"), &[], hello(""))).await.status, 200, "{path}");
    }
    for path in ["/models/", "/v1/v1/models/org/model:free/", "//models/org%2Fmodel%3Afree"] {
        assert_eq!(server.send(request(&format!("GET {path}"), &[], "")).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn models_are_listed_and_replaced_while_serving() {
    let server = start(Scripted::untouched()).await;
    let get = |path: &str| server.send(request(&format!("GET {path}"), &[], ""));
    assert_eq!(
        get("/v1/models").await.text(),
        r#"{"object":"list","data":[{"id":"gpt-4.1","object":"model","created":5,"owned_by":"llmtor"},{"id":"org/model:free","object":"model","created":5,"owned_by":"llmtor"}]}"#
    );
    for path in ["/v1/models/org/model:free", "/v1/models/org%2Fmodel%3Afree"] {
        let model = get(path).await.json();
        assert_eq!(
            model,
            json!({"id": "org/model:free", "object": "model", "created": 5, "owned_by": "llmtor"})
        );
    }
    let (message, _, _, code) = get("/v1/models/gpt-9").await.error(404);
    assert_eq!(
        message,
        "The model `gpt-9` does not exist or you do not have access to it. GET /v1/models lists those that do."
    );
    assert_eq!(code, json!("model_not_found"));

    server.catalog.replace([Listing {
        name: ModelName::new("gpt-9").unwrap(),
        created: Timestamp::from_unix(6),
        context_length: Some(4096),
    }]);
    assert_eq!(get("/v1/models/gpt-9").await.json()["max_model_len"], 4096);
    assert_eq!(server.chat(hello("")).await.status, 404);
}

#[tokio::test]
async fn the_key_is_taken_as_each_kind_of_client_sends_it() {
    let server = start(Scripted::echo()).await;
    let basic = format!("Basic {}", STANDARD.encode(format!("llmtor:{KEY}")));
    for header in [("x-api-key", KEY), ("api-key", KEY), ("authorization", &basic)] {
        let headers = [("authorization", ""), header];
        let response = server.send(request("POST /v1/chat/completions", &headers, hello(""))).await;
        assert_eq!(response.status, 200, "{header:?}");
    }
    let marked = [("authorization", basic.as_str()), ("sec-fetch-site", "same-origin")];
    let response = server.send(request("GET /v1/models", &marked, "")).await;
    assert_eq!(response.error(401).3, "invalid_api_key");
    assert_eq!(response.header("www-authenticate"), Some("Bearer realm=\"llmtor\""));
}

#[tokio::test]
async fn a_compressed_body_is_read() {
    let server = start(Scripted::echo()).await;
    let zlib = [0x78, 0x01, 0x01, 0x02, 0x00, 0xfd, 0xff, b'{', b'}', 0x01, 0x75, 0x00, 0xf9];
    let headers = [("content-encoding", "deflate")];
    let response = server.send(request("POST /v1/chat/completions", &headers, zlib)).await;
    assert_eq!(response.error(400).2, "model", "read as {{}}");
    let headers = [("content-encoding", "zstd")];
    let body = zstd::encode_all(hello("").as_bytes(), 3).unwrap();
    let response = server.send(request("POST /v1/chat/completions", &headers, body)).await;
    assert_eq!(response.json()["choices"][0]["message"]["content"], r#"[{"role":"user","content":"hi"}]"#);
}

#[tokio::test]
async fn health_needs_no_key_and_tells_nothing() {
    let server = start(Scripted::untouched()).await;
    let response = server.send(request("GET /healthz", &[("authorization", "")], "")).await;
    assert_eq!((response.status, response.text()), (200, r#"{"status":"ok"}"#));
    let mut stream = server.connect().await;
    stream.write_all(&request("HEAD /healthz", &[("authorization", "")], "")).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"\r\n\r\n"));
    assert!(String::from_utf8_lossy(&answer).contains("content-length: 15"));
}

#[tokio::test]
async fn every_listener_serves_the_same_endpoint() {
    let server = start(Scripted::echo()).await;
    let mut stream = connect(server.other_address).await;
    stream.write_all(&post(hello(""))).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(Response::parse(&answer).status, 200);
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = start(Scripted::echo()).await;
    let mut stream = server.connect().await;
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let call = request("POST /v1/chat/completions", &[("connection", "keep-alive")], hello(""));
        stream.write_all(&call).await.unwrap();
        let response = read_one(&mut stream).await;
        assert_eq!(response.status, 200);
        ids.insert(response.header("x-request-id").unwrap().to_owned());
        // An error does not end the connection either.
        stream.write_all(&request("GET /nowhere", &[("connection", "keep-alive")], "")).await.unwrap();
        assert_eq!(read_one(&mut stream).await.status, 404);
    }
    assert_eq!(ids.len(), 20);
    assert_eq!(server.endings(20).await, vec![Ending::Delivered; 20]);
}

/// Reads one response with a `content-length` from a connection that stays open.
async fn read_one(stream: &mut tokio::net::TcpStream) -> Response {
    let mut bytes = Vec::new();
    loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "closed early");
        if find(&bytes, b"\r\n\r\n").is_some() && Response::parse(&bytes).complete {
            return Response::parse(&bytes);
        }
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_each_is_delivered() {
    let server = start(Scripted::echo()).await;
    let mut bytes = Vec::new();
    for _ in 0..3 {
        bytes.extend(request("POST /v1/chat/completions", &[("connection", "keep-alive")], hello("")));
    }
    bytes.extend(request("GET /healthz", &[], ""));
    let mut stream = server.connect().await;
    stream.write_all(&bytes).await.unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).await.unwrap();
    assert_eq!(answers.windows(15).filter(|window| window == b"HTTP/1.1 200 OK").count(), 4);
    assert_eq!(server.endings(3).await, vec![Ending::Delivered; 3]);
}

#[tokio::test]
async fn three_hundred_at_once_are_all_answered() {
    let server = std::sync::Arc::new(start(Scripted::echo()).await);
    let calls: Vec<_> = (0..300)
        .map(|_| {
            let server = std::sync::Arc::clone(&server);
            tokio::spawn(async move { server.chat(hello("")).await.status })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(server.endings(300).await, vec![Ending::Delivered; 300]);
}

#[tokio::test]
async fn a_shutdown_closes_idle_connections_and_lets_calls_end() {
    let (release, released) = tokio::sync::watch::channel(false);
    let server = start(Scripted::new(move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.unwrap();
            Ok(completion("late"))
        }
    }))
    .await;
    let mut idle = server.connect().await;
    idle.write_all(&request("GET /healthz", &[("connection", "keep-alive")], "")).await.unwrap();
    assert_eq!(read_one(&mut idle).await.status, 200);
    let mut busy = server.connect().await;
    let call = request("POST /v1/chat/completions", &[("connection", "keep-alive")], hello(""));
    busy.write_all(&call).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;

    server.shutdown.cancel();
    assert_eq!(idle.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    assert!(!server.serving.is_finished());
    release.send(true).unwrap();
    let mut answer = Vec::new();
    busy.read_to_end(&mut answer).await.unwrap();
    assert_eq!(Response::parse(&answer).json()["choices"][0]["message"]["content"], "late");
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
    server.serving.await.unwrap();
}

#[tokio::test]
async fn calls_that_outlast_the_grace_period_are_cut() {
    let settings = Settings { grace: Duration::from_millis(20), ..Settings::default() };
    let server = start_with(Scripted::new(|_| std::future::pending()), settings).await;
    let mut stream = server.connect().await;
    stream.write_all(&request("POST /v1/chat/completions", &[], hello(""))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.cancel();
    server.serving.await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_retry_is_known_by_the_count_of_the_official_sdks_in_every_api() {
    for line in ["POST /v1/chat/completions", "POST /api/chat", "POST /v1/messages"] {
        for (count, expected) in [
            ("", Attempt::First),
            ("0", Attempt::First),
            ("1", Attempt::Retry),
            ("2", Attempt::Retry),
            ("-1", Attempt::First),
            ("many", Attempt::First),
            ("99999999999999999999", Attempt::First),
        ] {
            let scripted = Scripted::echo();
            let attempts = scripted.attempts();
            let server = start(scripted).await;
            let headers = [("x-stainless-retry-count", count)];
            let response = server.send(request(line, &headers, hello(r#","max_tokens":9"#))).await;
            assert_eq!(response.status, 200, "{}", response.text());
            assert_eq!(*attempts.lock().unwrap(), [expected], "{line} {count}");
        }
    }
}
