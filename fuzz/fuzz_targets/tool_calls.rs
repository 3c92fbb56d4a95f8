//! Answers of a model: whatever it writes is read, what is rendered is read back, what is cut is not made whole.
//!
//! The first byte says how the rest is used.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llmtor::anonymous::emulate::answer::{CallKind, Conformity};
use llmtor::anonymous::emulate::ask::{Format, Input, Schema, Strictness, Tool, Toolset};
use llmtor::anonymous::emulate::conversation::ToolCall;
use llmtor::anonymous::emulate::format;
use llmtor::anonymous::emulate::tools::{Ending, parse, render, repair_prompt};
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match mode % 4 {
        0 | 1 => reads(&text),
        2 => round_trip(&text, *mode),
        _ => structured(&text),
    }
});

fn reads(text: &str) {
    let tools = tools();
    for ending in [Ending::Whole, Ending::Cut] {
        let parsed = parse(text, &tools, ending);
        for call in &parsed.calls {
            let tool =
                tools.tools.iter().find(|tool| tool.name == call.name).expect("a tool on offer is called");
            assert_eq!(matches!(tool.input, Input::Text { .. }), call.kind == CallKind::Custom);
            if call.kind == CallKind::Function && call.complaint.is_none() {
                assert!(serde_json::from_str::<Value>(&call.arguments).is_ok_and(|value| value.is_object()));
            }
        }
        let _ = repair_prompt(&parsed, &tools);
        assert!(parse(text, &Toolset::default(), ending).text == text);
    }
    if !text.contains(['<', '{', '[', '`']) {
        assert!(parse(text, &tools, Ending::Whole).text == text);
    }
}

/// `text` as the input of a custom tool, as arguments, and as a string in arguments; then all of it cut somewhere.
fn round_trip(text: &str, mode: u8) {
    let call = |name: &str, kind, arguments: String| ToolCall {
        id: Some("id".into()),
        name: name.into(),
        kind,
        arguments,
    };
    let calls = [
        call("apply_patch", CallKind::Custom, text.to_owned()),
        call("any", CallKind::Function, json!({"a": 1, "text": text}).to_string()),
        call("other", CallKind::Function, text.to_owned()),
    ];
    let rendered = render::calls(&calls);
    let tools = tools();
    let parsed = parse(&rendered, &tools, Ending::Whole);
    assert_eq!(parsed.calls.len(), calls.len());
    assert!(parsed.text.is_empty());
    assert!(parsed.calls[0].arguments == text);
    assert!(parsed.calls[1].arguments == calls[1].arguments);

    let mut cut = rendered.len() * usize::from(mode) / 256;
    while !rendered.is_char_boundary(cut) {
        cut -= 1;
    }
    for (found, made) in parse(&rendered[..cut], &tools, Ending::Cut).calls.iter().zip(&parsed.calls) {
        let is_object = serde_json::from_str::<Value>(&found.arguments).is_ok_and(|value| value.is_object());
        assert!(found.arguments == made.arguments || (found.kind == CallKind::Function && !is_object));
    }
}

fn structured(text: &str) {
    let schema =
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}, "b": {}}});
    let schema = Schema { name: "answer".into(), description: None, schema, strictness: Strictness::Strict };
    for format in [Format::JsonObject, Format::Schema(schema)] {
        let (answer, conformity) = format::read(&format, text);
        if conformity == Conformity::Kept {
            let value: Value = serde_json::from_str(&answer).expect("what has its form is JSON");
            assert!(value.is_object());
            assert!(format::read(&format, &answer).0 == answer);
        }
    }
}

fn tools() -> Toolset {
    let function =
        |name: &str, schema| Tool { name: name.into(), description: None, input: Input::Json { schema } };
    let text = json!({"type": "string"});
    let weather = json!({"type": "object", "required": ["city"], "properties": {
        "city": text, "days": {"type": "integer"}, "tags": {"type": "array", "items": text},
        "unit": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    }});
    let patch = Tool { name: "apply_patch".into(), description: None, input: Input::Text { grammar: None } };
    let tools =
        vec![function("get_weather", Some(weather)), function("any", None), function("other", None), patch];
    Toolset { tools, ..Toolset::default() }
}
