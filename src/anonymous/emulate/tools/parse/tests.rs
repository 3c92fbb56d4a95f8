//! What models really write, and what must become of it.

use serde_json::json;

use super::super::super::ask::{Choice, Input, Parallel, Tool, Toolset};
use super::*;

mod cut;
mod hostile;
mod mistakes;
mod round_trip;

pub(super) fn tools() -> Toolset {
    let function = |name: &str, schema| Tool {
        name: name.to_owned(),
        description: None,
        input: Input::Json { schema: Some(schema) },
    };
    let text = json!({"type": "string"});
    let weather = json!({"type": "object", "required": ["city"], "properties": {
        "city": text, "days": {"type": "integer"}, "metric": {"type": "boolean"},
    }});
    let write = json!({"type": "object", "required": ["path", "content"], "properties": {"path": text, "content": text}});
    let patch = Tool { name: "apply_patch".into(), description: None, input: Input::Text { grammar: None } };
    let anything = Tool { name: "any".into(), description: None, input: Input::Json { schema: None } };
    let tools = vec![
        function("get_weather", weather),
        function("write_file", write),
        function("now", json!({"type": "object", "properties": {}})),
        patch,
        anything,
    ];
    Toolset { tools, ..Toolset::default() }
}

/// What a text comes to: its calls as `name arguments`, and what is left.
pub(super) fn read(text: &str, ending: Ending) -> (Vec<String>, String) {
    let parsed = parse(text, &tools(), ending);
    let call = |call: &Call| {
        let mark = if call.complaint.is_some() { "!" } else { "" };
        format!("{}{mark} {}", call.name, call.arguments)
    };
    (parsed.calls.iter().map(call).collect(), parsed.text)
}

#[track_caller]
fn check(cases: &[(&str, &[&str], &str)]) {
    for (text, calls, left) in cases {
        let (found, rest) = read(text, Ending::Whole);
        assert_eq!(found, *calls, "calls in {text}");
        assert_eq!(rest, *left, "text beside {text}");
    }
}

const PARIS: &str = r#"get_weather {"city": "Paris"}"#;
const ROME: &str = r#"get_weather {"city": "Rome"}"#;

#[test]
fn tagged_calls_are_read_however_they_are_wrapped() {
    let paris = r#"{"name": "get_weather", "arguments": {"city": "Paris"}}"#;
    let rome = r#"{"name": "get_weather", "arguments": {"city": "Rome"}}"#;
    let two: &[&str] = &[PARIS, ROME];
    let one: &[&str] = &[PARIS];
    let cases: Vec<(String, &[&str], &str)> = vec![
        (format!("<tool_call>\n{paris}\n</tool_call>"), one, ""),
        (format!("<tool_call>{paris}</tool_call>"), one, ""),
        (format!("Let me look.\n\n<tool_call>\n{paris}\n</tool_call>\n"), one, "Let me look."),
        (format!("<tool_call>\n{paris}\n</tool_call>\nI wait for it."), one, "I wait for it."),
        (
            format!("  A\n<tool_call>{paris}</tool_call>\n B \n<tool_call>{rome}</tool_call>\nC  "),
            two,
            "  A\n\nB\n\nC  ",
        ),
        (format!("Sure: <tool_call>{paris}</tool_call>"), one, "Sure:"),
        (format!("Call `it.\n<tool_call>{paris}</tool_call>\nDone` now."), one, "Call `it.\n\nDone` now."),
        (format!("<tool_call>\n```json\n{paris}\n```\n</tool_call>"), one, ""),
        (format!("```json\n<tool_call>\n{paris}\n</tool_call>\n```"), one, ""),
        (
            format!(
                "```xml\n<tool_call>\n{paris}\n</tool_call>\n```\n\n```\n<tool_call>\n{rome}\n</tool_call>\n```"
            ),
            two,
            "",
        ),
        (format!("<tool_call>\n{paris}"), one, ""),
        (format!("<tool_call>\n{paris}\n\nThat is the call."), one, "That is the call."),
        (format!("<tool_call>\n{paris}\n<tool_call>\n{rome}\n</tool_call>"), two, ""),
        (format!("<tool_call>\n{paris}\n<tool_call>"), one, ""),
        (format!("<tool_call>\n{paris}\n</tool_call></tool_call>"), one, ""),
        (format!("<tool_call>\n{paris}}}\n</tool_call>"), one, ""),
        (format!("<tool_call>\n{paris}\n{rome}\n</tool_call>"), two, ""),
        (format!("<tool_call>\n[{paris}, {rome}]\n</tool_call>"), two, ""),
        (
            format!(
                "<tool_calls>\n<tool_call>{paris}</tool_call>\n<tool_call>{rome}</tool_call>\n</tool_calls>"
            ),
            two,
            "",
        ),
        (format!("<tool_call>\n{paris} and that is it\n</tool_call>"), one, "and that is it"),
        (format!("<Tool_Call>{paris}</Tool_Call>"), one, ""),
        (format!("<tool_call id=\"1\">{paris}<\\/tool_call>"), one, ""),
        (format!("<function_call>{paris}</function_call>"), one, ""),
        ("<tool_call name=\"get_weather\">{\"city\": \"Paris\"}</tool_call>".into(), one, ""),
        ("<tool_call>get_weather\n{\"city\": \"Paris\"}\n</tool_call>".into(), one, ""),
        (
            format!(
                "<think>\nI could <tool_call>{rome}</tool_call>\n</think>\n<tool_call>{paris}</tool_call>"
            ),
            one,
            "",
        ),
        (format!("<thinking>hm</thinking>\n\nOK.\n<tool_call>{paris}</tool_call>"), one, "OK."),
        (format!("so I call it\n</think>\n\n<tool_call>{paris}</tool_call>"), one, ""),
        (
            format!("<tool_call>{paris}</tool_call>\n<tool_response>\nsunny\n</tool_response>\nIt is sunny."),
            one,
            "",
        ),
        (
            format!(
                "<tool_call>{paris}</tool_call>\n<tool_response>x</tool_response>\n<tool_call>{rome}</tool_call>"
            ),
            one,
            "",
        ),
    ];
    let cases: Vec<(&str, &[&str], &str)> =
        cases.iter().map(|(text, calls, left)| (text.as_str(), *calls, *left)).collect();
    check(&cases);
}

