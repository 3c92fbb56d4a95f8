//! A daemon for whoever needs one: the running one, else the installed service's, else a process of its own.
//!
//! | what is found | what is done |
//! | --- | --- |
//! | a daemon answers in the home | nothing |
//! | a service of this home is installed, and its manager can be asked | the service is started |
//! | else | `llmtor serve` is started in a session of its own, so that it outlives the terminal; what it says goes to `serve.log` in the home |
//!
//! A daemon that is started here goes by the same `--set`s as whoever needs it: they may say that it takes another way out. A
//! service knows none, so it is not started for somebody who has some.
//!
//! In the last two cases it is waited for until the control socket answers. A process that ends instead is an error with its
//! own last words.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::config::Config;
use crate::control::message::{DaemonReport, StatusReport};
use crate::control::{self, Operation, Report};
use crate::datadir::Home;
use crate::service::{Installation, Place, Service, ServiceError, UserDirectories};

use super::AppError;

/// How long a daemon may take until its control socket answers.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
/// Below the user's directory: the usual home where there is no `XDG_DATA_HOME`, and what the packages' unit names.
const UNMOVED: &str = ".local/share/llmtor";
/// Of its own words, in an error.
const LAST_WORDS: usize = 600;

/// Who started the daemon that runs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launched {
    /// It ran already.
    Running,
    /// The service's manager, just now.
    Service,
    /// This process, just now.
    Process,
}

impl Launched {
    /// What was done, for the user; nothing is said of a daemon that ran.
    pub fn remark(self) -> Option<&'static str> {
        match self {
            Self::Running => None,
            Self::Service => Some("started the llmtor service"),
            Self::Process => Some(
                "started llmtor in the background; `llmtor service install` has it started for you from now on",
            ),
        }
    }
}

/// Sees to it that a daemon runs in `home`, and tells of it. `sets` are the `--set`s that `config` came of.
pub async fn ensure_running(
    home: &Home,
    config: &Config,
    sets: &[String],
) -> Result<(Launched, DaemonReport), AppError> {
    if let Some(daemon) = running(home).await {
        return Ok((Launched::Running, daemon));
    }
    if let Some(service) = installed(home, config) {
        check_sets(sets)?;
        let started = tokio::task::spawn_blocking(move || service.start()).await;
        match started.map_err(|_| AppError::Internal)? {
            Ok(_) => return Ok((Launched::Service, wait(home, None).await?)),
            // A session without its manager: the files are there, and nobody reads them.
            Err(error @ ServiceError::NoManager { .. }) => {
                tracing::info!(%error, "starting a process instead");
            }
            Err(error) => return Err(error.into()),
        }
    }
    let (child, log) = detach(home, sets)?;
    Ok((Launched::Process, wait(home, Some((child, log))).await?))
}

/// The daemon that answers in `home`, if one does.
pub async fn running(home: &Home) -> Option<DaemonReport> {
    let (progress, _) = watch::channel(None);
    match control::ask(&home.control_path(), &Operation::Status, &progress).await {
        Ok(Ok(Report::Status(StatusReport { daemon, .. }))) => daemon,
        _ => None,
    }
}

/// Refuses to have a service started or installed that would know nothing of `sets`.
pub fn check_sets(sets: &[String]) -> Result<(), AppError> {
    if sets.is_empty() { Ok(()) } else { Err(AppError::ServiceWithoutSets(sets.join(" --set "))) }
}

/// The service of this home, whether or not it is installed.
pub fn service(home: &Home, config: &Config) -> Result<Service, AppError> {
    let user = UserDirectories::here().ok_or(ServiceError::NoPlace)?;
    let root = std::path::absolute(home.root()).unwrap_or_else(|_| home.root().to_owned());
    let place = place(&root, Home::default_path().as_deref(), &user.home);
    Ok(Service::new(
        own_program()?,
        (root, place),
        config.server.listen,
        config.server.grace().as_secs(),
        user,
    ))
}

/// Whether a service finds the home by itself. What moves it for a shell, `XDG_DATA_HOME`, a service manager need not have, so
/// there only the place without it counts.
fn place(root: &Path, default: Option<&Path>, user: &Path) -> Place {
    let is_moved = cfg!(all(unix, not(target_os = "macos"))) && root != user.join(UNMOVED);
    if default == Some(root) && !is_moved { Place::Default } else { Place::Named }
}

fn installed(home: &Home, config: &Config) -> Option<Service> {
    let service = service(home, config).ok()?;
    (service.installation() == Installation::Present).then_some(service)
}

/// This very program. While it is being updated its old path is gone, and another stands there.
fn own_program() -> Result<PathBuf, AppError> {
    let path = std::env::current_exe().map_err(|error| AppError::NotStarted(error.to_string()))?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

/// A daemon of its own, which no terminal takes along when it closes.
fn detach(home: &Home, sets: &[String]) -> Result<(Child, PathBuf), AppError> {
    let failed = |error: std::io::Error| AppError::NotStarted(error.to_string());
    let path = home.root().join("serve.log");
    let log = log_file(&path).map_err(failed)?;
    let child = Command::new(own_program()?)
        .args(["serve", "--detached", "--home"])
        .arg(home.root())
        .args(sets.iter().flat_map(|set| ["--set", set]))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    Ok((child, path))
}

fn log_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Waits for the daemon to answer; an own one that ends first is told with its last words.
async fn wait(home: &Home, mut own: Option<(Child, PathBuf)>) -> Result<DaemonReport, AppError> {
    let begun = Instant::now();
    loop {
        if let Some(daemon) = running(home).await {
            if let Some((mut child, _)) = own {
                // Reaped, if it ends before us.
                std::thread::spawn(move || child.wait());
            }
            return Ok(daemon);
        }
        if let Some((child, log)) = &mut own
            && let Ok(Some(status)) = child.try_wait()
        {
            // Another was faster; or it failed, and says why.
            return match running(home).await {
                Some(daemon) => Ok(daemon),
                None => Err(AppError::NotStarted(last_words(log).unwrap_or_else(|| status.to_string()))),
            };
        }
        if begun.elapsed() > PATIENCE {
            return Err(AppError::NotStarted(format!(
                "it did not answer within {} seconds",
                PATIENCE.as_secs()
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn last_words(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let text = text.trim();
    let from = text.char_indices().rev().nth(LAST_WORDS).map_or(0, |(at, _)| at);
    (!text.is_empty()).then(|| text[from..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn a_home_that_only_a_shell_s_variable_leads_to_is_named_to_the_service() {
        let (user, usual) = (Path::new("/home/u"), Path::new("/home/u/.local/share/llmtor"));
        let moved = Path::new("/data/u/llmtor");
        assert_eq!(place(usual, Some(usual), user), Place::Default);
        assert_eq!(place(moved, Some(moved), user), Place::Named, "XDG_DATA_HOME=/data/u");
        assert_eq!(place(usual, Some(moved), user), Place::Named, "a manager may have that variable, too");
        assert_eq!(place(moved, Some(usual), user), Place::Named, "--home");
    }

    #[test]
    fn the_last_words_are_bounded_and_whole_characters() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("serve.log");
        assert_eq!(last_words(&log), None);
        std::fs::write(&log, "ä".repeat(5000)).unwrap();
        assert_eq!(last_words(&log).unwrap().chars().count(), LAST_WORDS + 1);
        std::fs::write(&log, "error: the port is taken\n").unwrap();
        assert_eq!(last_words(&log).as_deref(), Some("error: the port is taken"));
    }
}
