//! llmtor as a service of the user's own session: started by the first call or at the log-in, and started again when it fails.
//!
//! | system | what is written | who starts it |
//! | --- | --- | --- |
//! | Linux | `llmtor.socket` and `llmtor.service` for the user's systemd | the first call: systemd listens until then |
//! | macOS | a launch agent | the log-in |
//! | Windows | a task | the log-in |
//!
//! Never the whole machine's: a vault is one person's, and so is the process that spends from it.
//!
//! Invariants: only files that carry our mark are replaced or removed; a service is for one home, and is told from another
//! home's. What is printed is the command line's business.
//!
//! Deliberately absent: any privilege. A service manager that is not there is an error that says what to do instead.

pub mod inherited;
mod launchd;
mod systemd;
mod windows;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::{Deserialize, Serialize};

use crate::config::Listen;

/// In every file that we write.
const MARK: &str = "Written by `llmtor service install`";

/// A service of one home.
pub struct Service {
    program: PathBuf,
    /// The directory itself.
    home: PathBuf,
    /// Whether it is where it is without `--home`.
    place: Place,
    listen: Listen,
    grace_seconds: u64,
    user: UserDirectories,
}

/// Where the home is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where it is without `--home`.
    Default,
    /// Elsewhere.
    Named,
}

/// Where the user's service manager looks for files.
#[derive(Clone, Debug)]
pub struct UserDirectories {
    /// `$HOME`.
    pub home: PathBuf,
    /// `$XDG_CONFIG_HOME`, or `.config`.
    pub config: PathBuf,
}

impl UserDirectories {
    /// This user's.
    pub fn here() -> Option<Self> {
        let base = directories::BaseDirs::new()?;
        Some(Self { home: base.home_dir().to_owned(), config: base.config_dir().to_owned() })
    }
}

/// How the service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Whether its files are there, and are for this home.
    pub installation: Installation,
    /// Whether the daemon runs as the service.
    pub activity: Activity,
    /// The files.
    pub files: Vec<PathBuf>,
}

/// Whether there is a service of this home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Installation {
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// There is one, of another home.
    OfAnotherHome,
}

/// Whether it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// The daemon runs.
    Running,
    /// The service manager listens; the first call starts the daemon.
    Listening,
    /// Neither.
    Stopped,
    /// The last start failed.
    Failed,
}

/// Why a service cannot be installed, asked or told.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// There is no user's service manager.
    #[error("this session has no service manager ({manager}) that could be asked: {reason}")]
    NoManager {
        /// Which.
        manager: &'static str,
        /// Its own words, or the system's.
        reason: String,
    },
    /// It refused.
    #[error("`{command}` failed: {reason}")]
    Refused {
        /// What was asked.
        command: String,
        /// Its own words.
        reason: String,
    },
    /// A file of another's.
    #[error("{} is not ours, so it was left alone", .0.display())]
    NotOurs(PathBuf),
    /// There is none.
    #[error("no service of this home is installed")]
    Absent,
    /// There is one, of another home.
    #[error("the service that is installed is of another home")]
    OfAnotherHome,
    /// The port is the system's choice.
    #[error("server.listen leaves the port to the system, so nobody could listen in llmtor's stead")]
    NoPort,
    /// A path that cannot be written into a unit.
    #[error("{} has a character in it that a service's file cannot hold", .0.display())]
    Path(PathBuf),
    /// Files.
    #[error("{} cannot be written: {kind}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// The system says neither who nor where we are.
    #[error("this system names no place for a user's services")]
    NoPlace,
}

impl ServiceError {
    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NoManager { .. } if cfg!(target_os = "linux") => {
                "start `llmtor serve` yourself, or `llmtor tray`, which starts it. In a container that is how it is; in WSL, \
                 `systemd=true` under [boot] in /etc/wsl.conf brings systemd"
            }
            Self::NoManager { .. } => "log in to the desktop, or start `llmtor serve` yourself",
            Self::Refused { .. } if cfg!(target_os = "linux") => {
                "`journalctl --user -u llmtor` tells more. A status of 226/NAMESPACE means that this system denies user \
                 namespaces: `systemctl --user edit llmtor` with [Service] and PrivateUsers=no, ProtectSystem=no, \
                 ProtectHome=no, PrivateTmp=no, PrivateDevices=no, ProtectKernelTunables=no, ProtectKernelModules=no, \
                 ProtectKernelLogs=no, ProtectControlGroups=no, ProtectClock=no, ProtectHostname=no leaves them out"
            }
            Self::Refused { .. } => "`llmtor serve` in a terminal shows what is wrong",
            Self::NotOurs(_) => "move it away, or use it as it is",
            Self::Absent => "run `llmtor service install`",
            Self::OfAnotherHome => {
                "name that home with --home, or run `llmtor service install` to have this one's instead"
            }
            Self::NoPort => "set a port in server.listen, such as localhost:8787",
            Self::Path(_) => "choose another directory with --home, or put the program elsewhere",
            Self::File { .. } => "see to its directory's permissions",
            Self::NoPlace => "set HOME",
        }
    }
}

impl Service {
    /// Of the home at `home`, run by `program`.
    pub fn new(
        program: PathBuf,
        (home, place): (PathBuf, Place),
        listen: Listen,
        grace_seconds: u64,
        user: UserDirectories,
    ) -> Self {
        Self { program, home, place, listen, grace_seconds, user }
    }

