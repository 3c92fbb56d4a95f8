//! Texts made to cost something. Twice the text may cost twice the time, and not four times.

use std::time::{Duration, Instant};

use super::*;

const SIZE: usize = 1 << 20;

/// How much longer the whole is than what it is compared with.
const TIMES: u32 = 8;

/// Work that grows with the square would take eight times as long for each byte. Other tests may have the cores for a while,
/// so that one bad measurement says nothing.
#[track_caller]
fn is_read_in_time(pieces: &[&str], size: usize) {
    for piece in pieces {
        is_linear(piece, &|size| piece.repeat(size / piece.len()), size);
    }
}

#[track_caller]
fn is_linear(name: &str, text: &dyn Fn(usize) -> String, size: usize) {
    let tools = tools();
    let took = |text: &str, ending| {
        let began = Instant::now();
        let parsed = parse(text, &tools, ending);
        // Between what stood on two sides of something, there are two line breaks.
        assert!(parsed.text.len() <= 2 * text.len());
        began.elapsed()
    };
    let (short, long) = (text(size / TIMES as usize), text(size));
    for ending in [Ending::Whole, Ending::Cut] {
        let mut told = Vec::new();
        let is_linear = (0..5).any(|_| {
            let (short, long) = (took(&short, ending), took(&long, ending));
            told.push((short, long));
            long < short * TIMES * 3 + Duration::from_millis(100)
        });
        assert!(is_linear, "{name:?} took {told:?}");
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

#[test]
fn many_calls_in_one_block_and_many_blocks_in_a_text_are_read_once() {
    let block = |open: &'static str, piece: &'static str| {
        move |size: usize| format!("{open}\n{}</tool_call>", piece.repeat(size / piece.len()))
    };
    for (open, piece) in [
        ("<tool_call>", "{a:1}\n"),
        ("<tool_call>", "{name:\"now\"}\n"),
        ("<tool_call>", "<function=now>{a:1}\n"),
        (
            "<tool_call>",
            "{name:\"write_file\",arguments:null}<parameter name=\"content\">a</parameter></tool_call>b\n",
        ),
        ("<tool_call name=\"any\">", "{a:1}\n"),
    ] {
        is_linear(piece, &block(open, piece), SIZE / 4);
    }
    let pieces = [
        "some text here\n<tool_call>{\"name\":\"now\"}</tool_call>\n",
        "<tool_call>\nprose {",
        "prose <tool_call> prose ",
        "<tool_call>\nprose {\"name\": \"now\"} </tool_call>\n",
        "</parameter></tool_call> a ",
        "<tool_call>{\"name\":\"apply_patch\"}<parameter name=\"input\">a</parameter></tool_call> b </parameter> c ",
        "{\"a\": \"\\d\\n",
        "{ ' <tool_call> } ",
    ];
    is_read_in_time(&pieces, SIZE / 4);
}
