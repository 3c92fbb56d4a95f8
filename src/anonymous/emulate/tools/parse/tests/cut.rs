//! Answers that were cut in the middle of a call.

use super::*;

#[test]
fn what_was_cut_is_handed_over_as_it_is_and_never_completed() {
    let cases: [(&str, &[&str], &str); 9] = [
        (
            "A\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Par",
            &["get_weather! {\"city\": \"Par"],
            "A",
        ),
        (
            "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"",
            &["get_weather! {\"city\": \"Paris\""],
            "",
        ),
        (
            "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}",
            &["get_weather! {\"city\": \"Paris\""],
            "",
        ),
        (
            "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool",
            &[PARIS],
            "",
        ),
        ("<tool_call>\n{\"name\": \"now\"", &["now! "], ""),
        ("<tool_call>\n{\"name\": \"get_wea", &[], ""),
        (
            "<tool_call>\n{\"name\": \"write_file\", \"arguments\": {\"path\": \"a\"}}\n<parameter name=\"content\">\nfirst\nsec",
            &["write_file! {\"path\": \"a\", \"content\": \"first\\nsec"],
            "",
        ),
        (
            "<tool_call>\n{\"name\": \"apply_patch\"}\n<parameter name=\"input\">\nfirst\nsec",
            &[],
            "<tool_call>\n{\"name\": \"apply_patch\"}\n<parameter name=\"input\">\nfirst\nsec",
        ),
        ("<tool_call>\n{\"name\": \"apply_patch\"}", &[], "<tool_call>\n{\"name\": \"apply_patch\"}"),
    ];
    for (text, calls, left) in cases {
        let (found, rest) = read(text, Ending::Cut);
        assert_eq!(
            (found.as_slice(), rest.as_str()),
            (calls.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice(), left),
            "{text}"
        );
    }
}

#[test]
fn a_call_in_a_string_that_was_cut_is_not_made() {
    let inner = "<tool_call>{'name': 'now', 'arguments': {}}</tool_call>";
    for text in [
        format!("<tool_call>\n{{\"name\": \"any\", \"arguments\": {{\"a\": \"see {inner} and {inner}"),
        format!("<tool_call>\n{{\"name\": \"any\", \"arguments\": {{\"a\": \"see\n{inner}\nand\n{inner}"),
        format!(
            "<tool_call>\n{{\"name\": \"delete_all\", \"arguments\": {{\"a\": \"see\n{inner}\nand {inner}"
        ),
    ] {
        let (calls, _) = read(&text, Ending::Cut);
        assert!(calls.iter().all(|call| call.starts_with("any! {\"a\": \"see")), "{calls:?}");
    }
    let (calls, _) = read(
        &format!("<tool_call>\n{{\"name\": \"any\", \"arguments\": {{\"a\": \"{inner} {inner}"),
        Ending::Whole,
    );
    assert_eq!(calls.len(), 1, "{calls:?}");
    let (calls, _) = read(
        &format!("<tool_call>{{\"name\": \"any\", \"arguments\": {{\"a\": \"x\n{inner}\n\"}}}}</tool_call>"),
        Ending::Whole,
    );
    assert_eq!(calls.len(), 1, "{calls:?}");
}

#[test]
fn the_first_byte_of_a_tag_is_not_said() {
    assert_eq!(read("Looking.\n<", Ending::Cut), (Vec::new(), "Looking.".to_owned()));
    assert_eq!(read("1 <", Ending::Cut), (Vec::new(), "1 <".to_owned()));
    assert_eq!(read("Looking.\n<", Ending::Whole), (Vec::new(), "Looking.\n<".to_owned()));
}
