//! The endpoint on loopback: OpenAI's API, Ollama's and Anthropic's over HTTP/1.1 and HTTP/2, for programs of this machine
//! and nobody else.
//!
//! The way of a request: `server` accepts it, `guard` decides whether the caller may speak at all, `route`
//! finds what is meant, a face reads the body, `call` plans, has a token spent and hears the answer, `reply` hands it
//! over.
//!
//! Invariants:
//! - Checks run in this order, and nothing is read of the body before the last: Host, Origin, key, route and
//!   method, content type, body.
//! - An answer counts as delivered, and its token as spent, only when the operating system has taken the
//!   last byte of it (`handover`). A client that hangs up before finds the answer again by asking again;
//!   one that stops reading is hung up on.
//! - Failures get their status in `error` and nowhere else. No message repeats what the client sent.
//! - Nothing of a request but its route is logged.
//!
//! Deliberately absent: web pages of origins that nobody allowed, an upgrade to HTTP/2 (clients begin with
//! it or do without), TLS.

mod body;
mod call;
mod cors;
mod credential;
mod error;
mod guard;
mod handover;
mod openapi;
mod reply;
mod route;
mod server;
mod service;
mod socket;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use call::SecondTry;
pub use route::{Faces, Presence};
pub use server::serve;

use crate::anonymous::face::Rules;
use crate::anonymous::face::catalog::Catalog;
use crate::anonymous::face::fields::Table;
use crate::anonymous::redeem::Redeem;
use crate::anonymous::transport::fetch::Fetch;
use crate::anonymous::{anthropic, ollama, openai};
use crate::clock::SharedClock;
use crate::origin::WebOrigin;
use crate::secret::Secret;

/// What [`serve`] answers with.
pub struct Endpoint {
    /// Where answers come from.
    pub redeemer: Box<dyn Redeem>,
    /// What can be asked for. Keep a clone to replace its content.
    pub catalog: Catalog,
    /// What clients must show.
    pub api_key: Secret<String>,
    /// Of which web pages may speak to it.
    pub allowed_origins: Vec<WebOrigin>,
    /// Whose APIs are spoken.
    pub faces: Faces,
    /// What a request may cost before it is refused.
    pub limits: Limits,
    /// A stream whose answer takes longer than this is begun, and kept alive with a comment line each time.
    pub heartbeat: Duration,
    /// For `created`, where the provider gives none.
    pub clock: SharedClock,
    /// How far requests are followed.
    pub conduct: Conduct,
    /// How pictures on the web are fetched; without one they are refused.
    pub pictures: Option<Box<dyn Fetch>>,
    /// What `/metrics` says; without one there is no such path.
    pub meter: Option<Box<dyn Meter>>,
}

/// What [`Meter::read`] returns.
pub type Reading<'a> = Pin<Box<dyn Future<Output = String> + Send + 'a>>;

/// Tells numbers in OpenMetrics' text format.
pub trait Meter: Send + Sync + 'static {
    /// The numbers now. They must name no prompt, tool or account.
    fn read(&self) -> Reading<'_>;
}

/// What becomes of every parameter of every endpoint.
pub fn tables() -> Vec<&'static Table> {
    [openai::fields::TABLES, ollama::fields::TABLES, anthropic::fields::TABLES].concat()
}

/// How far requests are followed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conduct {
    /// What they may ask for.
    pub rules: Rules,
    /// What becomes of parameters that have no effect.
    pub strictness: Strictness,
    /// Whether an answer that has not the form it should have is asked for again.
    pub second_try: SecondTry,
}

/// What becomes of parameters that have no effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// They are reported.
    #[default]
    Reporting,
    /// They are refused.
    Refusing,
}

/// What a request may cost before it is refused.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest body, bytes; also when it is decoded.
    pub body_bytes: usize,
    /// Longest time from the headers to the end of the body.
    pub body_time: Duration,
    /// Largest picture that is fetched, bytes.
    pub picture_bytes: usize,
    /// Longest time for the headers; also how long an idle connection is kept.
    pub head_time: Duration,
    /// Longest time in which the system takes nothing more of an answer because the client does not read; then
    /// the connection is cut, and the answer stays with its token. A slow reader is not cut: the system's
    /// buffers, some megabytes, count as read.
    pub write_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            body_bytes: 8_388_608,
            body_time: minute,
            picture_bytes: 187_500,
            head_time: minute,
            write_time: minute,
        }
    }
}
