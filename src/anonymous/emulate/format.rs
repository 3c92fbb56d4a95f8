//! Structured output: the form is told to the model, and its answer brought into it where that is safe.
//!
//! | the answer is | becomes |
//! | --- | --- |
//! | JSON that fits | itself, to the letter |
//! | that in a fence, with prose around it or thinking before it | the JSON alone, to the letter |
//! | nearly JSON (trailing commas, Python's literals, raw line breaks) | JSON |
//! | JSON that fits once its scalars have the wanted types | that, written anew |
//! | JSON that does not fit | the JSON, violated |
//! | no JSON, or one that was cut | itself, violated |
//!
//! Invariants: nothing is invented and nothing completed; why an answer does not fit is said in the schema's words
//! only, because it may be shown where the answer may not.

use serde_json::Value;

use super::answer::Conformity;
use super::ask::{Format, Schema};
use super::json::{self, Care, Lent};
use super::schema::{self, Judge};
use super::tools::prompt::minify;

const NO_JSON: &str = "the answer is not JSON";
const NO_OBJECT: &str = "the answer must be a JSON object";

/// The text that is appended to the one system message; `None` when any text will do.
pub fn instructions(format: &Format) -> Option<String> {
    const ONLY: &str =
        "The answer begins with { and ends with }: no code fence, no comment, no word before or after it.";
    match format {
        Format::Text => None,
        Format::JsonObject => {
            Some(format!("# Form of the answer\nAnswer with one JSON object and nothing else. {ONLY}"))
        }
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
                "# Form of the answer\nAnswer with JSON that follows this JSON Schema of \"{name}\" and nothing else.\
                 {about} {only} All required properties are there, in the schema's order, and none that it does not allow.\n{}",
                minify(schema, name)
            ))
        }
    }
}

/// The answer in the form that was asked for, or the nearest that can be had, and whether it has it.
pub fn read(format: &Format, text: &str) -> (String, Conformity) {
    let violated = |why: &str| Conformity::Violated(why.to_owned());
    let judge = match format {
        Format::Text => return (text.to_owned(), Conformity::Kept),
        Format::JsonObject => None,
        Format::Schema(Schema { schema, .. }) => match Judge::new(schema) {
            Ok(judge) => Some((schema, judge)),
            Err(why) => return (text.to_owned(), Conformity::Violated(why)),
        },
    };
    let mut best: Option<(String, Conformity)> = None;
    for lent in candidates(text) {
        let Ok(mut value) = serde_json::from_str::<Value>(&lent.json) else { continue };
        let json = lent.json.into_owned();
        let why = match &judge {
            None => (!value.is_object()).then(|| NO_OBJECT.to_owned()),
            Some((schema, judge)) => match judge.miss(&value) {
                None => None,
                Some(why) => {
                    schema::coerce(schema, &mut value);
                    if judge.miss(&value).is_none() && lent.care != Care::Guessed {
                        return (value.to_string(), Conformity::Kept);
                    }
                    Some(why)
                }
            },
        };
        let Some(why) = why else { return (json, Conformity::Kept) };
        best.get_or_insert((json, Conformity::Violated(why)));
    }
    best.unwrap_or_else(|| (text.to_owned(), violated(NO_JSON)))
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

/// What in the answer may be meant, likeliest first.
fn candidates(text: &str) -> Vec<Lent<'_>> {
    let text = behind_thinking(text);
    let whole = |text| json::value(text).ok().filter(|lent: &Lent<'_>| text[lent.end..].trim().is_empty());
    if let Some(lent) = whole(text.trim()) {
        return vec![lent];
    }
    let fenced = fences(text).into_iter().filter_map(|inner| whole(inner.trim()));
    let mut found: Vec<Lent<'_>> = fenced.collect();
    if found.is_empty() {
        found.extend(embedded(text));
    }
    found
}

/// What stands in fences.
fn fences(text: &str) -> Vec<&str> {
    let mut fences = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("```") {
        let Some(line) = rest[open..].find('\n') else { break };
        let inner = &rest[open + line + 1..];
        // A fence ends at the beginning of a line: in a string there may be another.
        let end = if inner.starts_with("```") { Some(0) } else { inner.find("\n```").map(|end| end + 1) };
        let Some(end) = end else {
            fences.push(inner);
            break;
        };
        fences.push(&inner[..end]);
        rest = &inner[end + 3..];
    }
    fences
}

/// The values that stand in prose: JSON wherever it is, something like it only as the last thing there is.
fn embedded(text: &str) -> Vec<Lent<'_>> {
    const MOST: usize = 64;
    let mut found: Vec<Lent<'_>> = Vec::new();
    let mut mended: Option<Lent<'_>> = None;
    let mut at = 0;
    // Each try reads to where it fails; so many of them are linear.
    for _ in 0..MOST {
        let Some(open) = text[at..].find(['{', '[']) else { break };
        at += open;
        if let Some(lent) = json::exact(&text[at..]) {
            at += lent.end;
            found.push(lent);
            continue;
        }
        match json::value(&text[at..]).ok().filter(|lent| lent.care != Care::Guessed) {
            Some(lent) => {
                at += lent.end;
                mended.get_or_insert(lent);
            }
            // Something broken: what is whole in it is a part of the answer, and not the answer.
            None if text[at + 1..].trim_start().starts_with(['"', '\'', '{', '[']) => break,
            None => at += 1,
        }
    }
    // `[1]` in a sentence is a footnote.
    if found.iter().any(|lent| lent.json.starts_with('{')) {
        found.retain(|lent| lent.json.starts_with('{'));
    } else if let Some(mended) = mended.filter(|lent| lent.json.starts_with('{')) {
        found.insert(0, mended);
    }
    found.sort_by_key(|lent| std::cmp::Reverse(lent.json.len()));
    found
}

/// Without the thinking that stands before the answer.
fn behind_thinking(text: &str) -> &str {
    let start = text.trim_start();
    for (open, close) in [("<think>", "</think>"), ("<thinking>", "</thinking>")] {
        if start.starts_with(open)
            && let Some(end) = start.find(close)
        {
            return &start[end + close.len()..];
        }
        // The opening tag is eaten by some templates.
        if !start.starts_with(['{', '[', '"'])
            && let Some(end) = start.find(close)
        {
            return &start[end + close.len()..];
        }
    }
    text
}

fn is_object(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object") || schema.get("properties").is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ask::Strictness;
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
