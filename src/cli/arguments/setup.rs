//! What can be typed about setting tools up.

use std::path::PathBuf;

use clap::Args;

use crate::wire::ModelName;

/// `setup`
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own on the command line")]
pub(in crate::cli) struct SetupOptions {
    /// Which tool; without one, lists those that are known
    pub(in crate::cli) tool: Option<String>,
    /// The model for the work [default: a large one of which tokens are held]
    #[arg(long, value_name = "M", requires = "tool")]
    pub(in crate::cli) model: Option<ModelName>,
    /// Writes without asking
    #[arg(long, short, requires = "tool")]
    pub(in crate::cli) yes: bool,
    /// Prints what belongs into the settings, with the key, and writes nothing
    #[arg(long, requires = "tool", conflicts_with_all = ["yes", "undo"])]
    pub(in crate::cli) print: bool,
    /// Leaves the endpoint as it is; otherwise it is started, if it does not run
    #[arg(long, requires = "tool")]
    pub(in crate::cli) no_start: bool,
    /// Takes out what was written; what was changed since stays
    #[arg(long, requires = "tool", conflicts_with = "model")]
    pub(in crate::cli) undo: bool,
    /// Where the tool's settings are, if only you know
    #[arg(long, value_name = "PATH", requires = "tool")]
    pub(in crate::cli) file: Option<PathBuf>,
}
