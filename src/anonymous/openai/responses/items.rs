//! Reading `input`: a text, or the items of a conversation.
//!
//! | item | what it becomes |
//! | --- | --- |
//! | `message`, or none | a turn of its role |
//! | `function_call`, `custom_tool_call` | a call in the assistant's turn before it, or in one of its own; of a tool in a namespace under the name that the model sees |
//! | `local_shell_call`, `shell_call`, `apply_patch_call` | a call of the function of that name |
//! | `…_output` | the result of a call |
//! | `mcp_call`, `code_interpreter_call`, `file_search_call` | a call and its result: other servers made them earlier in the conversation |
//! | `program`, `program_output` | a call and its result, too |
//! | `reasoning` | passed over: only OpenAI's servers can read it |
//! | other items that say nothing to a model | passed over, and reported |
//! | `additional_tools`, `tool_search_output` | their tools are on offer with the others |
//! | `item_reference` | refused: nothing is stored |
//! | `compaction` | refused: what was said is in it, and only OpenAI's servers can read it |
//! | `computer_call_output` and what is not known | refused: a conversation that lost a part would be answered, and paid for, all the same |

use serde_json::{Map, Value};

use super::super::fields::RESPONSES;
use super::tools::joined;
use crate::anonymous::emulate::conversation::{CallKind, Detail, Part, Said, ToolCall, ToolResult, Turn};
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::fields::Treatment;
use crate::anonymous::face::json::{
    Object, as_object, optional_array, optional_object, optional_string, required_string, take, to_vec,
};
use crate::anonymous::face::{Ignored, Images, images};

/// What an input says. No `Debug`: it is the prompt.
#[derive(Default)]
pub struct Input {
    /// The conversation.
    pub turns: Vec<Turn>,
    /// Definitions of tools that came in its course, unread.
    pub tools: Vec<Value>,
}

/// Which parts may stand in a content.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Text,
    TextAndRefusals,
    TextAndImages(Images),
}

/// Understands `input`.
pub fn read(input: Value, images: Images, ignored: &mut Ignored) -> Result<Input, RequestError> {
    let items = match input {
        Value::String(text) => {
            let said = Said { name: None, parts: vec![Part::Text(text)] };
            return Ok(Input { turns: vec![Turn::User(said)], tools: Vec::new() });
        }
        Value::Array(items) => items,
        other => return Err(RequestError::wrong_type("input", "a string or an array of items", &other)),
    };
    let mut read = Input::default();
    for (index, item) in items.into_iter().enumerate() {
        read.item(item, &format!("input[{index}]"), images, ignored)?;
    }
    Ok(read)
}

