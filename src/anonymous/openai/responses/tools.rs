//! Reading `tools`, `tool_choice` and `parallel_tool_calls`, and remembering under which names calls go back.
//!
//! | tool | what the model sees | its calls go back as |
//! | --- | --- | --- |
//! | `function` | the function | `function_call` |
//! | `custom` | a tool that takes text | `custom_tool_call` |
//! | `namespace` | its tools, as `namespace.tool` | calls of their kind, with `name` and `namespace` |
//! | `local_shell` | a function that takes a command | `local_shell_call` |
//! | `shell` on the client's machine | a function that takes commands | `shell_call` |
//! | `apply_patch` | a function that takes one change of one file | `apply_patch_call` |
//! | what OpenAI's servers run | nothing | [`RESPONSES`] says which are left out and which refused |
//!
//! Names are unique among all of them. Tools that came in the course of the conversation and are there already count
//! once.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::fields::RESPONSES;
use super::super::tools::{read_mode, read_need, take_grammar};
use crate::anonymous::emulate::ask::{Choice, Input, Need, Parallel, Tool, Toolset};
use crate::anonymous::face::Ignored;
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::fields::Treatment;
use crate::anonymous::face::json::{
    Object, as_object, optional_array, optional_object, optional_string, optional_switch, required_string,
    take,
};
use crate::anonymous::face::toolset::{checked, take_parameters, tool_name};

/// As whose calls the model's go back, by the name that the model knows. No `Debug`: tools are part of the prompt.
#[derive(Default)]
pub struct Names {
    origins: HashMap<String, Origin>,
}

/// Where a tool comes from.
pub struct Origin {
    /// In which group it is.
    pub namespace: Option<String>,
    /// By which name the client knows it.
    pub name: String,
    /// What its calls look like.
    pub form: Form,
}

/// What calls of a tool look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As calls of functions and custom tools do.
    Plain,
    /// `local_shell_call`.
    LocalShell,
    /// `shell_call`.
    Shell,
    /// `apply_patch_call`.
    ApplyPatch,
}

impl Names {
    /// Where the tool that the model calls `name` comes from.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.origins.get(name)
    }
}

/// The name by which a model knows a tool of `namespace`.
pub fn joined(namespace: Option<&str>, name: &str) -> String {
    match namespace {
        None | Some("") => name.to_owned(),
        Some(namespace) if namespace.ends_with(['_', '.', ':', '/']) => format!("{namespace}{name}"),
        Some(namespace) => format!("{namespace}.{name}"),
    }
}

/// Takes everything about tools out of `body`; `more` came in the course of the conversation.
pub(super) fn take_toolset(
    body: &mut Object,
    more: Vec<Value>,
    ignored: &mut Ignored,
) -> Result<(Toolset, Names), RequestError> {
    let mut reader = Reader { tools: Vec::new(), names: Names::default(), left_out: 0, ignored };
    for (index, tool) in optional_array(body, "", "tools")?.unwrap_or_default().into_iter().enumerate() {
        reader.tool(tool, &format!("tools[{index}]"))?;
    }
    let own = reader.tools.len();
    for tool in more {
        reader.tool(tool, "input.tools")?;
    }
    for tool in reader.tools.split_off(own) {
        if !reader.tools.iter().any(|known| known.name == tool.name) {
            reader.tools.push(tool);
        }
    }
    let choice = match take(body, "tool_choice") {
        Some(choice) => reader.choice(choice)?,
        None => Choice::Auto,
    };
    let parallel = match optional_switch(body, "", "parallel_tool_calls")? {
        Some(false) => Parallel::One,
        Some(true) | None => Parallel::Many,
    };
    let Reader { tools, names, .. } = reader;
    Ok((checked(Toolset { tools, choice, parallel }, "tool_choice")?, names))
}

struct Reader<'a> {
    tools: Vec<Tool>,
    names: Names,
    /// How many tools the model is not told of.
    left_out: usize,
    ignored: &'a mut Ignored,
}

