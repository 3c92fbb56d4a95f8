//! What can be typed about the log, and about a report of it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::Level;

/// `logs`
#[derive(Args)]
pub(in crate::cli) struct LogsOptions {
    /// Goes on showing what comes, until Ctrl-C
    #[arg(short, long)]
    pub(in crate::cli) follow: bool,
    /// How many of the last lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub(in crate::cli) lines: usize,
    /// Only what is as important as this, or more
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Trace)]
    pub(in crate::cli) level: LogLevel,
    /// Prints where the files are instead
    #[arg(long, conflicts_with_all = ["follow", "lines", "level"])]
    pub(in crate::cli) path: bool,
}

/// How important a line is.
#[derive(Clone, Copy, ValueEnum)]
pub(in crate::cli) enum LogLevel {
    /// What failed
    Error,
    /// What needs attention
    Warn,
    /// What was done
    Info,
    /// How it was done
    Debug,
    /// Everything
    Trace,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

/// `report`
#[derive(Args)]
pub(in crate::cli) struct ReportOptions {
    /// Where it is saved; a file that is there is left alone [default: llmtor-report-DAY.md, here]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// Saves without asking
    #[arg(long)]
    pub(in crate::cli) yes: bool,
    /// Names the backend's hosts, too
    #[arg(long)]
    pub(in crate::cli) with_hosts: bool,
}
