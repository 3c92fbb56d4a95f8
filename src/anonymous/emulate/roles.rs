//! Any conversation, said with the three roles that every model of the backend takes.
//!
//! Only `system`, `user` and `assistant` with text or image content are safe (protocol.md §4): Gemini
//! refuses roles it does not know, moderation refuses part types it does not know, and empty content is
//! refused by some. So:
//!
//! | client says | backend hears |
//! | --- | --- |
//! | `developer` | `system` |
//! | a `name` | the text begins with `name: ` |
//! | an assistant's tool calls | one `<tool_call>` block each, behind what it said ([`render`]) |
//! | `tool`, `function` results in a row | one `user` message of `<tool_response>` blocks |
//! | a single text part | a plain string |
//! | a message with nothing in it | nothing |
//!
//! The blocks are the Hermes form, which most models have seen in training. Nothing that was said is lost.

use std::collections::HashMap;

use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::conversation::{Detail, Image, Part, Said, Turn};
use super::tools::render;

/// The roles that are safe for all models.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// The asking side, tools included.
    User,
    /// The model.
    Assistant,
}

/// A message of the wire protocol (protocol.md §4): `role`, then `content`, and no other key.
#[derive(Serialize)]
pub struct Message {
    role: Role,
    content: Content,
}

/// A string where one text is all there is, else the parts.
#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<WirePart>),
}

struct WirePart(Part);

impl Serialize for WirePart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        enum Form<'a> {
            Text { text: &'a str },
            ImageUrl { image_url: ImageUrl<'a> },
        }
        #[derive(Serialize)]
        struct ImageUrl<'a> {
            url: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            detail: Option<&'static str>,
        }
        match &self.0 {
            Part::Text(text) => Form::Text { text },
            // Not fetched: what is left of it is its address.
            Part::Remote(image) => Form::Text { text: &image.url },
            Part::Image(Image { url, detail }) => Form::ImageUrl {
                image_url: ImageUrl {
                    url,
                    detail: detail.map(|detail| match detail {
                        Detail::Low => "low",
                        Detail::High => "high",
                    }),
                },
            },
        }
        .serialize(serializer)
    }
}

/// Why a conversation cannot be put to a model: every one of its messages is empty.
#[derive(Debug, PartialEq, Eq)]
pub struct NothingSaid;

/// The messages array as it is digested and sent: fixed key order, no white space, nothing of the client's
/// spelling left.
pub fn canonical(turns: Vec<Turn>) -> Result<Box<RawValue>, NothingSaid> {
    let messages = flatten(turns);
    if messages.is_empty() {
        return Err(NothingSaid);
    }
    Ok(raw(&messages))
}

/// Applies the table above.
pub fn flatten(turns: Vec<Turn>) -> Vec<Message> {
    let mut messages = Vec::with_capacity(turns.len());
    let mut results: Vec<Part> = Vec::new();
    let mut names: HashMap<String, String> = HashMap::new();
    for turn in turns {
        if !matches!(turn, Turn::ToolResult(_)) {
            push(&mut messages, Role::User, std::mem::take(&mut results));
        }
        match turn {
            Turn::System(said) => push(&mut messages, Role::System, named(said)),
            Turn::User(said) => push(&mut messages, Role::User, named(said)),
            Turn::Assistant { said, calls } => {
                let mut parts = named(said);
                if !calls.is_empty() {
                    append_text(&mut parts, &render::calls(&calls));
                    names.extend(calls.into_iter().filter_map(|call| Some((call.id?, call.name))));
                }
                push(&mut messages, Role::Assistant, parts);
            }
            Turn::ToolResult(mut result) => {
                let called = result.id.as_ref().and_then(|id| names.get(id));
                result.name = result.name.or_else(|| called.cloned());
                append_parts(&mut results, render::result(result));
            }
        }
    }
    push(&mut messages, Role::User, results);
    messages
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    #[expect(
        clippy::expect_used,
        reason = "structs of strings and checked raw values always have a JSON form"
    )]
    to_raw_value(value).expect("a message has a JSON form")
}

fn push(messages: &mut Vec<Message>, role: Role, mut parts: Vec<Part>) {
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    let content = match parts.len() {
        0 => return,
        1 => match parts.swap_remove(0) {
            Part::Text(text) => Content::Text(text),
            image @ (Part::Image(_) | Part::Remote(_)) => Content::Parts(vec![WirePart(image)]),
        },
        _ => Content::Parts(parts.into_iter().map(WirePart).collect()),
    };
    messages.push(Message { role, content });
}

