//! What Anthropic's clients send and read, on the wire.

use std::time::Duration;

use llmtor::anonymous::http::{Conduct, Faces, Presence, Strictness};
use llmtor::anonymous::redeem::{Ending, RedeemError, RedeemErrorKind, TokenFate};
use serde_json::{Value, json};

use super::harness::{KEY, Response, Scripted, Settings, completion, request, start, start_with};

const HEARTBEAT: Duration = Duration::from_millis(20);
const CALL: &str =
    "I look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call>";
const TOOLS: &str = r#","tools":[{"name":"weather","input_schema":{"type":"object","properties":{"city":{"type":"string"}}}}]"#;

fn post(path: &str, rest: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"model":"gpt-4.1","max_tokens":100,"messages":[{{"role":"user","content":"hi"}}]{rest}}}"#
    );
    let headers = [("authorization", ""), ("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
    request(&format!("POST {path}"), &headers, body)
}

fn message(rest: &str) -> Vec<u8> {
    post("/v1/messages?beta=true", rest)
}

/// The events of a stream; checks that each has its type for a name.
fn events(response: &Response) -> Vec<Value> {
    assert!(response.complete);
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    response
        .text()
        .split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["type"], name);
            data
        })
        .collect()
}

/// The type and the message of a failure.
fn error(response: &Response, status: u16) -> (String, String) {
    assert_eq!(response.status, status, "{}", response.text());
    assert!(response.header("x-should-retry").is_some());
    let body = response.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["type", "error", "request_id"]);
    assert_eq!(body["type"], "error");
    for header in ["request-id", "x-request-id"] {
        assert_eq!(response.header(header), body["request_id"].as_str());
    }
    let text = |key: &str| body["error"][key].as_str().unwrap().to_owned();
    (text("type"), text("message"))
}