impl Reader<'_> {
    fn tool(&mut self, tool: Value, place: &str) -> Result<(), RequestError> {
        let mut tool = as_object(tool, place)?;
        let kind = required_string(&mut tool, place, "type")?;
        match kind.as_str() {
            "function" | "custom" => self.own(&kind, &mut tool, place, None, ""),
            "namespace" => self.namespace(&mut tool, place),
            "local_shell" => {
                self.made_here(Form::LocalShell);
                Ok(())
            }
            "shell" => {
                if let Some(mut environment) = optional_object(&mut tool, place, "environment")? {
                    let place = format!("{place}.environment");
                    if required_string(&mut environment, &place, "type")? != "local" {
                        return Err(RequestError::invalid_value(
                            &format!("{place}.type"),
                            "there are no containers here; supported is 'local'",
                        ));
                    }
                }
                self.made_here(Form::Shell);
                Ok(())
            }
            "apply_patch" => {
                self.made_here(Form::ApplyPatch);
                Ok(())
            }
            kind => self.hosted(kind, place),
        }
    }

    /// A tool that the client describes.
    fn own(
        &mut self,
        kind: &str,
        tool: &mut Object,
        place: &str,
        namespace: Option<&str>,
        about: &str,
    ) -> Result<(), RequestError> {
        let name = tool_name(tool, place)?;
        let description = optional_string(tool, place, "description")?;
        let input = if kind == "custom" {
            Input::Text { grammar: take_grammar(tool, place)? }
        } else {
            Input::Json { schema: take_parameters(tool, place, "parameters")? }
        };
        let description = match (about, description) {
            ("", description) => description,
            (about, None) => Some(about.to_owned()),
            (about, Some(description)) => Some(format!("{about}\n{description}")),
        };
        let known = joined(namespace, &name);
        self.tools.push(Tool { name: known.clone(), description, input });
        let namespace = namespace.map(str::to_owned);
        self.names.origins.insert(known, Origin { namespace, name, form: Form::Plain });
        Ok(())
    }

    /// What a group is for is said once, with its first tool.
    fn namespace(&mut self, group: &mut Object, place: &str) -> Result<(), RequestError> {
        let namespace = tool_name(group, place)?;
        let about = optional_string(group, place, "description")?.unwrap_or_default();
        let mut about = if about.trim().is_empty() { about } else { format!("({namespace}: {about})") };
        for (index, tool) in
            optional_array(group, place, "tools")?.unwrap_or_default().into_iter().enumerate()
        {
            let place = format!("{place}.tools[{index}]");
            let mut tool = as_object(tool, &place)?;
            match required_string(&mut tool, &place, "type")?.as_str() {
                kind @ ("function" | "custom") => {
                    self.own(kind, &mut tool, &place, Some(&namespace), &std::mem::take(&mut about))?;
                }
                _ => {
                    return Err(RequestError::invalid_value(
                        &format!("{place}.type"),
                        "supported in a namespace are 'function' and 'custom'",
                    ));
                }
            }
        }
        Ok(())
    }

    /// A tool whose description everybody knows but the model.
    fn made_here(&mut self, form: Form) {
        let (name, description, schema) = match form {
            Form::Plain => return,
            Form::LocalShell => (
                "local_shell",
                "Runs a program on the user's machine and returns what it prints.",
                json!({"type": "object", "properties": {
                    "command": {"type": "array", "items": {"type": "string"},
                        "description": "The program and its arguments, such as [\"bash\", \"-lc\", \"ls | head\"]."},
                    "workdir": {"type": "string", "description": "Where to run it."},
                    "timeout_ms": {"type": "integer"}},
                    "required": ["command"], "additionalProperties": false}),
            ),
            Form::Shell => (
                "shell",
                "Runs shell commands on the user's machine and returns what they print.",
                json!({"type": "object", "properties": {
                    "commands": {"type": "array", "items": {"type": "string"}, "description": "Each a line of shell."},
                    "timeout_ms": {"type": "integer"},
                    "max_output_length": {"type": "integer", "description": "In characters, of each command."}},
                    "required": ["commands"], "additionalProperties": false}),
            ),
            Form::ApplyPatch => (
                "apply_patch",
                "Creates, changes or deletes one file. A diff is in the V4A form: for a new file every line begins \
                 with +; for a change each hunk begins with @@ and a line of its surroundings, and its lines with a \
                 space, + or -.",
                json!({"type": "object", "properties": {
                    "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                    "path": {"type": "string"},
                    "diff": {"type": "string", "description": "Not for delete_file."}},
                    "required": ["type", "path"], "additionalProperties": false}),
            ),
        };
        self.tools.push(Tool {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            input: Input::Json { schema: Some(schema) },
        });
        let origin = Origin { namespace: None, name: name.to_owned(), form };
        self.names.origins.insert(name.to_owned(), origin);
    }

    /// A tool that OpenAI's servers run.
    fn hosted(&mut self, kind: &str, place: &str) -> Result<(), RequestError> {
        match hosted(kind) {
            Some((name, Treatment::Ignored, _)) => {
                self.left_out += 1;
                self.ignored.note(name);
                Ok(())
            }
            Some((_, _, why)) => Err(RequestError::invalid_value(
                &format!("{place}.type"),
                format_args!("this tool is not supported: {why}"),
            )),
            None => Err(RequestError::invalid_value(
                &format!("{place}.type"),
                "supported are 'function', 'custom', 'namespace', 'local_shell', 'shell' and 'apply_patch'",
            )),
        }
    }

    fn choice(&mut self, choice: Value) -> Result<Choice, RequestError> {
        const PLACE: &str = "tool_choice";
        let mut choice = match choice {
            Value::String(mode) => {
                let choice = read_mode(&mode, PLACE)?;
                if choice == Choice::Required && self.tools.is_empty() && self.left_out > 0 {
                    return Ok(self.without_effect());
                }
                return Ok(choice);
            }
            other => as_object(other, PLACE)?,
        };
        let kind = required_string(&mut choice, PLACE, "type")?;
        if kind == "allowed_tools" {
            return self.allowed(choice);
        }
        if hosted(&kind).is_some_and(|(_, treatment, _)| treatment == Treatment::Ignored) {
            return Ok(self.without_effect());
        }
        let mut names = self.named(&kind, &mut choice, PLACE)?;
        match (names.pop(), names.is_empty()) {
            (Some(name), true) => Ok(Choice::Named(name)),
            (Some(name), false) => {
                names.push(name);
                Ok(Choice::Allowed { names, need: Need::Required })
            }
            (None, _) => {
                Err(RequestError::invalid_value(PLACE, "the tool that it names is not among the tools"))
            }
        }
    }

    fn allowed(&mut self, mut choice: Object) -> Result<Choice, RequestError> {
        const PLACE: &str = "tool_choice";
        let need = read_need(&mut choice, PLACE)?;
        let mut names = Vec::new();
        let mut left_out = false;
        for (index, tool) in
            optional_array(&mut choice, PLACE, "tools")?.unwrap_or_default().into_iter().enumerate()
        {
            let place = format!("{PLACE}.tools[{index}]");
            let mut tool = as_object(tool, &place)?;
            let kind = required_string(&mut tool, &place, "type")?;
            if hosted(&kind).is_some() {
                left_out = true;
            } else {
                names.append(&mut self.named(&kind, &mut tool, &place)?);
            }
        }
        if names.is_empty() && left_out {
            self.ignored.note(PLACE);
            return Ok(Choice::None);
        }
        Ok(Choice::Allowed { names, need })
    }

    /// The tools that one entry of a choice names, as the model knows them.
    fn named(&self, kind: &str, entry: &mut Object, place: &str) -> Result<Vec<String>, RequestError> {
        match kind {
            "function" | "custom" => {
                let namespace = optional_string(entry, place, "namespace")?;
                let name = required_string(entry, place, "name")?;
                let known = joined(namespace.as_deref(), &name);
                if self.names.origins.contains_key(&known) {
                    return Ok(vec![known]);
                }
                // One of a group may be named without it.
                let mut fitting = self.names.origins.iter().filter(|(_, origin)| origin.name == name);
                match (fitting.next(), fitting.next()) {
                    (Some((known, _)), None) if namespace.is_none() => Ok(vec![known.clone()]),
                    _ => Ok(vec![known]),
                }
            }
            "namespace" => {
                let name = required_string(entry, place, "name")?;
                let of_it = |tool: &&Tool| {
                    let origin = self.names.origin(&tool.name);
                    origin.is_some_and(|origin| origin.namespace.as_deref() == Some(name.as_str()))
                };
                Ok(self.tools.iter().filter(of_it).map(|tool| tool.name.clone()).collect())
            }
            "local_shell" | "shell" | "apply_patch" => Ok(vec![kind.to_owned()]),
            _ => Err(RequestError::invalid_value(
                &format!("{place}.type"),
                "supported are 'function', 'custom', 'allowed_tools', 'local_shell', 'shell' and 'apply_patch'",
            )),
        }
    }

    fn without_effect(&mut self) -> Choice {
        self.ignored.note("tool_choice");
        Choice::Auto
    }
}

