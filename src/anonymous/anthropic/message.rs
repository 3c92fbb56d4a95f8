//! Reading one entry of `messages`, and `system`.
//!
//! | block | becomes |
//! | --- | --- |
//! | `text`, `search_result`, `document` of text | text |
//! | `image` | a picture |
//! | `tool_use` | a call |
//! | `tool_result` | a tool's answer, in its place among what the user said; a failure says so |
//! | `thinking`, `redacted_thinking`, and what tools of Anthropic's servers did | nothing: made by them, and sealed for them |
//! | PDF, files, anything else | refused with its place: a prompt that lost a part would be paid for all the same |

use serde_json::Value;

use crate::anonymous::emulate::conversation::{CallKind, Part, Said, ToolCall, ToolResult, Turn};
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::json::{
    Object, as_object, optional_object, optional_string, required_string, switch, take,
};
use crate::anonymous::face::{Images, images, verbatim};

/// Reads `messages[index]`, which may be several turns.
pub(super) fn read(index: usize, value: Value, images: Images) -> Result<Vec<Turn>, RequestError> {
    let place = format!("messages[{index}]");
    let mut object = as_object(value, &place)?;
    let role = required_string(&mut object, &place, "role")?;
    let place_of_content = format!("{place}.content");
    let blocks = match take(&mut object, "content") {
        None => return Err(RequestError::missing(&place_of_content)),
        Some(content) => read_blocks(content, &place_of_content, images)?,
    };
    match role.as_str() {
        "user" => user_turns(blocks, &place_of_content),
        "assistant" => assistant_turns(blocks, &place_of_content),
        "system" => Ok(vec![Turn::System(plain(blocks, &place_of_content)?)]),
        _ => Err(RequestError::invalid_value(
            &format!("{place}.role"),
            "supported values are 'user', 'assistant' and 'system'",
        )),
    }
}

/// With this begins what a client says of itself in place of instructions: its name, version and how it was started.
const FINGERPRINT: &str = "x-anthropic-billing-header:";

/// `system`: a text, or several. What the client says of itself there is nobody's prompt and stays here.
pub(super) fn take_system(body: &mut Object) -> Result<Option<Turn>, RequestError> {
    let Some(content) = take(body, "system") else { return Ok(None) };
    let blocks = read_blocks(content, "system", Images::InlineOnly)?;
    let mut said = plain(blocks, "system")?;
    said.parts.retain(|part| !matches!(part, Part::Text(text) if text.trim_start().starts_with(FINGERPRINT)));
    Ok(Some(Turn::System(said)))
}

/// What a block comes to.
enum Block {
    Parts(Vec<Part>),
    Call(ToolCall),
    Result(ToolResult),
    Nothing,
}

fn user_turns(blocks: Vec<Block>, place: &str) -> Result<Vec<Turn>, RequestError> {
    let mut turns = Vec::new();
    let mut parts = Vec::new();
    let mut flush = |parts: &mut Vec<Part>, result: Option<ToolResult>| {
        if !parts.is_empty() {
            turns.push(Turn::User(Said { name: None, parts: std::mem::take(parts) }));
        }
        turns.extend(result.map(Turn::ToolResult));
    };
    for (index, block) in blocks.into_iter().enumerate() {
        match block {
            Block::Parts(mut more) => parts.append(&mut more),
            Block::Result(result) => flush(&mut parts, Some(result)),
            // Nobody but a model makes calls.
            Block::Call(_) => {
                return Err(RequestError::invalid_value(
                    &format!("{place}[{index}].type"),
                    "calls of tools stand in messages of 'assistant'",
                ));
            }
            Block::Nothing => {}
        }
    }
    flush(&mut parts, None);
    Ok(turns)
}

/// One turn, or several: what was said behind a call stays behind it.
fn assistant_turns(blocks: Vec<Block>, place: &str) -> Result<Vec<Turn>, RequestError> {
    let mut turns = Vec::new();
    let (mut parts, mut calls) = (Vec::new(), Vec::new());
    for (index, block) in blocks.into_iter().enumerate() {
        match block {
            Block::Parts(mut more) => {
                if !calls.is_empty() {
                    let said = Said { name: None, parts: std::mem::take(&mut parts) };
                    turns.push(Turn::Assistant { said, calls: std::mem::take(&mut calls) });
                }
                parts.append(&mut more);
            }
            Block::Call(call) => calls.push(call),
            Block::Result(_) => {
                return Err(RequestError::invalid_value(
                    &format!("{place}[{index}].type"),
                    "results of tools stand in messages of 'user'",
                ));
            }
            Block::Nothing => {}
        }
    }
    turns.push(Turn::Assistant { said: Said { name: None, parts }, calls });
    Ok(turns)
}

