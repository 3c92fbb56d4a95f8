//! What the model is told about its tools.
//!
//! The form is that of Hermes, which most models have seen in training; the examples use the tools that are on offer,
//! so that nobody calls one that is not. Long text has a raw form, because models write worse code inside JSON
//! strings. It is kept short: all of it counts against the size of a request.

use serde_json::{Map, Value, json};

use super::super::ask::{Format, Input, Need, Parallel, Tool, Toolset};
use super::offer::Offer;

mod minify;

/// Nobody learns more from an example that is nested deeper.
const DEEPEST_SAMPLE: usize = 5;

pub use minify::{Closed, minify};

/// The text that is appended to the one system message; `None` when no tool is on offer.
pub fn block(toolset: &Toolset, format: &Format) -> Option<String> {
    let offer = Offer::of(toolset)?;
    let mut block = String::from(
        "# Tools\nYou can call the tools listed below; their results come back in the next user message as \
         <tool_response> blocks. A call is a block of exactly this form, on lines of its own (the values are examples):\n\n",
    );
    block.push_str(&example(offer.tools()[0]));
    if offer.parallel == Parallel::Many {
        block.push_str(
            "\n\nCalls that do not need each other's results go into one answer, a block each:\n\n",
        );
        let second = offer.tools().get(1).unwrap_or(&offer.tools()[0]);
        block.push_str(&[example(offer.tools()[0]), example(second)].join("\n"));
    }
    if let Some((tool, argument)) = offer.tools().iter().find_map(|tool| Some((tool, long_argument(tool)?))) {
        block.push_str(
            "\n\nA string argument with line breaks, quotes or code in it goes raw behind the JSON instead, exactly as \
             it is, with nothing escaped:\n\n",
        );
        block.push_str(&raw_example(tool, argument));
    }
    if offer.tools().iter().any(|tool| matches!(tool.input, Input::Text { .. })) {
        block.push_str("\n\nA tool with \"input\": \"text\" takes no JSON but the raw parameter \"input\".");
    }
    block.push_str(
        "\n\nNever put a call into a code fence or quotes. Never write a <tool_response> yourself: stop behind your last \
         call. Never call a tool that is not listed, and never leave out a required argument or add one that is not in \
         its parameters. To mention these tags without calling, put them in backticks.\n\nThe tools, one a line:\n",
    );
    for tool in offer.tools() {
        block.push_str(&line(tool));
        block.push('\n');
    }
    block.push('\n');
    block.push_str(&rule(&offer, format));
    Some(block)
}

fn rule(offer: &Offer<'_>, format: &Format) -> String {
    let mut rule = match (offer.need, offer.tools()) {
        (Need::Optional, _) => match format {
            Format::Text => {
                "Call tools when they are needed; if none is, answer normally, without such blocks.".to_owned()
            }
            Format::JsonObject | Format::Schema(_) => {
                "Call tools when they are needed, and do not guess what they would tell; if none is needed, answer in the \
                 form that is described above, without such blocks."
                    .to_owned()
            }
        },
        (Need::Required, [only]) => format!("This answer must call {}, whatever else it says.", only.name),
        (Need::Required, _) => "This answer must call at least one tool, whatever else it says.".to_owned(),
    };
    if offer.parallel == Parallel::One {
        rule.push_str(" Make one call at most, then wait for its result.");
    }
    rule
}

/// One tool, as one line of JSON.
fn line(tool: &Tool) -> String {
    let mut line = Map::new();
    line.insert("name".to_owned(), json!(tool.name));
    if let Some(description) = tool.description.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        line.insert("description".to_owned(), json!(description));
    }
    match &tool.input {
        Input::Json { schema } => {
            if let Some(schema) = schema {
                line.insert("parameters".to_owned(), minify(schema, &tool.name, Closed::Implied));
            }
        }
        Input::Text { grammar } => {
            line.insert("input".to_owned(), json!("text"));
            if let Some(grammar) = grammar {
                line.insert(
                    "grammar".to_owned(),
                    json!({"syntax": grammar.syntax, "definition": grammar.definition}),
                );
            }
        }
    }
    Value::Object(line).to_string()
}

fn example(tool: &Tool) -> String {
    match &tool.input {
        Input::Text { .. } => raw_example(tool, "input"),
        Input::Json { schema } => call(tool, Some(arguments(schema.as_ref(), None)), ""),
    }
}

