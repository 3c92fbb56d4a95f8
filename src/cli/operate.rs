//! Running an operation: with the home's lock when it is free, else by asking the daemon that holds it.

use std::time::Duration;

use tokio::sync::watch;

use crate::app;
use crate::config::Config;
use crate::control::{Operation, Progress, Report};
use crate::datadir::Home;
use crate::supervisor::Signals as _;

use super::exit::{Exit, Failure};
use super::{Context, output::Output};

/// Opens the home and runs `operation`.
pub(super) async fn operate(context: &Context, operation: Operation) -> Result<Report, Failure> {
    let (home, config) = context.open(&[])?;
    operate_in(context.output, &home, &config, operation).await
}

/// Whether there is a home; makes none. Whoever backs up, or takes over, means one that is there.
pub(super) fn check_home(context: &Context) -> Result<(), Failure> {
    let path = context.home_path()?;
    if ["vault.db", "config.toml"].iter().any(|name| path.join(name).exists()) {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, format!("there is no home in {}; nothing was done", path.display()))
        .advise("name the one that you mean: --home DIR"))
}

/// Runs `operation` in an open home. Ctrl-C cancels it, but for a backup, which is made whole; what it had begun is taken up by the next one.
pub(super) async fn operate_in(
    output: Output,
    home: &Home,
    config: &Config,
    operation: Operation,
) -> Result<Report, Failure> {
    let mut signals = super::serve::signals()?;
    let (progress, watched) = watch::channel(None);
    let bar = tokio::spawn(show(output, watched));
    // A second at most, and between its steps the vault may be retired with no copy made.
    let is_whole = matches!(operation, Operation::Backup(_));
    let work = app::perform(home, config, operation, progress);
    let result = tokio::select! {
        result = work => result,
        signal = signals.next(), if !is_whole => {
            bar.abort();
            return Err(Failure::new(signal.into(), "stopped before the end")
                .advise("nothing is lost: what was begun is finished by the next command of this kind"));
        }
    };
    // The sender is gone by now, so this ends.
    let _ = bar.await;
    result.map_err(Failure::from)
}

pub(super) async fn show(output: Output, mut watched: watch::Receiver<Option<Progress>>) {
    let bar = output.bar();
    while watched.changed().await.is_ok() {
        match &*watched.borrow_and_update() {
            Some(Progress::Minted { done, total }) => {
                // Not before: most operations have no progress to show.
                bar.set_message("minting");
                bar.enable_steady_tick(Duration::from_millis(200));
                bar.set_length((*total).into());
                bar.set_position((*done).into());
            }
            Some(Progress::Waiting { waiting_for }) => {
                bar.set_message(format!("waiting for {waiting_for}"));
                bar.enable_steady_tick(Duration::from_millis(200));
            }
            Some(Progress::Found(_)) | None => {}
        }
    }
    bar.finish_and_clear();
}

/// The daemon and this program disagree on what an operation reports.
pub(super) fn mismatch() -> Failure {
    Failure::new(Exit::Failed, "the daemon answered something else than was asked")
        .advise("it may be another version of llmtor: stop it and start it again")
}
