//! Calls with something wrong around them, or missing behind them.

use super::*;

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

#[test]
fn what_is_closed_on_the_line_does_not_hide_a_call() {
    let paris = r#"<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>"#;
    let one: &[&str] = &[PARIS];
    for before in [
        "Config `{}` noted.",
        "Config {} noted.",
        "I use {\"city\": \"Paris\"} now:",
        "Begin with `{`.",
        "That's {it's}.",
    ] {
        check(&[(&format!("{before} {paris}"), one, before)]);
    }
    for before in ["{\"a\": \"see", "{'a': 'see}", "{\"a\": {} , \"b\": \"}", "{ \"`\": "] {
        let text = format!("{before} {paris}\"}}");
        assert_eq!(read(&text, Ending::Whole), (Vec::new(), text.clone()));
    }
}

#[test]
fn a_labelled_call_that_nothing_closes_is_said_once() {
    check(&[
        ("<tool_call name=\"any\">{\"a\":1}\n", &["any {\"a\":1}"], ""),
        ("<tool_call>any {a:1}\n", &["any {\"a\":1}"], ""),
        ("<tool_call>any {a:1}\nDone.", &["any {\"a\":1}"], "Done."),
        (
            "<tool_call name=\"write_file\">{\"path\":\"a\"}\n<parameter name=\"content\">\nb\n</parameter>\n</tool_call>",
            &["write_file {\"path\":\"a\",\"content\":\"b\"}"],
            "",
        ),
    ]);
    let cut = "<tool_call name=\"any\">{\"a\":1}\n";
    assert_eq!(read(cut, Ending::Cut), (vec!["any! {\"a\":1".to_owned()], String::new()));
}

#[test]
fn prose_and_marks_around_the_object_in_a_block_are_not_in_its_way() {
    let paris = r#"{"name": "get_weather", "arguments": {"city": "Paris"}}"#;
    let one: &[&str] = &[PARIS];
    check(&[
        (&format!("<tool_call>\nHere it is:\n{paris}\n</tool_call>"), one, "Here it is:"),
        (&format!("<tool_call>\nHere: {paris}\n</tool_call>"), one, "Here:"),
        (&format!("<tool_call>\n<function>\n{paris}\n</function>\n</tool_call>"), one, ""),
        (&format!("<tool_call>\n{paris}\n</function>\n</tool_call>"), one, ""),
    ]);
    for text in [
        format!("The <tool_call> holds {paris} before </tool_call>."),
        format!("<tool_call>\nHere:\n{paris}\nor so\n</tool_call>"),
        format!("<tool_call>\nHere:\n{paris}"),
    ] {
        check(&[(&text, &[], &text)]);
    }
}

