//! Reading one entry of `messages`.
//!
//! What cannot be carried (audio, files, pictures that would have to be fetched) is refused with its place
//! rather than dropped: a prompt that lost a part would be answered, and paid for, all the same.

use serde_json::Value;

use crate::anonymous::emulate::conversation::{CallKind, Detail, Part, Said, ToolCall, ToolResult, Turn};
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::json::{
    Object, as_object, optional_array, optional_string, required_string, take,
};
use crate::anonymous::face::{Images, images};

/// Which of OpenAI's part types may stand where.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Text,
    TextAndRefusals,
    TextAndImages(Images),
}

/// Reads `messages[index]`.
pub(super) fn read(index: usize, value: Value, images: Images) -> Result<Turn, RequestError> {
    let place = format!("messages[{index}]");
    let mut object = as_object(value, &place)?;
    let role = required_string(&mut object, &place, "role")?;
    match role.as_str() {
        "system" | "developer" => said(&mut object, &place, Allowed::Text).map(Turn::System),
        "user" => said(&mut object, &place, Allowed::TextAndImages(images)).map(Turn::User),
        "assistant" => read_assistant(&mut object, &place),
        "tool" => Ok(Turn::ToolResult(ToolResult {
            id: optional_string(&mut object, &place, "tool_call_id")?,
            name: optional_string(&mut object, &place, "name")?,
            parts: optional_content(&mut object, &place, Allowed::TextAndImages(images))?,
        })),
        "function" => Ok(Turn::ToolResult(ToolResult {
            id: None,
            name: Some(required_string(&mut object, &place, "name")?),
            parts: optional_content(&mut object, &place, Allowed::Text)?,
        })),
        _ => Err(RequestError::invalid_value(
            &format!("{place}.role"),
            "supported values are 'system', 'assistant', 'user', 'function', 'tool' and 'developer'",
        )),
    }
}

/// Name and content; content must be given.
fn said(object: &mut Object, place: &str, allowed: Allowed) -> Result<Said, RequestError> {
    let name = optional_string(object, place, "name")?;
    match object.remove("content") {
        None => Err(RequestError::missing(&format!("{place}.content"))),
        Some(content) => Ok(Said { name, parts: read_content(content, place, allowed)? }),
    }
}

/// Clients send `null`, `""` or nothing beside tool calls.
fn read_assistant(object: &mut Object, place: &str) -> Result<Turn, RequestError> {
    let name = optional_string(object, place, "name")?;
    let mut parts = optional_content(object, place, Allowed::TextAndRefusals)?;
    if let Some(refusal) = optional_string(object, place, "refusal")? {
        parts.push(Part::Text(refusal));
    }
    let tool_calls = optional_array(object, place, "tool_calls")?.unwrap_or_default();
    let mut calls = tool_calls
        .into_iter()
        .enumerate()
        .map(|(index, value)| read_call(value, &format!("{place}.tool_calls[{index}]")))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(value) = take(object, "function_call") {
        calls.push(read_function(value, &format!("{place}.function_call"), None)?);
    }
    if take(object, "audio").is_some() {
        return Err(RequestError::invalid_value(
            &format!("{place}.audio"),
            "what was said in audio cannot be carried; send its transcript as content",
        ));
    }
    Ok(Turn::Assistant { said: Said { name, parts }, calls })
}

fn read_call(value: Value, place: &str) -> Result<ToolCall, RequestError> {
    let mut object = as_object(value, place)?;
    let id = optional_string(&mut object, place, "id")?;
    if let Some(custom) = object.remove("custom") {
        let place = format!("{place}.custom");
        let mut custom = as_object(custom, &place)?;
        let name = required_string(&mut custom, &place, "name")?;
        let arguments = required_string(&mut custom, &place, "input")?;
        return Ok(ToolCall { id, name, kind: CallKind::Custom, arguments });
    }
    match object.remove("function") {
        None => Err(RequestError::missing(&format!("{place}.function"))),
        Some(function) => read_function(function, &format!("{place}.function"), id),
    }
}

fn read_function(value: Value, place: &str, id: Option<String>) -> Result<ToolCall, RequestError> {
    let mut object = as_object(value, place)?;
    let name = required_string(&mut object, place, "name")?;
    let arguments = optional_string(&mut object, place, "arguments")?.unwrap_or_default();
    Ok(ToolCall { id, name, kind: CallKind::Function, arguments })
}

fn optional_content(object: &mut Object, place: &str, allowed: Allowed) -> Result<Vec<Part>, RequestError> {
    take(object, "content").map_or(Ok(Vec::new()), |content| read_content(content, place, allowed))
}

fn read_content(content: Value, place: &str, allowed: Allowed) -> Result<Vec<Part>, RequestError> {
    match content {
        Value::String(text) => Ok(vec![Part::Text(text)]),
        Value::Array(parts) => parts
            .into_iter()
            .enumerate()
            .map(|(index, part)| read_part(part, &format!("{place}.content[{index}]"), allowed))
            .collect(),
        other => Err(RequestError::wrong_type(
            &format!("{place}.content"),
            "a string or an array of content parts",
            &other,
        )),
    }
}

