//! Watching: answered when something has changed.
//!
//! How Tor is, and whether anything may leave, is told at once; the stock, which every call changes, is looked at every few
//! seconds. Nothing is computed while nobody watches.

use std::time::Duration;

use super::{AppError, Operations};
use crate::control::message::StatusReport;

/// How often the stock is looked at.
const LOOK: Duration = Duration::from_secs(10);

impl Operations {
    /// The status, as soon as it is another than `last`.
    pub(super) async fn watch(&self, last: Option<&StatusReport>) -> Result<StatusReport, AppError> {
        let mut passage = self.gate.changes();
        loop {
            // Before the look, so that no change is missed.
            passage.mark_unchanged();
            let changed = self.changed();
            let status = self.status().await?;
            if last.is_none_or(|last| !is_alike(last, &status)) {
                return Ok(status);
            }
            tokio::select! {
                _ = passage.changed() => {}
                () = changed => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Tor says something new; never without Tor.
    fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let tor = self.way_out().and_then(|way| way.tor);
        let changes = tor.map(|tor| {
            let mut changes = tor.changes();
            changes.mark_unchanged();
            changes
        });
        async move {
            let told = match changes {
                Some(mut changes) => changes.changed().await.is_ok(),
                None => false,
            };
            if !told {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// How many streams are kept warm comes and goes, and is nobody's business at a glance.
fn is_alike(one: &StatusReport, other: &StatusReport) -> bool {
    let calm = |report: &StatusReport| {
        let mut report = report.clone();
        if let Some(daemon) = &mut report.daemon {
            daemon.warm = 0;
        }
        report
    };
    calm(one) == calm(other)
}