impl Input {
    fn item(
        &mut self,
        item: Value,
        place: &str,
        images: Images,
        ignored: &mut Ignored,
    ) -> Result<(), RequestError> {
        let mut item = as_object(item, place)?;
        let kind = match optional_string(&mut item, place, "type")? {
            Some(kind) => kind,
            None if item.contains_key("role") || !item.contains_key("id") => "message".to_owned(),
            None => "item_reference".to_owned(),
        };
        match kind.as_str() {
            "message" => self.turns.push(message(&mut item, place, images)?),
            "function_call" => self.call(&mut item, place, CallKind::Function, "arguments")?,
            "custom_tool_call" => self.call(&mut item, place, CallKind::Custom, "input")?,
            "local_shell_call" => self.action(&mut item, place, "local_shell", "action")?,
            "shell_call" => self.action(&mut item, place, "shell", "action")?,
            "apply_patch_call" => self.action(&mut item, place, "apply_patch", "operation")?,
            "function_call_output"
            | "custom_tool_call_output"
            | "local_shell_call_output"
            | "shell_call_output"
            | "apply_patch_call_output" => {
                let result = result(&mut item, place, images)?;
                self.turns.push(Turn::ToolResult(result));
            }
            "mcp_call" => {
                let server = optional_string(&mut item, place, "server_label")?;
                let name = joined(server.as_deref(), &required_string(&mut item, place, "name")?);
                let arguments = optional_string(&mut item, place, "arguments")?.unwrap_or_default();
                let result = take(&mut item, "output").or_else(|| take(&mut item, "error"));
                self.made_elsewhere(name, arguments, result);
            }
            "code_interpreter_call" => {
                let code = take(&mut item, "code").unwrap_or_default();
                let outputs = take(&mut item, "outputs");
                self.made_elsewhere("code_interpreter".into(), one("code", code), outputs);
            }
            "file_search_call" => {
                let queries = take(&mut item, "queries").unwrap_or_default();
                let results = take(&mut item, "results");
                self.made_elsewhere("file_search".into(), one("queries", queries), results);
            }
            "additional_tools" | "tool_search_output" => {
                self.tools.extend(optional_array(&mut item, place, "tools")?.unwrap_or_default());
            }
            "program" => {
                let code = take(&mut item, "code").unwrap_or_default();
                let id = call_id(&mut item, place)?;
                let (name, arguments) = ("program".to_owned(), one("code", code));
                self.push_call(ToolCall { id, name, kind: CallKind::Function, arguments });
            }
            "program_output" => {
                let id = call_id(&mut item, place)?;
                let result = take(&mut item, "result").or_else(|| take(&mut item, "output"));
                let parts = vec![Part::Text(readable(result.unwrap_or_default()))];
                self.turns.push(Turn::ToolResult(ToolResult { id, name: Some("program".to_owned()), parts }));
            }
            "reasoning" => {}
            "item_reference" => {
                return Err(RequestError::invalid_value(
                    place,
                    "it refers to an item that is not here: nothing is stored; send the items themselves, as clients \
                     do with `store: false` (Vercel's AI SDK: `providerOptions: { openai: { store: false } }`, or the \
                     model as `openai.chat(MODEL)`)",
                ));
            }
            "compaction" | "compaction_summary" | "compaction_trigger" => {
                return Err(RequestError::invalid_value(
                    &format!("{place}.type"),
                    "compacted conversations can be made and read by OpenAI's servers alone; send the items themselves",
                ));
            }
            kind => match passed_over(kind) {
                Some(name) => ignored.note(name),
                None => {
                    return Err(RequestError::invalid_value(
                        &format!("{place}.type"),
                        "supported are messages, calls of functions, custom tools, shells and patches, and their \
                         outputs",
                    ));
                }
            },
        }
        Ok(())
    }

    /// A call belongs to the turn in which it was made.
    fn push_call(&mut self, call: ToolCall) {
        match self.turns.last_mut() {
            Some(Turn::Assistant { calls, .. }) => calls.push(call),
            _ => self.turns.push(Turn::Assistant { said: Said::default(), calls: vec![call] }),
        }
    }

    fn call(
        &mut self,
        item: &mut Object,
        place: &str,
        kind: CallKind,
        key: &str,
    ) -> Result<(), RequestError> {
        let namespace = optional_string(item, place, "namespace")?;
        let name = joined(namespace.as_deref(), &required_string(item, place, "name")?);
        let arguments = optional_string(item, place, key)?.unwrap_or_default();
        let id = call_id(item, place)?;
        self.push_call(ToolCall { id, name, kind, arguments });
        Ok(())
    }

    /// A call whose arguments are an object of its own.
    fn action(&mut self, item: &mut Object, place: &str, name: &str, key: &str) -> Result<(), RequestError> {
        let Some(mut action) = optional_object(item, place, key)? else {
            return Err(RequestError::missing(&format!("{place}.{key}")));
        };
        if name == "local_shell" {
            action.remove("type");
            if let Some(directory) = take(&mut action, "working_directory") {
                action.insert("workdir".to_owned(), directory);
            }
        }
        action.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty()));
        let id = call_id(item, place)?;
        let arguments = Value::Object(action).to_string();
        self.push_call(ToolCall { id, name: name.to_owned(), kind: CallKind::Function, arguments });
        Ok(())
    }

    /// A call that another server made and answered.
    fn made_elsewhere(&mut self, name: String, arguments: String, result: Option<Value>) {
        self.push_call(ToolCall { id: None, name: name.clone(), kind: CallKind::Function, arguments });
        if let Some(result) = result {
            let parts = vec![Part::Text(readable(result))];
            self.turns.push(Turn::ToolResult(ToolResult { id: None, name: Some(name), parts }));
        }
    }
}

