//! JSON as models write it.
//!
//! [`value`] and [`entries`] read what stands at the beginning of a text and give it back as JSON *text*: to the letter
//! where it is JSON, so that the order of keys, the digits of numbers and the spelling of strings stay what they were.
//! Where it is not, the deviations that have one meaning are mended:
//!
//! | written | read as | |
//! | --- | --- | --- |
//! | a raw newline, tab or other control character in a string | its escape | [`Care::Mended`] |
//! | a backslash before what JSON does not escape: `\d`, `C:\Users` | a backslash | [`Care::Mended`] |
//! | trailing commas, a comma missing before a key, comments | nothing | [`Care::Mended`] |
//! | `True`, `False`, `None`, `'…'`, `"""…"""`, `{key: 1}`, `+1`, `.5` | their JSON | [`Care::Mended`] |
//! | a quote inside a string that does not look like its end | `\"` | [`Care::Guessed`] |
//! | `\n`, `\t` and the like, where another backslash shows that this text does not escape its own: `C:\Users\tom` | anything | [`Care::Unclear`] |
//!
//! Invariants: nothing is completed (a text that ends before its value does is [`Miss::Cut`]), nothing is invented and
//! nothing is dropped; reading is linear and does not recurse.
//!
//! Deliberately absent: a repair library. Those there are (`jsonrepair-rs`, `llm_json`, `jsonrepair`) are made to get
//! *something* out of any text: they close what is open, put `null` where a value is missing, take unquoted words for
//! strings, and lose the backslash of `\d`. That is right for a configuration file and wrong for a command that is run.

use std::borrow::Cow;

use serde_json::value::RawValue;

mod reader;

use reader::{Place, Reader};

/// How much a text had to be helped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Care {
    /// It is JSON.
    Strict,
    /// It deviates in ways that have one meaning.
    Mended,
    /// What it means was guessed by what stands around it.
    Guessed,
    /// Where it ends is known, but it has two meanings.
    Unclear,
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The text ends before it does.
    Cut,
    /// It is none.
    Wrong,
}

/// A value, as JSON text.
pub struct Lent<'a> {
    /// To the letter where it was JSON.
    pub json: Cow<'a, str>,
    /// Where it ends in what was read.
    pub end: usize,
    /// How it was read.
    pub care: Care,
}

/// One entry of an object.
pub struct Entry<'a> {
    /// Its key, without quotes and escapes.
    pub key: String,
    /// Where its value begins.
    pub start: usize,
    /// Its value.
    pub value: Result<Lent<'a>, Miss>,
}

/// An object, as far as it could be read.
pub struct Entries<'a> {
    /// In order; only the last may have no value.
    pub list: Vec<Entry<'a>>,
    /// Where reading stopped: behind the closing brace, where there is one.
    pub end: usize,
    /// How it ends.
    pub shut: Shut,
}

/// How an object ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// With its brace.
    Closed,
    /// Its entries are whole, but the text ends before the brace.
    Open,
    /// In the middle of an entry.
    Broken(Miss),
}

/// Reads the value at the beginning of `text`; white space before it is skipped.
pub fn value(text: &str) -> Result<Lent<'_>, Miss> {
    if let Some(exact) = exact(text) {
        return Ok(exact);
    }
    Reader::new(text).value(Place::Top)
}

/// Reads the value at the beginning of `text`, if it is JSON.
pub fn exact(text: &str) -> Option<Lent<'_>> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let json = Cow::Borrowed(values.next()?.ok()?.get());
    Some(Lent { json, end: values.byte_offset(), care: Care::Strict })
}

/// Reads the keyword arguments of a Python call behind its opening parenthesis, `a=1, b='x')`, as an object.
pub fn keywords(text: &str) -> Result<Lent<'_>, Miss> {
    Reader::new(text).keywords()
}

/// Whether `text` is one JSON value and nothing else.
pub fn is_strict(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Reads the object at the beginning of `text`, entry by entry; `None` when no object begins there.
pub fn entries(text: &str) -> Option<Entries<'_>> {
    let mut reader = Reader::new(text);
    reader.space();
    if !reader.take(b'{') {
        return None;
    }
    let mut list = Vec::new();
    let shut = loop {
        reader.space();
        if reader.take(b'}') {
            break Shut::Closed;
        }
        if reader.is_at_end() {
            break Shut::Open;
        }
        if !list.is_empty() {
            reader.take(b',');
            reader.space();
            if reader.take(b'}') {
                break Shut::Closed;
            }
        }
        let key = match reader.key() {
            Ok(key) => key,
            Err(miss) => break Shut::Broken(miss),
        };
        let start = reader.position();
        let value = entry(text, start);
        let end = value.as_ref().map(|lent| lent.end).map_err(|miss| *miss);
        list.push(Entry { key, start, value });
        match end {
            Ok(end) => reader.go(end),
            Err(miss) => break Shut::Broken(miss),
        }
    };
    Some(Entries { list, end: reader.position(), shut })
}