#[tokio::test]
async fn a_message_is_answered_byte_for_byte() {
    let server = start(Scripted::answering(completion("hello"))).await;
    let response = server.send(message(r#","temperature":1,"metadata":{"user_id":"u"}"#)).await;
    assert_eq!(response.header("x-llmtor-ignored"), Some("metadata, temperature"));
    assert!(response.header("request-id").is_some_and(|id| id.starts_with("req_")));
    assert_eq!(
        response.text(),
        r#"{"id":"msg_1","type":"message","role":"assistant","model":"gpt-4.1","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":2}}"#
    );
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
    let stopped = server.send(message(r#","stop_sequences":["lo"]"#)).await.json();
    assert_eq!((&stopped["stop_reason"], &stopped["stop_sequence"]), (&json!("stop_sequence"), &json!("lo")));
    assert_eq!(stopped["content"][0]["text"], "hel");
}

#[tokio::test]
async fn a_stream_has_its_events_in_order() {
    let server = start(Scripted::answering(completion("hello"))).await;
    let events = events(&server.send(message(r#","stream":true"#)).await);
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    assert_eq!(events[3]["delta"], json!({"type": "text_delta", "text": "hello"}));
    assert_eq!(events[5]["usage"]["output_tokens"], 2);
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn a_tool_loop_goes_round() {
    let server = start(Scripted::answering(completion(CALL))).await;
    let whole = server.send(message(TOOLS)).await.json();
    assert_eq!(whole["stop_reason"], "tool_use");
    assert_eq!(whole["content"][0], json!({"type": "text", "text": "I look."}));
    let call = &whole["content"][1];
    let id = call["id"].as_str().unwrap();
    assert!(id.strip_prefix("toolu_").is_some_and(|letters| letters.len() == 24));
    assert_eq!(call["input"], json!({"city": "Rome"}));
    let streamed = events(&server.send(message(&format!(r#"{TOOLS},"stream":true"#))).await);
    assert!(streamed.iter().any(|event| event["content_block"]["id"] == id), "the same in a stream");
    assert!(streamed.iter().any(|event| event["delta"]["partial_json"] == r#"{"city":"Rome"}"#));

    let server = start(Scripted::echo()).await;
    let body = json!({"model": "gpt-4.1", "max_tokens": 1000, "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": whole["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "sunny"}]},
    ]});
    let response = server.send(request("POST /v1/messages", &[], body.to_string())).await.json();
    let sent: Value = serde_json::from_str(response["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(
        sent[2]["content"],
        format!("<tool_response id=\"{id}\" name=\"weather\">\nsunny\n</tool_response>")
    );
}

#[tokio::test]
async fn tokens_are_counted_here() {
    let server = start(Scripted::untouched()).await;
    let count = async |rest: &'static str| {
        server.send(post("/v1/messages/count_tokens", rest)).await.json()["input_tokens"].as_u64().unwrap()
    };
    let alone = count("").await;
    assert!((2..20).contains(&alone), "{alone}");
    assert!(count(TOOLS).await > alone + 50);
    let body = r#"{"model":"nothing","messages":[{"role":"user","content":"hi"}]}"#;
    let unknown = server.send(request("POST /v1/messages/count_tokens", &[], body)).await;
    assert_eq!(error(&unknown, 404).0, "not_found_error");
}

#[tokio::test]
async fn who_waits_sees_pings_and_then_the_answer_or_why_there_is_none() {
    let restless = || Settings { heartbeat: HEARTBEAT, ..Settings::default() };
    let script = |_| async {
        tokio::time::sleep(HEARTBEAT * 10).await;
        Ok(completion("late"))
    };
    let server = start_with(Scripted::new(script), restless()).await;
    let waited = events(&server.send(message(r#","stream":true"#)).await);
    let of = |kind: &str| waited.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((of("message_start"), of("message_stop")), (1, 1));
    assert!(of("ping") > 3);
    assert!(waited.iter().any(|event| event["delta"]["text"] == "late"));

    let script = |_| async {
        tokio::time::sleep(HEARTBEAT * 5).await;
        Err(RedeemError::new(RedeemErrorKind::ConnectionLost, TokenFate::InDoubt))
    };
    let server = start_with(Scripted::new(script), restless()).await;
    let failed = events(&server.send(message(r#","stream":true"#)).await);
    let last = failed.last().unwrap();
    assert_eq!((&last["type"], &last["error"]["type"]), (&json!("error"), &json!("overloaded_error")));
}

#[tokio::test]
async fn models_have_anthropics_form_for_who_asks_as_its_clients_do() {
    let server = start(Scripted::untouched()).await;
    let version = [("anthropic-version", "2023-06-01")];
    let list = server.send(request("GET /v1/models", &version, "")).await.json();
    assert_eq!((&list["has_more"], &list["first_id"]), (&json!(false), &json!("gpt-4.1")));
    assert_eq!(list["data"][0]["type"], "model");
    let one = server.send(request("GET /v1/models/gpt-4.1", &version, "")).await.json();
    assert_eq!(one["display_name"], "gpt-4.1");
    error(&server.send(request("GET /v1/models/nothing", &version, "")).await, 404);
    // A mistyped path, too.
    error(&server.send(request("GET /v1/nope", &version, "")).await, 404);
    assert_eq!(server.send(request("GET /v1/models", &[], "")).await.json()["object"], "list");

    let faces = Faces { anthropic: Presence::Off, ..Faces::ALL };
    let server = start_with(Scripted::untouched(), Settings { faces, ..Settings::default() }).await;
    assert_eq!(server.send(request("GET /v1/models", &version, "")).await.json()["object"], "list");
    server.send(message("")).await.error(404);
}

#[tokio::test]
async fn every_failure_has_anthropics_form() {
    let server = start(Scripted::failing(RedeemErrorKind::Unreachable, TokenFate::Unspent)).await;
    let send = |line: &'static str, body: &'static str| server.send(request(line, &[], body));
    let kind = |response: &Response, status| error(response, status).0;
    assert_eq!(kind(&send("POST /v1/messages", "{").await, 400), "invalid_request_error");
    let (_, missing) = error(
        &send("POST /v1/messages", r#"{"model":"gpt-4.1","messages":[{"role":"user","content":"a"}]}"#).await,
        400,
    );
    assert!(missing.contains("max_tokens"));
    let unavailable = server.send(message("")).await;
    assert_eq!(kind(&unavailable, 503), "overloaded_error");
    assert_eq!(unavailable.header("x-should-retry"), Some("true"));
    let nobody = server.send(request("POST /v1/messages", &[("authorization", "")], "{}")).await;
    assert_eq!(kind(&nobody, 401), "authentication_error");
    let stranger = server.send(request("POST /v1/messages", &[("origin", "https://a.example")], "{}")).await;
    assert_eq!(kind(&stranger, 403), "permission_error");
    assert_eq!(kind(&send("GET /v1/messages", "").await, 405), "not_found_error");
    assert_eq!(kind(&send("GET /v1/messages/msg_1", "").await, 404), "not_found_error");
    assert_eq!(kind(&send("POST /v1/messages/batches", "{}").await, 404), "not_found_error");
    let text = server.send(request("POST /v1/messages", &[("content-type", "text/plain")], "{}")).await;
    assert_eq!(kind(&text, 415), "invalid_request_error");
    let large = format!(r#"{{"model":"{}"}}"#, "x".repeat(200_000));
    let large = server.send(request("POST /v1/messages", &[], large)).await;
    assert_eq!(kind(&large, 413), "request_too_large");

    let conduct = Conduct { strictness: Strictness::Refusing, ..Conduct::default() };
    let server = start_with(Scripted::untouched(), Settings { conduct, ..Settings::default() }).await;
    let strict = server.send(message(r#","temperature":1"#)).await;
    assert!(error(&strict, 400).1.contains("temperature"));
}