/// The inputs of all calls in `body`, as they were written.
pub(super) fn written_inputs(body: &[u8]) -> Vec<Option<String>> {
    let Ok(body) = std::str::from_utf8(body) else { return Vec::new() };
    let blocks = |message| verbatim::items(message, "content");
    let is_call = |block: &&str| verbatim::text(block, "type").as_deref() == Some("tool_use");
    let input = |block| verbatim::object(block, "input");
    verbatim::items(body, "messages").into_iter().flat_map(blocks).filter(is_call).map(input).collect()
}

/// Blocks that may be nothing but text.
fn plain(blocks: Vec<Block>, place: &str) -> Result<Said, RequestError> {
    let mut parts = Vec::new();
    for (index, block) in blocks.into_iter().enumerate() {
        match block {
            Block::Parts(more) if more.iter().all(|part| matches!(part, Part::Text(_))) => parts.extend(more),
            Block::Nothing => {}
            _ => {
                return Err(RequestError::invalid_value(
                    &format!("{place}[{index}].type"),
                    "supported here is 'text'",
                ));
            }
        }
    }
    Ok(Said { name: None, parts })
}

fn read_blocks(content: Value, place: &str, images: Images) -> Result<Vec<Block>, RequestError> {
    match content {
        Value::String(text) => Ok(vec![Block::Parts(vec![Part::Text(text)])]),
        Value::Array(blocks) => blocks
            .into_iter()
            .enumerate()
            .map(|(index, block)| read_block(block, &format!("{place}[{index}]"), images))
            .collect(),
        other => Err(RequestError::wrong_type(place, "a string or an array of content blocks", &other)),
    }
}

fn read_block(block: Value, place: &str, images: Images) -> Result<Block, RequestError> {
    let mut block = as_object(block, place)?;
    let kind = required_string(&mut block, place, "type")?;
    match kind.as_str() {
        "text" => Ok(Block::Parts(vec![Part::Text(required_string(&mut block, place, "text")?)])),
        "image" => Ok(Block::Parts(vec![read_image(&mut block, place, images)?])),
        "document" => read_document(&mut block, place, images).map(Block::Parts),
        "search_result" => read_search_result(&mut block, place, images).map(Block::Parts),
        "tool_use" => read_call(&mut block, place).map(Block::Call),
        "tool_result" => read_result(&mut block, place, images).map(Block::Result),
        // Names a tool that was found, and that the model has been told of anyway.
        "tool_reference" => {
            Ok(Block::Parts(vec![Part::Text(required_string(&mut block, place, "tool_name")?)]))
        }
        "thinking" | "redacted_thinking" | "server_tool_use" | "mcp_tool_use" => Ok(Block::Nothing),
        sealed if sealed.ends_with("_tool_result") => Ok(Block::Nothing),
        _ => Err(RequestError::invalid_value(
            &format!("{place}.type"),
            "supported are 'text', 'image', 'document' of text, 'search_result', 'tool_use' and 'tool_result'",
        )),
    }
}

fn read_image(block: &mut Object, place: &str, images: Images) -> Result<Part, RequestError> {
    let (mut source, place) = source(block, place)?;
    match required_string(&mut source, &place, "type")?.as_str() {
        "base64" => {
            let kind = required_string(&mut source, &place, "media_type")?;
            let data = required_string(&mut source, &place, "data")?;
            let url = format!("data:{kind};base64,{data}");
            images::part(url, None, &format!("{place}.data"), Images::InlineOnly)
        }
        "url" => {
            let url = required_string(&mut source, &place, "url")?;
            images::part(url, None, &format!("{place}.url"), images)
        }
        _ => Err(RequestError::invalid_value(&format!("{place}.type"), "supported are 'base64' and 'url'")),
    }
}

fn source(block: &mut Object, place: &str) -> Result<(Object, String), RequestError> {
    let Some(source) = optional_object(block, place, "source")? else {
        return Err(RequestError::missing(&format!("{place}.source")));
    };
    Ok((source, format!("{place}.source")))
}