#[test]
fn raw_arguments_are_never_thrown_away() {
    let raw = "<parameter name=\"content\">\nabc\n</parameter>";
    let call = |arguments: &str| {
        format!("<tool_call>\n{{\"name\": \"write_file\", \"arguments\": {arguments}}}\n{raw}\n</tool_call>")
    };
    let whole: &[&str] = &[r#"write_file {"path": "a", "content": "abc"}"#];
    check(&[
        (&call("{\"path\": \"a\"}"), whole, ""),
        (&call(r#""{\"path\": \"a\"}""#), whole, ""),
        (&call("null"), &[r#"write_file! {"content":"abc"}"#], ""),
        (&call("\"\""), &[r#"write_file! {"content":"abc"}"#], ""),
        (&call("\"{}\""), &[r#"write_file! {"content":"abc"}"#], ""),
        (&call("\"a.txt\""), &[&format!("write_file! \"a.txt\"\n{raw}")], ""),
        (&call("[1]"), &[&format!("write_file! [1]\n{raw}")], ""),
    ]);
    let text = call("null").replace("write_file", "any");
    check(&[(&text, &[r#"any {"content":"abc"}"#], "")]);
}

#[test]
fn a_raw_argument_that_holds_closing_tags_is_not_cut_there() {
    let open = "<tool_call>\n{\"name\": \"apply_patch\"}\n<parameter name=\"input\">\n";
    let close = "\n</parameter>\n</tool_call>";
    check(&[
        (
            &format!("{open}so it ends:{close}\nand then{close}\nDone."),
            &[&format!("apply_patch so it ends:{close}\nand then")],
            "Done.",
        ),
        (&format!("{open}a{close}\n{open}b{close}"), &["apply_patch a", "apply_patch b"], ""),
        (&format!("{open}a{close}\nand{open}b{close}"), &["apply_patch a", "apply_patch b"], "and"),
        (&format!("{open}a{close}{close}"), &["apply_patch a"], "</parameter>\n</tool_call>"),
    ]);
}

#[test]
fn a_path_with_backslashes_is_handed_over_as_it_was_written() {
    let path = r#"{"path": "C:\Users\tom\new\file.txt"}"#;
    let call = |name: &str| format!("{{\"name\": \"{name}\", \"arguments\": {path}}}");
    let handed: &[&str] = &[&format!("any! {path}")];
    let text = format!("<tool_call>\n{}\n</tool_call>", call("any"));
    check(&[
        (&text, handed, ""),
        (&call("any"), handed, ""),
        (&format!("<tool_call name=\"any\">{path}</tool_call>"), handed, ""),
        (&format!("<function=any>{path}</function>"), handed, ""),
        (&format!("[TOOL_CALLS]any[ARGS]{path}"), handed, ""),
        (&format!("<tool_call>{}</tool_call>", call("apply_patch")), &[&format!("apply_patch {path}")], ""),
        (
            &format!("{{\"type\": \"function\", \"function\": {}}}", call("any")),
            &[&format!("any! {}", call("any"))],
            "",
        ),
        (
            r#"<tool_call>{"name": "any", "path": "C:\Users\tom"}</tool_call>"#,
            &[r#"any! {"name": "any", "path": "C:\Users\tom"}"#],
            "",
        ),
        (r#"any(path="C:\Users\tom")"#, &[r#"any! (path="C:\Users\tom")"#], ""),
    ]);
    // Nobody could tell which part is whose.
    let list = format!("{{\"tool_calls\": [{}, {}]}}", call("any"), call("any"));
    check(&[(&list, &[], &list)]);
    let raw = "<parameter name=\"content\">\nx\n</parameter>\n";
    let both = format!("<tool_call>\n{}\n{raw}</tool_call>", call("write_file"));
    check(&[(&both, &[&format!("write_file! {path}\n{}", raw.trim_end())], "")]);
}

#[test]
fn numbers_keep_their_digits_whatever_type_is_wanted() {
    check(&[
        (
            r#"<tool_call>{"name": "get_weather", "arguments": {"city": 123456789012345678901, "days": 1}}</tool_call>"#,
            &[r#"get_weather {"city":"123456789012345678901","days":1}"#],
            "",
        ),
        (
            r#"<tool_call>{"name": "get_weather", "arguments": {"city": 1.10, "days": "2", "x": 1.10}}</tool_call>"#,
            &[r#"get_weather {"city":"1.10","days":2,"x":1.10}"#],
            "",
        ),
    ]);
}

#[test]
fn a_command_line_is_no_list() {
    let text = json!({"type": "array", "items": {"type": "string"}});
    let schema = json!({"type": "object", "properties": {"command": text}});
    let tool = Tool { name: "shell".into(), description: None, input: Input::Json { schema: Some(schema) } };
    let toolset = Toolset { tools: vec![tool], ..Toolset::default() };
    let text = r#"<tool_call>{"name": "shell", "arguments": {"command": "ls -l"}}</tool_call>"#;
    let parsed = parse(text, &toolset, Ending::Whole);
    assert_eq!(parsed.calls[0].arguments, r#"{"command": "ls -l"}"#);
    assert!(parsed.calls[0].complaint.is_some());
}

#[test]
fn an_answer_is_left_off_at_a_stop_sequence_beside_its_calls() {
    let now = "<tool_call>{\"name\": \"now\"}</tool_call>";
    let stopped = |text: &str, stop: &str| {
        let parsed = parse_until(text, &tools(), Ending::Whole, &[stop.to_owned()]);
        (parsed.text, parsed.calls.len(), parsed.stopped_at.is_some())
    };
    let text = format!("One.\n{now}\nTwo.\n{now}{now}\nThree.");
    for (stop, left, calls, found) in [
        ("One", "", 0, true),
        ("Two", "One.", 1, true),
        ("\nTwo", "One.", 1, true),
        (".\nThree", "One.\n\nTwo.\n\nThree.", 3, false),
        ("Three", "One.\n\nTwo.", 3, true),
        ("now", "One.\n\nTwo.\n\nThree.", 3, false),
    ] {
        assert_eq!(stopped(&text, stop), (left.to_owned(), calls, found), "{stop}");
    }
    let message = r#"{"content": "One. Two.", "tool_calls": [{"name": "now", "arguments": {}}]}"#;
    assert_eq!(stopped(message, "Three"), ("One. Two.".to_owned(), 1, false));
    assert_eq!(stopped(message, "Two"), ("One. ".to_owned(), 0, true));
    let bare = "{\"name\": \"any\", \"arguments\": {\"a\": \"STOP\"}}";
    assert_eq!(stopped(bare, "STOP"), (String::new(), 1, false));
    assert_eq!(stopped(&format!("{bare}\nEND and so on"), "END"), (String::new(), 1, true));
    let text = format!("{bare} STOP");
    assert_eq!(stopped(&text, "STOP"), (text.clone(), 0, false));
}

#[test]
fn calls_that_are_only_shown_are_text() {
    let now = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
    let line = "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>";
    for text in [
        format!("\"\"\"\n{now}\n\"\"\""),
        format!("So:\n\"\"\"\n{now}\n\"\"\"\nThat is it."),
        format!("<code>{line}</code>"),
        format!("Write <code class=\"x\">{line}</code> to call."),
        format!("<pre>\n{now}\n</pre>"),
        format!("<pre><code>{line}</code></pre>"),
        format!("<!-- {now} -->"),
        format!("\\{line}"),
    ] {
        check(&[(&text, &[], &text)]);
    }
    let one: &[&str] = &["now {}"];
    for before in [
        "Use <code> for code.",
        "<pre> is a tag",
        "\"\"\"",
        "\"\"\"quoted\"\"\"",
        "<!-- unfinished",
        "<codec>",
    ] {
        check(&[(&format!("{before}\n{now}"), one, before)]);
    }
    check(&[(
        &format!("Write <code> first.\n{}", line.replace("{}", "{\"a\": \"</code>\"}")),
        &["now {\"a\": \"</code>\"}"],
        "Write <code> first.",
    )]);
}

#[test]
fn raw_line_breaks_and_quotes_are_read_together() {
    for content in ["x = \"a\"\ny = \"b\"\n", "return \"hi\"\n", "echo \"x\"\necho \"y\"\n", "key: \"v\"\n"] {
        let text = format!(
            "<tool_call>\n{{\"name\": \"write_file\", \"arguments\": {{\"path\": \"a\", \"content\": \"{content}\"}}}}\n</tool_call>"
        );
        let arguments = json!({"path": "a", "content": content}).to_string();
        check(&[(&text, &[&format!("write_file {arguments}")], "")]);
    }
    // What is not understood is handed over without what is not its own.
    let text = "<tool_call>\n{\"name\": \"write_file\", \"arguments\": {\"path\": \"a\", \"content\": \"x\ny}}\n</tool_call>";
    check(&[(text, &["write_file! {\"path\": \"a\", \"content\": \"x\ny}"], "")]);
}