/// The value of an entry that begins at `start`.
fn entry(text: &str, start: usize) -> Result<Lent<'_>, Miss> {
    if let Some(mut lent) = exact(&text[start..]) {
        lent.end += start;
        // `"say "hi""` begins with a string, but is not one.
        let behind = text[lent.end..].trim_start();
        if behind.is_empty() || behind.starts_with([',', '}', '"', '/', '#']) {
            return Ok(lent);
        }
    }
    let mut reader = Reader::new(text);
    reader.go(start);
    reader.value(Place::Object)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> Result<(String, Care), Miss> {
        value(text).map(|lent| (lent.json.into_owned(), lent.care))
    }

    #[test]
    fn deviations_that_have_one_meaning_are_mended() {
        let cases = [
            (r#"{"a": 1, }"#, r#"{"a":1}"#),
            (r#"["a", "b",]"#, r#"["a","b"]"#),
            (r#"{'a': 'it\'s', "b": "say \'x\'"}"#, r#"{"a":"it's","b":"say 'x'"}"#),
            ("{\"a\": \"x\r\n\ty\u{1}\"}", r#"{"a":"x\r\n\ty\u0001"}"#),
            (r#"{"a": "\d \. \x41 C:\Users"}"#, r#"{"a":"\\d \\. \\x41 C:\\Users"}"#),
            (r"{'a': '\x41 \\d'}", r#"{"a":"\u0041 \\d"}"#),
            ("{a: True, b_1: None, $c: False}", r#"{"a":true,"b_1":null,"$c":false}"#),
            ("{\"a\": 1 // one\n, /* two */ \"b\": 2 # three\n}", r#"{"a":1,"b":2}"#),
            ("{\"a\": \"x\"\n\"b\": 2}", r#"{"a":"x","b":2}"#),
            ("[+1, .5, -.5, 5., 1_000]", "[1,0.5,-0.5,5.0,1000]"),
            (r#"{"a": """x "y" z""", "b": ""}"#, r#"{"a":"x \"y\" z","b":""}"#),
            ("{“a”: “b”}", r#"{"a":"b"}"#),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), Ok((expected.to_owned(), Care::Mended)), "{text}");
        }
    }

    #[test]
    fn an_escape_is_unclear_where_backslashes_are_not_escaped() {
        let unclear = [
            r#"{"path": "C:\Users\tom\new\file.txt"}"#,
            r#"{"from": "C:\Users\ann", "to": "C:\temp"}"#,
            r#"{"to": "D:/x and C:\temp", "from": "\Users"}"#,
            r#"{"path": "\\server\share\new"}"#,
            r#"{"pattern": "\bword\b", "other": "\d"}"#,
            r#"{"pattern": "\d+\n"}"#,
            r#"{"a": "\Users\u00e9"}"#,
        ];
        for text in unclear {
            assert_eq!(read(text).map(|(_, care)| care), Ok(Care::Unclear), "{text}");
        }
        let mended = [
            (r#"{"a": "re.match(r'\d+', s)\nprint()\n"}"#, json!({"a": "re.match(r'\\d+', s)\nprint()\n"})),
            (r#"{"a": "C:\Users", "b": "x\ty"}"#, json!({"a": "C:\\Users", "b": "x\ty"})),
        ];
        for (text, expected) in mended {
            let (json, care) = read(text).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);
            assert!(care == Care::Mended);
        }
    }

    #[test]
    fn quotes_inside_a_string_are_told_by_what_follows_them() {
        let cases = [
            (r#"{"a": "say "hi" to", "b": 1}"#, json!({"a": "say \"hi\" to", "b": 1})),
            (r#"{"a": "f("x", "y")"}"#, json!({"a": "f(\"x\", \"y\")"})),
            (r#"["a "b" c", "d"]"#, json!(["a \"b\" c", "d"])),
            ("{'a': 'don't'}", json!({"a": "don't"})),
        ];
        for (text, expected) in cases {
            let (json, care) = read(text).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);
            assert!(care == Care::Guessed);
        }
    }

    #[test]
    fn what_has_no_one_meaning_is_no_json() {
        for text in [
            "{\"a\": b}",
            "{\"a\": 1; \"b\": 2}",
            "[1 2]",
            "{\"a\": 007}",
            "[NaN]",
            "{\"a\": 0x1}",
            "hello",
            "}",
        ] {
            assert_eq!(read(text).err(), Some(Miss::Wrong), "{text}");
        }
    }

    proptest! {
        #[test]
        fn json_is_read_to_the_letter_and_its_beginnings_are_not(
            texts in prop::collection::vec("[ -~é\\n]{0,12}", 1..5), numbers in prop::collection::vec(any::<f64>(), 0..3),
        ) {
            let object = json!({"texts": texts, "numbers": numbers, "last": {"a": texts[0], "b": [true, null]}});
            for text in [object.to_string(), format!("{object:#}")] {
                let lent = value(&text).ok().map(|lent| (lent.json.into_owned(), lent.end, lent.care));
                prop_assert_eq!(lent, Some((text.clone(), text.len(), Care::Strict)));
                for (end, _) in text.char_indices() {
                    prop_assert_eq!(read(&text[..end]).err(), Some(Miss::Cut), "{}", &text[..end]);
                }
            }
        }
    }
}
