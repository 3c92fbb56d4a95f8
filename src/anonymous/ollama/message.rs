//! Reading one entry of `messages`, and the `tools`.
//!
//! What cannot be carried is refused with its place rather than dropped: a prompt that lost a part would be answered,
//! and paid for, all the same.

use serde_json::Value;

use crate::anonymous::emulate::ask::{Input, Tool, Toolset};
use crate::anonymous::emulate::conversation::{CallKind, Image, Part, Said, ToolCall, ToolResult, Turn};
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::images::{inlined, is_inline_image};
use crate::anonymous::face::json::{
    Object, as_object, optional_array, optional_string, required_string, take, within,
};
use crate::anonymous::face::toolset::{checked, take_parameters, tool_name};
use crate::anonymous::face::verbatim;

/// Reads `messages[index]`.
pub(super) fn read(index: usize, value: Value) -> Result<Turn, RequestError> {
    let place = format!("messages[{index}]");
    let mut object = as_object(value, &place)?;
    let role = required_string(&mut object, &place, "role")?;
    let parts = take_parts(&mut object, &place, "content")?;
    let pictured = parts.iter().any(|part| matches!(part, Part::Image(_)));
    match role.as_str() {
        "system" | "assistant" if pictured => Err(RequestError::invalid_value(
            &format!("{place}.images"),
            "pictures are supported in messages of 'user' and 'tool' only",
        )),
        "system" => Ok(Turn::System(Said { name: None, parts })),
        "user" => Ok(Turn::User(Said { name: None, parts })),
        "assistant" => {
            Ok(Turn::Assistant { said: Said { name: None, parts }, calls: take_calls(&mut object, &place)? })
        }
        "tool" => {
            let name = optional_string(&mut object, &place, "tool_name")?;
            Ok(Turn::ToolResult(ToolResult {
                id: optional_string(&mut object, &place, "tool_call_id")?,
                // The older key.
                name: name
                    .map_or_else(|| optional_string(&mut object, &place, "name"), |name| Ok(Some(name)))?,
                parts,
            }))
        }
        _ => Err(RequestError::invalid_value(
            &format!("{place}.role"),
            "supported values are 'system', 'user', 'assistant' and 'tool'",
        )),
    }
}

/// The arguments of all calls in `body`, as they were written; those that are texts need no looking up.
pub(super) fn written_arguments(body: &[u8]) -> Vec<Option<String>> {
    let Ok(body) = std::str::from_utf8(body) else { return Vec::new() };
    let by_model = |message: &&str| verbatim::text(message, "role").as_deref() == Some("assistant");
    let calls = |message| verbatim::items(message, "tool_calls");
    let arguments = |call| verbatim::object(verbatim::member(call, "function")?, "arguments");
    verbatim::items(body, "messages").into_iter().filter(by_model).flat_map(calls).map(arguments).collect()
}

/// `images`, then the text at `key`, as Ollama puts them to a model.
pub(super) fn take_parts(object: &mut Object, place: &str, key: &str) -> Result<Vec<Part>, RequestError> {
    let images = optional_array(object, place, "images")?.unwrap_or_default();
    let picture = |(index, image)| read_image(image, &format!("{}[{index}]", within(place, "images")));
    let mut parts = images.into_iter().enumerate().map(picture).collect::<Result<Vec<_>, _>>()?;
    parts.extend(optional_string(object, place, key)?.map(Part::Text));
    Ok(parts)
}

/// `tools`. There is no way to say which of them must be called.
pub(super) fn take_toolset(body: &mut Object) -> Result<Toolset, RequestError> {
    let tools = optional_array(body, "", "tools")?.unwrap_or_default();
    let tool = |(index, tool)| read_tool(tool, &format!("tools[{index}]"));
    let tools = tools.into_iter().enumerate().map(tool).collect::<Result<_, _>>()?;
    checked(Toolset { tools, ..Toolset::default() }, "tools")
}

fn read_image(value: Value, place: &str) -> Result<Part, RequestError> {
    let Value::String(data) = value else {
        return Err(RequestError::wrong_type(place, "a string of base64", &value));
    };
    let url = if is_inline_image(&data) { Some(data) } else { inlined(&data) };
    match url {
        Some(url) => Ok(Part::Image(Image { url, detail: None })),
        None => Err(RequestError::invalid_value(place, "supported are PNG, JPEG, GIF and WebP, as base64")),
    }
}

fn take_calls(object: &mut Object, place: &str) -> Result<Vec<ToolCall>, RequestError> {
    let calls = optional_array(object, place, "tool_calls")?.unwrap_or_default();
    let call = |(index, call)| read_call(call, &format!("{place}.tool_calls[{index}]"));
    calls.into_iter().enumerate().map(call).collect()
}

