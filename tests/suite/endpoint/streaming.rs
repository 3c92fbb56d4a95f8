//! Server-sent events on the wire.

use std::time::Duration;

use llmtor::anonymous::redeem::{Ending, RedeemError, RedeemErrorKind, TokenFate};
use serde_json::{Value, json};

use super::harness::{Response, Scripted, Settings, completion, error_fields, hello, start, start_with};

const HEARTBEAT: Duration = Duration::from_millis(20);

fn restless() -> Settings {
    Settings { heartbeat: HEARTBEAT, ..Settings::default() }
}

/// The data lines of a stream; checks its framing on the way.
fn events(response: &Response) -> Vec<String> {
    assert!(response.complete);
    let text = response.text();
    assert!(text.ends_with("\n\n"));
    text.split_terminator("\n\n")
        .filter(|event| *event != ": keep-alive")
        .map(|event| event.strip_prefix("data: ").unwrap().to_owned())
        .inspect(|data| assert!(!data.contains('\n')))
        .collect()
}

#[tokio::test]
async fn a_stream_is_framed_byte_for_byte() {
    let server = start(Scripted::answering(completion("hello"))).await;
    let response = server.chat(hello(r#","stream":true"#)).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(response.header("cache-control"), Some("no-cache"));
    assert_eq!(response.header("x-accel-buffering"), Some("no"));
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    let chunk = |choice: &str| {
        format!(
            r#"data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":9,"model":"gpt-4.1","choices":[{{"index":0,"delta":{choice}}}]}}"#
        ) + "\n\n"
    };
    let expected = [
        chunk(r#"{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null"#),
        chunk(r#"{"content":"hello"},"logprobs":null,"finish_reason":null"#),
        chunk(r#"{},"logprobs":null,"finish_reason":"stop""#),
        "data: [DONE]\n\n".into(),
    ];
    assert_eq!(response.text(), expected.concat());
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn the_usage_chunk_comes_when_it_is_asked_for() {
    let server = start(Scripted::answering(completion("hello"))).await;
    let response = server.chat(hello(r#","stream":true,"stream_options":{"include_usage":true}"#)).await;
    let events = events(&response);
    assert_eq!(events.last().unwrap(), "[DONE]");
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    let (usage, others) = chunks.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"], json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}));
    assert!(others.iter().all(|chunk| chunk["usage"] == Value::Null && chunk.get("usage").is_some()));
    assert!(chunks.iter().all(|chunk| chunk["id"] == "chatcmpl-1" && chunk["created"] == 9));
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let text: String =
        (0..50_000).flat_map(|n: u32| ["wörd", ["\n", " ", ""][n as usize % 3], "ß "]).collect();
    let server = start(Scripted::answering(completion(&text))).await;
    let response = server.chat(hello(r#","stream":true"#)).await;
    let said: String = events(&response)
        .iter()
        .filter(|data| *data != "[DONE]")
        .filter_map(|data| {
            let chunk: Value = serde_json::from_str(data).unwrap();
            chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)
        })
        .collect();
    assert!(said == text, "{} bytes instead of {}", said.len(), text.len());
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn comments_keep_a_waiting_stream_alive() {
    let script = |_| async {
        tokio::time::sleep(HEARTBEAT * 10).await;
        Ok(completion("late"))
    };
    let server = start_with(Scripted::new(script), restless()).await;
    let response = server.chat(hello(r#","stream":true,"seed":1"#)).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("x-llmtor-ignored"), Some("seed"));
    let text = response.text();
    assert!(text.starts_with(": keep-alive\n\n: keep-alive\n\n"), "{text}");
    assert!(text.lines().all(|line| !line.starts_with("id:")));
    let events = events(&response);
    assert_eq!(events.len(), 4);
    assert!(events[1].contains("late"));
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn a_failure_before_the_first_heartbeat_is_an_http_error() {
    let redeemer = Scripted::failing(RedeemErrorKind::Unreachable, TokenFate::Unspent);
    let server = start(redeemer).await;
    let (_, kind, _, code) = server.chat(hello(r#","stream":true"#)).await.error(503);
    assert_eq!((kind.as_str(), code), ("server_error", json!("backend_unreachable")));
}

#[tokio::test]
async fn a_failure_after_it_is_an_event_that_ends_the_stream() {
    let script = |_| async {
        tokio::time::sleep(HEARTBEAT * 5).await;
        Err(RedeemError::new(RedeemErrorKind::ConnectionLost, TokenFate::InDoubt))
    };
    let server = start_with(Scripted::new(script), restless()).await;
    let response = server.chat(hello(r#","stream":true"#)).await;
    assert_eq!(response.status, 200);
    let events = events(&response);
    assert_eq!(events.len(), 1);
    let (message, kind, param, code) = error_fields(&serde_json::from_str(&events[0]).unwrap());
    assert!(message.contains("same request"));
    assert_eq!((kind.as_str(), param, code), ("server_error", Value::Null, json!("connection_lost")));
}

#[tokio::test]
async fn a_foreign_answer_after_it_is_an_event_too_and_counts_as_delivered() {
    let script = |_| async {
        tokio::time::sleep(HEARTBEAT * 5).await;
        Ok(br#"{"candidates":[]}"#.to_vec())
    };
    let server = start_with(Scripted::new(script), restless()).await;
    let response = server.chat(hello(r#","stream":true"#)).await;
    let events = events(&response);
    let (.., code) = error_fields(&serde_json::from_str(&events[0]).unwrap());
    assert_eq!((events.len(), code), (1, json!("invalid_upstream_answer")));
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn a_panic_after_it_is_an_event_without_detail() {
    let script = |_| async {
        tokio::time::sleep(HEARTBEAT * 5).await;
        panic!("canary")
    };
    let server = start_with(Scripted::new(script), restless()).await;
    let response = server.chat(hello(r#","stream":true"#)).await;
    let events = events(&response);
    let (message, _, _, code) = error_fields(&serde_json::from_str(&events[0]).unwrap());
    assert_eq!((events.len(), code), (1, json!("internal_error")));
    assert!(!message.contains("canary"));
}
