//! Reading `tools`, `tool_choice`, `parallel_tool_calls` and their older forms, `functions` and `function_call`.

use serde_json::Value;

use crate::anonymous::emulate::ask::{Choice, Grammar, Input, Need, Parallel, Tool, Toolset};
use crate::anonymous::face::Ignored;
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::json::{
    Object, as_object, optional_array, optional_object, optional_string, optional_switch, required_string,
    take,
};
use crate::anonymous::face::toolset::{checked, take_parameters, tool_name};

/// In which form the client wants calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallForm {
    /// `tool_calls`.
    #[default]
    Tools,
    /// `function_call`, at most one.
    Legacy,
}

/// Takes everything about tools out of `body`. The older form counts only where there is nothing in the newer one.
pub(super) fn take_toolset(
    body: &mut Object,
    ignored: &mut Ignored,
) -> Result<(Toolset, CallForm), RequestError> {
    let tools = take_tools(body, ignored)?;
    let functions = take_functions(body, ignored)?;
    let choice = take(body, "tool_choice");
    let legacy_choice = take(body, "function_call");
    let parallel = match optional_switch(body, "", "parallel_tool_calls")? {
        Some(false) => Parallel::One,
        Some(true) | None => Parallel::Many,
    };
    if tools.is_empty() && !functions.is_empty() {
        let choice = legacy_choice.map_or(Ok(Choice::Auto), read_legacy_choice)?;
        let toolset =
            checked(Toolset { tools: functions, choice, parallel: Parallel::One }, "function_call")?;
        return Ok((toolset, CallForm::Legacy));
    }
    if !functions.is_empty() {
        ignored.note("functions");
    }
    if let Some(choice) = legacy_choice.map(read_legacy_choice).transpose()? {
        if tools.is_empty() {
            checked(Toolset { choice, ..Toolset::default() }, "function_call")?;
        } else if choice != Choice::Auto {
            ignored.note("function_call");
        }
    }
    let choice = choice.map_or(Ok(Choice::Auto), read_choice)?;
    Ok((checked(Toolset { tools, choice, parallel }, "tool_choice")?, CallForm::Tools))
}

/// A custom tool's `format`: `{"type":"text"}`, or a grammar in one of the two places where APIs have it.
pub fn take_grammar(object: &mut Object, place: &str) -> Result<Option<Grammar>, RequestError> {
    let Some(mut format) = optional_object(object, place, "format")? else { return Ok(None) };
    let place = format!("{place}.format");
    if required_string(&mut format, &place, "type")? != "grammar" {
        return Ok(None);
    }
    let (mut grammar, place) = match optional_object(&mut format, &place, "grammar")? {
        Some(grammar) => (grammar, format!("{place}.grammar")),
        None => (format, place),
    };
    Ok(Some(Grammar {
        syntax: required_string(&mut grammar, &place, "syntax")?,
        definition: required_string(&mut grammar, &place, "definition")?,
    }))
}

/// The modes that are words.
pub fn read_mode(mode: &str, param: &str) -> Result<Choice, RequestError> {
    match mode {
        "auto" => Ok(Choice::Auto),
        "none" => Ok(Choice::None),
        // `any` is what some clients call it.
        "required" | "any" => Ok(Choice::Required),
        _ => Err(RequestError::invalid_value(
            param,
            "supported values are 'none', 'auto' and 'required', or an object that names a tool",
        )),
    }
}

/// How many of the allowed tools must be called.
pub fn read_need(allowed: &mut Object, place: &str) -> Result<Need, RequestError> {
    match optional_string(allowed, place, "mode")?.as_deref() {
        Some("required") => Ok(Need::Required),
        Some("auto") | None => Ok(Need::Optional),
        Some(_) => {
            Err(RequestError::invalid_value(&format!("{place}.mode"), "supported are 'auto' and 'required'"))
        }
    }
}

fn take_tools(body: &mut Object, ignored: &mut Ignored) -> Result<Vec<Tool>, RequestError> {
    let tools = optional_array(body, "", "tools")?.unwrap_or_default();
    let read = |(index, tool)| read_tool(tool, &format!("tools[{index}]"), ignored);
    tools.into_iter().enumerate().map(read).collect()
}

