//! What a client can get wrong: status, error object, and that no call gets as far as redemption.

use llmtor::anonymous::http::{Faces, Presence};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::harness::{KEY, Response, Scripted, Server, Settings, hello, request, start, start_with};

async fn untouched() -> Server {
    start(Scripted::untouched()).await
}

/// `(type, param, code)`; the message is checked where it is OpenAI's own.
fn fields(response: &Response, status: u16) -> (String, Value, Value) {
    let (message, kind, param, code) = response.error(status);
    assert!(!message.is_empty() && !message.contains("canary"), "{message}");
    assert_eq!(response.header("x-should-retry"), Some("false"));
    (kind, param, code)
}

fn invalid(param: impl Into<Value>, code: impl Into<Value>) -> (String, Value, Value) {
    ("invalid_request_error".into(), param.into(), code.into())
}

#[tokio::test]
async fn bad_bodies_get_openais_error_objects() {
    let server = untouched().await;
    let nested = format!(r#"{{"model":"gpt-4.1","messages":{}"#, "[".repeat(50_000));
    let nested_closed =
        format!(r#"{{"model":"gpt-4.1","messages":{}{}}}"#, "[".repeat(40_000), "]".repeat(40_000));
    let cases: Vec<(Vec<u8>, Value, Value)> = vec![
        (b"".to_vec(), Value::Null, Value::Null),
        (b"{\"canary".to_vec(), Value::Null, Value::Null),
        (b"\xff\xfe{}".to_vec(), Value::Null, Value::Null),
        (b"{\"model\":\"\xc3\x28\"}".to_vec(), Value::Null, Value::Null),
        (hello(" trailing").into_bytes(), Value::Null, Value::Null),
        (nested.into_bytes(), Value::Null, Value::Null),
        (nested_closed.into_bytes(), Value::Null, Value::Null),
        (b"\"canary\"".to_vec(), Value::Null, json!("invalid_type")),
        (b"{}".to_vec(), json!("model"), json!("missing_required_parameter")),
        (br#"{"model":["canary"]}"#.to_vec(), json!("model"), json!("invalid_type")),
        (br#"{"model":"gpt-4.1"}"#.to_vec(), json!("messages"), json!("missing_required_parameter")),
        (br#"{"model":"gpt-4.1","messages":[]}"#.to_vec(), json!("messages"), json!("empty_array")),
        (br#"{"model":"gpt-4.1","messages":"canary"}"#.to_vec(), json!("messages"), json!("invalid_type")),
        (br#"{"model":"gpt-4.1","messages":{}}"#.to_vec(), json!("messages"), json!("invalid_type")),
        (
            br#"{"model":"gpt-4.1","messages":["canary"]}"#.to_vec(),
            json!("messages[0]"),
            json!("invalid_type"),
        ),
        (
            br#"{"model":"gpt-4.1","messages":[{"role":"canary","content":"a"}]}"#.to_vec(),
            json!("messages[0].role"),
            json!("invalid_value"),
        ),
        (
            br#"{"model":"gpt-4.1","messages":[{"role":"user","content":[{"type":"canary"}]}]}"#.to_vec(),
            json!("messages[0].content[0].type"),
            json!("invalid_value"),
        ),
        (
            br#"{"model":"gpt-4.1","messages":[{"role":"user","content":[
                {"type":"image_url","image_url":{"url":"https://canary.example/a.png"}}]}]}"#
                .to_vec(),
            json!("messages[0].content[0].image_url.url"),
            json!("invalid_value"),
        ),
        (hello(r#","stream":"canary""#).into_bytes(), json!("stream"), json!("invalid_type")),
        (hello(r#","n":9"#).into_bytes(), json!("n"), json!("unsupported_value")),
    ];
    for (body, param, code) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert_eq!(fields(&server.chat(body).await, 400), invalid(param, code), "{shown}");
    }
}

#[tokio::test]
async fn messages_missing_is_said_in_openais_words() {
    let server = untouched().await;
    let (message, ..) = server.chat(r#"{"model":"gpt-4.1"}"#).await.error(400);
    assert_eq!(message, "Missing required parameter: 'messages'.");
}

#[tokio::test]
async fn an_unknown_model_is_named_only_if_it_is_well_formed() {
    let server = untouched().await;
    let call =
        |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "a"}]}).to_string();
    let response = server.chat(call("gpt-9")).await;
    assert_eq!(
        response.error(404),
        (
            "The model `gpt-9` does not exist or you do not have access to it. GET /v1/models lists those that do."
                .into(),
            "invalid_request_error".into(),
            Value::Null,
            json!("model_not_found"),
        )
    );
    let response = server.chat(call("<canary>")).await;
    assert_eq!(fields(&response, 404), invalid(Value::Null, "model_not_found"));
}

#[tokio::test]
async fn the_key_is_asked_for_before_anything_is_told() {
    let server = untouched().await;
    for line in [
        "POST /v1/chat/completions",
        "GET /v1/models",
        "GET /v1/models/x",
        "GET /canary",
        "DELETE /v1/models",
    ] {
        for key in ["", "Bearer wrong", "Basic canary", "Bearer ", KEY] {
            let response = server.send(request(line, &[("authorization", key)], "")).await;
            assert_eq!(fields(&response, 401), invalid(Value::Null, "invalid_api_key"), "{line} {key}");
            assert_eq!(response.header("www-authenticate"), Some("Bearer realm=\"llmtor\""));
        }
    }
}

#[tokio::test]
async fn only_requests_to_this_machine_are_answered() {
    let server = start(Scripted::echo()).await;
    for host in ["localhost", "LOCALHOST:8787", "127.0.0.1:1", "127.1.2.3", "[::1]:8787"] {
        let response = server.send(request("GET /v1/models", &[("host", host)], "")).await;
        assert_eq!(response.status, 200, "{host}");
    }
    for line in ["GET /v1/models", "GET /healthz", "POST /v1/chat/completions"] {
        for host in [
            "evil.example",
            "localhost.evil.example:8787",
            "192.168.0.1",
            "[::2]",
            "a b",
            "",
            "localhost@evil",
        ] {
            // The wrong key shows that the Host is judged first.
            let response = server
                .send(request(line, &[("host", host), ("authorization", "Bearer no")], hello("")))
                .await;
            assert_eq!(fields(&response, 403), invalid(Value::Null, "host_not_allowed"), "{line} {host}");
        }
    }
    let twice = request("GET /v1/models", &[("host", "localhost"), ("Host", "evil.example")], "");
    assert_eq!(fields(&server.send(twice).await, 403), invalid(Value::Null, "host_not_allowed"));
    let absolute = request("GET http://evil.example/v1/models", &[], "");
    assert_eq!(fields(&server.send(absolute).await, 403), invalid(Value::Null, "host_not_allowed"));
}

#[tokio::test]
async fn web_pages_are_refused() {
    let server = start(Scripted::untouched()).await;
    for origin in ["https://evil.example", "http://localhost:3000", "http://127.0.0.1", "null"] {
        for line in ["POST /v1/chat/completions", "GET /healthz", "OPTIONS /v1/chat/completions"] {
            let response = server.send(request(line, &[("origin", origin)], hello(""))).await;
            assert_eq!(fields(&response, 403), invalid(Value::Null, "origin_not_allowed"), "{line} {origin}");
            assert!(response.headers.iter().all(|(name, _)| !name.starts_with("access-control")));
        }
    }
    for (site, status) in
        [("cross-site", 403), ("same-site", 403), ("x", 403), ("same-origin", 200), ("none", 200)]
    {
        let response = server.send(request("GET /healthz", &[("sec-fetch-site", site)], "")).await;
        assert_eq!(response.status, status, "{site}");
    }
}

#[tokio::test]
async fn only_json_is_read() {
    let server = start(Scripted::echo()).await;
    for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "canary"] {
        let response =
            server.send(request("POST /v1/chat/completions", &[("content-type", kind)], hello(""))).await;
        assert_eq!(fields(&response, 415), invalid(Value::Null, "unsupported_content_type"), "{kind}");
    }
    for kind in ["application/json; charset=utf-8", "Application/JSON", "application/json;"] {
        let response =
            server.send(request("POST /v1/chat/completions", &[("content-type", kind)], hello(""))).await;
        assert_eq!(response.status, 200, "{kind}");
    }
}

#[tokio::test]
async fn paths_and_methods_are_told_apart() {
    let server = untouched().await;
    for path in ["/canary", "/v1", "/v1/chat", "/v1/chat/canary", "/v1/canary/chat/completions", "/V1/models"]
    {
        for method in ["GET", "POST", "OPTIONS"] {
            let response = server.send(request(&format!("{method} {path}"), &[], "{}")).await;
            assert_eq!(fields(&response, 404), invalid(Value::Null, "unknown_url"), "{method} {path}");
        }
    }
    let cases = [
        ("GET /v1/chat/completions?canary=1", "POST, OPTIONS"),
        ("POST /v1/models", "GET, HEAD, OPTIONS"),
        ("DELETE /v1/models/gpt-4.1", "GET, HEAD, OPTIONS"),
        ("POST /healthz", "GET, HEAD, OPTIONS"),
    ];
    for (line, allow) in cases {
        let response = server.send(request(line, &[], "{}")).await;
        assert_eq!(fields(&response, 405), invalid(Value::Null, "method_not_supported"), "{line}");
        assert_eq!(response.header("allow"), Some(allow));
        let (_, path) = line.split_once(' ').unwrap();
        let response = server.send(request(&format!("OPTIONS {path}"), &[], "")).await;
        assert_eq!((response.status, response.header("allow"), response.text()), (204, Some(allow), ""));
    }
}

#[tokio::test]
async fn what_the_backend_has_nothing_for_is_said_in_the_form_of_each_api() {
    let server = untouched().await;
    for line in
        ["POST /v1/embeddings", "GET /files", "POST /v1/v1/audio/speech/", "DELETE /v1/responses/canary"]
    {
        let response = server.send(request(line, &[], "{\"canary\"")).await;
        assert_eq!(fields(&response, 404), invalid(Value::Null, "not_offered"), "{line}");
        assert!(response.text().contains("Nothing of this request has left this machine."), "{line}");
    }
    let response = server.send(request("POST /api/embed", &[], "{}")).await;
    assert_eq!(response.status, 404);
    let message = "Embeddings are not offered: the backend knows chat messages only. Nothing of this request has left \
                   this machine. Point your tool at another provider for this.";
    assert_eq!(response.json(), json!({"error": message}));
    let response = server.send(request("POST /v1/messages/batches", &[], "{}")).await;
    assert_eq!(response.json()["error"]["type"], "not_found_error");
    // A face that is off has nothing to say.
    let faces = Faces { ollama: Presence::Off, anthropic: Presence::Off };
    let server = start_with(Scripted::untouched(), Settings { faces, ..Settings::default() }).await;
    for line in ["POST /api/embed", "POST /v1/messages/batches"] {
        let response = server.send(request(line, &[], "{}")).await;
        assert_eq!(fields(&response, 404), invalid(Value::Null, "unknown_url"), "{line}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_is_announced() {
    let server = untouched().await;
    let large = hello(&format!(r#","user":"{}""#, "canary".repeat(20_000)));
    let response = server.chat(&large).await;
    assert_eq!(fields(&response, 413), invalid(Value::Null, "request_too_large"));
    assert_eq!(response.header("connection"), Some("close"));

    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let headers = [("content-length", ""), ("transfer-encoding", "chunked")];
    let response = server.send(request("POST /v1/chat/completions", &headers, chunked)).await;
    assert_eq!(fields(&response, 413), invalid(Value::Null, "request_too_large"));

    // A client that asks first is told before it sends anything.
    let headers = [("content-length", "200000"), ("expect", "100-continue")];
    let response = server.send(request("POST /v1/chat/completions", &headers, "")).await;
    assert_eq!(fields(&response, 413), invalid(Value::Null, "request_too_large"));

    // Ten gigabytes are not waited for.
    let headers = [("content-length", "10000000000")];
    let response = server.send(request("POST /v1/chat/completions", &headers, "")).await;
    assert_eq!(fields(&response, 413), invalid(Value::Null, "request_too_large"));
}

#[tokio::test]
async fn a_bomb_is_refused_like_any_large_body_and_an_unknown_encoding_names_the_known() {
    let server = untouched().await;
    let large = hello(&format!(r#","user":"{}""#, "canary".repeat(2_000_000)));
    for (encoding, bomb) in [("gzip", gzip(&large)), ("zstd", zstd::encode_all(large.as_bytes(), 3).unwrap())]
    {
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        let response =
            server.send(request("POST /v1/chat/completions", &[("content-encoding", encoding)], bomb)).await;
        assert_eq!(fields(&response, 413), invalid(Value::Null, "request_too_large"), "{encoding}");
    }
    for encoding in ["br", "gzip, zstd", "canary"] {
        let headers = [("content-encoding", encoding)];
        let response = server.send(request("POST /v1/chat/completions", &headers, hello(""))).await;
        assert_eq!(
            fields(&response, 415),
            invalid(Value::Null, "unsupported_content_encoding"),
            "{encoding}"
        );
        assert!(["gzip", "deflate", "zstd"].iter().all(|known| response.text().contains(known)));
    }
    let response =
        server.send(request("POST /v1/chat/completions", &[("content-encoding", "gzip")], hello(""))).await;
    assert_eq!(fields(&response, 400), invalid(Value::Null, "invalid_content_encoding"));
}

fn gzip(plain: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, plain.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let mut settings = Settings::default();
    settings.limits.body_time = std::time::Duration::from_millis(50);
    let server = start_with(Scripted::untouched(), settings).await;
    let response = server.send(request("POST /v1/chat/completions", &[("content-length", "9")], "{")).await;
    assert_eq!(fields(&response, 408), invalid(Value::Null, "request_timeout"));
}

#[tokio::test]
async fn what_is_not_http_is_answered_with_400_and_the_endpoint_lives_on() {
    let server = start(Scripted::echo()).await;
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"canary\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    {
        let mut stream = server.connect().await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(Response::parse(&answer).status, 400);
    }
    assert_eq!(server.chat(hello("")).await.status, 200);
}

#[tokio::test]
async fn a_panic_is_a_500_without_detail() {
    let server = start(Scripted::untouched()).await;
    let response = server.chat(hello("")).await;
    let (message, kind, param, code) = response.error(500);
    assert_eq!((kind.as_str(), param, code), ("server_error", Value::Null, json!("internal_error")));
    assert!(!message.contains("redemption"));
    assert_eq!(response.header("x-should-retry"), Some("false"));
    assert_eq!(server.send(request("GET /healthz", &[], "")).await.status, 200);
}
