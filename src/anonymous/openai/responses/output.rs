//! What an answer comes to as output items: what the model says, then its calls.
//!
//! | heard | item |
//! | --- | --- |
//! | a text, a refusal | one `message` with a part of each |
//! | a call of a function or a custom tool | `function_call`, `custom_tool_call`, with the name and namespace that the client knows |
//! | a call of `local_shell`, `shell`, `apply_patch` | the call of its own form, if its arguments say what that needs |
//! | the same, if they do not | `function_call`: the client says what is wrong, and the model corrects it |
//!
//! Nothing is invented for a call that cannot be understood.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::tools::{Form, Names};
use crate::anonymous::emulate::answer::{CallKind, Finish, Heard, MadeCall};
use crate::anonymous::face::json;

/// An output item. No `Debug`: it is the answer.
pub struct Item {
    /// `msg_…`, `fc_…`, …
    pub id: String,
    /// What it says.
    pub content: Content,
    /// Whether all of it is there.
    pub end: End,
}

/// What an item says.
pub enum Content {
    /// In this order.
    Message(Vec<Part>),
    /// A call whose arguments are a text.
    Call {
        /// By which its output refers to it.
        call_id: String,
        /// In which group its tool is.
        namespace: Option<String>,
        /// Of the tool.
        name: String,
        /// What kind of tool.
        kind: CallKind,
        /// Arguments or input.
        arguments: String,
    },
    /// A call of another form: everything but id and status.
    Action(Map<String, Value>),
}

/// A part of a message.
pub enum Part {
    /// What the model said.
    Text {
        /// The words.
        text: String,
        /// Citations in them.
        annotations: Vec<Value>,
    },
    /// Why it would not say it.
    Refusal(String),
}

/// Whether all of an item is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is.
    Completed,
    /// It was cut.
    Incomplete,
}

/// How much of an item is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// That it is there.
    Added,
    /// All.
    Done,
}

/// The items of `heard`, with ids that end in `suffix` and their index.
pub fn items(heard: Heard, names: &Names, suffix: &str) -> Vec<Item> {
    let Heard { text, refusal, annotations, calls, finish, .. } = heard;
    let mut parts = Vec::new();
    if let Some(text) = text.filter(|text| !text.is_empty() || (refusal.is_none() && calls.is_empty())) {
        let annotations = annotations.map(flat_annotations).unwrap_or_default();
        parts.push(Part::Text { text, annotations });
    }
    parts.extend(refusal.map(Part::Refusal));
    let mut contents = Vec::new();
    if !parts.is_empty() {
        contents.push(("msg", Content::Message(parts)));
    }
    contents.extend(calls.into_iter().map(|call| called(call, names)));
    let last = contents.len().saturating_sub(1);
    let item = |(index, (prefix, content)): (usize, (&str, Content))| Item {
        id: format!("{prefix}_{suffix}{index:02x}"),
        content,
        end: match finish {
            Finish::Length | Finish::ContentFilter if index == last => End::Incomplete,
            _ => End::Completed,
        },
    };
    contents.into_iter().enumerate().map(item).collect()
}

impl Item {
    /// As JSON, behind what `out` has.
    pub fn write(&self, out: &mut Vec<u8>, stage: Stage) {
        json::write(out, &Shown { item: self, stage });
    }

    fn status(&self, stage: Stage) -> &'static str {
        match (stage, self.end) {
            (Stage::Added, _) => "in_progress",
            (Stage::Done, End::Completed) => "completed",
            (Stage::Done, End::Incomplete) => "incomplete",
        }
    }
}

impl Part {
    /// What is said in it.
    pub fn words(&self) -> &str {
        match self {
            Self::Text { text, .. } | Self::Refusal(text) => text,
        }
    }

    /// As JSON, behind what `out` has; `Added` without its words.
    pub fn write(&self, out: &mut Vec<u8>, stage: Stage) {
        json::write(out, &self.shown(stage));
    }

    fn shown(&self, stage: Stage) -> ShownPart<'_> {
        match (self, stage) {
            (Self::Text { text, annotations }, Stage::Done) => {
                ShownPart::OutputText { annotations, logprobs: [], text }
            }
            (Self::Text { .. }, Stage::Added) => {
                ShownPart::OutputText { annotations: &[], logprobs: [], text: "" }
            }
            (Self::Refusal(refusal), Stage::Done) => ShownPart::Refusal { refusal },
            (Self::Refusal(_), Stage::Added) => ShownPart::Refusal { refusal: "" },
        }
    }
}

/// An item at a stage.
pub struct Shown<'a> {
    /// Which.
    pub item: &'a Item,
    /// At which.
    pub stage: Stage,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ShownPart<'a> {
    OutputText { annotations: &'a [Value], logprobs: [(); 0], text: &'a str },
    Refusal { refusal: &'a str },
}

