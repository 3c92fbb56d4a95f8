//! `[login]`: the window in which somebody signs in.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// `[login]`: the window in which somebody signs in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Whose window.
    pub browser: Option<PathBuf>,
    /// More arguments for it.
    pub browser_args: Vec<String>,
    minutes: u64,
}

impl Login {
    /// How long the window waits.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.minutes.saturating_mul(60))
    }
}