fn raw_example(tool: &Tool, argument: &str) -> String {
    let raw = format!("<parameter name=\"{argument}\">\nfirst line\n\"second\" line\n</parameter>\n");
    match &tool.input {
        Input::Text { .. } => call(tool, None, &raw),
        Input::Json { schema } => call(tool, Some(arguments(schema.as_ref(), Some(argument))), &raw),
    }
}

fn call(tool: &Tool, arguments: Option<String>, raw: &str) -> String {
    let name = json!(tool.name);
    let arguments = arguments.map(|arguments| format!(", \"arguments\": {arguments}")).unwrap_or_default();
    format!("<tool_call>\n{{\"name\": {name}{arguments}}}\n{raw}</tool_call>")
}

/// The required arguments, each with a value of its type.
fn arguments(schema: Option<&Value>, but: Option<&str>) -> String {
    let Some(schema) = schema else { return "{}".to_owned() };
    let entries: Vec<String> = required(schema)
        .filter(|name| Some(*name) != but)
        .map(|name| format!("{}: {}", json!(name), sample(schema, property(schema, name), DEEPEST_SAMPLE)))
        .collect();
    format!("{{{}}}", entries.join(", "))
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties")?.get(name)
}

/// A value that `schema`, a part of `root`, is likely content with.
fn sample(root: &Value, schema: Option<&Value>, depth: usize) -> Value {
    let (Some(schema), Some(depth)) = (schema, depth.checked_sub(1)) else { return json!("…") };
    let within = |schema| sample(root, Some(schema), depth);
    if let Some(value) = schema.get("const").or_else(|| schema.get("enum")?.get(0)) {
        return value.clone();
    }
    if let Some(target) =
        schema.get("$ref").and_then(Value::as_str).and_then(|target| root.pointer(target.strip_prefix('#')?))
    {
        return within(target);
    }
    if let Some(first) = ["anyOf", "oneOf", "allOf"].iter().find_map(|keyword| schema.get(keyword)?.get(0)) {
        return within(first);
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        kind => kind.and_then(Value::as_str),
    };
    match kind {
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => Value::Array(schema.get("items").map(within).into_iter().collect()),
        Some("object") => {
            let entry = |name: &str| (name.to_owned(), sample(root, property(schema, name), depth));
            Value::Object(required(schema).map(entry).collect())
        }
        _ => json!("…"),
    }
}