/// The parts, with the participant's name in front of the first text.
pub fn named(said: Said) -> Vec<Part> {
    let Said { name, mut parts } = said;
    let Some(name) = name.filter(|name| !name.is_empty()) else { return parts };
    match parts.first_mut() {
        None => {}
        Some(Part::Text(text)) => text.insert_str(0, &format!("{name}: ")),
        Some(Part::Image(_) | Part::Remote(_)) => parts.insert(0, Part::Text(format!("{name}:"))),
    }
    parts
}

fn append_parts(parts: &mut Vec<Part>, more: Vec<Part>) {
    for part in more {
        match part {
            // Only what opens a result follows a text.
            Part::Text(text) => append_text(parts, &text),
            image @ (Part::Image(_) | Part::Remote(_)) => parts.push(image),
        }
    }
}

/// Adds `text` on a line of its own to the text that ends `parts`, or as a new part.
fn append_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(last)) => {
            if !last.is_empty() {
                last.push('\n');
            }
            last.push_str(text);
        }
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversation::{CallKind, ToolCall, ToolResult};
    use super::*;

    fn text(text: &str) -> Said {
        Said { name: None, parts: vec![Part::Text(text.into())] }
    }

    fn json(turns: Vec<Turn>) -> String {
        canonical(turns).map(|raw| raw.get().to_owned()).unwrap()
    }

    #[test]
    fn one_text_becomes_a_string_and_keys_stand_in_a_fixed_order() {
        assert_eq!(
            json(vec![Turn::System(text("be brief")), Turn::User(text("hi \"you\""))]),
            r#"[{"role":"system","content":"be brief"},{"role":"user","content":"hi \"you\""}]"#
        );
    }

    #[test]
    fn images_keep_their_place_among_the_parts() {
        let image = Image { url: "data:image/png;base64,AA==".into(), detail: Some(Detail::Low) };
        let said = Said { name: Some("ann".into()), parts: vec![Part::Image(image)] };
        assert_eq!(
            json(vec![Turn::User(said)]),
            r#"[{"role":"user","content":[{"type":"text","text":"ann:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}}]}]"#
        );
    }

    #[test]
    fn a_tool_round_trip_is_told_in_the_hermes_form() {
        let call = |id: &str, arguments: &str| ToolCall {
            id: Some(id.into()),
            name: "add".into(),
            kind: CallKind::Function,
            arguments: arguments.into(),
        };
        let result = |id: &str, text: &str| {
            Turn::ToolResult(ToolResult {
                id: Some(id.into()),
                name: None,
                parts: vec![Part::Text(text.into())],
            })
        };
        let turns = vec![
            Turn::User(text("add")),
            Turn::Assistant {
                said: Said::default(),
                calls: vec![call("a", "{\"x\": 1}"), call("b\"", "{\"x\":")],
            },
            result("a", "1"),
            result("b\"", "broken"),
            Turn::User(text("so?")),
        ];
        let messages: serde_json::Value = serde_json::from_str(&json(turns)).unwrap();
        assert_eq!(messages.as_array().unwrap().len(), 4);
        assert_eq!(
            messages[1]["content"],
            "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"x\": 1}, \"id\": \"a\"}\n</tool_call>\n<tool_call>\n\
             {\"name\": \"add\", \"arguments\": \"{\\\"x\\\":\", \"id\": \"b\\\"\"}\n</tool_call>"
        );
        assert_eq!(messages[2]["role"], "user");
        assert_eq!(
            messages[2]["content"],
            "<tool_response id=\"a\" name=\"add\">\n1\n</tool_response>\n<tool_response id=\"b&quot;\" name=\"add\">\nbroken\n</tool_response>"
        );
        assert_eq!(messages[3]["content"], "so?");
    }

    #[test]
    fn empty_messages_are_left_out_and_nothing_at_all_is_an_error() {
        let turns = vec![Turn::Assistant { said: text(""), calls: vec![] }, Turn::User(text("hi"))];
        assert_eq!(json(turns), r#"[{"role":"user","content":"hi"}]"#);
        assert!(canonical(vec![Turn::User(text(""))]).is_err());
    }
}
