//! Structured output: the form is told to the model, and its answer brought into it where that is safe.
//!
//! | the answer is | becomes |
//! | --- | --- |
//! | JSON that fits | itself, to the letter |
//! | that in a fence, with prose around it or thinking before it | the JSON alone, to the letter |
//! | several that fit and say different things | the last, where the answer ends with it; else itself, violated |
//! | nearly JSON (trailing commas, Python's literals, raw line breaks) | JSON |
//! | JSON that fits once its scalars have the wanted types | that: what has them already stays to the letter |
//! | JSON that does not fit | the JSON, violated |
//! | no JSON, or one that was cut | itself, violated |
//!
//! Invariants: nothing is invented and nothing completed; why an answer does not fit is said in the schema's words
//! only, because it may be shown where the answer may not.

use std::ops::Range;

use serde_json::Value;

use super::answer::Conformity;
use super::ask::{Format, Schema, Toolset};
use super::json::{self, Care, Lent};
use super::schema::{self, Judge};
use super::tools::offer::Offer;
use super::tools::prompt::{Closed, minify};

/// Of more than so many values in one answer only the last are looked at.
const MOST_CANDIDATES: usize = 64;

const NO_JSON: &str = "the answer is not JSON";
const SEVERAL: &str = "the answer holds several JSON values, and nothing says which of them is meant";
const NO_OBJECT: &str = "the answer must be a JSON object";

/// The text that is appended to the one system message; `None` when any text will do.
pub fn instructions(format: &Format, toolset: &Toolset) -> Option<String> {
    const ONLY: &str =
        "The answer begins with { and ends with }: no code fence, no comment, no word before or after it.";
    // Without the second sentence a model with a form never calls a tool.
    let head = if Offer::of(toolset).is_some() {
        "# Form of the answer\nThis is about answers that call no tool; one that calls tools has the form that is described \
         under Tools, and no other. "
    } else {
        "# Form of the answer\n"
    };
    match format {
        Format::Text => None,
        Format::JsonObject => Some(format!("{head}Answer with one JSON object and nothing else. {ONLY}")),
        Format::Schema(Schema { name, description, schema, .. }) => {
            let about = match description.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
                Some(description) => format!(" It is: {description}"),
                None => String::new(),
            };
            let only = if is_object(schema) {
                ONLY
            } else {
                "No code fence, no comment, no word before or after it."
            };
            Some(format!(
                "{head}Answer with JSON that follows this JSON Schema of \"{name}\" and nothing else.\
                 {about} {only} All required properties are there, in the schema's order, and none that it does not allow.\n{}",
                minify(schema, name, Closed::Shown)
            ))
        }
    }
}

/// The answer in the form that was asked for, or the nearest that can be had, and whether it has it.
pub fn read(format: &Format, text: &str) -> (String, Conformity) {
    let as_it_is = |why: &str| (text.to_owned(), Conformity::Violated(why.to_owned()));
    let judge = match format {
        Format::Text => return (text.to_owned(), Conformity::Kept),
        Format::JsonObject => None,
        Format::Schema(Schema { schema, .. }) => match Judge::new(schema) {
            Ok(judge) => Some((schema, judge)),
            Err(why) => return as_it_is(&why),
        },
    };
    let Candidates { list, rest } = candidates(text);
    let mut fitting: Option<Fitting> = None;
    let mut best: Option<(String, String)> = None;
    let mut several = false;
    for Candidate { lent, ends_text } in list.into_iter().rev().take(MOST_CANDIDATES) {
        let Ok(value) = serde_json::from_str::<Value>(&lent.json) else { continue };
        match fit(judge.as_ref(), &lent, value) {
            Ok((json, value)) => {
                several |= fitting.as_ref().is_some_and(|last| last.value != value);
                fitting.get_or_insert(Fitting { json, value, ends_text });
            }
            // The longest is likeliest to be meant.
            Err(why) if best.as_ref().is_none_or(|(before, _)| before.len() < lent.json.len()) => {
                best = Some((lent.json.into_owned(), why));
            }
            Err(_) => {}
        }
    }
    match (fitting, rest) {
        // With others before it only the last word is the answer.
        (Some(last), Rest::Prose) if last.ends_text || !several => (last.json, Conformity::Kept),
        (Some(last), Rest::Thinking) if last.ends_text => (last.json, Conformity::Kept),
        (Some(_), Rest::Prose | Rest::Broken) => as_it_is(SEVERAL),
        (Some(_), Rest::Thinking) | (None, Rest::Broken) => as_it_is(NO_JSON),
        (None, Rest::Prose | Rest::Thinking) => match best {
            Some((json, why)) => (json, Conformity::Violated(why)),
            None => as_it_is(NO_JSON),
        },
    }
}