/// A document of text, below its title.
fn read_document(block: &mut Object, place: &str, images: Images) -> Result<Vec<Part>, RequestError> {
    let title = optional_string(block, place, "title")?;
    let about = optional_string(block, place, "context")?;
    let (mut source, place) = source(block, place)?;
    let content = match required_string(&mut source, &place, "type")?.as_str() {
        "text" => vec![Part::Text(required_string(&mut source, &place, "data")?)],
        "content" => match take(&mut source, "content") {
            Some(content) => read_parts(content, &format!("{place}.content"), images)?,
            None => return Err(RequestError::missing(&format!("{place}.content"))),
        },
        _ => {
            return Err(RequestError::invalid_value(
                &format!("{place}.type"),
                "supported are documents of 'text' and 'content'; PDF and files cannot be carried",
            ));
        }
    };
    Ok(headed([title, about], content))
}

fn read_search_result(block: &mut Object, place: &str, images: Images) -> Result<Vec<Part>, RequestError> {
    let title = optional_string(block, place, "title")?;
    let source = optional_string(block, place, "source")?;
    let content = match take(block, "content") {
        Some(content) => read_parts(content, &format!("{place}.content"), images)?,
        None => Vec::new(),
    };
    Ok(headed([title, source], content))
}

/// Lines, and what they are about.
fn headed(lines: [Option<String>; 2], content: Vec<Part>) -> Vec<Part> {
    let head: String = lines.into_iter().flatten().flat_map(|line| [line, "\n".to_owned()]).collect();
    match head.as_str() {
        "" => content,
        _ => std::iter::once(Part::Text(head)).chain(content).collect(),
    }
}

/// Content that is nothing but texts and pictures.
fn read_parts(content: Value, place: &str, images: Images) -> Result<Vec<Part>, RequestError> {
    let mut parts = Vec::new();
    for (index, block) in read_blocks(content, place, images)?.into_iter().enumerate() {
        match block {
            Block::Parts(more) => parts.extend(more),
            Block::Nothing => {}
            Block::Call(_) | Block::Result(_) => {
                return Err(RequestError::invalid_value(
                    &format!("{place}[{index}].type"),
                    "supported here are 'text', 'image', 'document' and 'search_result'",
                ));
            }
        }
    }
    Ok(parts)
}

fn read_call(block: &mut Object, place: &str) -> Result<ToolCall, RequestError> {
    let arguments = match optional_object(block, place, "input")? {
        Some(input) => Value::Object(input).to_string(),
        None => "{}".to_owned(),
    };
    Ok(ToolCall {
        id: optional_string(block, place, "id")?,
        name: required_string(block, place, "name")?,
        kind: CallKind::Function,
        arguments,
    })
}

