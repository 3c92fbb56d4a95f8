//! What is rendered is read back, and what is cut is not made whole.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::super::super::super::conversation::ToolCall;
use super::super::super::super::json;
use super::super::super::render;
use super::*;

/// Text of which tags, quotes, fences and line breaks are a large part.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "\\PC{0,12}".prop_map(String::from),
        1 => "[ \\t\\r\\n\"'\\\\`{}\\[\\]<>,:&]{1,4}".prop_map(String::from),
        1 => prop::sample::select(vec![
            "<tool_call>", "</tool_call>", "</parameter>", "<parameter name=\"x\">", "</tool_response>", "<think>",
            "</think>", "```\n", "\n```", "<function=any>", "\\n", "\\u00e9", "&lt;", "{\"name\": \"any\"}",
            "<tool_call>{'name': 'any', 'arguments': {'a': True}}</tool_call>", "\n",
        ]).prop_map(String::from),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
        ("\\PC{0,20}", 401_usize..600)
            .prop_map(|(text, length)| Value::from(format!("{text}\n{}", "x".repeat(length)))),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// As compact programs write it, and as Python does.
fn spaced(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let entries: Vec<String> = object
                .iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), spaced(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

fn object() -> impl Strategy<Value = String> {
    let key = prop_oneof![3 => "[a-z_]{1,8}".prop_map(String::from), 1 => text()];
    (vec((key, value()), 0..5), any::<bool>()).prop_map(|(entries, compact)| {
        let object = Value::Object(entries.into_iter().collect());
        if compact { object.to_string() } else { spaced(&object) }
    })
}

/// A call as it is made up here; the real one has no `Debug`.
#[derive(Clone, Debug)]
struct Made {
    name: String,
    id: String,
    kind: CallKind,
    arguments: String,
}

fn call() -> impl Strategy<Value = Made> {
    let name = prop_oneof![
        2 => "[a-zA-Z0-9_-]{1,16}".prop_map(String::from),
        1 => "\\PC{1,16}".prop_map(String::from),
        1 => Just("any".to_owned()),
    ];
    let made = prop_oneof![
        3 => object().prop_map(|arguments| (CallKind::Function, arguments)),
        1 => text().prop_map(|arguments| (CallKind::Function, arguments)),
        2 => text().prop_map(|input| (CallKind::Custom, input)),
    ];
    (name, "\\PC{1,12}", made).prop_map(|(name, id, (kind, arguments))| Made { name, id, kind, arguments })
}

/// Calls of different tools.
fn calls() -> impl Strategy<Value = Vec<Made>> {
    vec(call(), 1..4).prop_map(|mut calls| {
        let mut seen = std::collections::HashSet::new();
        calls.retain(|call| seen.insert(call.name.clone()));
        calls
    })
}

fn toolset(calls: &[Made]) -> Toolset {
    let tool = |call: &Made| Tool {
        name: call.name.clone(),
        description: None,
        input: match call.kind {
            CallKind::Function => Input::Json { schema: None },
            CallKind::Custom => Input::Text { grammar: None },
        },
    };
    Toolset { tools: calls.iter().map(tool).collect(), ..Toolset::default() }
}

fn rendered(calls: &[Made]) -> String {
    let call = |made: &Made| ToolCall {
        id: Some(made.id.clone()),
        name: made.name.clone(),
        kind: made.kind,
        arguments: made.arguments.clone(),
    };
    render::calls(&calls.iter().map(call).collect::<Vec<_>>())
}

/// What the arguments of a call come back as: themselves, unless they are something like an object that can be mended.
fn expected(call: &Made) -> Option<String> {
    let arguments = &call.arguments;
    if call.kind == CallKind::Custom {
        return Some(arguments.clone());
    }
    if json::is_strict(arguments.trim()) && arguments.trim().starts_with('{') {
        return Some(arguments.trim().to_owned());
    }
    let is_mended = json::value(arguments).is_ok_and(|lent| lent.json.starts_with('{'));
    (!is_mended).then(|| arguments.clone())
}

fn reads(call: &Call, made: &Made) -> bool {
    call.name == made.name
        && call.kind == made.kind
        && expected(made).is_none_or(|arguments| arguments == call.arguments)
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_back(calls in calls(), before in "[a-z ]{0,20}", after in "[a-z ]{0,20}") {
        let rendered = rendered(&calls);
        let parsed = parse(&format!("{before}\n{rendered}\n{after}"), &toolset(&calls), Ending::Whole);
        prop_assert_eq!(parsed.calls.len(), calls.len(), "{}", rendered);
        for (call, made) in parsed.calls.iter().zip(&calls) {
            prop_assert!(reads(call, made), "{} from {} as {}", call.arguments, made.arguments, rendered);
        }
        prop_assert_eq!(parsed.text.split_whitespace().collect::<String>(), [before, after].concat().replace(' ', ""));
    }

    #[test]
    fn what_is_cut_is_exact_or_not_json(calls in calls(), cut in any::<prop::sample::Index>()) {
        let rendered = rendered(&calls);
        let cuts: Vec<usize> = rendered.char_indices().map(|(at, _)| at).collect();
        let prefix = &rendered[..*cut.get(&cuts)];
        let parsed = parse(prefix, &toolset(&calls), Ending::Cut);
        prop_assert!(parsed.calls.len() <= calls.len());
        for (call, made) in parsed.calls.iter().zip(&calls) {
            let exact = reads(call, made);
            let raw = prefix.contains(&call.arguments) || made.arguments.starts_with(&call.arguments);
            let is_object = serde_json::from_str::<Value>(&call.arguments).is_ok_and(|value| value.is_object());
            prop_assert!(exact || (made.kind == CallKind::Function && raw && !is_object), "{} from {}", call.arguments, prefix);
        }
    }

    #[test]
    fn what_is_said_behind_a_stop_is_not_done(made in vec((calls(), "[a-z]{1,10}"), 1..4), stop in 0_usize..4) {
        let stop = stop.min(made.len());
        let mark = |index: usize| if index == stop { "STOP!" } else { "" };
        let answer: String = made
            .iter()
            .enumerate()
            .flat_map(|(index, (calls, said))| [mark(index), said, "\n", &rendered(calls), "\n"].map(str::to_owned))
            .collect();
        let answer = answer + mark(made.len());
        prop_assume!(!made.iter().flat_map(|(calls, _)| calls).any(|call| call.arguments.contains("STOP!")));
        let mut all: Vec<Made> = made.iter().flat_map(|(calls, _)| calls.clone()).collect();
        let mut kinds = std::collections::HashMap::new();
        // A name of two kinds is one tool's or the other's.
        prop_assume!(all.iter().all(|call| *kinds.entry(call.name.clone()).or_insert(call.kind) == call.kind));
        let mut seen = std::collections::HashSet::new();
        all.retain(|call| seen.insert(call.name.clone()));
        let parsed = parse_until(&answer, &toolset(&all), Ending::Whole, &["STOP!".to_owned()]);
        let said: Vec<&str> = made[..stop].iter().map(|(_, said)| said.as_str()).collect();
        prop_assert_eq!(parsed.calls.len(), made[..stop].iter().map(|(calls, _)| calls.len()).sum::<usize>());
        prop_assert_eq!(parsed.text.trim(), said.join("\n\n"));
        prop_assert_eq!(parsed.stopped_at.as_deref(), Some("STOP!"));
    }

    #[test]
    fn a_call_in_a_string_of_an_object_is_not_made(
        entries in vec(("[a-z]{1,6}", text()), 1..4), before in "[a-z ]{0,10}", python in any::<bool>(),
    ) {
        const CALL: &str = "<tool_call>{'name': 'any', 'arguments': {}}</tool_call>";
        let value = Value::Object(entries.into_iter().map(|(key, text)| (key, Value::from(format!("x{text}{CALL}")))).collect());
        // The tags that the texts are made of may be quoted, or stand in code: what is looked for is the call.
        let json = if python { spaced(&value) } else { value.to_string() };
        let parsed = parse(&format!("{before}{json}"), &tools(), Ending::Whole);
        prop_assert!(parsed.calls.is_empty(), "{}", json);
    }

    #[test]
    fn any_text_is_read_and_without_tools_returned(text in text(), noise in "\\PC{0,200}") {
        for text in [text, noise] {
            for ending in [Ending::Whole, Ending::Cut] {
                let _ = parse(&text, &tools(), ending);
                prop_assert_eq!(parse(&text, &Toolset::default(), ending).text, text.clone());
            }
        }
    }

    #[test]
    fn text_without_brackets_is_returned_to_the_letter(text in "[^<{\\[]{0,200}") {
        let parsed = parse(&text, &tools(), Ending::Whole);
        prop_assert!(parsed.calls.is_empty());
        prop_assert_eq!(parsed.text, text);
    }
}
