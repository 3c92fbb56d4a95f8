//! What a client wants of the model, independent of any API's spelling.
//!
//! Every face of the endpoint reads its requests into an [`Ask`]; what the backend cannot do of it is made
//! up for before the call and after it.
//!
//! Deliberately absent: `Debug`, because every value here is part of a prompt; and whatever has no effect
//! (sampling, identifiers), which never gets this far.

use serde_json::Value;

use super::conversation::Turn;

/// One request, for one answer.
#[derive(Default)]
pub struct Ask {
    /// The conversation so far.
    pub turns: Vec<Turn>,
    /// What the model may call.
    pub tools: Toolset,
    /// What form its answer must have.
    pub format: Format,
    /// Where its answer ends; each is non-empty.
    pub stop: Vec<String>,
    /// How long its answer may be, in the model's own tokens.
    pub most_tokens: Option<u64>,
}

/// The tools on offer and how they may be used.
#[derive(Default)]
pub struct Toolset {
    /// In the client's order. Names are unique.
    pub tools: Vec<Tool>,
    /// Whether to use them.
    pub choice: Choice,
    /// How many calls an answer may have.
    pub parallel: Parallel,
}

/// A tool that the model may call.
#[derive(Clone)]
pub struct Tool {
    /// By which it is called.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What it takes.
    pub input: Input,
}

/// What a tool takes.
#[derive(Clone)]
pub enum Input {
    /// Arguments as a JSON object: a function.
    Json {
        /// Their JSON Schema; anything goes without one.
        schema: Option<Value>,
    },
    /// Free text: a custom tool.
    Text {
        /// What the text must look like, for the model to read.
        grammar: Option<Grammar>,
    },
}

/// The grammar of a custom tool's input. Shown to the model; not checked.
#[derive(Clone)]
pub struct Grammar {
    /// `lark` or `regex`.
    pub syntax: String,
    /// In that syntax.
    pub definition: String,
}

/// OpenAI's `tool_choice`.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// As the model sees fit.
    #[default]
    Auto,
    /// No calls; earlier ones are still part of the conversation.
    None,
    /// At least one call.
    Required,
    /// A call of this tool.
    Named(String),
    /// Only these tools; at least one call if so required.
    Allowed {
        /// Names of tools.
        names: Vec<String>,
        /// Whether there must be a call.
        need: Need,
    },
}

/// Whether an answer must call a tool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It may.
    Optional,
    /// It must.
    Required,
}

/// Whether one answer may make several calls.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Parallel {
    /// It may.
    #[default]
    Many,
    /// One at most.
    One,
}

/// What form the answer must have.
#[derive(Default)]
pub enum Format {
    /// Any text.
    #[default]
    Text,
    /// Any JSON object: OpenAI's `json_object`.
    JsonObject,
    /// JSON of this schema: OpenAI's `json_schema`.
    Schema(Schema),
}

/// A JSON Schema that an answer is to follow.
pub struct Schema {
    /// What the client calls it.
    pub name: String,
    /// What the answer is for.
    pub description: Option<String>,
    /// The schema itself.
    pub schema: Value,
    /// Whether the client relies on it.
    pub strictness: Strictness,
}

/// OpenAI's `strict`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Strictness {
    /// As well as the model can.
    #[default]
    Lenient,
    /// To the letter.
    Strict,
}
