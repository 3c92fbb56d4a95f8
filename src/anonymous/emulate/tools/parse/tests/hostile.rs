//! Texts made to cost something. Quadratic work on any of them would take minutes; reading them takes a
//! moment, or a few where other tests have the cores.

use std::time::{Duration, Instant};

use super::*;

const SIZE: usize = 1 << 20;

#[track_caller]
fn is_read_in_time(pieces: &[&str], size: usize) {
    let tools = tools();
    for piece in pieces {
        let text = piece.repeat(size / piece.len());
        for ending in [Ending::Whole, Ending::Cut] {
            let began = Instant::now();
            let parsed = parse(&text, &tools, ending);
            assert!(began.elapsed() < Duration::from_secs(60), "{piece:?} took {:?}", began.elapsed());
            assert!(parsed.text.len() <= text.len());
        }
    }
}

#[test]
fn repeated_marks_are_read_once() {
    let marks = [
        "<tool_call>",
        "</tool_call>",
        "{",
        "[",
        "<",
        "`",
        "` `` ",
        "```\n",
        "```a\n",
        "~~~~ ",
        "<think>\n",
        "\"",
        "\\",
        " ",
        "\n",
    ];
    is_read_in_time(&marks, SIZE);
}

#[test]
fn repeated_beginnings_of_calls_are_read_once() {
    let beginnings = [
        "<tool_call>{",
        "<tool_call>[",
        "<tool_call>{\"",
        "<tool_call>{\"a",
        "<tool_call>{'a",
        "x<tool_call>{",
        "x<tool_call>{</tool_call>\n",
        "x<tool_call>{\"a\": \"</tool_call>\n",
        "<tool_call>{\"name\": \"any\", \"arguments\": {\"a\": \"\n",
        "x<tool_call>{\"name\": \"any\", \"arguments\": {\"a\": \"</tool_call>\n",
        "<tool_call>{\"name\": \"now\"",
        "<tool_call>{\"name\": \"now\"}",
        "<tool_call>{\"name\": \"any\", \"arguments\": {\"a\": \"",
        "<tool_call>{\"name\": \"any\", \"arguments\": \"",
        "<tool_call>{\"name\": \"write_file\", \"arguments\": {}}\n<parameter name=\"content\">\n",
        "<tool_call>{\"name\": \"write_file\", \"arguments\": {}}\n<parameter name=\"content\">\n</parameter>x",
        "<tool_call>{\"name\": \"nope\", \"arguments\": {\"a\": \"",
        "<tool_call><function=any><parameter=a>",
        "<function=any><parameter=a>",
        "{\"name\": \"any\", \"arguments\": {}}",
        "{\"function\": ",
        "{\"name\": \"any\", \"arguments\": ",
        "[any(a=",
        "<tool_call>/* ",
        "<tool_call>{/* ",
        "{\"a\": \"\" \"",
        "\n<tool_response>",
    ];
    // As many calls take their time, though no more for each.
    is_read_in_time(&beginnings, SIZE / 4);
}

#[test]
fn deep_nesting_is_not_followed() {
    let nests =
        [("{\"a\": ", "}"), ("[", "]"), ("{\"function\": ", "}"), ("{\"tool_calls\": [", "]}"), ("{a:", "}")];
    for (open, close) in nests {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        for text in [
            deep.clone(),
            format!("<tool_call>{deep}</tool_call>"),
            format!("<tool_call>{{\"name\": \"any\", \"arguments\": {deep}}}</tool_call>"),
            format!(
                "<tool_call>{{\"name\": \"get_weather\", \"arguments\": {{\"city\": {deep}}}}}</tool_call>"
            ),
            format!("[any(a={deep})]"),
        ] {
            let _ = parse(&text, &tools(), Ending::Whole);
        }
    }
}
