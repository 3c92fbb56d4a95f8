//! Why a tool is not set up, or not set back, and what to do then.

use std::io;
use std::path::PathBuf;

use super::edit::Fault;

/// Why a tool cannot be set up, or set back.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file cannot be read.
    #[error("{} cannot be read: {kind}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// A file cannot be written.
    #[error("{} cannot be written: {kind}", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// Something that is no text file stands where settings should be.
    #[error("{} is no settings file", path.display())]
    NotSettings {
        /// Where.
        path: PathBuf,
    },
    /// A file is not as its format has it, or as the tool has it.
    #[error("{} is left as it is: {fault}", path.display())]
    Unfit {
        /// Which.
        path: PathBuf,
        /// Why.
        fault: Fault,
    },
    /// The same, when it is to be undone.
    #[error("{} is left as it is: {fault}", path.display())]
    UnfitToUndo {
        /// Which.
        path: PathBuf,
        /// Why.
        fault: Fault,
        /// Where it is as it was, if it was there.
        backup: Option<PathBuf>,
    },
    /// The directory in which the settings would be is not there.
    #[error("there is no directory {}, in which {tool} would have its settings", path.display())]
    NoDirectory {
        /// Which.
        tool: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// It was changed after it was shown.
    #[error("{} was changed in the meantime; nothing was written to it", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// There is nothing to undo.
    #[error("{tool} was not set up from here; there is nothing to undo")]
    NotSetUp {
        /// Which.
        tool: &'static str,
    },
    /// The tool keeps its settings where the user says.
    #[error("{tool} keeps its settings in {what}")]
    NeedsFile {
        /// Which.
        tool: &'static str,
        /// Where, in words.
        what: &'static str,
    },
    /// `--file` for a tool whose place is known.
    #[error("{tool} has its settings in one place; --file is not for it")]
    NoFile {
        /// Which.
        tool: &'static str,
    },
    /// The home has a name that cannot be written into a line of a file.
    #[error("the name of the home {path:?} has a line break in it, or something else that is no text")]
    UnfitHome {
        /// Which.
        path: PathBuf,
    },
    /// What was written down of an earlier time cannot be understood.
    #[error("{} is damaged, so it is not known what is to be undone", path.display())]
    Ledger {
        /// Which.
        path: PathBuf,
    },
}

impl SetupError {
    /// What to do.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Unreadable { .. } | Self::Unwritable { .. } => Some(
                "see to its owner and mode, or change the file by hand: --print shows what belongs in it"
                    .into(),
            ),
            Self::NotSettings { .. } | Self::Unfit { .. } => {
                Some("mend it, or put the lines there by hand: --print shows them".into())
            }
            Self::UnfitToUndo { backup, .. } => {
                let earlier = backup
                    .as_ref()
                    .map(|backup| format!("; as it was before, it is in {}", backup.display()));
                Some(format!(
                    "mend it and give the command again, or take the lines of llmtor out by hand{}",
                    earlier.unwrap_or_default()
                ))
            }
            Self::NoDirectory { tool, .. } => Some(format!(
                "see whether the path is right, and {tool} (with its plugin, if it is one) is there"
            )),
            Self::Changed { .. } => {
                Some("close the program that writes to it, and give the command again".into())
            }
            Self::NotSetUp { .. } => Some("`llmtor setup` lists what is set up".into()),
            Self::NeedsFile { .. } => Some("name it: --file PATH".into()),
            Self::NoFile { .. } => Some("leave --file out".into()),
            Self::UnfitHome { .. } => Some("move it to a directory with a plain name: --home DIR".into()),
            Self::Ledger { path } => Some(format!(
                "take the lines out by hand; the file as it was is beside it as *.before-llmtor. Then delete {}",
                path.display()
            )),
        }
    }
}