fn read_part(value: Value, place: &str, allowed: Allowed) -> Result<Part, RequestError> {
    let mut object = as_object(value, place)?;
    let kind = required_string(&mut object, place, "type")?;
    match (kind.as_str(), allowed) {
        // The last two are the Responses API's, and come from clients that speak both.
        ("text" | "input_text" | "output_text", _) => {
            required_string(&mut object, place, "text").map(Part::Text)
        }
        ("refusal", Allowed::TextAndRefusals) => {
            required_string(&mut object, place, "refusal").map(Part::Text)
        }
        ("image_url", Allowed::TextAndImages(images)) => read_image(&mut object, place, images),
        _ => Err(RequestError::invalid_value(
            &format!("{place}.type"),
            match allowed {
                Allowed::Text => "supported here is 'text'",
                Allowed::TextAndRefusals => "supported here are 'text' and 'refusal'",
                Allowed::TextAndImages(_) => "supported here are 'text' and 'image_url'",
            },
        )),
    }
}

/// `{"url", "detail"}`, or the bare URL that some clients send.
fn read_image(object: &mut Object, place: &str, rule: Images) -> Result<Part, RequestError> {
    let place = format!("{place}.image_url");
    let (url, detail) = match object.remove("image_url") {
        Some(Value::String(url)) => (url, None),
        Some(Value::Object(mut image)) => {
            let detail = match optional_string(&mut image, &place, "detail")?.as_deref() {
                Some("low") => Some(Detail::Low),
                Some("high") => Some(Detail::High),
                _ => None,
            };
            (required_string(&mut image, &place, "url")?, detail)
        }
        None => return Err(RequestError::missing(&place)),
        Some(other) => return Err(RequestError::wrong_type(&place, "an object", &other)),
    };
    images::part(url, detail, &format!("{place}.url"), rule)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::anonymous::emulate::roles;

    fn wire(message: Value) -> Value {
        let turns = vec![read(0, message, Images::InlineOnly).ok().unwrap()];
        serde_json::from_str(roles::canonical(turns).unwrap().get()).unwrap()
    }

    fn param(message: Value) -> String {
        match read(0, message, Images::InlineOnly) {
            Err(RequestError::Parameter(bad)) => bad.param.unwrap().into(),
            _ => panic!("not refused with a parameter"),
        }
    }

    #[test]
    fn every_role_is_said_in_a_safe_one() {
        let cases = [
            (json!({"role":"developer","content":"a"}), json!([{"role":"system","content":"a"}])),
            (json!({"role":"user","name":"ann","content":"a"}), json!([{"role":"user","content":"ann: a"}])),
            (
                json!({"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}),
                json!([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]),
            ),
            (
                json!({"role":"assistant","content":null,"refusal":"no"}),
                json!([{"role":"assistant","content":"no"}]),
            ),
            (
                json!({"role":"function","name":"f","content":"1"}),
                json!([{"role":"user","content":"<tool_response name=\"f\">\n1\n</tool_response>"}]),
            ),
            (
                json!({"role":"assistant","content":"","tool_calls":[
                    {"id":"c","type":"custom","custom":{"name":"sh","input":"ls"}}]}),
                json!([{"role":"assistant","content":
                    "<tool_call>\n{\"name\": \"sh\"}\n<parameter name=\"input\">\nls\n</parameter>\n</tool_call>"}]),
            ),
            (
                json!({"role":"user","content":[{"type":"image_url","image_url":"data:image/png;base64,AA=="}]}),
                json!([{"role":"user","content":[
                    {"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]),
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(wire(message), expected);
        }
    }

    #[test]
    fn what_cannot_be_carried_is_refused_with_its_place() {
        let image =
            |url: &str| json!({"role":"user","content":[{"type":"image_url","image_url":{"url":url}}]});
        let cases = [
            (json!("hi"), "messages[0]"),
            (json!({"content":"hi"}), "messages[0].role"),
            (json!({"role":"canary","content":"hi"}), "messages[0].role"),
            (json!({"role":"user"}), "messages[0].content"),
            (json!({"role":"user","content":null}), "messages[0].content"),
            (json!({"role":"user","content":7}), "messages[0].content"),
            (json!({"role":"user","content":["x"]}), "messages[0].content[0]"),
            (json!({"role":"user","content":[{"type":"text"}]}), "messages[0].content[0].text"),
            (json!({"role":"user","content":[{"type":"input_audio"}]}), "messages[0].content[0].type"),
            (json!({"role":"system","content":[{"type":"image_url"}]}), "messages[0].content[0].type"),
            (image("https://example.org/a.png"), "messages[0].content[0].image_url.url"),
            (image("data:image/png;base64,"), "messages[0].content[0].image_url.url"),
            (image("data:image/png;base64,A\n="), "messages[0].content[0].image_url.url"),
            (image("data:text/html;base64,AA=="), "messages[0].content[0].image_url.url"),
            (json!({"role":"assistant","tool_calls":[{}]}), "messages[0].tool_calls[0].function"),
            (json!({"role":"tool","tool_call_id":1}), "messages[0].tool_call_id"),
            (json!({"role":"user","name":[],"content":"a"}), "messages[0].name"),
        ];
        for (message, expected) in cases {
            assert_eq!(param(message.clone()), expected, "{message}");
        }
    }
}
