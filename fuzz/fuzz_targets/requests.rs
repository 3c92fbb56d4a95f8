//! Bodies of requests: whatever is sent is read or refused, and what is read makes a plan, the same one each time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llmtor::anonymous::emulate::plan::plan;
use llmtor::anonymous::emulate::tokens::Family;
use llmtor::anonymous::face::Rules;
use llmtor::anonymous::openai::request;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let planned = |family| {
        let call = request::read(data, &Rules::default()).ok()?;
        let messages = call.asks.into_iter().filter_map(|ask| plan(ask, family).ok());
        Some(messages.map(|plan| plan.messages.get().to_owned()).collect::<Vec<_>>())
    };
    for family in [Family::OpenAi, Family::Gemini] {
        let Some(messages) = planned(family) else { return };
        assert!(planned(family).as_ref() == Some(&messages), "the same request makes the same bytes");
        for messages in messages {
            let messages: Value = serde_json::from_str(&messages).expect("messages are JSON");
            for message in messages.as_array().expect("messages are an array") {
                let role = message["role"].as_str().expect("a message has a role");
                assert!(matches!(role, "system" | "user" | "assistant"));
                assert!(message["content"].as_str().is_none_or(|content| !content.is_empty()));
            }
        }
    }
});
