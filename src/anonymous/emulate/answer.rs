//! What the model said, and what it comes to for the client.
//!
//! Deliberately absent: `Debug`, because every value here is an answer.

use serde_json::Value;

/// What the provider gave: one whole text.
#[derive(Default)]
pub struct Given {
    /// What the model said.
    pub text: Option<String>,
    /// Why it would not say it.
    pub refusal: Option<String>,
    /// Citations, as OpenAI writes them.
    pub annotations: Option<Value>,
    /// Why it ended.
    pub finish: Finish,
}

/// What the client is told: one choice.
#[derive(Default)]
pub struct Heard {
    /// What the model said beside its calls; `None` where nothing was said.
    pub text: Option<String>,
    /// Why it would not say it.
    pub refusal: Option<String>,
    /// Citations, as OpenAI writes them; only where the text is the model's own, to the letter.
    pub annotations: Option<Value>,
    /// In the order in which the model made them.
    pub calls: Vec<MadeCall>,
    /// Why it ended.
    pub finish: Finish,
    /// The stop sequence that it ends before, if that is why it ended.
    pub stopped_at: Option<String>,
    /// Whether it has the form that was asked for.
    pub conformity: Conformity,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finish {
    /// By itself, or at a stop sequence.
    #[default]
    Stop,
    /// It was cut for its length.
    Length,
    /// It was cut for its content.
    ContentFilter,
    /// With calls.
    ToolCalls,
}

/// A call that the model made in its answer.
#[derive(Clone, PartialEq, Eq)]
pub struct MadeCall {
    /// `call_` and 24 letters and digits; the same for the same answer to the same conversation.
    pub id: String,
    /// Of the tool.
    pub name: String,
    /// What kind of tool.
    pub kind: CallKind,
    /// A function's arguments: JSON, or what the model wrote where that is none. A custom tool's input.
    pub arguments: String,
}

/// What kind of tool is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallKind {
    /// One that takes JSON arguments.
    #[default]
    Function,
    /// One that takes free text.
    Custom,
}

/// Whether an answer has the form that was asked for.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Conformity {
    /// No form was asked for, or it has it.
    #[default]
    Kept,
    /// It has not. Why; names nothing but what the schema says.
    Violated(String),
    /// It calls tools in a way that they do not take. What a second try is told.
    Miscalled(String),
}

/// What it says may quote the answer.
impl std::fmt::Debug for Conformity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kept => "Kept",
            Self::Violated(_) => "Violated",
            Self::Miscalled(_) => "Miscalled",
        })
    }
}
