//! Who works on a home: whoever holds its lock. A command takes the lock when it is free; while a daemon
//! has it, the daemon is asked.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;
use crate::control::message::{PassageReport, StatusReport};
use crate::control::{self, ControlError, Operation, Perform as _, ProgressSender, Refusal, Report};
use crate::datadir::{Home, HomeError, HomeLock};
use crate::passage::Passage;
use crate::secret::Secret;

use super::{AppError, Operations, api_key, listen};

/// How long to wait for a daemon that is just starting or stopping, or for another command to end.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(40);

/// Does `operation` with the home.
pub async fn perform(
    home: &Home,
    config: &Config,
    operation: Operation,
    progress: ProgressSender,
) -> Result<Report, AppError> {
    match reach(home, &operation, &progress).await {
        Err(AppError::Home(in_use @ HomeError::InUse { .. })) => {
            let wanted = passage(&operation).ok_or(in_use)?;
            // A command at work takes no orders, but looks at the note before each request.
            let before = home.passage();
            home.keep_passage(wanted)?;
            Ok(Report::Passage(PassageReport { passage: wanted, before }))
        }
        Err(error) => Err(error),
        Ok(Reached::Answered(answer)) => Ok((*answer)?),
        Ok(Reached::Locked(lock)) => {
            let operations = Operations::open(home, &lock, config).await?;
            let result = operations.perform(operation, progress).await;
            operations.close().await?;
            Ok(result?)
        }
    }
}

fn passage(operation: &Operation) -> Option<Passage> {
    match operation {
        Operation::Pause => Some(Passage::Paused),
        Operation::Resume => Some(Passage::Open),
        _ => None,
    }
}

enum Reached {
    Locked(HomeLock),
    Answered(Box<Result<Report, Refusal>>),
}

/// Takes the lock, or has the daemon that holds it carry out `operation`.
async fn reach(home: &Home, operation: &Operation, progress: &ProgressSender) -> Result<Reached, AppError> {
    let begun = Instant::now();
    loop {
        let in_use = match home.lock() {
            Ok(lock) => return Ok(Reached::Locked(lock)),
            Err(error @ HomeError::InUse { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        match control::ask(&home.control_path(), operation, progress).await {
            Ok(answer) => return Ok(Reached::Answered(Box::new(answer))),
            Err(ControlError::NoDaemon(_)) if begun.elapsed() < PATIENCE => {}
            // Whoever holds the home is no daemon: say who it is.
            Err(ControlError::NoDaemon(_)) => return Err(in_use.into()),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The lock, for a daemon. Where one runs already, the error says so; a command that only looks is waited for.
pub async fn lock_for_daemon(home: &Home) -> Result<HomeLock, AppError> {
    let begun = Instant::now();
    let (progress, _) = tokio::sync::watch::channel(None);
    loop {
        let in_use = match home.lock() {
            Ok(lock) => return Ok(lock),
            Err(error @ HomeError::InUse { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        match control::ask(&home.control_path(), &Operation::Status, &progress).await {
            Ok(Ok(Report::Status(StatusReport { daemon: Some(daemon), .. }))) => {
                return Err(AppError::AlreadyRunning { pid: daemon.pid, base_url: daemon.base_url });
            }
            Err(ControlError::NoDaemon(_)) if begun.elapsed() < PATIENCE => {}
            _ => return Err(in_use.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Where clients find the endpoint: the running daemon's address, else the configured one.
pub async fn base_url(home: &Home, config: &Config) -> Result<String, AppError> {
    let (progress, _) = tokio::sync::watch::channel(None);
    if let Reached::Answered(answer) = reach(home, &Operation::Status, &progress).await?
        && let Report::Status(StatusReport { daemon: Some(daemon), .. }) = (*answer)?
    {
        return Ok(daemon.base_url);
    }
    let (address, _) = config.server.listen.addresses();
    if address.port() == 0 { Err(AppError::UnknownPort) } else { Ok(listen::base_url(address)) }
}

/// The local endpoint's key, made now if there is none and nobody else is at work here.
pub fn read_api_key(home: &Home) -> Result<Secret<String>, AppError> {
    match api_key::read(home)? {
        Some(key) => Ok(key),
        None => api_key::read_or_make(home, &home.lock()?, &mut rand::rng()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_kept_also_while_a_command_that_takes_no_orders_holds_the_home() {
        let room = tempfile::tempdir().unwrap();
        let home = Home::open(&room.path().join("home")).unwrap();
        let _held = home.lock().unwrap();
        let config = crate::config::Layers::defaults().finish().unwrap();
        for (operation, wanted) in [(Operation::Pause, Passage::Paused), (Operation::Resume, Passage::Open)] {
            let progress = tokio::sync::watch::channel(None).0;
            let report = perform(&home, &config, operation, progress).await.unwrap();
            assert!(
                matches!(report, Report::Passage(report) if report.passage == wanted && report.before != wanted)
            );
            assert_eq!(home.passage(), wanted);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_waits_for_a_command_that_holds_the_home_and_not_for_ever() {
        let room = tempfile::tempdir().unwrap();
        let home = Home::open(&room.path().join("home")).unwrap();
        let held = home.lock().unwrap();
        let command = tokio::spawn(async move {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(held);
        });
        let lock = lock_for_daemon(&home).await.unwrap();
        command.await.unwrap();
        let refused = lock_for_daemon(&home).await;
        assert!(matches!(refused, Err(AppError::Home(HomeError::InUse { .. }))));
        drop(lock);
    }
}
