//! Logging: to standard error, at one level for everything, never content.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;

use crate::config::Level;

/// Starts logging. The first call counts; a process has one level.
pub fn start(level: Level) {
    let filter = match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .finish();
    // A second start (the demo's parts share one process) leaves the first as it is.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
