//! The older completions API on the wire.

use async_openai::types::completions::CreateCompletionResponse;
use llmtor::anonymous::redeem::Ending;
use serde_json::{Value, json};

use super::harness::{Response, Scripted, Server, completion, request, start};

async fn complete(server: &Server, body: Value) -> Response {
    server.send(request("POST /v1/completions", &[], body.to_string())).await
}

#[tokio::test]
async fn a_completion_continues_its_prompt() {
    let server = start(Scripted::answering(completion(" upon a time"))).await;
    let body = json!({"model": "gpt-4.1", "prompt": "Once", "echo": true, "temperature": 0});
    let response = complete(&server, body).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-llmtor-ignored"), Some("temperature"));
    let read: CreateCompletionResponse = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(read.choices[0].text, "Once upon a time");
    assert_eq!(response.json()["id"], "cmpl-1");
    assert_eq!(server.endings(1).await, [Ending::Delivered]);
}

#[tokio::test]
async fn several_prompts_are_answered_in_order_each_for_a_token() {
    let server = start(Scripted::echo()).await;
    let response =
        complete(&server, json!({"model": "gpt-4.1", "prompt": ["first", "second"], "n": 2})).await;
    let choices = response.json()["choices"].as_array().unwrap().clone();
    assert_eq!(choices.len(), 4);
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(choice["index"], index);
        let expected = if index < 2 { "first" } else { "second" };
        assert!(choice["text"].as_str().unwrap().contains(expected), "{index}");
    }
    assert_eq!(server.endings(4).await, [Ending::Delivered; 4]);
}

#[tokio::test]
async fn a_stream_ends_with_its_mark() {
    let server = start(Scripted::answering(completion("hello"))).await;
    let response = complete(&server, json!({"model": "gpt-4.1", "prompt": "x", "stream": true})).await;
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events: Vec<_> = response.text().split_terminator("\n\n").collect();
    assert_eq!(events.len(), 3);
    assert!(events[0].contains(r#""text":"hello""#) && events[1].contains(r#""finish_reason":"stop""#));
    assert_eq!(events[2], "data: [DONE]");
}

#[tokio::test]
async fn prompts_of_tokens_are_refused_before_they_cost_anything() {
    let server = start(Scripted::untouched()).await;
    let response = complete(&server, json!({"model": "gpt-4.1", "prompt": [[1, 2]]})).await;
    assert_eq!(response.error(400).2, "prompt");
}
