//! Earlier calls and results, in the form in which the model is asked to write calls, so that it sees what it is to do.
//!
//! | | |
//! | --- | --- |
//! | a function's call | a `<tool_call>` block with `{"name": …, "arguments": {…}}`, the arguments to the letter |
//! | arguments that are no JSON object | the same, with a string |
//! | long strings at the end of the arguments | raw `<parameter>` blocks behind the JSON |
//! | a custom tool's call | `{"name": …}` and the raw parameter `input` |
//! | several calls in one turn | `"id"` as the last key of each, so that results can be told apart |
//! | a result | a `<tool_response id="…" name="…">` block |
//!
//! Invariant: [`parse`](super::parse()) reads back what is rendered here, and a call's text cannot end its block: what
//! might, stands in a JSON string. In a result, the `<` of a `tool_call` or `tool_response` tag is written `&lt;`, and
//! where a `&lt;` already stands before such a name, its `&` is written `&amp;`; so no result can end itself or begin
//! another, everything else stays to the letter, and it can be undone.

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::conversation::{CallKind, Part, ToolCall, ToolResult};

/// Shorter strings without a line break stay in the JSON.
const LONG: usize = 400;

/// The calls of one turn, one block each.
pub fn calls(calls: &[ToolCall]) -> String {
    let several = calls.len() > 1;
    let blocks: Vec<String> =
        calls.iter().map(|call| block(call, call.id.as_deref().filter(|_| several))).collect();
    blocks.join("\n")
}

/// A result; images keep their place in it.
pub fn result(result: ToolResult) -> Vec<Part> {
    let mut open = String::from("<tool_response");
    for (key, value) in [("id", result.id), ("name", result.name)] {
        if let Some(value) = value {
            open.extend([" ", key, "=\"", &attribute(&value), "\""]);
        }
    }
    open.push_str(">\n");
    let mut parts = vec![Part::Text(open)];
    // Texts in a row are one, a line each, so that no tag can stand across two of them.
    let mut text = String::new();
    for part in result.parts {
        match part {
            Part::Text(more) => {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&more);
            }
            image @ (Part::Image(_) | Part::Remote(_)) => {
                append(&mut parts, &contained(&std::mem::take(&mut text)));
                parts.push(image);
            }
        }
    }
    append(&mut parts, &contained(&text));
    let behind_text = matches!(parts.last(), Some(Part::Text(_)));
    append(&mut parts, if behind_text { "\n</tool_response>" } else { "</tool_response>" });
    parts
}

fn append(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ if text.is_empty() => {}
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

fn block(call: &ToolCall, id: Option<&str>) -> String {
    let name = string(&call.name);
    let id = id.map(|id| format!(", \"id\": {}", string(id))).unwrap_or_default();
    let (head, raws) = match call.kind {
        CallKind::Custom if is_safe_raw(&call.arguments) => {
            (String::new(), vec![("input".to_owned(), call.arguments.clone())])
        }
        CallKind::Custom => (format!(", \"input\": {}", string(&call.arguments)), Vec::new()),
        CallKind::Function => {
            let (arguments, raws) = function(&call.arguments);
            (format!(", \"arguments\": {arguments}"), raws)
        }
    };
    let mut block = format!("<tool_call>\n{{\"name\": {name}{head}{id}}}\n");
    for (name, text) in raws {
        block.push_str(&raw(&name, &text));
    }
    block.push_str("</tool_call>");
    block
}

/// A raw argument.
fn raw(name: &str, text: &str) -> String {
    format!("<parameter name=\"{name}\">\n{text}\n</parameter>\n")
}

/// Arguments as JSON, and those that stand raw behind it.
fn function(arguments: &str) -> (String, Vec<(String, String)>) {
    let trimmed = arguments.trim();
    if !(trimmed.starts_with('{') && serde_json::from_str::<&RawValue>(trimmed).is_ok()) {
        // Inventing `{}` would rewrite history.
        return (string(arguments), Vec::new());
    }
    split(trimmed).unwrap_or_else(|| (trimmed.to_owned(), Vec::new()))
}

/// Long strings at the end of the arguments, apart from what stands before them; `None` when there are none, or
/// when putting them together again would not give the arguments to the letter.
fn split(arguments: &str) -> Option<(String, Vec<(String, String)>)> {
    if arguments.len() <= LONG && !arguments.contains("\\n") {
        return None;
    }
    let (comma, colon) = if arguments.contains("\": ") { (", ", ": ") } else { (",", ":") };
    let mut head = &arguments[..arguments.len() - 1];
    let mut raws = Vec::new();
    for (key, value) in entries(arguments)?.into_iter().rev() {
        let Ok(text) = serde_json::from_str::<String>(value) else { break };
        let is_long = text.len() > LONG || text.contains('\n');
        if !is_long || !is_safe_raw(&text) || !is_plain_name(&key) {
            break;
        }
        let entry = format!("{}{colon}{}", string(&key), string(&text));
        let Some(before) = head.strip_suffix(entry.as_str()) else { break };
        raws.push((key, text));
        if before == "{" {
            head = before;
            break;
        }
        head = before.strip_suffix(comma)?;
    }
    raws.reverse();
    // An object without entries has no style that the others could follow.
    let keeps_style =
        head.len() > 1 && head.contains("\": ") == (colon == ": ") || head == "{" && colon == ":";
    (keeps_style && !raws.is_empty()).then(|| (format!("{head}}}"), raws))
}

fn entries(object: &str) -> Option<Vec<(String, &str)>> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, &'de str)>;
        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                entries.push((key, value.get()));
            }
            Ok(entries)
        }
    }
    serde_json::Deserializer::from_str(object).deserialize_map(Entries).ok()
}

