//! What can be typed about the service.

use clap::Subcommand;

/// `service …`
#[derive(Clone, Copy, Subcommand)]
pub(in crate::cli) enum ServiceCommand {
    /// Has this session's service manager start llmtor
    ///
    /// Linux: systemd listens on the endpoint's address, and the first call starts llmtor. macOS and Windows: llmtor is
    /// started at the log-in. It is started again when it fails. Nothing of it needs an administrator.
    #[command(after_help = "Example: llmtor service install")]
    Install,
    /// Stops the service and removes it; the home stays
    #[command(after_help = "Example: llmtor service uninstall")]
    Uninstall,
    /// Starts it now
    #[command(after_help = "Example: llmtor service start")]
    Start,
    /// Stops it; no call starts it until it is started again
    ///
    /// Calls under way get `server.grace_seconds` to end.
    #[command(after_help = "Example: llmtor service stop")]
    Stop,
    /// Shows whether it is installed and runs
    #[command(after_help = "Example: llmtor service status")]
    Status,
}