/// A candidate that has the form, or was brought into it.
struct Fitting {
    json: String,
    value: Value,
    ends_text: bool,
}

/// `lent` in the form that was asked for; why it has another, if it has.
fn fit(judge: Option<&(&Value, Judge)>, lent: &Lent<'_>, value: Value) -> Result<(String, Value), String> {
    let same = |value| Ok((lent.json.clone().into_owned(), value));
    let Some((schema, judge)) = judge else {
        return if value.is_object() { same(value) } else { Err(NO_OBJECT.to_owned()) };
    };
    let Some(why) = judge.miss(&value) else { return same(value) };
    if lent.care >= Care::Guessed {
        return Err(why);
    }
    schema::coerced(schema, &lent.json, &value).filter(|(_, value)| judge.miss(value).is_none()).ok_or(why)
}

/// The text of the user message that asks for the answer again; `None` when it has its form.
/// It stands behind the model's own answer in the conversation, because the same prompt again would get the same.
pub fn repair_prompt(format: &Format, conformity: &Conformity) -> Option<String> {
    let (Format::JsonObject | Format::Schema(_), Conformity::Violated(why)) = (format, conformity) else {
        return None;
    };
    Some(format!(
        "That answer does not have the form that was asked for: {why}.\nAnswer again with the corrected JSON, all of it, \
         and nothing else."
    ))
}

/// Whether a client's schema can be used at all; why not, for the client to be told.
pub fn check_schema(schema: &Value) -> Result<(), String> {
    if !(schema.is_object() || schema.is_boolean()) {
        return Err("not a JSON Schema: it must be an object".to_owned());
    }
    Judge::new(schema).map(|_| ())
}

/// What in the answer may be meant.
struct Candidates<'t> {
    /// In order.
    list: Vec<Candidate<'t>>,
    rest: Rest,
}

struct Candidate<'t> {
    lent: Lent<'t>,
    /// Nothing follows it.
    ends_text: bool,
}

/// What stands around them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// What the model says besides.
    Prose,
    /// The same, as far as can be told: thinking stands before it, and nothing says where that ends.
    Thinking,
    /// At the end, something that may be the answer and cannot be read.
    Broken,
}

fn candidates(text: &str) -> Candidates<'_> {
    let (text, rest) = behind_thinking(text);
    let trimmed = text.trim();
    if let Some(lent) = whole(trimmed) {
        return Candidates { list: vec![Candidate { lent, ends_text: true }], rest };
    }
    let mut found = Candidates { list: Vec::new(), rest };
    let mut prose = 0;
    for fence in fences(trimmed) {
        let Some(lent) = whole(fence.inner.trim()) else { continue };
        embedded(trimmed, prose..fence.start, &mut found);
        found.list.push(Candidate { lent, ends_text: trimmed[fence.end..].trim().is_empty() });
        prose = fence.end;
    }
    embedded(trimmed, prose..trimmed.len(), &mut found);
    found
}

/// The value that `text` is.
fn whole(text: &str) -> Option<Lent<'_>> {
    let is_clear = |lent: &Lent<'_>| lent.care < Care::Unclear && text[lent.end..].trim().is_empty();
    json::value(text).ok().filter(is_clear)
}