impl Serialize for Shown<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        enum Form<'a> {
            Message {
                id: &'a str,
                status: &'static str,
                role: &'static str,
                content: Vec<ShownPart<'a>>,
            },
            FunctionCall {
                id: &'a str,
                status: &'static str,
                arguments: &'a str,
                #[serde(flatten)]
                callee: Callee<'a>,
            },
            CustomToolCall {
                id: &'a str,
                status: &'static str,
                input: &'a str,
                #[serde(flatten)]
                callee: Callee<'a>,
            },
        }
        #[derive(Serialize)]
        struct Callee<'a> {
            call_id: &'a str,
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            namespace: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Action<'a> {
            id: &'a str,
            status: &'static str,
            #[serde(flatten)]
            rest: &'a Map<String, Value>,
        }
        let Self { item, stage } = *self;
        let (id, status) = (item.id.as_str(), item.status(stage));
        match &item.content {
            Content::Message(parts) => {
                let content = match stage {
                    Stage::Added => Vec::new(),
                    Stage::Done => parts.iter().map(|part| part.shown(stage)).collect(),
                };
                Form::Message { id, status, role: "assistant", content }.serialize(serializer)
            }
            Content::Call { call_id, namespace, name, kind, arguments } => {
                let callee = Callee { call_id, name, namespace: namespace.as_deref() };
                let arguments = if stage == Stage::Done { arguments } else { "" };
                match kind {
                    CallKind::Function => Form::FunctionCall { id, status, arguments, callee },
                    CallKind::Custom => Form::CustomToolCall { id, status, input: arguments, callee },
                }
                .serialize(serializer)
            }
            Content::Action(rest) => Action { id, status, rest }.serialize(serializer),
        }
    }
}

fn called(call: MadeCall, names: &Names) -> (&'static str, Content) {
    let MadeCall { id: call_id, name, kind, arguments } = call;
    let origin = names.origin(&name);
    if let Some(action) = origin.and_then(|origin| action(origin.form, &arguments, &call_id)) {
        return action;
    }
    let prefix = match kind {
        CallKind::Function => "fc",
        CallKind::Custom => "ctc",
    };
    let (namespace, name) = match origin {
        Some(origin) => (origin.namespace.clone(), origin.name.clone()),
        None => (None, name),
    };
    (prefix, Content::Call { call_id, namespace, name, kind, arguments })
}

/// A call of a form of its own, if its arguments say what that needs.
fn action(form: Form, arguments: &str, call_id: &str) -> Option<(&'static str, Content)> {
    if form == Form::Plain {
        return None;
    }
    let Ok(Value::Object(mut given)) = serde_json::from_str(arguments) else { return None };
    let texts = |given: &Map<String, Value>, key: &str| {
        let texts = given.get(key)?.as_array()?;
        (!texts.is_empty() && texts.iter().all(Value::is_string)).then(|| texts.clone())
    };
    let mut take = |key: &str| given.remove(key).unwrap_or_default();
    let (prefix, action) = match form {
        Form::Plain => return None,
        Form::LocalShell => (
            "lsh",
            json!({"type": "local_shell_call", "call_id": call_id, "action": {
                "type": "exec", "timeout_ms": take("timeout_ms"), "working_directory": take("workdir"),
                "env": {}, "user": null, "command": texts(&given, "command")?}}),
        ),
        Form::Shell => (
            "sh",
            json!({"type": "shell_call", "call_id": call_id, "environment": {"type": "local"}, "action": {
                "timeout_ms": take("timeout_ms"), "max_output_length": take("max_output_length"),
                "commands": texts(&given, "commands")?}}),
        ),
        Form::ApplyPatch => {
            let (kind, path, diff) = (take("type"), take("path"), take("diff"));
            path.as_str()?;
            let operation = match kind.as_str()? {
                kind @ "delete_file" => json!({"type": kind, "path": path}),
                kind @ ("create_file" | "update_file") if diff.is_string() => {
                    json!({"type": kind, "path": path, "diff": diff})
                }
                _ => return None,
            };
            ("apc", json!({"type": "apply_patch_call", "call_id": call_id, "operation": operation}))
        }
    };
    match action {
        Value::Object(action) => Some((prefix, Content::Action(action))),
        _ => None,
    }
}

