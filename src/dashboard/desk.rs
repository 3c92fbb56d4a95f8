//! What the page may read and do. Behind it is the composition root; the page knows no plane.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::control::Refusal;
use crate::control::message::StatusReport;
use crate::passage::Passage;

/// What the desk returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// Reads the daemon for the page, and does the few things that the page can do.
pub trait Desk: Send + Sync + 'static {
    /// The daemon, the home and the stock.
    fn status(&self) -> Answer<'_, StatusReport>;

    /// The calls that are remembered, the newest first.
    fn calls(&self) -> Vec<Call>;

    /// What the account's side sent, as far as it is remembered, the newest first.
    fn errands(&self) -> Vec<Errand>;

    /// The settings that the page shows, as they are in effect and as they will be after the next start.
    fn settings(&self) -> Vec<Setting>;

    /// Writes settings to the configuration file; all or none.
    fn change(&self, changes: &[(String, String)]) -> Result<(), Refusal>;

    /// Pauses, or resumes.
    fn set_passage(&self, wanted: Passage) -> Answer<'_, ()>;

    /// Leaves every circuit behind.
    fn new_identity(&self) -> Answer<'_, ()>;
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With an answer.
    Answered,
    /// With the answer of an identical call.
    Shared,
    /// Refused by moderation.
    Blocked,
    /// The provider failed.
    ProviderFailed,
    /// The token waits for the same request.
    InDoubt,
    /// Nothing to pay with.
    NoToken,
    /// Nothing could leave.
    NoWayOut,
    /// Refused before anything was spent.
    Refused,
}

/// The way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The Tor client built in.
    Tor,
    /// A proxy on this machine.
    Socks,
    /// A backend on this machine.
    Loopback,
}

/// Who goes over the same circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// No other call.
    Nobody,
    /// Calls of the same conversation.
    Conversation,
    /// Any call.
    Anybody,
}

/// What left in one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// Request line and header lines, as written.
    pub head: Option<Arc<str>>,
    /// Bytes behind them.
    pub body: u64,
    /// By which way.
    pub way: Way,
    /// With whom.
    pub company: Company,
}

/// A finished call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it ended, Unix seconds.
    pub ended: i64,
    /// The API that was spoken.
    pub api: &'static str,
    /// The model.
    pub model: String,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub ending: Ending,
    /// How often something left.
    pub attempts: u32,
    /// What left, in order; the first ones, if there are very many.
    pub sendings: Vec<Sending>,
}

/// Which way the account's side goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountWay {
    /// From this machine's own address.
    Direct,
    /// Through Tor.
    Tor,
    /// A backend on this machine.
    Loopback,
}

/// In whose name something was asked of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// The account's.
    Account,
    /// Nobody's.
    Nobody,
}

/// A request of the account's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// When it was over, Unix seconds.
    pub ended: i64,
    /// `GET` or another.
    pub method: &'static str,
    /// Without what names anybody.
    pub path: String,
    /// Bytes of the body.
    pub body: u64,
    /// By which way.
    pub way: AccountWay,
    /// In whose name.
    pub bearing: Bearing,
}

/// A setting, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `section.key`.
    pub key: &'static str,
    /// In effect now.
    pub now: String,
    /// After the next start.
    pub next: String,
    /// What stands over the configuration file, if anything does: a variable of the environment, or the command line.
    pub overruled_by: Option<String>,
}