#[test]
fn the_keys_of_a_call_have_many_names() {
    check(&[
        (r#"<tool_call>{"name": "get_weather", "parameters": {"city": "Paris"}}</tool_call>"#, &[PARIS], ""),
        (r#"<tool_call>{"name": "get_weather", "input": {"city": "Paris"}}</tool_call>"#, &[PARIS], ""),
        (r#"<tool_call>{"tool": "get_weather", "args": {"city": "Paris"}}</tool_call>"#, &[PARIS], ""),
        (r#"<tool_call>{"arguments": {"city": "Paris"}, "name": "get_weather"}</tool_call>"#, &[PARIS], ""),
        (
            r#"<tool_call>{"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}</tool_call>"#,
            &[PARIS],
            "",
        ),
        (
            r#"<tool_call>{"name": "get_weather", "city": "Paris"}</tool_call>"#,
            &[r#"get_weather {"city":"Paris"}"#],
            "",
        ),
        (r#"<tool_call>{"get_weather": {"city": "Paris"}}</tool_call>"#, &[PARIS], ""),
        (
            r#"<tool_call>{"name": "functions.get_weather", "arguments": {"city": "Paris"}}</tool_call>"#,
            &[PARIS],
            "",
        ),
        (
            r#"<tool_call>{"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}}</tool_call>"#,
            &[PARIS],
            "",
        ),
        (
            r#"<tool_call>{"name": "multi_tool_use.parallel", "arguments": {"tool_uses": [{"recipient_name": "functions.get_weather", "parameters": {"city": "Paris"}}, {"recipient_name": "functions.now", "parameters": {}}]}}</tool_call>"#,
            &[PARIS, "now {}"],
            "",
        ),
    ]);
}

#[test]
fn json_that_is_nearly_json_is_mended() {
    check(&[
        (
            "<tool_call>{'name': 'get_weather', 'arguments': {'city': 'Paris', 'metric': True}}</tool_call>",
            &[r#"get_weather {"city":"Paris","metric":true}"#],
            "",
        ),
        (
            "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\",},}</tool_call>",
            &[r#"get_weather {"city":"Paris"}"#],
            "",
        ),
        (
            "<tool_call>{name: \"get_weather\", arguments: {city: \"Paris\"}}</tool_call>",
            &[r#"get_weather {"city":"Paris"}"#],
            "",
        ),
        (
            "<tool_call>{\"name\": \"write_file\", \"arguments\": {\"path\": \"a\", \"content\": \"x\n\ty\"}}</tool_call>",
            &[r#"write_file {"path":"a","content":"x\n\ty"}"#],
            "",
        ),
        (
            r#"<tool_call>{"name": "write_file", "arguments": {"path": "C:\Users", "content": "\d+"}}</tool_call>"#,
            &[r#"write_file {"path":"C:\\Users","content":"\\d+"}"#],
            "",
        ),
        (
            r#"<tool_call>{"name": "write_file", "arguments": {"path": "a", "content": "say "hi", you"}}</tool_call>"#,
            &[r#"write_file {"path":"a","content":"say \"hi\", you"}"#],
            "",
        ),
        (
            r#"<tool_call>{"name": "write_file", "arguments": {"path": "a", "content": """x "y" z"""}}</tool_call>"#,
            &[r#"write_file {"path":"a","content":"x \"y\" z"}"#],
            "",
        ),
        (
            "<tool_call>{\"name\": \"write_file\", \"arguments\": \"{\\\"path\\\": \\\"a\\\", \\\"content\\\": \\\"x\\ny\\\"}\"}</tool_call>",
            &[r#"write_file {"path":"a","content":"x\ny"}"#],
            "",
        ),
        (
            "<tool_call>{\"name\": \"get_weather\", // the tool\n \"arguments\": {\"city\": \"Paris\" /* capital */}}</tool_call>",
            &[r#"get_weather {"city":"Paris"}"#],
            "",
        ),
        (r#"<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}</tool_call>"#, &[PARIS], ""),
        (
            r#"<tool_call>{"name": "write_file", "arguments": {"path": "a", "content": "</tool_call>"}}</tool_call>"#,
            &[r#"write_file {"path": "a", "content": "</tool_call>"}"#],
            "",
        ),
        (
            "<tool_call>{\"name\": \"write_file\", \"arguments\": {\"path\": \"a\", \"content\": \"x\n</tool_call>\ny\"}}</tool_call>",
            &[r#"write_file {"path":"a","content":"x\n</tool_call>\ny"}"#],
            "",
        ),
    ]);
}

#[test]
fn a_guess_counts_only_when_everything_fits() {
    let wrong = r#"{"path": "a", "content": "x = {"k": "v", "z": 1}"}"#;
    for name in ["write_file", "any"] {
        let text = format!("<tool_call>{{\"name\": \"{name}\", \"arguments\": {wrong}}}</tool_call>");
        assert_eq!(read(&text, Ending::Whole), (vec![format!("{name}! {wrong}")], String::new()));
    }
}

#[test]
fn scalars_get_the_type_that_the_schema_wants_and_misses_are_said() {
    check(&[
        (
            r#"<tool_call>{"name": "get_weather", "arguments": {"city": "Paris", "days": "3", "metric": "true"}}</tool_call>"#,
            &[r#"get_weather {"city":"Paris","days":3,"metric":true}"#],
            "",
        ),
        (
            r#"<tool_call>{"name": "get_weather", "arguments": {"city": 75, "days": null}}</tool_call>"#,
            &[r#"get_weather {"city":"75"}"#],
            "",
        ),
        (
            r#"<tool_call>{"name": "get_weather", "arguments": {"days": 3}}</tool_call>"#,
            &[r#"get_weather! {"days": 3}"#],
            "",
        ),
        (
            r#"<tool_call>{"name": "get_weather", "arguments": {"city": "Paris", "days": "many"}}</tool_call>"#,
            &[r#"get_weather! {"city": "Paris", "days": "many"}"#],
            "",
        ),
        (
            r#"<tool_call>{"name": "get_weather", "arguments": ["Paris"]}</tool_call>"#,
            &[r#"get_weather! ["Paris"]"#],
            "",
        ),
        (
            r#"<tool_call>{"name": "get_weather", "arguments": "Paris"}</tool_call>"#,
            &["get_weather! Paris"],
            "",
        ),
        (
            r#"<tool_call>{"name": "get_weather", "arguments": {"city": Paris}}</tool_call>"#,
            &["get_weather! {\"city\": Paris}"],
            "",
        ),
        (
            r#"<tool_call>{"name": "any", "arguments": {"x": [1, {"y": null}]}}</tool_call>"#,
            &[r#"any {"x": [1, {"y": null}]}"#],
            "",
        ),
        (
            r#"<tool_call>{"name": "any", "arguments": {"n": 12345678901234567890123, "f": 1.0}}</tool_call>"#,
            &[r#"any {"n": 12345678901234567890123, "f": 1.0}"#],
            "",
        ),
    ]);
}

#[test]
fn no_arguments_are_an_empty_object_only_where_the_schema_is_content_with_it() {
    check(&[
        (r#"<tool_call>{"name": "now"}</tool_call>"#, &["now {}"], ""),
        (r#"<tool_call>{"name": "now", "arguments": null}</tool_call>"#, &["now {}"], ""),
        (r#"<tool_call>{"name": "now", "arguments": {}}</tool_call>"#, &["now {}"], ""),
        (r#"<tool_call>{"name": "get_weather"}</tool_call>"#, &["get_weather! "], ""),
        (r#"<tool_call>{"name": "get_weather", "arguments": null}</tool_call>"#, &["get_weather! "], ""),
        (r#"<tool_call>{"name": "get_weather", "arguments": ""}</tool_call>"#, &["get_weather! "], ""),
    ]);
}

#[test]
fn long_text_may_stand_raw() {
    check(&[
        (
            "<tool_call>\n{\"name\": \"write_file\", \"arguments\": {\"path\": \"a.py\"}}\n<parameter name=\"content\">\nprint(\"hi\\n\")\n\n</parameter>\n</tool_call>",
            &[r#"write_file {"path": "a.py", "content": "print(\"hi\\n\")\n"}"#],
            "",
        ),
        (
            "<tool_call>\n{\"name\": \"apply_patch\"}\n<parameter name=\"input\">\n*** Begin\n-a\n+b\n*** End\n</parameter>\n</tool_call>",
            &["apply_patch *** Begin\n-a\n+b\n*** End"],
            "",
        ),
        (
            "<tool_call>\n{\"name\": \"apply_patch\"}\n*** Begin\n*** End\n</tool_call>",
            &["apply_patch *** Begin\n*** End"],
            "",
        ),
        (
            "<tool_call name=\"apply_patch\">\n*** Begin\n*** End\n</tool_call>",
            &["apply_patch *** Begin\n*** End"],
            "",
        ),
        (
            r#"<tool_call>{"name": "apply_patch", "arguments": {"input": "a\nb"}}</tool_call>"#,
            &["apply_patch a\nb"],
            "",
        ),
        (r#"<tool_call>{"name": "apply_patch", "arguments": "a\nb"}</tool_call>"#, &["apply_patch a\nb"], ""),
        (
            "<tool_call>\n<function=write_file>\n<parameter=path>\na.xml\n</parameter>\n<parameter=content>\n<a></parameter></a>\n</parameter>\n</function>\n</tool_call>",
            &[r#"write_file {"path":"a.xml","content":"<a></parameter></a>"}"#],
            "",
        ),
        (
            "<tool_call>\n{\"name\": \"write_file\", \"arguments\": {\"path\": \"a.md\"}}\n<parameter name=\"content\">\n```\ncode\n</parameter>\n</tool_call>\nDone.",
            &["write_file {\"path\": \"a.md\", \"content\": \"```\\ncode\"}"],
            "Done.",
        ),
    ]);
}

#[test]
fn other_forms_count_when_the_whole_answer_is_calls() {
    let two: &[&str] = &[PARIS, ROME];
    check(&[
        (r#"{"name": "get_weather", "arguments": {"city": "Paris"}}"#, &[PARIS], ""),
        ("```json\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n```", &[PARIS], ""),
        (
            r#"[{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": "get_weather", "parameters": {"city": "Rome"}}]"#,
            two,
            "",
        ),
        (
            "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Rome\"}}",
            two,
            "",
        ),
        (
            r#"<|python_tag|>{"type": "function", "name": "get_weather", "parameters": {"city": "Paris"}}<|eom_id|>"#,
            &[PARIS],
            "",
        ),
        (
            r#"{"tool_calls": [{"id": "x", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}}]}"#,
            &[PARIS],
            "",
        ),
        (
            r#"{"role": "assistant", "content": "Looking.", "tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]}"#,
            &[PARIS],
            "Looking.",
        ),
        (
            r#"{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}"#,
            &[PARIS],
            "",
        ),
        (r#"<function=get_weather>{"city": "Paris"}</function>"#, &[PARIS], ""),
        (
            "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>",
            &[r#"get_weather {"city":"Paris","days":3}"#],
            "",
        ),
        (
            "<function_calls>\n<invoke name=\"get_weather\">\n<parameter name=\"city\">Paris</parameter>\n</invoke>\n</function_calls>",
            &[r#"get_weather {"city":"Paris"}"#],
            "",
        ),
        (r#"[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}]"#, &[PARIS], ""),
        (r#"[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}"#, &[PARIS], ""),
        (r#"[get_weather(city="Paris"), now()]"#, &[r#"get_weather {"city":"Paris"}"#, "now {}"], ""),
        (
            r#"[any(x=[1, None], y={'a': "it's"}, z='q')]"#,
            &[r#"any {"x":[1,null],"y":{"a":"it's"},"z":"q"}"#],
            "",
        ),
        (
            "```tool_code\nprint(default_api.get_weather(city='Paris'))\n```",
            &[r#"get_weather {"city":"Paris"}"#],
            "",
        ),
        (
            r#"{"name": "write_file", "arguments": {"path": "a", "content": oops}}"#,
            &["write_file! {\"path\": \"a\", \"content\": oops}"],
            "",
        ),
    ]);
}

#[test]
fn a_text_that_is_no_call_is_returned_to_the_letter() {
    for text in [
        "",
        " Hello, world. \n",
        "Use `<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}</tool_call>` to call.",
        "The form is:\n\n```xml\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>\n```\n\nThat is all.",
        "The form is:\n\n~~~\n<tool_call>{\"name\": \"now\"}</tool_call>\n~~~\n",
        "He wrote \"<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>\" and left.",
        "> <tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>\n\nis what you said.",
        "The <tool_call> tag opens a call and </tool_call> closes it.",
        "A <tool_call> begins with { and ends with }.",
        "<tool_call>\n</tool_call>",
        "<tool_call>",
        "<tool_call>\n{\"name\": \"delete_all\", \"arguments\": {}}\n</tool_call>",
        "<tool_call>\n{\"name\": \"delete_all\", \"arguments\": {\"a\": tr\n</tool_call> x",
        "<tool_call>\n{\"city\": \"Paris\"}\n</tool_call>",
        "<function=delete_all>{}</function>",
        "Here: {\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}",
        "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}} is how it is called",
        "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}, \"population\": 2}",
        "{\"name\": \"get_weather\"}",
        "[{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}, {\"name\": \"x\", \"arguments\": {}}]",
        "[now()](https://example.com)",
        "[now(1)]",
        "`now()` tells the time",
        "```python\nnow()\n```",
        "In HTML, <think> is no tag.",
        "<reasoning>asked for</reasoning> inside",
        "1 < 2 and 2 > 1",
        "<tool_response>\nsunny\n</tool_response>",
    ] {
        let (calls, left) = read(text, Ending::Whole);
        assert!(calls.is_empty(), "{calls:?} in {text}");
        assert_eq!(left, text);
    }
}

#[test]
fn only_tools_on_offer_are_called_and_only_as_many_as_may_be() {
    let text = "<tool_call>{\"name\": \"now\"}</tool_call>\n<tool_call>{\"name\": \"any\", \"arguments\": {}}</tool_call>";
    let names = |toolset: &Toolset| -> Vec<String> {
        parse(text, toolset, Ending::Whole).calls.into_iter().map(|call| call.name).collect()
    };
    let with = |choice, parallel| Toolset { choice, parallel, ..tools() };
    assert_eq!(names(&with(Choice::Auto, Parallel::Many)), ["now", "any"]);
    assert_eq!(names(&with(Choice::Auto, Parallel::One)), ["now"]);
    assert_eq!(names(&with(Choice::Named("any".into()), Parallel::Many)), ["any"]);
    assert!(names(&with(Choice::None, Parallel::Many)).is_empty());
    assert_eq!(parse(text, &with(Choice::None, Parallel::Many), Ending::Whole).text, text);
}