/// How an item that says nothing to a model is reported, if `kind` is of one.
fn passed_over(kind: &str) -> Option<&'static str> {
    let field = RESPONSES.fields.iter().find(|field| field.name.strip_prefix("input.") == Some(kind))?;
    (field.treatment == Treatment::Ignored).then_some(field.name)
}

fn one(key: &str, value: Value) -> String {
    Value::Object(Map::from_iter([(key.to_owned(), value)])).to_string()
}

/// A text as it is; anything else as JSON.
fn readable(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => String::from_utf8(to_vec(&other)).unwrap_or_default(),
    }
}

fn call_id(item: &mut Object, place: &str) -> Result<Option<String>, RequestError> {
    let call_id = optional_string(item, place, "call_id")?;
    let id = optional_string(item, place, "id")?;
    Ok(call_id.or(id))
}

fn message(item: &mut Object, place: &str, images: Images) -> Result<Turn, RequestError> {
    let role = required_string(item, place, "role")?;
    let said = |item: &mut Object, allowed| {
        let name = optional_string(item, place, "name")?;
        match item.remove("content") {
            None => Err(RequestError::missing(&format!("{place}.content"))),
            Some(content) => {
                Ok(Said { name, parts: contents(content, &format!("{place}.content"), allowed)? })
            }
        }
    };
    match role.as_str() {
        "user" => said(item, Allowed::TextAndImages(images)).map(Turn::User),
        "system" | "developer" => said(item, Allowed::Text).map(Turn::System),
        "assistant" => {
            let said = said(item, Allowed::TextAndRefusals)?;
            Ok(Turn::Assistant { said, calls: Vec::new() })
        }
        _ => Err(RequestError::invalid_value(
            &format!("{place}.role"),
            "supported values are 'assistant', 'system', 'developer' and 'user'",
        )),
    }
}

/// `output`: a text, or parts. A shell's are objects, and are shown as they are.
fn result(item: &mut Object, place: &str, images: Images) -> Result<ToolResult, RequestError> {
    let id = call_id(item, place)?;
    let namespace = optional_string(item, place, "namespace")?;
    let name = optional_string(item, place, "name")?.map(|name| joined(namespace.as_deref(), &name));
    let inner = format!("{place}.output");
    let is_part = |value: &Value| {
        value
            .get("type")
            .and_then(Value::as_str)
            .is_some_and(|kind| kind.contains("text") || kind.contains("input_"))
    };
    let parts = match take(item, "output") {
        // A patch that was applied has nothing to say but that.
        None => vec![Part::Text(optional_string(item, place, "status")?.unwrap_or_default())],
        Some(Value::Array(values)) if !values.iter().all(is_part) => {
            vec![Part::Text(readable(Value::Array(values)))]
        }
        Some(output @ (Value::String(_) | Value::Array(_))) => {
            contents(output, &inner, Allowed::TextAndImages(images))?
        }
        Some(other) => vec![Part::Text(readable(other))],
    };
    Ok(ToolResult { id, name, parts })
}

fn contents(content: Value, place: &str, allowed: Allowed) -> Result<Vec<Part>, RequestError> {
    match content {
        Value::String(text) => Ok(vec![Part::Text(text)]),
        Value::Array(parts) => parts
            .into_iter()
            .enumerate()
            .map(|(index, part)| read_part(part, &format!("{place}[{index}]"), allowed))
            .collect(),
        other => Err(RequestError::wrong_type(place, "a string or an array of content parts", &other)),
    }
}

