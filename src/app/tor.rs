//! The settings of the Tor client built in: where it keeps its state, and what is passed through to Arti.

use std::path::Path;

use crate::config::{Config, Tor as TorConfig};
use crate::control::message::{TorPhase, TorReport};
use crate::datadir::Home;
use crate::tor::{Phase, Settings, Status};

use super::AppError;

/// Of a client of this home.
pub(super) fn settings(home: &Home, config: &Config) -> Result<Settings, AppError> {
    settings_in(home.root(), &config.tor)
}

/// For `status`.
pub(super) fn report(status: &Status) -> TorReport {
    let (phase, stage, blockage) = match status.phase {
        Phase::Bootstrapping(stage) => (TorPhase::Bootstrapping, Some(stage.to_string()), None),
        Phase::Ready => (TorPhase::Ready, None, None),
        Phase::Dormant => (TorPhase::Dormant, None, None),
        Phase::AtRest => (TorPhase::AtRest, None, None),
        Phase::Blocked(blockage) => (TorPhase::Blocked, None, Some(blockage.to_string())),
    };
    TorReport { percent: status.percent, phase, stage, blockage }
}

/// State and cache in `root`; the file's settings, and over them the table's.
pub fn settings_in(root: &Path, config: &TorConfig) -> Result<Settings, AppError> {
    Ok(Settings::in_home(root, config.arti_config.as_deref(), config.arti.clone())?)
}