/// Citations as this API has them: what the older one nests under `url_citation` stands beside `type`. Where the
/// provider names no span or title, they are empty; what is no citation of a page is left out.
fn flat_annotations(annotations: Value) -> Vec<Value> {
    let Value::Array(annotations) = annotations else { return Vec::new() };
    let flat = |mut annotation: Value| {
        if annotation.get("type")?.as_str()? != "url_citation" {
            return None;
        }
        let nested = annotation.get_mut("url_citation").map(Value::take);
        let citation = nested.unwrap_or(annotation);
        let url = citation.get("url")?.as_str()?;
        let index = |key: &str| citation.get(key).and_then(Value::as_u64).unwrap_or_default();
        let title = citation.get("title").and_then(Value::as_str).unwrap_or_default();
        Some(
            json!({"type": "url_citation", "start_index": index("start_index"), "end_index": index("end_index"),
            "url": url, "title": title}),
        )
    };
    annotations.into_iter().filter_map(flat).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use async_openai::types::responses::OutputItem;

    use super::super::tools::take_toolset;
    use super::*;
    use crate::anonymous::face::Ignored;

    /// The names of these tools.
    pub(in super::super) fn names(tools: Value) -> Names {
        let mut body = Map::from_iter([("tools".to_owned(), tools)]);
        take_toolset(&mut body, Vec::new(), &mut Ignored::default()).ok().unwrap().1
    }

    pub(in super::super) fn call(name: &str, kind: CallKind, arguments: &str) -> MadeCall {
        MadeCall { id: format!("call_{name}"), name: name.into(), kind, arguments: arguments.into() }
    }

    /// The items as JSON, each read by `async-openai`.
    fn shown(heard: Heard, names: &Names) -> Vec<Value> {
        let write = |item: &Item| {
            let mut out = Vec::new();
            item.write(&mut out, Stage::Added);
            serde_json::from_slice::<OutputItem>(&out).unwrap();
            out.clear();
            item.write(&mut out, Stage::Done);
            serde_json::from_slice::<OutputItem>(&out).unwrap();
            serde_json::from_slice(&out).unwrap()
        };
        items(heard, names, "0").iter().map(write).collect()
    }

    #[test]
    fn what_is_said_comes_first_and_then_the_calls_under_the_clients_names() {
        let names = names(json!([{"type": "function", "name": "f"}, {"type": "custom", "name": "c"},
            {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]}]));
        let calls = vec![
            call("f", CallKind::Function, "{}"),
            call("c", CallKind::Custom, "ls"),
            call("n.g", CallKind::Function, "{\"a\":1}"),
        ];
        let heard = Heard { text: Some("hi".into()), calls, finish: Finish::ToolCalls, ..Heard::default() };
        assert_eq!(
            shown(heard, &names),
            [
                json!({"type": "message", "id": "msg_000", "status": "completed", "role": "assistant", "content": [
                    {"type": "output_text", "annotations": [], "logprobs": [], "text": "hi"}]}),
                json!({"type": "function_call", "id": "fc_001", "status": "completed", "arguments": "{}",
                    "call_id": "call_f", "name": "f"}),
                json!({"type": "custom_tool_call", "id": "ctc_002", "status": "completed", "input": "ls",
                    "call_id": "call_c", "name": "c"}),
                json!({"type": "function_call", "id": "fc_003", "status": "completed", "arguments": "{\"a\":1}",
                    "call_id": "call_n.g", "name": "g", "namespace": "n"}),
            ]
        );
    }

    #[test]
    fn shells_and_patches_are_called_in_their_own_form_or_to_the_letter() {
        let names = names(json!([{"type": "local_shell"}, {"type": "shell"}, {"type": "apply_patch"}]));
        let function = |name: &str, arguments: Value| call(name, CallKind::Function, &arguments.to_string());
        let calls = vec![
            function("local_shell", json!({"command": ["ls", "-l"], "workdir": "/tmp"})),
            function("shell", json!({"commands": ["ls"], "timeout_ms": 5})),
            function("apply_patch", json!({"type": "create_file", "path": "a", "diff": "+x"})),
            function("apply_patch", json!({"type": "update_file", "path": "a"})),
            function("local_shell", json!({"command": "ls"})),
            call("shell", CallKind::Function, "{\"commands\": [\"l"),
        ];
        let shown = shown(Heard { calls, finish: Finish::Length, ..Heard::default() }, &names);
        let kinds: Vec<_> = shown.iter().map(|item| item["type"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            [
                "local_shell_call",
                "shell_call",
                "apply_patch_call",
                "function_call",
                "function_call",
                "function_call"
            ]
        );
        assert_eq!(shown[0]["action"]["command"], json!(["ls", "-l"]));
        assert_eq!(shown[0]["action"]["working_directory"], "/tmp");
        assert_eq!(shown[2]["operation"], json!({"type": "create_file", "path": "a", "diff": "+x"}));
        assert_eq!(
            (&shown[5]["arguments"], &shown[5]["status"]),
            (&json!("{\"commands\": [\"l"), &json!("incomplete"))
        );
        assert_eq!(shown[4]["status"], "completed");
    }

    #[test]
    fn refusals_and_empty_answers_are_messages_and_citations_flat() {
        let refused = Heard { refusal: Some("no".into()), text: Some(String::new()), ..Heard::default() };
        let parts = |heard| shown(heard, &Names::default())[0]["content"].clone();
        assert_eq!(parts(refused), json!([{"type": "refusal", "refusal": "no"}]));
        assert_eq!(parts(Heard { text: Some(String::new()), ..Heard::default() })[0]["text"], "");
        let annotations = json!([
            {"type": "url_citation", "url_citation": {"start_index": 1, "end_index": 2, "url": "u", "title": "t"}},
            {"type": "url_citation", "url_citation": {"url": "v"}}, {"type": "other"}, 7
        ]);
        let cited = Heard { text: Some("x".into()), annotations: Some(annotations), ..Heard::default() };
        assert_eq!(
            parts(cited)[0]["annotations"],
            json!([
                {"type": "url_citation", "start_index": 1, "end_index": 2, "url": "u", "title": "t"},
                {"type": "url_citation", "start_index": 0, "end_index": 0, "url": "v", "title": ""},
            ])
        );
    }
}
