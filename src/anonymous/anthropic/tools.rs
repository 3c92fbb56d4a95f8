//! Reading `tools` and `tool_choice`.

use serde_json::Value;

use super::known::{self, Known};
use crate::anonymous::emulate::ask::{Choice, Input, Parallel, Tool, Toolset};
use crate::anonymous::face::Ignored;
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::json::{
    Object, as_object, optional_array, optional_object, optional_string, required_string, switch,
};
use crate::anonymous::face::toolset::{checked, take_parameters, tool_name};

/// Takes everything about tools out of `body`.
pub(super) fn take_toolset(body: &mut Object, ignored: &mut Ignored) -> Result<Toolset, RequestError> {
    let mut tools = Vec::new();
    let mut passed_over = Vec::new();
    for (index, tool) in optional_array(body, "", "tools")?.unwrap_or_default().into_iter().enumerate() {
        match read_tool(tool, &format!("tools[{index}]"), ignored)? {
            Read::Tool(tool) => tools.push(tool),
            Read::PassedOver(name) => passed_over.extend(name),
        }
    }
    let mut parallel = Parallel::Many;
    let choice = match optional_object(body, "", "tool_choice")? {
        None => Choice::Auto,
        Some(mut choice) => {
            if switch(&mut choice, "tool_choice", "disable_parallel_tool_use")? {
                parallel = Parallel::One;
            }
            match read_choice(&mut choice)? {
                // What the backend does on its own cannot be demanded of it.
                Choice::Named(name) if passed_over.contains(&name) => Choice::Auto,
                Choice::Required if tools.is_empty() && !passed_over.is_empty() => Choice::Auto,
                other => other,
            }
        }
    };
    checked(Toolset { tools, choice, parallel }, "tool_choice")
}

enum Read {
    Tool(Tool),
    /// With its name, if it has one.
    PassedOver(Option<String>),
}

fn read_tool(tool: Value, place: &str, ignored: &mut Ignored) -> Result<Read, RequestError> {
    let mut tool = as_object(tool, place)?;
    let kind = optional_string(&mut tool, place, "type")?.unwrap_or_else(|| "custom".to_owned());
    if kind == "custom" {
        let name = tool_name(&mut tool, place)?;
        let description = optional_string(&mut tool, place, "description")?;
        let Some(schema) = take_parameters(&mut tool, place, "input_schema")? else {
            return Err(RequestError::missing(&format!("{place}.input_schema")));
        };
        return Ok(Read::Tool(Tool { name, description, input: Input::Json { schema: Some(schema) } }));
    }
    let place_of_kind = || format!("{place}.type");
    match known::of(&kind) {
        Some(Known::Function(description, schema)) => Ok(Read::Tool(Tool {
            name: tool_name(&mut tool, place)?,
            description: Some(description.to_owned()),
            input: Input::Json { schema: Some(schema) },
        })),
        Some(Known::PassedOver(reported)) => {
            ignored.note(reported);
            Ok(Read::PassedOver(optional_string(&mut tool, place, "name")?))
        }
        Some(Known::Refused) => Err(RequestError::invalid_value(
            &place_of_kind(),
            "tools of this type want a model or a server that there is not",
        )),
        None => Err(RequestError::invalid_value(
            &place_of_kind(),
            "supported are 'custom', 'bash_…', 'text_editor_…' and 'memory_…'",
        )),
    }
}

fn read_choice(choice: &mut Object) -> Result<Choice, RequestError> {
    const PLACE: &str = "tool_choice";
    match required_string(choice, PLACE, "type")?.as_str() {
        "auto" => Ok(Choice::Auto),
        "any" => Ok(Choice::Required),
        "none" => Ok(Choice::None),
        "tool" => required_string(choice, PLACE, "name").map(Choice::Named),
        _ => Err(RequestError::invalid_value(
            "tool_choice.type",
            "supported values are 'auto', 'any', 'tool' and 'none'",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn toolset(body: Value) -> Result<(Toolset, Vec<String>), RequestError> {
        let Value::Object(mut body) = body else { panic!("an object") };
        let mut ignored = Ignored::default();
        let toolset = take_toolset(&mut body, &mut ignored)?;
        Ok((toolset, ignored.names().into_iter().map(str::to_owned).collect()))
    }

    fn param(body: Value) -> String {
        match toolset(body) {
            Err(RequestError::Parameter(bad)) => bad.param.unwrap().into(),
            _ => panic!("not refused with a parameter"),
        }
    }

    fn weather() -> Value {
        json!({"name": "weather", "description": "d", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}})
    }

    #[test]
    fn tools_of_the_client_are_functions() {
        let bash = json!({"type": "bash_20250124", "name": "bash"});
        let editor = json!({"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"});
        let (read, ignored) = toolset(json!({"tools": [weather(), bash, editor]})).ok().unwrap();
        let names: Vec<_> = read.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["weather", "bash", "str_replace_based_edit_tool"]);
        assert!(read.tools.iter().all(|tool| matches!(&tool.input, Input::Json { schema: Some(_) })));
        assert!(ignored.is_empty());
    }

    #[test]
    fn tools_of_the_server_are_passed_over_and_cannot_be_demanded() {
        let search = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 8});
        let demanded = json!({"type": "tool", "name": "web_search"});
        let (read, ignored) =
            toolset(json!({"tools": [search, weather()], "tool_choice": demanded})).ok().unwrap();
        assert_eq!((read.tools.len(), ignored), (1, vec!["tools.web_search".to_owned()]));
        assert!(read.choice == Choice::Auto);
        let (read, _) = toolset(json!({"tools": [search], "tool_choice": {"type": "any"}})).ok().unwrap();
        assert!(read.choice == Choice::Auto && read.tools.is_empty());
    }

    #[test]
    fn choices_are_read() {
        for (choice, expected) in [
            (json!({"type": "auto"}), Choice::Auto),
            (json!({"type": "any"}), Choice::Required),
            (json!({"type": "none"}), Choice::None),
            (json!({"type": "tool", "name": "weather"}), Choice::Named("weather".into())),
        ] {
            let (read, _) = toolset(json!({"tools": [weather()], "tool_choice": choice})).ok().unwrap();
            assert!(read.choice == expected && read.parallel == Parallel::Many);
        }
        let one = json!({"type": "auto", "disable_parallel_tool_use": true});
        let (read, _) = toolset(json!({"tools": [weather()], "tool_choice": one})).ok().unwrap();
        assert!(read.parallel == Parallel::One);
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_its_place() {
        let tools = |tool: Value| json!({ "tools": [tool] });
        let cases = [
            (tools(json!({"name": "f"})), "tools[0].input_schema"),
            (tools(json!({"name": "", "input_schema": {}})), "tools[0].name"),
            (tools(json!({"name": "f", "input_schema": {"type": 7}})), "tools[0].input_schema"),
            (tools(json!({"type": "computer_20250124", "name": "computer"})), "tools[0].type"),
            (tools(json!({"type": "mcp_toolset"})), "tools[0].type"),
            (tools(json!({"type": "canary_1", "name": "x"})), "tools[0].type"),
            (json!({"tool_choice": {"type": "any"}}), "tool_choice"),
            (json!({"tools": [weather()], "tool_choice": {"type": "tool", "name": "x"}}), "tool_choice"),
            (json!({"tools": [weather()], "tool_choice": {"type": "must"}}), "tool_choice.type"),
            (json!({"tools": [weather()], "tool_choice": "any"}), "tool_choice"),
        ];
        for (body, expected) in cases {
            assert_eq!(param(body.clone()), expected, "{body}");
        }
    }
}
