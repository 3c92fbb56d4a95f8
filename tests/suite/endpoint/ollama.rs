//! What Ollama's clients send and read, on the wire.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmtor::anonymous::http::{Faces, Presence};
use llmtor::anonymous::redeem::{Ending, RedeemError, RedeemErrorKind, TokenFate};
use serde_json::{Value, json};

use super::harness::{KEY, Response, Scripted, Settings, completion, request, start, start_with};

const HEARTBEAT: Duration = Duration::from_millis(20);
/// The clock of the tests stands still.
const AT: &str = "2026-09-21T14:13:20Z";

fn chat(rest: &str) -> Vec<u8> {
    let body = format!(r#"{{"model":"gpt-4.1:latest","messages":[{{"role":"user","content":"hi"}}]{rest}}}"#);
    request("POST /api/chat", &[], body)
}

fn lines(response: &Response) -> Vec<Value> {
    assert!(response.complete);
    assert_eq!(response.header("content-type"), Some("application/x-ndjson"));
    assert!(response.text().ends_with('\n'));
    response.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The message of a failure, which has no other key.
fn error(response: &Response, status: u16) -> String {
    assert_eq!(response.status, status, "{}", response.text());
    assert!(response.header("x-should-retry").is_some() && response.header("x-request-id").is_some());
    let body = response.json();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    body["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_chat_streams_unless_it_must_not() {
    let server = start(Scripted::answering(completion("hello"))).await;
    let response = server.send(chat(r#","options":{"temperature":0}"#)).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("x-llmtor-ignored"), Some("options.temperature"));
    let head = format!(
        r#"{{"model":"gpt-4.1:latest","created_at":"{AT}","message":{{"role":"assistant","content":"#
    );
    assert!(
        response
            .text()
            .starts_with(&format!("{head}\"hello\"}},\"done\":false}}\n{head}\"\"}},\"done\":true,"))
    );
    let lines = lines(&response);
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[1]["done_reason"], &lines[1]["eval_count"]), (&json!("stop"), &json!(2)));
    assert!(lines[1]["total_duration"].is_u64());
    assert_eq!(server.endings(1).await, [Ending::Delivered]);

    let whole = server.send(chat(r#","stream":false"#)).await;
    assert_eq!(whole.header("content-type"), Some("application/json"));
    let whole = whole.json();
    assert_eq!(whole["message"], json!({"role": "assistant", "content": "hello"}));
    assert_eq!((&whole["done"], &whole["prompt_eval_count"]), (&json!(true), &json!(1)));
}

#[tokio::test]
async fn a_generation_is_a_chat_of_one_message() {
    let server = start(Scripted::echo()).await;
    let body = r#"{"model":"gpt-4.1","system":"be brief","prompt":"hi","stream":false}"#;
    let response = server.send(request("POST /api/generate", &[], body)).await.json();
    assert_eq!(
        response["response"],
        r#"[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]"#
    );
}

#[tokio::test]
async fn a_tool_loop_goes_round() {
    let call = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call>";
    let server = start(Scripted::answering(completion(call))).await;
    let tools = r#","tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]"#;
    let lines = lines(&server.send(chat(tools)).await);
    let calls = &lines[0]["message"]["tool_calls"];
    assert_eq!(calls[0]["function"], json!({"index": 0, "name": "weather", "arguments": {"city": "Rome"}}));
    assert_eq!(lines[1]["done_reason"], "stop");

    let server = start(Scripted::echo()).await;
    let messages = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_name": "weather", "content": "sunny"},
    ]);
    let body = json!({"model": "gpt-4.1", "messages": messages, "stream": false}).to_string();
    let response = server.send(request("POST /api/chat", &[], body)).await.json();
    let sent: Value = serde_json::from_str(response["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(sent[2]["content"], "<tool_response name=\"weather\">\nsunny\n</tool_response>");
}

#[tokio::test]
async fn a_chat_without_messages_loads_a_model_and_costs_nothing() {
    let server = start(Scripted::untouched()).await;
    let response = server.send(request("POST /api/chat", &[], r#"{"model":"gpt-4.1"}"#)).await;
    assert_eq!(
        response.text(),
        format!(
            r#"{{"model":"gpt-4.1","created_at":"{AT}","message":{{"role":"assistant","content":""}},"done":true,"done_reason":"load"}}"#
        )
    );
    let response = server.send(request("POST /api/generate", &[], r#"{"model":"nothing"}"#)).await;
    error(&response, 404);
}

#[tokio::test]
async fn who_waits_sees_signs_of_life_and_then_the_answer_or_why_there_is_none() {
    let restless = || Settings { heartbeat: HEARTBEAT, ..Settings::default() };
    let script = |_| async {
        tokio::time::sleep(HEARTBEAT * 10).await;
        Ok(completion("late"))
    };
    let server = start_with(Scripted::new(script), restless()).await;
    let waited = lines(&server.send(chat("")).await);
    assert!(waited.len() > 4);
    let said: String = waited.iter().map(|line| line["message"]["content"].as_str().unwrap()).collect();
    assert_eq!(said, "late");
    assert!(waited.iter().rev().skip(1).all(|line| line["done"] == false));

    let script = |_| async {
        tokio::time::sleep(HEARTBEAT * 5).await;
        Err(RedeemError::new(RedeemErrorKind::ConnectionLost, TokenFate::InDoubt))
    };
    let server = start_with(Scripted::new(script), restless()).await;
    let failed = lines(&server.send(chat("")).await);
    let last = failed.last().unwrap();
    assert_eq!(last.as_object().unwrap().keys().collect::<Vec<_>>(), ["error"]);
    assert!(last["error"].as_str().unwrap().contains("same request"));
}

#[tokio::test]
async fn what_there_is_is_told() {
    let server = start(Scripted::untouched()).await;
    let nobody = [("authorization", "")];
    let root = server.send(request("GET /", &nobody, "")).await;
    assert_eq!((root.status, root.text()), (200, "Ollama is running"));
    let version = server.send(request("GET /api/version", &nobody, "")).await.json();
    assert!(version["version"].as_str().unwrap().starts_with("0."));
    error(&server.send(request("GET /api/tags", &nobody, "")).await, 401);

    let tags = server.send(request("GET /api/tags", &[], "")).await.json();
    let names: Vec<_> = tags["models"].as_array().unwrap().iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["gpt-4.1:latest", "org/model:free"]);
    assert_eq!(server.send(request("GET /api/ps", &[], "")).await.json(), json!({"models": []}));
    for key in ["model", "name"] {
        let body = json!({key: "gpt-4.1:latest"}).to_string();
        let shown = server.send(request("POST /api/show", &[], body)).await.json();
        assert_eq!(shown["capabilities"], json!(["completion", "tools", "vision"]));
    }
    error(&server.send(request("POST /api/show", &[], r#"{"model":"x"}"#)).await, 404);
}

#[tokio::test]
async fn any_content_type_will_do_but_not_without_the_key() {
    let server = start(Scripted::answering(completion("hello"))).await;
    let body = r#"{"model":"gpt-4.1","prompt":"hi"}"#;
    for kind in ["", "text/plain", "application/x-www-form-urlencoded"] {
        let response = server.send(request("POST /api/generate", &[("content-type", kind)], body)).await;
        assert_eq!(response.status, 200, "{kind}");
    }
    let form = [("content-type", "text/plain"), ("authorization", "")];
    error(&server.send(request("POST /api/generate", &form, body)).await, 401);
    let basic = format!("Basic {}", STANDARD.encode(format!("llmtor:{KEY}")));
    let by_url = server.send(request("POST /api/generate", &[("authorization", &basic)], body)).await;
    assert_eq!(by_url.status, 200);
    let from_a_page = [("authorization", basic.as_str()), ("origin", "https://evil.example")];
    error(&server.send(request("POST /api/generate", &from_a_page, body)).await, 403);
}

#[tokio::test]
async fn every_failure_has_ollamas_form() {
    let server = start(Scripted::failing(RedeemErrorKind::Unreachable, TokenFate::Unspent)).await;
    let send = |line: &'static str, body: &'static str| server.send(request(line, &[], body));
    error(&send("POST /api/chat", "{").await, 400);
    let bad =
        error(&send("POST /api/chat", r#"{"model":"gpt-4.1","messages":[{"role":"canary"}]}"#).await, 400);
    assert!(bad.contains("messages[0].role") && !bad.contains("canary"));
    error(&server.send(chat("")).await, 503);
    error(&send("GET /api/chat", "").await, 405);
    error(&send("GET /api/nothing", "").await, 404);
    let missing = error(&send("POST /api/embed", "{}").await, 404);
    assert!(missing.contains("not offered"));
    let large = format!(r#"{{"model":"{}"}}"#, "x".repeat(200_000));
    error(&server.send(request("POST /api/chat", &[], large)).await, 413);

    let faces = Faces { ollama: Presence::Off, ..Faces::ALL };
    let server = start_with(Scripted::untouched(), Settings { faces, ..Settings::default() }).await;
    server.send(chat("")).await.error(404);
    assert_eq!(server.send(request("GET /", &[], "")).await.status, 404);
}
