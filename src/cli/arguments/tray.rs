//! What can be typed about the tray.

use clap::Args;

/// `tray`
#[derive(Args)]
pub(in crate::cli) struct TrayOptions {
    /// Starts no daemon where none runs; shows that there is none
    #[arg(long)]
    pub(in crate::cli) no_start: bool,
}
