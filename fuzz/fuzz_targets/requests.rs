//! Bodies of requests, for every API of the endpoint: whatever is sent is read or refused, and what is read makes a plan, the
//! same one each time, in the three safe roles.

#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use llmtor::anonymous::emulate::plan::plan;
use llmtor::anonymous::emulate::tokens::Family;
use llmtor::anonymous::face::{Call, Rules};
use llmtor::anonymous::ollama::request::Wanted;
use llmtor::anonymous::ollama::telling::Moment;
use llmtor::anonymous::{anthropic, ollama, openai};
use llmtor::clock::Timestamp;
use serde_json::Value;

/// Every reader of the endpoint.
const READERS: [fn(&[u8]) -> Option<Call>; 6] = [
    |body| openai::request::read(body, &Rules::default()).ok(),
    |body| openai::responses::read(body, &Rules::default()).ok(),
    |body| openai::completions::read(body, &Rules::default()).ok(),
    |body| anthropic::request::read(body, &Rules::default()).ok(),
    |body| wanted(ollama::request::chat(body, moment()).ok()?),
    |body| wanted(ollama::request::generate(body, moment()).ok()?),
];

fn moment() -> Moment {
    Moment { at: Timestamp::from_unix(0), started: Instant::now() }
}

fn wanted(wanted: Wanted) -> Option<Call> {
    match wanted {
        Wanted::Call(call) => Some(call),
        Wanted::Loaded(_) => None,
    }
}

fuzz_target!(|data: &[u8]| {
    for read in READERS {
        let planned = |family| {
            let call = read(data)?;
            assert!(call.copies >= 1);
            let messages = call.asks.into_iter().filter_map(|ask| plan(ask, family).ok());
            Some(messages.map(|plan| plan.messages.get().to_owned()).collect::<Vec<_>>())
        };
        for family in [Family::OpenAi, Family::Gemini] {
            let Some(messages) = planned(family) else { break };
            assert!(planned(family).as_ref() == Some(&messages), "the same request makes the same bytes");
            messages.iter().for_each(|messages| check(messages));
        }
    }
});

fn check(messages: &str) {
    let messages: Value = serde_json::from_str(messages).expect("messages are JSON");
    for message in messages.as_array().expect("messages are an array") {
        let role = message["role"].as_str().expect("a message has a role");
        assert!(matches!(role, "system" | "user" | "assistant"));
        assert!(message["content"].as_str().is_none_or(|content| !content.is_empty()));
    }
}