/// The argument of a tool that is likeliest to be long text: what it is named says so.
fn long_argument(tool: &Tool) -> Option<&str> {
    const LONG: [&str; 9] =
        ["content", "code", "text", "new_string", "patch", "body", "source", "script", "command"];
    let Input::Json { schema } = &tool.input else { return Some("input") };
    let properties = schema.as_ref()?.get("properties")?.as_object()?;
    let is_text = |name: &str| {
        properties.get(name).is_some_and(|schema| {
            schema.get("type").and_then(Value::as_str) == Some("string") && schema.get("enum").is_none()
        })
    };
    let lower = |name: &String| name.to_lowercase();
    let long = |name: &&String| {
        is_text(name)
            && LONG
                .iter()
                .any(|word| lower(name).contains(&word.replace('_', "")) || lower(name).contains(word))
    };
    properties.keys().find(long).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::super::ask::{Choice, Grammar};
    use super::super::parse::{Ending, parse};
    use super::*;

    fn toolset() -> Toolset {
        let read =
            json!({"type": "object", "required": ["path"], "properties": {"path": {"type": "string"}}});
        let write = json!({"$schema": "x", "type": "object", "required": ["path", "content"], "additionalProperties": false,
            "properties": {"path": {"type": "string"}, "content": {"type": "string", "title": "Content"}}});
        let grammar = Grammar { syntax: "lark".into(), definition: "start: /a/".into() };
        let tool =
            |name: &str, input| Tool { name: name.into(), description: Some(format!("Does {name}.")), input };
        let tools = vec![
            tool("read", Input::Json { schema: Some(read) }),
            tool("write", Input::Json { schema: Some(write) }),
            tool("patch", Input::Text { grammar: Some(grammar) }),
        ];
        Toolset { tools, ..Toolset::default() }
    }

    fn with(choice: Choice, parallel: Parallel) -> String {
        block(&Toolset { choice, parallel, ..toolset() }, &Format::Text).unwrap_or_default()
    }

    #[test]
    fn each_tool_is_one_line_without_what_says_nothing() {
        let block = with(Choice::Auto, Parallel::Many);
        for line in [
            r#"{"name":"read","description":"Does read.","parameters":{"type":"object","required":["path"],"properties":{"path":{"type":"string"}}}}"#,
            r#"{"name":"write","description":"Does write.","parameters":{"type":"object","required":["path","content"],"properties":{"path":{"type":"string"},"content":{"type":"string"}}}}"#,
            r#"{"name":"patch","description":"Does patch.","input":"text","grammar":{"syntax":"lark","definition":"start: /a/"}}"#,
        ] {
            assert!(block.lines().any(|found| found == line), "{line} in {block}");
        }
        // What is said beside them.
        let lines: usize =
            block.lines().filter(|line| line.starts_with("{\"name\":\"")).map(|line| line.len() + 1).sum();
        assert!(block.len() - lines < 2_000, "{}", block.len() - lines);
    }

    #[test]
    fn the_last_word_is_how_the_tools_may_be_used() {
        let last =
            |choice, parallel| with(choice, parallel).lines().last().map(str::to_owned).unwrap_or_default();
        assert!(last(Choice::Auto, Parallel::Many).starts_with("Call tools when they are needed"));
        let formed = block(&toolset(), &Format::JsonObject).unwrap_or_default();
        assert!(
            formed.contains("answer in the form that is described above") && !formed.contains("normally")
        );
        assert!(last(Choice::Auto, Parallel::One).ends_with("one call at most, then wait for its result."));
        assert!(last(Choice::Required, Parallel::Many).contains("must call at least one tool"));
        assert!(last(Choice::Named("write".into()), Parallel::Many).contains("must call write"));
        let allowed = Choice::Allowed { names: vec!["read".into()], need: Need::Optional };
        assert!(!with(allowed, Parallel::Many).contains("\"write\""));
        assert!(!with(Choice::Named("write".into()), Parallel::Many).contains("\"read\""));
        assert_eq!(with(Choice::None, Parallel::Many), "");
        assert!(block(&Toolset::default(), &Format::Text).is_none());
    }

    #[test]
    fn the_examples_are_calls_that_would_be_understood() {
        let block = with(Choice::Auto, Parallel::Many);
        let parsed = parse(&block, &toolset(), Ending::Whole);
        let names: Vec<&str> = parsed.calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["read", "read", "write", "write"]);
        assert!(parsed.calls.iter().all(|call| call.complaint.is_none()));
        assert_eq!(
            parsed.calls[3].arguments,
            "{\"path\": \"…\", \"content\": \"first line\\n\\\"second\\\" line\"}"
        );
        assert_eq!(parse(&with(Choice::Auto, Parallel::One), &toolset(), Ending::Whole).calls.len(), 2);
    }

    #[test]
    fn an_example_keeps_to_the_schema() {
        let schema = json!({"required": ["at", "how", "who", "tags"], "$defs": {"who": {"type": "object", "required": ["name"],
            "properties": {"name": {"type": "string"}}}}, "properties": {
                "at": {"type": "object", "required": ["x", "y"], "properties": {"x": {"type": "number"}, "y": {"type": "integer"},
                    "z": {"type": "integer"}}},
                "how": {"anyOf": [{"const": 7}, {"type": "null"}]},
                "who": {"$ref": "#/$defs/who"},
                "tags": {"type": "array", "items": {"enum": ["red", "green"]}}}});
        let example = arguments(Some(&schema), None);
        assert_eq!(
            serde_json::from_str::<Value>(&example).unwrap(),
            json!({"at": {"x": 1, "y": 1}, "how": 7, "who": {"name": "…"}, "tags": ["red"]})
        );
        assert_eq!(
            arguments(Some(&json!({"required": ["a"], "properties": {"a": {"$ref": "#"}}})), None),
            "{\"a\": \"…\"}"
        );
    }

    #[test]
    #[ignore = "prints, for people to read"]
    fn the_block_as_the_model_sees_it() {
        println!("{}", with(Choice::Auto, Parallel::Many));
    }
}
