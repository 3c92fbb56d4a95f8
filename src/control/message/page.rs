//! What is said of the local page.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the page is opened.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageReport {
    /// Opens it once, within a minute: whoever has it first is let in.
    pub link: String,
}

impl fmt::Debug for PageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageReport(…)")
    }
}
