//! What was set up by us: a file a tool in the home's directory `setup`, by which it is undone.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::SetupError;
use super::edit::{Format, Trace};
use super::files::{self, Access};
use crate::wire::ModelName;

/// The ledger of a home.
pub struct Ledger {
    directory: PathBuf,
}

/// What was done for one tool.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The model for the work.
    pub(super) main: ModelName,
    /// The model for small calls.
    pub(super) small: ModelName,
    /// The files, in the order in which they were written.
    pub(super) files: Vec<FileRecord>,
}

/// What was done to one file.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FileRecord {
    /// Where it is, links followed.
    pub(super) path: PathBuf,
    /// How it is written.
    pub(super) format: Format,
    /// Digest of all of it, as we left it.
    pub(super) written: String,
    /// Where it is as it was before; `None` if it was not there.
    pub(super) backup: Option<PathBuf>,
    /// Backups of earlier times, of files that the user deleted since; they go when it is undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) old_backups: Vec<PathBuf>,
    /// Directories that were made for it, the innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) made: Vec<PathBuf>,
    /// What is taken out if it was changed since.
    pub(super) traces: Vec<Trace>,
}

impl Ledger {
    /// Of the home at `root`.
    pub fn of(root: &Path) -> Self {
        Self { directory: root.join("setup") }
    }

    /// What was done for `tool`, if anything.
    pub(super) fn read(&self, tool: &str) -> Result<Option<Record>, SetupError> {
        let path = self.path(tool);
        let Some(text) = files::read(&path)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|_| SetupError::Ledger { path })
    }

    pub(super) fn write(&self, tool: &str, record: &Record) -> Result<(), SetupError> {
        let path = self.path(tool);
        let text =
            serde_json::to_string_pretty(record).map_err(|_| SetupError::Ledger { path: path.clone() })?;
        files::write(&path, &(text + "\n"), None, Access::Owner)
    }

    pub(super) fn remove(&self, tool: &str) -> Result<(), SetupError> {
        files::remove(&self.path(tool))
    }

    fn path(&self, tool: &str) -> PathBuf {
        self.directory.join(format!("{tool}.json"))
    }
}