fn read_call(value: Value, place: &str) -> Result<ToolCall, RequestError> {
    let mut object = as_object(value, place)?;
    let id = optional_string(&mut object, place, "id")?.filter(|id| !id.is_empty());
    let Some(function) = take(&mut object, "function") else {
        return Err(RequestError::missing(&format!("{place}.function")));
    };
    let place = format!("{place}.function");
    let mut function = as_object(function, &place)?;
    let name = required_string(&mut function, &place, "name")?;
    let arguments = match take(&mut function, "arguments") {
        None => "{}".to_owned(),
        // OpenAI's form, from clients that speak both.
        Some(Value::String(arguments)) => arguments,
        Some(object @ Value::Object(_)) => object.to_string(),
        Some(other) => {
            return Err(RequestError::wrong_type(&format!("{place}.arguments"), "an object", &other));
        }
    };
    Ok(ToolCall { id, name, kind: CallKind::Function, arguments })
}

fn read_tool(value: Value, place: &str) -> Result<Tool, RequestError> {
    let mut tool = as_object(value, place)?;
    match optional_string(&mut tool, place, "type")?.as_deref() {
        None | Some("function") => {}
        Some(_) => {
            return Err(RequestError::invalid_value(&format!("{place}.type"), "supported is 'function'"));
        }
    }
    let place = format!("{place}.function");
    let Some(function) = take(&mut tool, "function") else { return Err(RequestError::missing(&place)) };
    let mut function = as_object(function, &place)?;
    Ok(Tool {
        name: tool_name(&mut function, &place)?,
        description: optional_string(&mut function, &place, "description")?,
        input: Input::Json { schema: take_parameters(&mut function, &place, "parameters")? },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::anonymous::emulate::roles;

    const PNG: &str = "iVBORw0KGgoAAAANSUhEUg==";

    fn wire(messages: &[Value]) -> Value {
        let turns = messages.iter().enumerate().map(|(index, message)| read(index, message.clone()));
        let turns: Vec<Turn> = turns.map(|turn| turn.ok().unwrap()).collect();
        serde_json::from_str(roles::canonical(turns).unwrap().get()).unwrap()
    }

    fn param(message: Value) -> String {
        match read(0, message) {
            Err(RequestError::Parameter(bad)) => bad.param.unwrap().into(),
            _ => panic!("not refused with a parameter"),
        }
    }

    #[test]
    fn pictures_stand_before_the_text() {
        let picture = json!({"type":"image_url","image_url":{"url":format!("data:image/png;base64,{PNG}")}});
        assert_eq!(
            wire(&[json!({"role":"user","content":"what is it?","images":[PNG]})]),
            json!([{"role":"user","content":[picture, {"type":"text","text":"what is it?"}]}])
        );
    }

    #[test]
    fn calls_and_results_are_replayed() {
        let messages = [
            json!({"role":"system","content":"a"}),
            json!({"role":"assistant","content":"","thinking":"hm","tool_calls":[
                {"function":{"name":"f","arguments":{"a":1}}}]}),
            json!({"role":"tool","tool_name":"f","content":"2"}),
            json!({"role":"tool","name":"g","content":"3"}),
        ];
        assert_eq!(
            wire(&messages),
            json!([
                {"role":"system","content":"a"},
                {"role":"assistant","content":
                    "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":1}}\n</tool_call>"},
                {"role":"user","content":
                    "<tool_response name=\"f\">\n2\n</tool_response>\n<tool_response name=\"g\">\n3\n</tool_response>"},
            ])
        );
    }

    #[test]
    fn what_cannot_be_carried_is_refused_with_its_place() {
        let cases = [
            (json!("hi"), "messages[0]"),
            (json!({"content":"hi"}), "messages[0].role"),
            (json!({"role":"canary","content":"hi"}), "messages[0].role"),
            (json!({"role":"user","content":["hi"]}), "messages[0].content"),
            (json!({"role":"user","images":"AA=="}), "messages[0].images"),
            (json!({"role":"user","images":[PNG, "AA=="]}), "messages[0].images[1]"),
            (json!({"role":"user","images":[["AA=="]]}), "messages[0].images[0]"),
            (json!({"role":"system","images":[PNG]}), "messages[0].images"),
            (json!({"role":"assistant","tool_calls":[{}]}), "messages[0].tool_calls[0].function"),
            (
                json!({"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":[]}}]}),
                "messages[0].tool_calls[0].function.arguments",
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(param(message.clone()), expected, "{message}");
        }
    }

    #[test]
    fn tools_are_functions() {
        let toolset = |tools: Value| {
            let Value::Object(mut body) = json!({ "tools": tools }) else { panic!("an object") };
            take_toolset(&mut body)
        };
        let function = json!({"name":"f","description":"d","parameters":{"type":"object"}});
        let read = toolset(json!([{"type":"function","function":function}, {"function":{"name":"g"}}]));
        assert_eq!(read.ok().unwrap().tools.len(), 2);
        for tools in [
            json!([{"type":"custom"}]),
            json!([{"function":{"name":""}}]),
            json!([{"type":"function"}]),
            json!({}),
        ] {
            assert!(toolset(tools.clone()).is_err(), "{tools}");
        }
    }

    proptest! {
        #[test]
        fn what_the_user_said_arrives(text in "\\PC{1,60}") {
            let wire = wire(&[json!({"role": "user", "content": text})]);
            prop_assert_eq!(wire, json!([{"role": "user", "content": text}]));
        }
    }
}
