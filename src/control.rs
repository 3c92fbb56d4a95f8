//! The control socket: how a command reaches the home while a daemon holds it.
//!
//! `control.sock` in the home, 0600 in a 0700 directory; the daemon also asks the kernel who is calling
//! and hangs up on anybody but the home's owner. One connection carries one operation, as JSON lines:
//!
//! ```text
//! → {"op":"mint","model":"gpt-4.1","count":10,"readiness":"now"}
//! ← {"event":"progress","done":3,"total":10}
//! ← {"event":"progress","daemon":4711,"checks":[…]}    (of `doctor`: what was found until now)
//! ← {"event":"done","report":"mint", …}            or {"event":"failed","kind":"no_credit","message":…,"advice":…}
//! ```
//!
//! Hanging up before the end cancels the operation; each is written so that it can be taken up again.
//! What an operation does is not known here: the daemon and a command that holds the home itself run the
//! same [`Perform`].
//!
//! Deliberately absent: any operation that reads a token, a session or a prompt back.

pub mod message;
#[cfg(unix)]
mod socket;

use std::future::Future;

use tokio::sync::watch;

pub use message::{Operation, Progress, Refusal, RefusalKind, Report};
#[cfg(unix)]
pub use socket::{Server, ask};

/// Where an operation's progress is told; the latest is all that counts.
pub type ProgressSender = watch::Sender<Option<Progress>>;

/// Carries out operations.
pub trait Perform: Send + Sync + 'static {
    /// Carries out one. Dropping the future cancels it without losing anything.
    fn perform(
        &self,
        operation: Operation,
        progress: ProgressSender,
    ) -> impl Future<Output = Result<Report, Refusal>> + Send;
}

/// Why a daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens there.
    #[error("no llmtor daemon answers in this home; start it with `llmtor serve`")]
    NoDaemon(#[source] std::io::Error),
    /// It hung up, or said what cannot be read.
    #[error(
        "the llmtor daemon of this home broke off; `llmtor logs` says why, `llmtor serve` starts it again"
    )]
    BrokenOff,
    /// The socket cannot be made or used.
    #[error(
        "the control socket of this home cannot be used: {0}; choose a home with a shorter path (--home DIR) if it is long, else stop the daemon and start it again"
    )]
    Io(#[from] std::io::Error),
}
