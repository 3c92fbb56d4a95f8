//! What can be typed about the local page.

use clap::Args;

/// `open`
#[derive(Args)]
pub(in crate::cli) struct OpenOptions {
    /// Prints the link instead of opening it
    ///
    /// Whoever follows it first is let in: do not paste it where others read.
    #[arg(long)]
    pub(in crate::cli) print: bool,
}
