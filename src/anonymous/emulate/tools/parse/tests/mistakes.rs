//! Calls with something wrong around them, or missing behind them.

use super::super::Ending;
use super::{PARIS, check, read};

#[test]
fn what_stands_around_a_call_by_mistake_is_not_said() {
    let paris = r#"<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>"#;
    let one: &[&str] = &[PARIS];
    for (text, left) in [
        (format!("reasoning about it</think>\n{paris}"), ""),
        (format!("reasoning about it</think>{paris}"), ""),
        (format!("<think>I should call {paris}"), ""),
        (format!("Well.\n<think>I should call\n{paris}\nDone."), "Well.\n\nDone."),
        (paris.replace("</tool_call>", "</tool_response>"), ""),
        (format!("{paris}</tool_response>\nI wait."), "I wait."),
        (format!("\u{feff}{paris}"), ""),
    ] {
        check(&[(&text, one, left)]);
    }
    check(&[("<think>No call comes.", &[], "<think>No call comes.")]);
}

#[test]
fn a_call_as_python_writes_it_is_one_if_it_is_all_there_is() {
    let now: &[&str] = &["now {}"];
    let [paris, rome] = [r#"get_weather {"city":"Paris"}"#, r#"get_weather {"city":"Rome"}"#];
    check(&[
        ("get_weather(city=\"Paris\")", &[paris], ""),
        ("get_weather(city='Paris')\nget_weather(city='Rome')\n", &[paris, rome], ""),
        ("now()", now, ""),
        ("get_time(city=\"Paris\")", &[], "get_time(city=\"Paris\")"),
        ("Use get_weather(city=\"Paris\")", &[], "Use get_weather(city=\"Paris\")"),
        ("get_weather(city=\"Paris\") tells it", &[], "get_weather(city=\"Paris\") tells it"),
    ]);
}

#[test]
fn a_call_that_nothing_closes_has_no_arguments_made_up_for_it() {
    for (text, call) in [
        ("<tool_call>{\"name\": \"now\"}", "now! "),
        ("<tool_call>{\"name\": \"now\"}\n<parameter name=\"ti", "now! "),
        ("<tool_call>{\"name\": \"now\"}\n<para", "now! "),
        ("<tool_call>{\"name\": \"now\", \"arguments\": {\"a\": 1}}\n<parameter name=\"ti", "now! {\"a\": 1"),
    ] {
        let (calls, left) = read(text, Ending::Whole);
        assert_eq!((calls, left.as_str()), (vec![call.to_owned()], ""), "{text}");
    }
    let closed: &[&str] = &["now {}"];
    check(&[("<tool_call>{\"name\": \"now\"}</tool_call>", closed, "")]);
}

#[test]
fn the_beginning_of_a_call_that_was_cut_is_not_said() {
    for text in
        ["<tool_call>", "<tool_call>\n", "<tool_call>\n{", "<tool_call>\n{\"name\": \"now", "<tool_ca"]
    {
        for before in ["", "I look.\n"] {
            let (calls, left) = read(&format!("{before}{text}"), Ending::Cut);
            assert_eq!((calls.len(), left.as_str()), (0, before.trim_end()), "{before}{text}");
        }
    }
    for text in ["<tool_call> is a tag", "a <b", "1 <", "<tool_call>\n{\"name\": \"unknown\", \"arg"] {
        assert_eq!(read(text, Ending::Cut), (Vec::new(), text.to_owned()), "{text}");
    }
}

#[test]
fn a_tag_inside_a_raw_argument_that_was_cut_does_not_close_it() {
    let begun = "<tool_call>\n{\"name\": \"apply_patch\"}\n<parameter name=\"input\">\na </tool_call> b";
    assert_eq!(read(begun, Ending::Cut), (Vec::new(), begun.to_owned()));
}
