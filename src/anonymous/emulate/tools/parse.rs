//! Reads tool calls out of an answer.

use super::super::answer::CallKind;
use super::super::ask::Toolset;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Whole,
    /// It was cut, so that its last call may be incomplete.
    Cut,
}

/// An answer, taken apart.
pub struct Parsed {
    /// What was said beside the calls; empty where nothing was.
    pub text: String,
    /// In the order in which the model made them.
    pub calls: Vec<Call>,
}

/// A call of a tool that is on offer.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// Of the tool, as the client spells it.
    pub name: String,
    /// What kind of tool.
    pub kind: CallKind,
    /// A function's arguments: JSON, or what the model wrote where that is none. A custom tool's input.
    pub arguments: String,
    /// What is wrong with the arguments; names nothing but what the schema says.
    pub complaint: Option<String>,
}

/// Takes an answer apart.
pub fn parse(text: &str, _toolset: &Toolset, _ending: Ending) -> Parsed {
    Parsed { text: text.to_owned(), calls: Vec::new() }
}