fn read_tool(tool: Value, place: &str, ignored: &mut Ignored) -> Result<Tool, RequestError> {
    let mut tool = as_object(tool, place)?;
    match required_string(&mut tool, place, "type")?.as_str() {
        "function" => {
            let Some(function) = take(&mut tool, "function") else {
                return Err(RequestError::missing(&format!("{place}.function")));
            };
            read_function(function, &format!("{place}.function"), "tools.function", ignored)
        }
        "custom" => {
            let Some(custom) = take(&mut tool, "custom") else {
                return Err(RequestError::missing(&format!("{place}.custom")));
            };
            let place = format!("{place}.custom");
            let mut custom = as_object(custom, &place)?;
            Ok(Tool {
                name: tool_name(&mut custom, &place)?,
                description: optional_string(&mut custom, &place, "description")?,
                input: Input::Text { grammar: take_grammar(&mut custom, &place)? },
            })
        }
        _ => Err(RequestError::invalid_value(
            &format!("{place}.type"),
            "supported values are 'function' and 'custom'",
        )),
    }
}

fn read_function(
    function: Value,
    place: &str,
    known: &str,
    ignored: &mut Ignored,
) -> Result<Tool, RequestError> {
    let mut function = as_object(function, place)?;
    let tool = Tool {
        name: tool_name(&mut function, place)?,
        description: optional_string(&mut function, place, "description")?,
        input: Input::Json { schema: take_parameters(&mut function, place, "parameters")? },
    };
    // Every call is held against the schema, whether or not it is to be followed to the letter.
    optional_switch(&mut function, place, "strict")?;
    ignored.note_rest(known, &function);
    Ok(tool)
}

fn take_functions(body: &mut Object, ignored: &mut Ignored) -> Result<Vec<Tool>, RequestError> {
    let functions = optional_array(body, "", "functions")?.unwrap_or_default();
    let read =
        |(index, function)| read_function(function, &format!("functions[{index}]"), "functions", ignored);
    functions.into_iter().enumerate().map(read).collect()
}

fn read_choice(choice: Value) -> Result<Choice, RequestError> {
    const PLACE: &str = "tool_choice";
    let mut choice = match choice {
        Value::String(mode) => return read_mode(&mode, PLACE),
        other => as_object(other, PLACE)?,
    };
    match required_string(&mut choice, PLACE, "type")?.as_str() {
        kind @ ("function" | "custom") => Ok(Choice::Named(named(&mut choice, PLACE, kind)?)),
        "allowed_tools" => {
            // The reference nests it; some clients do not.
            let (mut allowed, place) = match optional_object(&mut choice, PLACE, "allowed_tools")? {
                Some(allowed) => (allowed, "tool_choice.allowed_tools"),
                None => (choice, PLACE),
            };
            let need = read_need(&mut allowed, place)?;
            let tools = optional_array(&mut allowed, place, "tools")?.unwrap_or_default();
            let name = |(index, tool)| {
                let place = format!("{place}.tools[{index}]");
                let mut tool = as_object(tool, &place)?;
                let kind = required_string(&mut tool, &place, "type")?;
                named(&mut tool, &place, &kind)
            };
            let names = tools.into_iter().enumerate().map(name).collect::<Result<_, _>>()?;
            Ok(Choice::Allowed { names, need })
        }
        _ => Err(RequestError::invalid_value(
            "tool_choice.type",
            "supported values are 'function', 'custom' and 'allowed_tools'",
        )),
    }
}

/// `{"type": KIND, KIND: {"name"}}`, or with the name beside the type.
fn named(object: &mut Object, place: &str, kind: &str) -> Result<String, RequestError> {
    match optional_object(object, place, kind)? {
        Some(mut inner) => required_string(&mut inner, &format!("{place}.{kind}"), "name"),
        None => required_string(object, place, "name"),
    }
}

fn read_legacy_choice(choice: Value) -> Result<Choice, RequestError> {
    match choice {
        Value::String(mode) => match mode.as_str() {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::None),
            _ => Err(RequestError::invalid_value("function_call", "supported values are 'none' and 'auto'")),
        },
        other => {
            let mut choice = as_object(other, "function_call")?;
            required_string(&mut choice, "function_call", "name").map(Choice::Named)
        }
    }
}