struct Fence<'t> {
    inner: &'t str,
    start: usize,
    end: usize,
}

/// What stands in fences.
fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut fences = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find("```") {
        let start = at + open;
        let Some(line) = text[start..].find('\n') else { break };
        let from = start + line + 1;
        let inner = &text[from..];
        // A fence ends at the beginning of a line: in a string there may be another.
        let close = if inner.starts_with("```") { Some(0) } else { inner.find("\n```").map(|end| end + 1) };
        let Some(close) = close else {
            fences.push(Fence { inner, start, end: text.len() });
            break;
        };
        at = from + close + 3;
        fences.push(Fence { inner: &inner[..close], start, end: at });
    }
    fences
}

/// The values that stand in prose, `range` of `text`.
fn embedded<'t>(text: &'t str, range: Range<usize>, found: &mut Candidates<'t>) {
    const MOST: usize = 64;
    let prose = &text[..range.end];
    let mut at = range.start;
    // Each try reads to where it fails; so many of them are linear.
    let mut failures = 0;
    while failures < MOST {
        let Some(open) = prose[at..].find(['{', '[']) else { return };
        at += open;
        let lent = json::exact(&prose[at..]).or_else(|| json::value(&prose[at..]).ok());
        if let Some(lent) = lent.filter(|lent| lent.care < Care::Guessed) {
            let end = at + lent.end;
            // Between backticks it is only mentioned.
            if !(prose[..at].ends_with('`') && prose[end..].starts_with('`')) {
                found.list.push(Candidate { lent, ends_text: text[end..].trim().is_empty() });
            }
            at = end;
            continue;
        }
        // What is whole in something broken is a part of the answer, and not the answer.
        if prose[at + 1..].trim_start().starts_with(['"', '\'', '{', '[']) {
            found.rest = Rest::Broken;
            return;
        }
        failures += 1;
        at += 1;
    }
}

/// Without the thinking that stands before the answer.
fn behind_thinking(text: &str) -> (&str, Rest) {
    let start = text.trim_start();
    for (open, close) in [("<think>", "</think>"), ("<thinking>", "</thinking>")] {
        if let Some(thinking) = start.strip_prefix(open) {
            return match thinking.find(close) {
                Some(end) => (&thinking[end + close.len()..], Rest::Prose),
                None => (thinking, Rest::Thinking),
            };
        }
        // The opening tag is eaten by some templates. In a string the closing one is a word like any other.
        if !start.starts_with(['{', '[', '"'])
            && let Some(end) = start.find(close)
            && stands_apart(&start[..end], &start[end + close.len()..])
        {
            return (&start[end + close.len()..], Rest::Prose);
        }
    }
    (text, Rest::Prose)
}

/// Whether what stands between begins or ends its line, or the answer begins behind it.
fn stands_apart(before: &str, behind: &str) -> bool {
    let behind = behind.trim_start_matches([' ', '\t', '\r']);
    before.trim_end_matches([' ', '\t']).ends_with('\n') || behind.starts_with(['\n', '{', '[', '`'])
}