fn read_result(block: &mut Object, place: &str, images: Images) -> Result<ToolResult, RequestError> {
    let id = optional_string(block, place, "tool_use_id")?;
    let failed = switch(block, place, "is_error")?;
    let mut parts = match take(block, "content") {
        Some(content) => read_parts(content, &format!("{place}.content"), images)?,
        None => Vec::new(),
    };
    if failed {
        match parts.first_mut() {
            Some(Part::Text(text)) => text.insert_str(0, "Error: "),
            _ => parts.insert(0, Part::Text("Error: ".to_owned())),
        }
    }
    Ok(ToolResult { id, name: None, parts })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::anonymous::emulate::roles;

    fn wire(messages: &[Value]) -> Value {
        let turns = messages
            .iter()
            .enumerate()
            .flat_map(|(index, message)| read(index, message.clone(), Images::InlineOnly).ok().unwrap());
        serde_json::from_str(roles::canonical(turns.collect()).unwrap().get()).unwrap()
    }

    fn user(content: impl serde::Serialize) -> Value {
        json!({"role": "user", "content": content})
    }

    fn param(message: Value) -> String {
        match read(0, message, Images::InlineOnly) {
            Err(RequestError::Parameter(bad)) => bad.param.unwrap().into(),
            _ => panic!("not refused with a parameter"),
        }
    }

    #[test]
    fn a_tool_loop_is_replayed_in_order() {
        let messages = [
            user(json!("hi")),
            json!({"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
                {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
            ]}),
            user(json!([
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true,
                    "content": [{"type": "text", "text": "no such file"}]},
                {"type": "text", "text": "go on", "cache_control": {"type": "ephemeral"}},
            ])),
        ];
        assert_eq!(
            wire(&messages),
            json!([
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content":
                    "I look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":1}}\n</tool_call>"},
                {"role": "user", "content":
                    "<tool_response id=\"toolu_1\" name=\"f\">\nError: no such file\n</tool_response>"},
                {"role": "user", "content": "go on"},
            ])
        );
    }

    #[test]
    fn what_was_said_behind_a_call_stays_behind_it() {
        let message = json!({"role": "assistant", "content": [
            {"type": "text", "text": "first"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
            {"type": "text", "text": "second"},
        ]});
        let told = wire(&[message]).to_string();
        let at = |what: &str| told.find(what).unwrap_or_else(|| panic!("{what} is missing: {told}"));
        assert!(at("first") < at("<tool_call>") && at("</tool_call>") < at("second"), "{told}");
    }

    #[test]
    fn documents_and_search_results_are_text() {
        let document = json!({"type": "document", "title": "T", "context": "C",
            "source": {"type": "text", "media_type": "text/plain", "data": "D"}});
        let found = json!({"type": "search_result", "title": "S", "source": "https://example.org",
            "content": [{"type": "text", "text": "R"}]});
        let text = |text: &str| json!({"type": "text", "text": text});
        assert_eq!(
            wire(&[user(json!([document, found]))])[0]["content"],
            json!([text("T\nC\n"), text("D"), text("S\nhttps://example.org\n"), text("R")])
        );
    }

    #[test]
    fn a_picture_is_carried_if_it_is_in_the_request() {
        let image = |source: Value| json!([{"type": "image", "source": source}]);
        let inline = image(json!({"type": "base64", "media_type": "image/png", "data": "AA=="}));
        assert_eq!(wire(&[user(inline)])[0]["content"][0]["image_url"]["url"], "data:image/png;base64,AA==");
        let web = user(image(json!({"type": "url", "url": "https://example.org/a.png"})));
        assert_eq!(param(web.clone()), "messages[0].content[0].source.url");
        assert!(read(0, web, Images::Fetched).is_ok());
    }

    #[test]
    fn what_cannot_be_carried_is_refused_with_its_place() {
        let block = |block: Value| user(json!([block]));
        let cases = [
            (json!("hi"), "messages[0]"),
            (json!({"content": "hi"}), "messages[0].role"),
            (json!({"role": "tool", "content": "hi"}), "messages[0].role"),
            (json!({"role": "user"}), "messages[0].content"),
            (user(json!(7)), "messages[0].content"),
            (block(json!("x")), "messages[0].content[0]"),
            (block(json!({"type": "text"})), "messages[0].content[0].text"),
            (block(json!({"type": "container_upload"})), "messages[0].content[0].type"),
            (block(json!({"type": "image"})), "messages[0].content[0].source"),
            (
                block(
                    json!({"type": "image", "source": {"type": "base64", "media_type": "text/html", "data": "AA=="}}),
                ),
                "messages[0].content[0].source.data",
            ),
            (
                block(json!({"type": "image", "source": {"type": "file", "file_id": "f"}})),
                "messages[0].content[0].source.type",
            ),
            (
                block(json!({"type": "document", "source":
                    {"type": "base64", "media_type": "application/pdf", "data": "AA=="}})),
                "messages[0].content[0].source.type",
            ),
            (
                block(json!({"type": "tool_result", "content": [{"type": "tool_use", "name": "f"}]})),
                "messages[0].content[0].content[0].type",
            ),
            (
                json!({"role": "assistant", "content": [{"type": "tool_result"}]}),
                "messages[0].content[0].type",
            ),
            (block(json!({"type": "tool_use", "name": "f", "input": {}})), "messages[0].content[0].type"),
        ];
        for (message, expected) in cases {
            assert_eq!(param(message.clone()), expected, "{message}");
        }
    }

    #[test]
    fn instructions_are_text() {
        let system = |system: Value| {
            let Value::Object(mut body) = json!({ "system": system }) else { panic!("an object") };
            take_system(&mut body)
        };
        assert!(matches!(system(json!(null)), Ok(None)));
        assert!(matches!(system(json!("a")), Ok(Some(Turn::System(_)))));
        assert!(matches!(system(json!([{"type": "text", "text": "a"}])), Ok(Some(Turn::System(_)))));
        assert!(system(json!([{"type": "tool_use", "name": "f"}])).is_err());
        let told = system(json!([
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli;"},
            {"type": "text", "text": "Be brief."}
        ]));
        let Ok(Some(Turn::System(said))) = told else { panic!("refused") };
        assert!(matches!(&said.parts[..], [Part::Text(text)] if text == "Be brief."));
    }

    proptest! {
        #[test]
        fn what_the_user_said_arrives(texts in prop::collection::vec("\\PC{1,30}", 1..5)) {
            let blocks: Vec<_> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
            let wire = wire(&[user(json!(blocks))]);
            let content = &wire[0]["content"];
            let said = if texts.len() == 1 { json!([{"type": "text", "text": content}]) } else { content.clone() };
            prop_assert_eq!(said, json!(blocks));
        }
    }
}