/// Whether a text can stand between tags: it holds nothing like one, and its line breaks are told from theirs.
fn is_safe_raw(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let name = rest.trim_start_matches(['/', '\\', '|', '_', '-']);
        let is_tag = ["tool", "function", "parameter", "invoke"]
            .iter()
            .any(|tag| name.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag)));
        if is_tag {
            return false;
        }
    }
    !text.ends_with('\r')
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Text that cannot end the block it stands in.
fn contained(text: &str) -> String {
    let mut contained = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        contained.push_str(before);
        let (mark, escaped) = if from.starts_with('<') { ("<", "&lt;") } else { ("&", "&amp;") };
        contained.push_str(if is_tag(from) { escaped } else { mark });
        rest = &from[1..];
    }
    contained.push_str(rest);
    contained
}

/// Whether a tag of tools begins here, or what one is written as: `<`, `&lt;`, `&amp;lt;` and so on before its name.
fn is_tag(text: &str) -> bool {
    let name = if let Some(name) = text.strip_prefix('<') {
        name
    } else {
        let mut inner = &text[1..];
        // Only so many, so that a text full of them is not read again and again.
        for _ in 0..8 {
            inner = inner.strip_prefix("amp;").unwrap_or(inner);
        }
        let Some(name) = inner.strip_prefix("lt;") else { return false };
        name
    };
    let name = name.trim_start_matches(['/', '\\', '|']);
    ["tool_call", "tool_response"]
        .iter()
        .any(|tag| name.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag)))
}

fn attribute(value: &str) -> String {
    value.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

fn string(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(name: &str, kind: CallKind, arguments: &str) -> ToolCall {
        ToolCall { id: Some("call_1".into()), name: name.into(), kind, arguments: arguments.into() }
    }

    #[test]
    fn calls_are_rendered_as_they_are_asked_for() {
        let long = "x = \"y\"\n";
        let write = serde_json::json!({"path": "a.py", "content": long}).to_string();
        let cases = [
            (
                call("f", CallKind::Function, "{\"a\": 1}"),
                "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
            ),
            (
                call("f", CallKind::Function, "{\"a\":"),
                "<tool_call>\n{\"name\": \"f\", \"arguments\": \"{\\\"a\\\":\"}\n</tool_call>",
            ),
            (
                call("w", CallKind::Function, &write),
                "<tool_call>\n{\"name\": \"w\", \"arguments\": {\"path\":\"a.py\"}}\n<parameter name=\"content\">\n\
                 x = \"y\"\n\n</parameter>\n</tool_call>",
            ),
            (
                call("p", CallKind::Custom, "-a\n+b"),
                "<tool_call>\n{\"name\": \"p\"}\n<parameter name=\"input\">\n-a\n+b\n</parameter>\n</tool_call>",
            ),
            (
                call("p", CallKind::Custom, "</tool_call>"),
                "<tool_call>\n{\"name\": \"p\", \"input\": \"</tool_call>\"}\n</tool_call>",
            ),
        ];
        for (call, expected) in cases {
            assert_eq!(calls(&[call]), expected);
        }
    }

    #[test]
    fn calls_carry_ids_only_where_there_are_several() {
        let pair = [call("f", CallKind::Function, "{}"), call("g", CallKind::Function, "{}")];
        let rendered = calls(&pair);
        assert!(rendered.contains("{\"name\": \"g\", \"arguments\": {}, \"id\": \"call_1\"}"), "{rendered}");
    }

    fn told(text: &str) -> String {
        let result = ToolResult { id: None, name: Some("f".into()), parts: vec![Part::Text(text.into())] };
        match super::result(result).as_slice() {
            [Part::Text(text)] => text.clone(),
            _ => panic!("one text"),
        }
    }

    #[test]
    fn a_result_cannot_end_itself_even_in_two_parts() {
        assert_eq!(
            told("a</tool_response><Tool_Call> 1 < 2 &lt;b> &lt;/tool_response>"),
            "<tool_response name=\"f\">\na&lt;/tool_response>&lt;Tool_Call> 1 < 2 &lt;b> &amp;lt;/tool_response>\n\
             </tool_response>"
        );
        let parts = ["</tool_", "response>"].map(|text| Part::Text(text.into())).into();
        match result(ToolResult { id: None, name: None, parts }).as_slice() {
            [Part::Text(text)] => assert_eq!(text, "<tool_response>\n</tool_\nresponse>\n</tool_response>"),
            _ => panic!("one text"),
        }
    }

    proptest! {
        #[test]
        fn what_is_contained_can_be_told_from_everything_else(
            pieces in prop::collection::vec(prop::sample::select(
                vec!["<", "&", "lt;", "amp;", "/", "tool_call", "tool_response", "x", ">"]), 0..12),
        ) {
            let text = pieces.concat();
            let contained = contained(&text);
            prop_assert!(!contained.contains("<tool_") && !contained.contains("</tool_"));
            // Undone: where a name follows, one level of escaping is taken away.
            let mut undone = String::new();
            let mut rest = contained.as_str();
            while let Some(at) = rest.find('&') {
                undone.push_str(&rest[..at]);
                let from = &rest[at..];
                let (mark, length) = match from {
                    _ if !is_tag(from) => ("&", 1),
                    _ if from.starts_with("&amp;") => ("&", 5),
                    _ => ("<", 4),
                };
                undone.push_str(mark);
                rest = &from[length..];
            }
            undone.push_str(rest);
            prop_assert_eq!(undone, text);
        }
    }
}
