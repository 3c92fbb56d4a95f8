//! What the model is told about its tools.

use super::super::ask::Toolset;

/// The text that is appended to the one system message; `None` when no tool is on offer.
pub fn block(_toolset: &Toolset) -> Option<String> {
    None
}