fn is_object(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object") || schema.get("properties").is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ask::{Input, Strictness, Tool};
    use super::*;

    fn schema(schema: Value) -> Format {
        Format::Schema(Schema {
            name: "answer".into(),
            description: None,
            schema,
            strictness: Strictness::Strict,
        })
    }

    fn person() -> Format {
        schema(json!({"type": "object", "required": ["name", "age"], "additionalProperties": false,
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array"}}}))
    }

    #[test]
    fn an_answer_is_brought_into_its_form_where_that_is_safe() {
        let plain = r#"{"name": "Ann", "age": 5}"#;
        let cases = [
            (plain.to_owned(), plain),
            (format!("```json\n{plain}\n```"), plain),
            (format!("```\n{plain}"), plain),
            (format!("Here it is:\n\n```json\n{plain}\n```\nAnything else?"), plain),
            (format!("Sure! {plain} Is that [1] right?"), plain),
            (format!("In {{braces}} and [brackets]: {plain}"), plain),
            (format!("<think>maybe {{}}?</think>\n{plain}"), plain),
            (format!("maybe {{}}?</think>\n{plain}"), plain),
            (r#"{"name": "Ann", "age": 5,}"#.to_owned(), r#"{"name": "Ann","age":5}"#),
            (
                "{'name': 'Ann', 'age': 5, 'tags': [True, None]}".to_owned(),
                r#"{"name":"Ann","age":5,"tags":[true,null]}"#,
            ),
            ("{\"name\": \"A\nB\", \"age\": 5}".to_owned(), r#"{"name":"A\nB","age":5}"#),
            (r#"{"name": "Ann", "age": "5"}"#.to_owned(), r#"{"name":"Ann","age":5}"#),
            (format!("{plain}\n{plain}"), plain),
            (
                r#"{"name": "```json\n{}\n```", "age": 5}"#.to_owned(),
                r#"{"name": "```json\n{}\n```", "age": 5}"#,
            ),
        ];
        for (text, expected) in cases {
            let (answer, conformity) = read(&person(), &text);
            assert!(conformity == Conformity::Kept, "{text}: {conformity:?}");
            let same = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(same(&answer), same(expected), "{text}");
            if text.contains(expected) {
                assert_eq!(answer, expected);
            }
        }
    }

    #[test]
    fn of_several_that_fit_only_the_last_word_is_the_answer() {
        let form = schema(json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "integer"}, "b": {"type": "string"}}}));
        let kept = [
            (r#"For example {"a": 0, "b": "an example"}. My answer: {"a": 5}"#, r#"{"a": 5}"#),
            (
                "Draft:\n```json\n{\"a\": 0}\n```\nThat is wrong. Final:\n```json\n{\"a\": 5, \"b\": \"x\"}\n```",
                r#"{"a": 5, "b": "x"}"#,
            ),
            ("Draft:\n```json\n{\"a\": 0}\n```\nThat is wrong. Final: {\"a\": 5}", r#"{"a": 5}"#),
            ("<think>hm {\"a\": 9}\n{\"a\": 1}", r#"{"a": 1}"#),
            (r#"{"a": 1} or, the same, {"a":1}. Good?"#, r#"{"a":1}"#),
            ("```json\n{\"a\": 1}\n```\nWith `{\"a\": 2}` it would be two.", r#"{"a": 1}"#),
            ("For example {\"a\": 0}. Mine: {'a': 5}", r#"{"a":5}"#),
        ];
        for (text, expected) in kept {
            assert_eq!(read(&form, text), (expected.to_owned(), Conformity::Kept), "{text}");
        }
        for text in [
            r#"My answer: {"a": 5}. An example would be {"a": 0} of course."#,
            "```json\n{\"a\": 1}\n```\nor\n```json\n{\"a\": 2}\n```\nas you like.",
            r#"For example {"a": 0}. My answer: {"a": 5, "b": "x"#,
        ] {
            assert_eq!(read(&form, text), (text.to_owned(), Conformity::Violated(SEVERAL.into())), "{text}");
        }
        let text = "<think>hm {\"a\": 9} so I say";
        assert_eq!(read(&form, text), (text.to_owned(), Conformity::Violated(NO_JSON.into())));
        let text = "You gave me {\"query\": \"x\", \"lang\": \"en\"}.\n\n{\"capital\": \"Paris\"}";
        assert_eq!(read(&Format::JsonObject, text).0, r#"{"capital": "Paris"}"#);
    }

    #[test]
    fn a_tag_in_a_string_is_no_thinking() {
        let form = schema(json!({"required": ["a"]}));
        let answer = r#"{"a": "ends </think> here"}"#;
        for text in [format!("```json\n{answer}\n```"), format!("Here it is: {answer}"), answer.to_owned()] {
            assert_eq!(read(&form, &text), (answer.to_owned(), Conformity::Kept), "{text}");
        }
    }

    #[test]
    fn numbers_keep_their_digits_when_others_are_put_right() {
        let form = schema(json!({"properties": {"n": {"type": "integer"}, "s": {"type": "string"}}}));
        let text = r#"{"n": "5", "s": 1.10, "z": 12345678901234567890123}"#;
        let expected = r#"{"n":5,"s":"1.10","z":12345678901234567890123}"#;
        assert_eq!(read(&form, text), (expected.to_owned(), Conformity::Kept));
    }

    #[test]
    fn a_path_that_may_be_another_is_no_answer() {
        let text = r#"{"path": "C:\Users\tom"}"#;
        for format in [Format::JsonObject, schema(json!({"type": "object"}))] {
            assert_eq!(read(&format, text), (text.to_owned(), Conformity::Violated(NO_JSON.into())));
        }
    }

    #[test]
    fn the_form_leaves_room_for_calls_and_names_what_is_forbidden() {
        let tool = Tool { name: "f".into(), description: None, input: Input::Json { schema: None } };
        let toolset = Toolset { tools: vec![tool], ..Toolset::default() };
        for format in [Format::JsonObject, person()] {
            let told = |toolset| instructions(&format, toolset).unwrap_or_default();
            assert!(told(&toolset).contains("answers that call no tool"));
            assert!(!told(&Toolset::default()).contains("tool"));
        }
        let told = instructions(&person(), &toolset).unwrap_or_default();
        assert!(told.contains("\"additionalProperties\":false"), "{told}");
    }

    #[test]
    fn an_answer_that_does_not_fit_is_returned_as_it_is_and_said_not_to() {
        let cases = [
            (r#"{"name": "secret"}"#, r#"{"name": "secret"}"#, "must have the property \"age\""),
            (
                "```json\n{\"name\": \"secret\", \"age\": \"old\"}\n```",
                "{\"name\": \"secret\", \"age\": \"old\"}",
                "`age` must be of type integer",
            ),
            ("secret", "secret", NO_JSON),
            (r#"{"name": "secret", "age": 5"#, r#"{"name": "secret", "age": 5"#, NO_JSON),
            (
                r#"So: {"name": "secret", "inner": {"name": "Ann", "age": 5}, "age": "#,
                r#"So: {"name": "secret", "inner": {"name": "Ann", "age": 5}, "age": "#,
                NO_JSON,
            ),
            (
                r#"[{"name": "Ann", "age": 5}, {"name": "Bob"#,
                r#"[{"name": "Ann", "age": 5}, {"name": "Bob"#,
                NO_JSON,
            ),
            (r#"{"name": "secr"#, r#"{"name": "secr"#, NO_JSON),
            ("", "", NO_JSON),
            (
                r#"{"name": "a", "age": 5, "secret": 1}"#,
                r#"{"name": "a", "age": 5, "secret": 1}"#,
                "has a property that the schema does not name",
            ),
        ];
        for (text, expected, why) in cases {
            let (answer, conformity) = read(&person(), text);
            assert_eq!((answer.as_str(), conformity), (expected, Conformity::Violated(why.into())), "{text}");
        }
    }

    #[test]
    fn a_json_object_is_any_object_and_nothing_but_one() {
        assert_eq!(read(&Format::JsonObject, " {\"a\": 1e400} ").1, Conformity::Violated(NO_JSON.into()));
        assert_eq!(
            read(&Format::JsonObject, "{\"b\": 1.0, \"a\": 2}"),
            ("{\"b\": 1.0, \"a\": 2}".into(), Conformity::Kept)
        );
        assert_eq!(read(&Format::JsonObject, "[1]").1, Conformity::Violated(NO_OBJECT.into()));
        assert_eq!(read(&Format::Text, "[1]"), ("[1]".into(), Conformity::Kept));
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_refused_with_a_reason() {
        assert!(check_schema(&json!({"type": "object"})).is_ok());
        assert!(check_schema(&json!([])).is_err());
        assert!(check_schema(&json!({"type": "objekt"})).is_err());
        assert!(check_schema(&json!({"$ref": "https://example.com/a.json"})).is_err());
    }
}
