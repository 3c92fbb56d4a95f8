//! The Responses API on the wire.

use std::time::Duration;

use async_openai::types::responses::{Response as OpenAiResponse, ResponseStreamEvent};
use llmtor::anonymous::redeem::{Ending, RedeemError, RedeemErrorKind, TokenFate};
use llmtor::wire::ModelName;
use serde_json::{Value, json};

use super::harness::{NOW, Response, Scripted, Server, Settings, completion, request, start, start_with};

const HEARTBEAT: Duration = Duration::from_millis(20);

async fn respond(server: &Server, body: Value) -> Response {
    server.send(request("POST /v1/responses", &[], body.to_string())).await
}

/// The events of a stream; checks framing, names, numbers and that `async-openai` can read each.
fn events(response: &Response) -> Vec<Value> {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert!(response.complete && response.text().ends_with("\n\n"));
    assert!(response.text().lines().all(|line| !line.starts_with("id:")));
    let read = |(number, event): (usize, &str)| {
        let (name, data) = event.split_once('\n').unwrap();
        let data = data.strip_prefix("data: ").unwrap();
        serde_json::from_str::<ResponseStreamEvent>(data).unwrap_or_else(|why| panic!("{why}: {data}"));
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
        assert_eq!(data["sequence_number"], number);
        data
    };
    response.text().split_terminator("\n\n").enumerate().map(read).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// What the messages said, as they would be sent.
async fn echoed(body: Value) -> Value {
    let server = start(Scripted::echo()).await;
    let response = respond(&server, body).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let said = response.json()["output"][0]["content"][0]["text"].as_str().unwrap().to_owned();
    serde_json::from_str(&said).unwrap()
}

#[tokio::test]
async fn a_response_is_what_the_sdks_expect() {
    let server = start(Scripted::answering(completion("hello"))).await;
    let body =
        json!({"model": "gpt-4.1", "input": "hi", "temperature": 0.5, "store": true, "metadata": {"a": "b"}});
    let response = respond(&server, body).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-llmtor-ignored"), Some("metadata, store, temperature"));
    serde_json::from_slice::<OpenAiResponse>(&response.body).unwrap();
    let object = response.json();
    assert!(object["id"].as_str().unwrap().starts_with("resp_"));
    assert_eq!(object["created_at"], NOW);
    assert_eq!((&object["status"], &object["model"]), (&json!("completed"), &json!("gpt-4.1")));
    assert_eq!((&object["store"], &object["metadata"]), (&json!(false), &json!({"a": "b"})));
    assert_eq!(object["output"][0]["content"][0]["text"], "hello");
    assert_eq!(object["usage"]["total_tokens"], 3);
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn a_tool_loop_goes_round() {
    let tools = json!([{"type": "namespace", "name": "files", "description": "Files.", "tools": [
        {"type": "function", "name": "read", "parameters": {"type": "object", "properties": {"path": {"type": "string"}},
            "required": ["path"]}}]}]);
    let call = "<tool_call>\n{\"name\": \"files.read\", \"arguments\": {\"path\": \"a\"}}\n</tool_call>";
    let server = start(Scripted::answering(completion(call))).await;
    let question = json!({"role": "user", "content": "What is in a?"});
    let response =
        respond(&server, json!({"model": "gpt-4.1", "input": [question], "tools": tools})).await.json();
    let item = &response["output"][0];
    assert_eq!(item["type"], "function_call");
    assert_eq!((&item["name"], &item["namespace"]), (&json!("read"), &json!("files")));
    assert_eq!(item["arguments"], r#"{"path": "a"}"#);
    let output = json!({"type": "function_call_output", "call_id": item["call_id"], "output": "42"});
    let messages = echoed(json!({"model": "gpt-4.1", "input": [question, item, output]})).await;
    assert!(messages[1]["content"].as_str().unwrap().contains("\"name\": \"files.read\""));
    assert!(messages[2]["content"].as_str().unwrap().contains("\n42\n"));
}

#[tokio::test]
async fn a_stream_has_every_event_of_the_api() {
    let server = start(Scripted::answering(completion("hello"))).await;
    let response = respond(&server, json!({"model": "gpt-4.1", "input": "hi", "stream": true})).await;
    let events = events(&response);
    assert_eq!(
        kinds(&events),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    assert_eq!(events[0]["response"]["id"], events[8]["response"]["id"]);
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn a_waiting_stream_is_kept_alive_by_events_and_keeps_its_id_and_time() {
    let script = |_| async {
        tokio::time::sleep(HEARTBEAT * 10).await;
        Ok(completion("late"))
    };
    let restless = Settings { heartbeat: HEARTBEAT, ..Settings::default() };
    let server = start_with(Scripted::new(script), restless).await;
    let response =
        respond(&server, json!({"model": "gpt-4.1", "input": "hi", "stream": true, "user": "u"})).await;
    assert_eq!(response.header("x-llmtor-ignored"), Some("user"));
    let events = events(&response);
    let kinds = kinds(&events);
    assert_eq!(kinds.iter().filter(|kind| **kind == "response.created").count(), 1);
    assert!(kinds.iter().filter(|kind| **kind == "response.in_progress").count() > 2, "{kinds:?}");
    let (first, last) = (&events[0]["response"], &events.last().unwrap()["response"]);
    assert_eq!((&first["id"], &first["created_at"]), (&last["id"], &last["created_at"]));
    assert_eq!(last["output"][0]["content"][0]["text"], "late");
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn a_failure_of_a_stream_that_has_begun_is_its_last_event() {
    for (kind, token, code) in [
        (
            RedeemErrorKind::OutOfTokens { model: ModelName::new("gpt-4.1").unwrap(), maturing: None },
            TokenFate::Unspent,
            "insufficient_quota",
        ),
        (RedeemErrorKind::Unreachable, TokenFate::Unspent, "server_error"),
        (RedeemErrorKind::AnswerLost, TokenFate::Spent, "invalid_prompt"),
    ] {
        let script = move |_| {
            let kind = kind.clone();
            async move {
                tokio::time::sleep(HEARTBEAT * 5).await;
                Err(RedeemError::new(kind, token))
            }
        };
        let restless = Settings { heartbeat: HEARTBEAT, ..Settings::default() };
        let server = start_with(Scripted::new(script), restless).await;
        let response = respond(&server, json!({"model": "gpt-4.1", "input": "hi", "stream": true})).await;
        let events = events(&response);
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.failed");
        assert_eq!(last["response"]["error"]["code"], code);
    }
}

#[tokio::test]
async fn a_failure_before_that_is_an_http_error() {
    let server = start(Scripted::failing(RedeemErrorKind::Unreachable, TokenFate::Unspent)).await;
    let response = respond(&server, json!({"model": "gpt-4.1", "input": "hi", "stream": true})).await;
    assert_eq!(response.error(503).3, "backend_unreachable");
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let text: String =
        (0..50_000).flat_map(|n: u32| ["wörd", ["\n", " ", ""][n as usize % 3], "ß "]).collect();
    let server = start(Scripted::answering(completion(&text))).await;
    let response = respond(&server, json!({"model": "gpt-4.1", "input": "hi", "stream": true})).await;
    let events = events(&response);
    let deltas: String = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    assert!(deltas == text, "{} bytes instead of {}", deltas.len(), text.len());
    assert!(events.last().unwrap()["response"]["output"][0]["content"][0]["text"] == text);
}

#[tokio::test]
async fn an_answer_in_a_form_is_that_and_nothing_else() {
    let server = start(Scripted::answering(completion("Sure:\n```json\n{\"a\": 1,}\n```"))).await;
    let format = json!({"type": "json_schema", "name": "s", "strict": true, "schema": {"type": "object",
        "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false}});
    let response =
        respond(&server, json!({"model": "gpt-4.1", "input": "hi", "text": {"format": format}})).await;
    assert_eq!(response.header("x-llmtor-schema"), None);
    let text = response.json()["output"][0]["content"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({"a": 1}));
}

#[tokio::test]
async fn what_names_the_client_does_not_leave() {
    let messages = echoed(json!({
        "model": "gpt-4.1", "input": [{"type": "message", "id": "msg_canary", "role": "user", "content": "hi"}],
        "client_metadata": {"x-codex-installation-id": "canary"}, "prompt_cache_key": "canary", "user": "canary",
        "safety_identifier": "canary", "metadata": {"canary": "canary"},
    }))
    .await;
    assert_eq!(messages, json!([{"role": "user", "content": "hi"}]));
}

#[tokio::test]
async fn what_is_stored_elsewhere_is_refused_before_it_costs_anything() {
    let server = start(Scripted::untouched()).await;
    let body = json!({"model": "gpt-4.1", "input": "hi", "previous_response_id": "resp_canary"});
    let (message, _, param, _) = respond(&server, body).await.error(400);
    assert!(message.contains("`store: false`") && !message.contains("canary"), "{message}");
    assert_eq!(param, "previous_response_id");
}
