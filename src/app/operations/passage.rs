//! Pausing and resuming: kept in the home first, then told to everybody who would let something leave.

use tokio_util::sync::CancellationToken;

use crate::control::message::PassageReport;
use crate::passage::{Gate, Passage};

use super::{AppError, Operations};

impl Operations {
    /// Whether anything may leave.
    pub(in crate::app) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Returns when the identity plane is doing nothing, and keeps it so.
    pub(in crate::app) async fn quiet(&self) -> impl Sized + '_ {
        self.turn.lock().await
    }

    /// Refuses while nothing may leave.
    pub(super) fn passable(&self) -> Result<(), AppError> {
        match self.gate.passage() {
            Passage::Open => Ok(()),
            Passage::Paused => Err(AppError::Paused),
        }
    }

    /// Runs `work`, which ends early and well when its token is cancelled: by `stop`, or by a pause.
    pub(super) async fn until_paused<W: Future>(
        &self,
        stop: &CancellationToken,
        work: impl FnOnce(CancellationToken) -> W,
    ) -> W::Output {
        let stop = stop.child_token();
        let mut changes = self.gate.changes();
        let paused = async {
            // The gate lives as long as these operations.
            let _ = changes.wait_for(|passage| *passage == Passage::Paused).await;
            stop.cancel();
            std::future::pending().await
        };
        tokio::select! {
            output = work(stop.clone()) => output,
            never = paused => never,
        }
    }

    pub(super) fn set_passage(&self, passage: Passage) -> Result<PassageReport, AppError> {
        let before = self.gate.passage();
        self.home.keep_passage(passage)?;
        self.gate.set(passage);
        if before != passage {
            match passage {
                Passage::Paused => tracing::warn!("paused: nothing leaves until `llmtor resume`"),
                Passage::Open => tracing::info!("resumed"),
            }
        }
        Ok(PassageReport { passage, before })
    }
}
