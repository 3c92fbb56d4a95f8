//! The tray: an icon that shows the condition of the whole, and a menu for what is done every day.
//!
//! It decides nothing. What it shows is the daemon's word ([`StatusReport`]), and what is clicked is an operation of the
//! control socket, as a command's would be. It watches with one connection that the daemon answers when something has
//! changed, so that nothing is computed while nothing happens.
//!
//! | file | what it does |
//! | --- | --- |
//! | `view` | from a report to lines and entries; pure |
//! | `icon` | draws one glyph in five states |
//! | `notices` | what the user is told of without asking, each once; pure |
//! | `watch` | asks the daemon, again and again |
//! | `deeds` | what an entry does |
//! | `autostart` | whether the tray is started at the log-in |
//! | `tray` | the icon itself, and the event loop on the main thread |
//!
//! Quitting closes the icon alone: tools may be pointed at the daemon, whoever started it. To have nothing leave there is
//! the pause; to stop the daemon there is `llmtor service stop`.
//!
//! Deliberately absent: any way to a backend, to a token or to a prompt; GTK; a window.

mod autostart;
mod deeds;
mod icon;
mod notices;
mod tray;
mod view;
mod watch;

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;

use crate::control::message::StatusReport;
use crate::datadir::{Home, private_file};
use crate::secret::Secret;

pub use icon::png as icon_png;
pub use tray::{check, run};

/// Reads the local endpoint's key.
pub type ReadKey = Box<dyn Fn() -> Option<Secret<String>> + Send + Sync>;
/// Starts a daemon, and says why not.
pub type Start =
    Arc<dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// What the tray is given to work with.
pub struct Seat {
    /// Whose daemon it shows.
    pub home: Home,
    /// The home, where it has to be named.
    pub named_home: Option<PathBuf>,
    /// For the clipboard.
    pub read_key: ReadKey,
    /// For the entry that does so.
    pub start: Start,
}

/// Why there is no tray.
#[derive(Debug, thiserror::Error)]
pub enum DesktopError {
    /// No desktop to show it on.
    #[error("there is no desktop session to show an icon in: {0}")]
    NoDesktop(String),
    /// Another process shows it.
    #[error("the icon of this home is there already")]
    Shown,
    /// The icon could not be made.
    #[error("the icon could not be made: {0}")]
    Icon(String),
}

/// Held while the icon is shown: one icon a home. Where no such lock can be had, two are better than none.
fn alone(home: &Home) -> Result<Option<File>, DesktopError> {
    let path = home.root().join("tray.lock");
    let Ok(file) = private_file().create(true).truncate(false).open(path) else { return Ok(None) };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(DesktopError::Shown),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(file)),
    }
}

/// What comes to the event loop.
enum Message {
    /// The daemon's word; `None` while no daemon answers.
    Status(Option<Box<StatusReport>>),
    /// An entry was clicked.
    Clicked(String),
    /// What an entry came to, where the user should know.
    Said(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_has_one_icon_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::open(directory.path()).unwrap();
        let shown = alone(&home).unwrap();
        assert!(matches!(alone(&home), Err(DesktopError::Shown)));
        drop(shown);
        assert!(alone(&home).is_ok());
    }
}
