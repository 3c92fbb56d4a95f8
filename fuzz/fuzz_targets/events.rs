//! Streams: whatever a model says, the events put together are that, to the letter.
//!
//! The input is cut at its zero bytes: a text, then names and arguments of calls in turn.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llmtor::anonymous::emulate::answer::{CallKind, Finish, Heard, MadeCall};
use llmtor::anonymous::emulate::tokens::Family;
use llmtor::anonymous::face::usage::Tally;
use llmtor::anonymous::face::{Answer, Script as _};
use llmtor::anonymous::openai::chat::{ChatScript, UsageChunk};
use llmtor::anonymous::openai::tools::CallForm;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    let mut texts = rest.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
    let text = texts.next().filter(|_| mode & 1 == 0);
    let mut calls = Vec::new();
    while let (Some(name), Some(arguments)) = (texts.next(), texts.next()) {
        let kind = if name.len() % 2 == 0 { CallKind::Function } else { CallKind::Custom };
        calls.push(MadeCall { id: format!("call_{}", calls.len()), name, kind, arguments });
    }
    let usage = if mode & 2 == 0 { UsageChunk::Included } else { UsageChunk::Omitted };
    let finish = if calls.is_empty() { Finish::Stop } else { Finish::ToolCalls };
    let heard = Heard { text: text.clone(), calls: calls.clone(), finish, ..Heard::default() };
    let answer = Answer {
        id: "chatcmpl-1".into(),
        created: 1,
        model: "model".into(),
        choices: vec![heard],
        usage: Tally::new(Family::OpenAi, Vec::new()),
    };
    let mut events = Box::new(ChatScript::new(usage, CallForm::Tools)).speak(answer);
    let mut stream = Vec::new();
    while let Some(batch) = events.next_batch(usize::from(*mode) * 8 + 1) {
        stream.extend(batch);
    }
    assert!(events.is_over());
    check(&String::from_utf8(stream).expect("a stream is text"), text, &calls, usage);
});

fn check(stream: &str, text: Option<String>, calls: &[MadeCall], usage: UsageChunk) {
    let mut said = String::new();
    let mut made: Vec<(String, String, String)> = Vec::new();
    let (mut reasons, mut usages) = (0, 0);
    let body = stream.strip_suffix("data: [DONE]\n\n").expect("a stream ends with its mark");
    for event in body.split_terminator("\n\n") {
        let data = event.strip_prefix("data: ").expect("an event is data");
        assert!(!data.contains(['\n', '\r']), "an event is one line");
        let chunk: Value = serde_json::from_str(data).expect("an event is JSON");
        usages += usize::from(chunk["usage"].is_object());
        let Some(choice) = chunk["choices"].get(0) else { continue };
        reasons += usize::from(choice["finish_reason"].is_string());
        said.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        for delta in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index =
                usize::try_from(delta["index"].as_u64().expect("a call has an index")).expect("small");
            let inner = if delta["custom"].is_object() { &delta["custom"] } else { &delta["function"] };
            if let Some(id) = delta["id"].as_str() {
                assert_eq!(index, made.len(), "calls come in order");
                let name = inner["name"].as_str().expect("a call has a name").to_owned();
                made.push((id.to_owned(), name, String::new()));
            }
            let more = inner["arguments"].as_str().or(inner["input"].as_str()).unwrap_or_default();
            made[index].2.push_str(more);
        }
    }
    assert!(said == text.unwrap_or_default());
    assert!(reasons == 1 && usages == usize::from(usage == UsageChunk::Included));
    assert_eq!(made.len(), calls.len());
    for ((id, name, arguments), call) in made.iter().zip(calls) {
        assert!(*id == call.id && *name == call.name && *arguments == call.arguments);
    }
}