    /// Writes its files and has the service manager know them; the daemon is not started, but by the first call or the next
    /// log-in.
    pub fn install(&self) -> Result<ServiceReport, ServiceError> {
        if cfg!(target_os = "macos") {
            launchd::install(self)?;
        } else if cfg!(windows) {
            windows::install(self)?;
        } else {
            systemd::install(self)?;
        }
        self.status()
    }

    /// Stops it and removes its files.
    pub fn uninstall(&self) -> Result<ServiceReport, ServiceError> {
        if cfg!(target_os = "macos") {
            launchd::uninstall(self)?;
        } else if cfg!(windows) {
            windows::uninstall(self)?;
        } else {
            systemd::uninstall(self)?;
        }
        Ok(ServiceReport {
            installation: Installation::Absent,
            activity: Activity::Stopped,
            files: Vec::new(),
        })
    }

    /// Starts the daemon as the service.
    pub fn start(&self) -> Result<ServiceReport, ServiceError> {
        self.check_present()?;
        if cfg!(target_os = "macos") {
            launchd::start()?;
        } else if cfg!(windows) {
            windows::start()?;
        } else {
            systemd::start()?;
        }
        self.status()
    }

    /// Stops it; no call starts it until it is started again.
    pub fn stop(&self) -> Result<ServiceReport, ServiceError> {
        self.check_present()?;
        if cfg!(target_os = "macos") {
            launchd::stop()?;
        } else if cfg!(windows) {
            windows::stop()?;
        } else {
            systemd::stop()?;
        }
        self.status()
    }

    /// How it is.
    pub fn status(&self) -> Result<ServiceReport, ServiceError> {
        let installation = self.installation();
        let activity = match &installation {
            Installation::Absent => Activity::Stopped,
            _ if cfg!(target_os = "macos") => launchd::activity()?,
            _ if cfg!(windows) => windows::activity()?,
            _ => systemd::activity()?,
        };
        Ok(ServiceReport { installation, activity, files: self.files() })
    }

    /// Whether there is a service of this home, by its files alone.
    pub fn installation(&self) -> Installation {
        let found = if cfg!(target_os = "macos") {
            launchd::home(self)
        } else if cfg!(windows) {
            windows::home(self)
        } else {
            systemd::home(self)
        };
        match found {
            None => Installation::Absent,
            Some(Found::Default) if self.place == Place::Default => Installation::Present,
            Some(Found::Named(home)) if home == self.home => Installation::Present,
            Some(_) => Installation::OfAnotherHome,
        }
    }

    fn check_present(&self) -> Result<(), ServiceError> {
        match self.installation() {
            Installation::Present => Ok(()),
            Installation::Absent => Err(ServiceError::Absent),
            Installation::OfAnotherHome => Err(ServiceError::OfAnotherHome),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = if cfg!(target_os = "macos") {
            vec![launchd::path(self)]
        } else if cfg!(windows) {
            vec![windows::path(self)]
        } else {
            systemd::paths(self)
        };
        files.into_iter().filter(|path| path.exists()).collect()
    }

    /// What is to be run: the program and its arguments.
    fn arguments(&self) -> Result<Vec<String>, ServiceError> {
        let text = |path: &Path| match path.to_str() {
            // Nothing that would end a line or a quotation in any of the files.
            Some(text)
                if !text.contains(['"', '\\', '\n', '\r', '%', '$', '<', '>', '&', '\''])
                    || cfg!(windows) =>
            {
                Ok(text.to_owned())
            }
            _ => Err(ServiceError::Path(path.to_owned())),
        };
        let mut arguments = vec![text(&self.program)?, "serve".to_owned()];
        if self.place == Place::Named {
            arguments.extend(["--home".to_owned(), text(&self.home)?]);
        }
        Ok(arguments)
    }
}

/// Tells the service manager that calls are answered; without one nothing happens.
pub fn tell_ready() {
    #[cfg(unix)]
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

/// Which home a service's files name.
enum Found {
    Default,
    Named(PathBuf),
}

/// Replaces a file of ours, or makes one.
fn write(path: &Path, bytes: &[u8]) -> Result<(), ServiceError> {
    let failed = |error: &io::Error| ServiceError::File { path: path.to_owned(), kind: error.kind() };
    check_ours(path)?;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|error| failed(&error))?;
    }
    std::fs::write(path, bytes).map_err(|error| failed(&error))
}

/// Removes a file of ours.
fn remove(path: &Path) -> Result<(), ServiceError> {
    check_ours(path)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ServiceError::File { path: path.to_owned(), kind: error.kind() })
        }
        _ => Ok(()),
    }
}

fn check_ours(path: &Path) -> Result<(), ServiceError> {
    match std::fs::read(path) {
        Ok(bytes) if !String::from_utf8_lossy(&bytes).replace('\0', "").contains(MARK) => {
            Err(ServiceError::NotOurs(path.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Runs a service manager's program.
fn ask(manager: &'static str, arguments: &[&str]) -> Result<Output, ServiceError> {
    let mut command = Command::new(manager);
    command.args(arguments).stdin(Stdio::null());
    command.output().map_err(|error| ServiceError::NoManager { manager, reason: error.kind().to_string() })
}

/// Runs it to a good end.
fn tell(manager: &'static str, arguments: &[&str]) -> Result<(), ServiceError> {
    let output = ask(manager, arguments)?;
    if output.status.success() {
        return Ok(());
    }
    let said = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    let reason = said.into_iter().find(|text| !text.is_empty()).unwrap_or_else(|| output.status.to_string());
    Err(ServiceError::Refused { command: format!("{manager} {}", arguments.join(" ")), reason })
}
