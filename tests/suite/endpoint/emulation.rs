//! What the backend cannot do, over real sockets: tools, forms, stops, several answers, second tries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use llmtor::anonymous::http::{Conduct, SecondTry, Strictness};
use llmtor::anonymous::redeem::Ending;
use serde_json::{Value, json};

use super::harness::{Scripted, Settings, completion, hello, start, start_with};

const TOOLS: &str = r#","tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object",
    "properties":{"city":{"type":"string"}},"required":["city"]}}}]"#;
const CALL: &str =
    "I look.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>";

/// Answers in turn; the last for ever. Remembers what was asked.
fn in_turn(answers: &'static [&'static str]) -> (Scripted, Arc<std::sync::Mutex<Vec<Value>>>) {
    let (asked, turn) = (Arc::new(std::sync::Mutex::new(Vec::new())), AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let scripted = Scripted::new(move |prompt| {
        seen.lock().unwrap().push(serde_json::from_str(prompt.messages.get()).unwrap());
        let turn = turn.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        std::future::ready(Ok(completion(answers[turn])))
    });
    (scripted, asked)
}

#[tokio::test]
async fn tools_are_told_to_the_model_and_its_call_is_handed_over_as_openais() {
    let (scripted, asked) = in_turn(&[CALL]);
    let server = start(scripted).await;
    let response = server.chat(hello(TOOLS)).await;
    let choice = &response.json()["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &json!("I look."))
    );
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("get_weather")));
    assert_eq!(call["function"]["arguments"], r#"{"city": "Paris"}"#);
    let id = call["id"].as_str().unwrap();
    assert!(id.len() == 29 && id.starts_with("call_"), "{id}");
    let told = asked.lock().unwrap()[0].clone();
    assert_eq!(told[0]["role"], "system");
    assert!(
        told[0]["content"].as_str().unwrap().contains(r#"{"name":"get_weather","parameters":"#),
        "{told}"
    );
    assert_eq!(told[1], json!({"role": "user", "content": "hi"}));
    assert!(response.header("x-llmtor-ignored").is_none());
    // The same answer to the same conversation is the same call.
    let again = server.chat(hello(&format!(r#"{TOOLS},"stream":true"#))).await;
    assert!(again.text().contains(id) && again.text().contains(r#""finish_reason":"tool_calls""#));
}

#[tokio::test]
async fn an_answer_is_brought_into_its_form_or_marked_as_violating_it() {
    let format = r#","response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,
        "schema":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}}}"#;
    let server = start(Scripted::answering(completion("Here it is:\n```json\n{\"a\": 1,}\n```"))).await;
    let response = server.chat(hello(format)).await;
    let content: Value =
        serde_json::from_str(response.json()["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(content, json!({"a": 1}));
    assert!(response.header("x-llmtor-schema").is_none());
    let server = start(Scripted::answering(completion("I will not."))).await;
    for rest in ["", r#","stream":true"#] {
        let response = server.chat(hello(&format!("{format}{rest}"))).await;
        assert_eq!(response.header("x-llmtor-schema"), Some("violated"));
        assert!(response.text().contains("I will not."));
    }
}

#[tokio::test]
async fn a_misfit_is_asked_for_again_only_if_the_user_wants_it_and_the_better_answer_counts() {
    const MISFIT: &str =
        "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"town\": \"Paris\"}}</tool_call>";
    let twice = || {
        let conduct = Conduct { second_try: SecondTry::Once, ..Conduct::default() };
        Settings { conduct, ..Settings::default() }
    };
    let arguments = |response: &super::harness::Response| {
        response.json()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"].clone()
    };
    let (scripted, asked) = in_turn(&[MISFIT, CALL]);
    let server = start(scripted).await;
    assert_eq!(arguments(&server.chat(hello(TOOLS)).await), r#"{"town": "Paris"}"#);
    assert_eq!(asked.lock().unwrap().len(), 1);

    let (scripted, asked) = in_turn(&[MISFIT, CALL]);
    let server = start_with(scripted, twice()).await;
    let response = server.chat(hello(TOOLS)).await;
    assert_eq!(arguments(&response), r#"{"city": "Paris"}"#);
    assert_eq!(response.json()["usage"]["total_tokens"], 6);
    assert_eq!(server.endings(2).await, [Ending::Delivered; 2]);
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked[1].as_array().unwrap().len(), asked[0].as_array().unwrap().len() + 2);
    assert_eq!(asked[1][2], json!({"role": "assistant", "content": MISFIT}));
    assert!(asked[1][3]["content"].as_str().unwrap().contains("city"), "{}", asked[1][3]);

    let (scripted, _) = in_turn(&[MISFIT, "Sorry."]);
    let server = start_with(scripted, twice()).await;
    assert_eq!(arguments(&server.chat(hello(TOOLS)).await), r#"{"town": "Paris"}"#);
}

#[tokio::test]
async fn a_choice_of_tools_that_the_model_does_not_follow_is_said() {
    let server = start(Scripted::answering(completion("just text"))).await;
    for rest in ["", r#","stream":true"#] {
        let free = server.chat(hello(&format!("{TOOLS}{rest}"))).await;
        assert_eq!(free.header("x-llmtor-tools"), None);
        let required = server.chat(hello(&format!(r#"{TOOLS},"tool_choice":"required"{rest}"#))).await;
        assert_eq!((required.status, required.header("x-llmtor-tools")), (200, Some("violated")));
    }
    let misfit = "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"town\": \"Paris\"}}</tool_call>";
    let server = start(Scripted::answering(completion(misfit))).await;
    assert_eq!(server.chat(hello(TOOLS)).await.header("x-llmtor-tools"), Some("violated"));
}

#[tokio::test]
async fn several_answers_stops_and_lengths_are_made_here() {
    let (scripted, _) = in_turn(&["one two three", "four five six"]);
    let server = start(scripted).await;
    let response = server.chat(hello(r#","n":2,"stop":[" three"],"max_tokens":100"#)).await.json();
    let said = [0, 1].map(|at| response["choices"][at]["message"]["content"].as_str().unwrap().to_owned());
    assert!(said.contains(&"one two".to_owned()) && said.contains(&"four five six".to_owned()), "{said:?}");
    assert_eq!(response["usage"], json!({"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5}));
    assert_eq!(server.endings(2).await, [Ending::Delivered; 2]);
    let server = start(Scripted::answering(completion("hello world again"))).await;
    let response = server.chat(hello(r#","max_completion_tokens":1"#)).await.json();
    assert_eq!(response["choices"][0]["message"]["content"], "hello");
    assert_eq!(response["choices"][0]["finish_reason"], "length");
    assert_eq!(response["usage"]["completion_tokens"], 1);
}

#[tokio::test]
async fn with_strict_whatever_has_no_effect_is_refused_and_nothing_is_spent() {
    let conduct = Conduct { strictness: Strictness::Refusing, ..Conduct::default() };
    let server = start_with(Scripted::untouched(), Settings { conduct, ..Settings::default() }).await;
    for (rest, param) in
        [(r#","temperature":0.5"#, "temperature"), (r#","no_such_thing":1"#, "no_such_thing")]
    {
        let (_, _, found, code) = server.chat(hello(rest)).await.error(400);
        assert_eq!((found, code), (json!(param), json!("unsupported_parameter")));
    }
}