/// What becomes of a tool that OpenAI's servers run, by the table.
fn hosted(kind: &str) -> Option<(&'static str, Treatment, &'static str)> {
    let field = RESPONSES.fields.iter().find(|field| field.name.strip_prefix("tools.") == Some(kind))?;
    match field.treatment {
        Treatment::Ignored | Treatment::Refused => Some((field.name, field.treatment, field.note)),
        Treatment::Carried | Treatment::Emulated => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value, more: Vec<Value>) -> Result<(Toolset, Names, Ignored), RequestError> {
        let Value::Object(mut body) = body else { panic!("no object") };
        let mut ignored = Ignored::default();
        let (toolset, names) = take_toolset(&mut body, more, &mut ignored)?;
        Ok((toolset, names, ignored))
    }

    fn names_of(toolset: &Toolset) -> Vec<&str> {
        toolset.tools.iter().map(|tool| tool.name.as_str()).collect()
    }

    fn function(name: &str) -> Value {
        json!({"type": "function", "name": name, "parameters": {"type": "object"}, "strict": false})
    }

    fn param(body: Value) -> String {
        match read(body, Vec::new()) {
            Err(RequestError::Parameter(bad)) => bad.param.unwrap().into(),
            _ => panic!("not refused with a parameter"),
        }
    }

    #[test]
    fn tools_are_shown_under_one_name_each_and_known_by_it_again() {
        let tools = json!([
            function("f"),
            {"type": "custom", "name": "sh", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}},
            {"type": "namespace", "name": "agents", "description": "Sub-agents.", "tools": [
                {"type": "function", "name": "close", "description": "Close one."}, function("open")]},
            {"type": "namespace", "name": "mcp__a__", "tools": [function("f")]},
            {"type": "local_shell"}, {"type": "shell", "environment": {"type": "local"}}, {"type": "apply_patch"},
        ]);
        let (toolset, names, _) = read(json!({"tools": tools}), Vec::new()).ok().unwrap();
        assert_eq!(
            names_of(&toolset),
            ["f", "sh", "agents.close", "agents.open", "mcp__a__f", "local_shell", "shell", "apply_patch"]
        );
        assert_eq!(toolset.tools[2].description.as_deref(), Some("(agents: Sub-agents.)\nClose one."));
        assert_eq!(toolset.tools[3].description, None);
        assert!(
            matches!(&toolset.tools[1].input, Input::Text { grammar: Some(grammar) } if grammar.syntax == "lark")
        );
        let origin = names.origin("agents.close").unwrap();
        assert_eq!((origin.namespace.as_deref(), origin.name.as_str()), (Some("agents"), "close"));
        assert_eq!(names.origin("apply_patch").unwrap().form, Form::ApplyPatch);
        assert!(names.origin("close").is_none());
    }

    #[test]
    fn what_servers_run_is_left_out_or_refused_as_the_table_says() {
        let tools =
            json!([{"type": "web_search"}, {"type": "image_generation"}, {"type": "web_search_preview"}]);
        let (toolset, _, ignored) =
            read(json!({"tools": tools, "tool_choice": "required"}), Vec::new()).ok().unwrap();
        assert!(toolset.tools.is_empty() && toolset.choice == Choice::Auto);
        assert_eq!(
            ignored.names(),
            ["tool_choice", "tools.image_generation", "tools.web_search", "tools.web_search_preview"]
        );
        for kind in ["mcp", "file_search", "computer_use_preview", "computer", "canary", "text"] {
            assert_eq!(param(json!({"tools": [{"type": kind}]})), "tools[0].type", "{kind}");
        }
        let container = json!({"type": "shell", "environment": {"type": "container_auto"}});
        assert_eq!(param(json!({"tools": [container]})), "tools[0].environment.type");
    }

    #[test]
    fn tools_that_came_later_are_on_offer_once() {
        let more = vec![function("f"), function("g"), function("g")];
        let (toolset, ..) = read(json!({"tools": [function("f")]}), more).ok().unwrap();
        assert_eq!(names_of(&toolset), ["f", "g"]);
    }

    #[test]
    fn every_form_of_choice_is_understood() {
        let tools = json!([function("f"), {"type": "namespace", "name": "n", "tools": [function("a"), function("b")]},
            {"type": "web_search"}, {"type": "local_shell"}]);
        let choice = |choice: Value| {
            read(json!({"tools": tools, "tool_choice": choice}), Vec::new()).ok().unwrap().0.choice
        };
        let allowed = |names: &[&str], need| Choice::Allowed {
            names: names.iter().map(|&name| name.into()).collect(),
            need,
        };
        let cases = [
            (json!(null), Choice::Auto),
            (json!("none"), Choice::None),
            (json!("required"), Choice::Required),
            (json!({"type": "function", "name": "f"}), Choice::Named("f".into())),
            (json!({"type": "function", "name": "a"}), Choice::Named("n.a".into())),
            (json!({"type": "function", "name": "b", "namespace": "n"}), Choice::Named("n.b".into())),
            (json!({"type": "namespace", "name": "n"}), allowed(&["n.a", "n.b"], Need::Required)),
            (json!({"type": "local_shell"}), Choice::Named("local_shell".into())),
            (json!({"type": "web_search"}), Choice::Auto),
            (
                json!({"type": "allowed_tools", "mode": "required", "tools": [
                    {"type": "function", "name": "f"}, {"type": "web_search"}]}),
                allowed(&["f"], Need::Required),
            ),
            (
                json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}),
                Choice::None,
            ),
        ];
        for (given, expected) in cases {
            assert!(choice(given.clone()) == expected, "{given}");
        }
        for (given, at) in [
            (json!("sometimes"), "tool_choice"),
            (json!({"type": "function", "name": "z"}), "tool_choice"),
            (json!({"type": "namespace", "name": "z"}), "tool_choice"),
            (json!({"type": "mcp", "server_label": "a"}), "tool_choice.type"),
            (json!({"type": "allowed_tools", "mode": "auto", "tools": []}), "tool_choice"),
        ] {
            assert_eq!(param(json!({"tools": tools, "tool_choice": given})), at, "{given}");
        }
    }

    #[test]
    fn names_must_differ() {
        assert_eq!(param(json!({"tools": [function("f"), function("f")]})), "tools");
    }
}
