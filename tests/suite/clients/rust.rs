//! `async-openai`, whose types the program speaks, as a client of it.

use std::collections::BTreeMap;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::chat::{ChatCompletionMessageToolCalls, CreateChatCompletionRequest, FinishReason};
use async_openai::types::responses::{CreateResponse, ResponseStreamEvent};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::stage::Stage;
use super::table;
use crate::support::house::MODEL;

const SAY: &str = "Say exactly: \"kumquat seventeen\"";
const WORDS: &str = "kumquat seventeen";

fn ask(messages: &Value, more: &Value) -> CreateChatCompletionRequest {
    let mut request = json!({"model": MODEL, "messages": messages});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(request).unwrap()
}

fn respond(more: &Value) -> CreateResponse {
    let mut request = json!({"model": MODEL, "input": SAY});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(request).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn async_openai_completes_streams_calls_tools_and_responds() {
    let stage = tokio::task::spawn_blocking(Stage::shared).await.unwrap();
    // Its HTTP client wants one, although nothing here is encrypted; an error means that there is one already.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let config =
        OpenAIConfig::new().with_api_base(&stage.daemon.base_url).with_api_key(&stage.daemon.api_key);
    let client = Client::with_config(config);
    let mut proved = Vec::new();

    let models = client.models().list().await.unwrap();
    assert!(models.data.iter().any(|model| model.id == MODEL));
    proved.push("models");

    let question = json!([{"role": "user", "content": SAY}]);
    let answer = client.chat().create(ask(&question, &json!({}))).await.unwrap();
    assert_eq!(answer.choices[0].message.content.as_deref(), Some(WORDS));
    proved.push("plain");

    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let mut stream = client.chat().create_stream(ask(&question, &options)).await.unwrap();
    let (mut text, mut usage) = (String::new(), None);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        text.extend(chunk.choices.into_iter().filter_map(|choice| choice.delta.content));
        usage = chunk.usage.or(usage);
    }
    assert_eq!((text.as_str(), usage.is_some()), (WORDS, true));
    proved.push("stream");

    let function = json!({"name": "get_temperature", "parameters": {"type": "object",
        "properties": {"city": {"type": "string"}}, "required": ["city"]}});
    let tools = json!({"tools": [{"type": "function", "function": function}]});
    let mut messages = json!([{"role": "user", "content": "What is the temperature in Oslo?"}]);
    let choice = client.chat().create(ask(&messages, &tools)).await.unwrap().choices.remove(0);
    assert_eq!(choice.finish_reason, Some(FinishReason::ToolCalls));
    let calls = choice.message.tool_calls.clone().unwrap();
    let [ChatCompletionMessageToolCalls::Function(call)] = &calls[..] else {
        panic!("one call of a function")
    };
    assert_eq!(call.function.arguments.parse::<Value>().unwrap(), json!({"city": "Oslo"}));
    let said = [
        json!({"role": "assistant", "content": null, "tool_calls": calls}),
        json!({"role": "tool", "tool_call_id": call.id, "content": "731 degrees"}),
    ];
    messages.as_array_mut().unwrap().extend(said);
    let answer = client.chat().create(ask(&messages, &tools)).await.unwrap();
    assert!(answer.choices[0].message.content.as_deref().unwrap().contains("731 degrees"));
    proved.push("tool loop");

    let response = client.responses().create(respond(&json!({}))).await.unwrap();
    assert_eq!(response.output_text().as_deref(), Some(WORDS));
    proved.push("responses");

    let mut stream = client.responses().create_stream(respond(&json!({"stream": true}))).await.unwrap();
    let mut last = None;
    while let Some(event) = stream.next().await {
        last = Some(event.unwrap());
    }
    let Some(ResponseStreamEvent::ResponseCompleted(done)) = last else { panic!("not completed") };
    assert_eq!(done.response.output_text().as_deref(), Some(WORDS));
    proved.push("responses stream");

    let question = json!([{"role": "user", "content": "Fail with context"}]);
    let error = client.chat().create(ask(&question, &json!({}))).await.map(drop).unwrap_err();
    let OpenAIError::ApiError(error) = error else { panic!("not an error of the API: {error}") };
    assert!(error.to_string().contains("context_length_exceeded"), "{error}");
    proved.push("ApiError");

    let version = table::crate_version("async-openai");
    let proved: Vec<String> = proved.into_iter().map(str::to_owned).collect();
    table::check("tests/suite/clients/rust.rs", &BTreeMap::from([("async-openai".into(), version)]), &proved);
    for shown in stage.provider.shown() {
        shown.assert_bare();
    }
}
