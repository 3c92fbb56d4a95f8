//! Asking the daemon, again and again: each question is answered when something has changed since the last answer.

use std::time::Duration;

use tokio::sync::watch;

use super::Message;
use crate::control::message::{Operation, Report};
use crate::control::{self, ControlError};
use crate::datadir::Home;

/// Between two tries while nobody answers.
const PAUSE: Duration = Duration::from_secs(2);
/// A daemon that is begun anew is away for a moment; that is nothing to show.
const MOMENT: Duration = Duration::from_secs(3);
/// After an answer that says nothing: another version of the daemon.
const OTHER_VERSION: Duration = Duration::from_secs(30);

/// Tells `send` of every change, until it says that nobody listens any more.
pub(super) async fn watch(home: Home, send: impl Fn(Message) -> Result<(), ()>) {
    let mut last = None;
    let mut gone: Option<tokio::time::Instant> = None;
    let mut shown_gone = false;
    loop {
        let (progress, _) = watch::channel(None);
        let operation = Operation::Watch { last: last.clone() };
        match control::ask(&home.control_path(), &operation, &progress).await {
            Ok(Ok(Report::Status(report))) => {
                (gone, shown_gone) = (None, false);
                let report = Box::new(report);
                last = Some(report.clone());
                if send(Message::Status(Some(report))).is_err() {
                    return;
                }
                continue;
            }
            Ok(Ok(_) | Err(_)) => {
                let said = "The daemon is another version of llmtor: stop it and start it again.".to_owned();
                if send(Message::Said(said)).is_err() {
                    return;
                }
                tokio::time::sleep(OTHER_VERSION).await;
            }
            Err(ControlError::NoDaemon(_) | ControlError::BrokenOff | ControlError::Io(_)) => {
                let since = *gone.get_or_insert_with(tokio::time::Instant::now);
                let is_first = last.is_none();
                if !shown_gone && (is_first || since.elapsed() >= MOMENT) {
                    shown_gone = true;
                    if send(Message::Status(None)).is_err() {
                        return;
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        last = None;
    }
}