fn read_part(part: Value, place: &str, allowed: Allowed) -> Result<Part, RequestError> {
    let mut part = as_object(part, place)?;
    match (required_string(&mut part, place, "type")?.as_str(), allowed) {
        ("input_text" | "output_text" | "text", _) => {
            required_string(&mut part, place, "text").map(Part::Text)
        }
        ("refusal", Allowed::TextAndRefusals) => required_string(&mut part, place, "refusal").map(Part::Text),
        ("input_image", Allowed::TextAndImages(images)) => image(&mut part, place, images),
        _ => Err(RequestError::invalid_value(
            &format!("{place}.type"),
            match allowed {
                Allowed::Text => "supported here is 'input_text'",
                Allowed::TextAndRefusals => "supported here are 'output_text' and 'refusal'",
                Allowed::TextAndImages(_) => {
                    "supported here are 'input_text' and 'input_image': the backend takes text and pictures"
                }
            },
        )),
    }
}

fn image(part: &mut Object, place: &str, rule: Images) -> Result<Part, RequestError> {
    if take(part, "file_id").is_some() {
        return Err(RequestError::invalid_value(
            &format!("{place}.file_id"),
            "there are no stored files; send the picture inline, as data:image/<type>;base64,<data>",
        ));
    }
    let place = format!("{place}.image_url");
    let url = match take(part, "image_url") {
        Some(Value::String(url)) => url,
        // The older API's form.
        Some(Value::Object(mut image)) => required_string(&mut image, &place, "url")?,
        None => return Err(RequestError::missing(&place)),
        Some(other) => return Err(RequestError::wrong_type(&place, "a string", &other)),
    };
    let detail = match optional_string(part, &place, "detail")?.as_deref() {
        Some("low") => Some(Detail::Low),
        Some("high" | "original") => Some(Detail::High),
        _ => None,
    };
    images::part(url, detail, &place, rule)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::anonymous::emulate::roles;

    fn wire(input: Value) -> Value {
        let turns = read(input, Images::InlineOnly, &mut Ignored::default())
            .unwrap_or_else(|error| panic!("{error:?}"))
            .turns;
        serde_json::from_str(roles::canonical(turns).unwrap().get()).unwrap()
    }

    #[test]
    fn every_role_is_said_in_a_safe_one() {
        let input = json!([
            {"role": "developer", "content": "a"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "b"}]},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
                {"type": "output_text", "text": "c", "annotations": []}, {"type": "refusal", "refusal": "d"}]},
            {"role": "user", "content": [{"type": "input_image", "detail": "high", "image_url": "data:image/png;base64,AA=="}]},
        ]);
        assert_eq!(
            wire(input),
            json!([
                {"role": "system", "content": "a"},
                {"role": "user", "content": "b"},
                {"role": "assistant", "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]},
                {"role": "user", "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "high"}}]},
            ])
        );
    }

    #[test]
    fn what_the_model_said_and_called_is_one_turn_and_results_the_next() {
        let input = json!([
            {"role": "user", "content": "go"},
            {"type": "reasoning", "summary": [], "encrypted_content": "x"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "call_id": "c1", "name": "look", "namespace": "eyes", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "sh", "input": "ls"},
            {"type": "function_call_output", "call_id": "c1", "output": "dark"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "a.txt"}]},
        ]);
        assert_eq!(
            wire(input),
            json!([
                {"role": "user", "content": "go"},
                {"role": "assistant", "content": "I look.\n<tool_call>\n{\"name\": \"eyes.look\", \"arguments\": {}, \
                    \"id\": \"c1\"}\n</tool_call>\n<tool_call>\n{\"name\": \"sh\", \"id\": \"c2\"}\n\
                    <parameter name=\"input\">\nls\n</parameter>\n</tool_call>"},
                {"role": "user", "content": "<tool_response id=\"c1\" name=\"eyes.look\">\ndark\n</tool_response>\n\
                    <tool_response id=\"c2\" name=\"sh\">\na.txt\n</tool_response>"},
            ])
        );
    }

    #[test]
    fn shells_and_patches_are_calls_of_functions() {
        let input = json!([
            {"type": "local_shell_call", "id": "lsh_1", "call_id": "c1", "status": "completed", "action": {
                "type": "exec", "command": ["ls"], "env": {}, "timeout_ms": null, "working_directory": "/tmp"}},
            {"type": "local_shell_call_output", "id": "c1", "output": "{\"stdout\":\"\"}"},
            {"type": "apply_patch_call", "call_id": "c2", "operation": {"type": "delete_file", "path": "a"}},
            {"type": "apply_patch_call_output", "call_id": "c2", "status": "completed"},
            {"type": "shell_call", "call_id": "c3", "action": {"commands": ["ls"]}},
            {"type": "shell_call_output", "call_id": "c3", "output": [{"stdout": "x", "stderr": ""}]},
        ]);
        let messages = wire(input);
        let text = |index: usize| messages[index]["content"].as_str().unwrap();
        assert!(
            text(0).contains(r#"{"name": "local_shell", "arguments": {"command":["ls"],"workdir":"/tmp"}}"#)
        );
        assert!(text(1).contains("<tool_response id=\"c1\" name=\"local_shell\">"));
        assert!(text(2).contains(r#""arguments": {"type":"delete_file","path":"a"}"#), "{}", text(2));
        assert!(text(3).contains("completed"));
        assert!(text(5).contains(r#"[{"stdout":"x","stderr":""}]"#), "{}", text(5));
    }

    #[test]
    fn calls_that_other_servers_made_are_shown_with_their_results() {
        let input = json!([
            {"type": "mcp_call", "server_label": "wiki", "name": "ask", "arguments": "{}", "output": "yes"},
            {"type": "code_interpreter_call", "code": "1+1", "outputs": [{"type": "logs", "logs": "2"}]},
            {"type": "file_search_call", "queries": ["q"], "results": null},
            {"type": "web_search_call", "status": "completed"},
        ]);
        let messages = wire(input);
        assert_eq!(messages.as_array().unwrap().len(), 5);
        assert!(messages[0]["content"].as_str().unwrap().contains("wiki.ask"));
        assert!(messages[3]["content"].as_str().unwrap().contains(r#""logs":"2""#));
    }

    #[test]
    fn tools_that_came_in_its_course_are_kept() {
        let input = json!([{"type": "additional_tools", "role": "developer", "tools": [{"type": "custom"}]}]);
        assert_eq!(
            read(input, Images::InlineOnly, &mut Ignored::default()).ok().unwrap().tools,
            [json!({"type": "custom"})]
        );
    }

    #[test]
    fn what_cannot_be_carried_is_refused_with_its_place() {
        let user = |part: Value| json!({"role": "user", "content": [part]});
        let cases = [
            (json!(7), "input[0]"),
            (json!({"type": "item_reference", "id": "msg_1"}), "input[0]"),
            (json!({"id": "msg_1"}), "input[0]"),
            (json!({}), "input[0].role"),
            (json!({"role": "tool", "content": "a"}), "input[0].role"),
            (json!({"role": "user"}), "input[0].content"),
            (json!({"role": "user", "content": 1}), "input[0].content"),
            (json!({"type": "compaction", "encrypted_content": "x"}), "input[0].type"),
            (json!({"type": "computer_call_output"}), "input[0].type"),
            (json!({"type": "function_call", "arguments": "{}"}), "input[0].name"),
            (json!({"type": "local_shell_call"}), "input[0].action"),
            (user(json!({"type": "input_file", "file_id": "f"})), "input[0].content[0].type"),
            (user(json!({"type": "input_audio"})), "input[0].content[0].type"),
            (user(json!({"type": "input_image", "file_id": "f"})), "input[0].content[0].file_id"),
            (
                user(json!({"type": "input_image", "image_url": "https://a.example/"})),
                "input[0].content[0].image_url",
            ),
            (
                json!({"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file"}]}),
                "input[0].output[0].type",
            ),
        ];
        for (item, param) in cases {
            match read(json!([item.clone()]), Images::InlineOnly, &mut Ignored::default()) {
                Err(RequestError::Parameter(bad)) => assert_eq!(bad.param.unwrap(), param, "{item}"),
                _ => panic!("{item} is not refused with a parameter"),
            }
        }
    }
}
