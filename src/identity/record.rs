//! What is remembered of the requests that this plane sent, for the user's own eyes: in memory, bounded, and never content.
//!
//! | kept of a request | not kept |
//! | --- | --- |
//! | when it was over, to the second | whose account it is |
//! | the method; the path, with anything in the place of what is not a word of the protocol | names, ids and codes in it |
//! | how many bytes the body had | the body, the answer and its status |
//! | the way; whether the session went along | the session, addresses, exits |
//!
//! A request that could not leave (no connection, or a server that is not the right one) is not there.
//!
//! Deliberately absent: a file. The record ends with the process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{SharedClock, Timestamp};
use crate::wire::API_PREFIX;

/// How many requests are remembered.
const MOST_REQUESTS: usize = 200;

/// The words of paths that say nothing of anybody (protocol.md §3). Only these are kept.
const WORDS: [&str; 11] = [
    "me",
    "model-pricing",
    "auth-token",
    "abuse-token",
    "permanent",
    "transient",
    "backup",
    "users",
    "signin",
    "signout",
    "voucher",
];

/// How a request left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From this machine's own address.
    Direct,
    /// Through Tor.
    Tor,
    /// Not at all: the backend is on this machine.
    Loopback,
}

/// In whose name a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// With the session: the backend knows whose it is.
    Account,
    /// Without.
    Nobody,
}

/// A request, as it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// `GET` or another.
    pub method: &'static str,
    /// As in [`template`].
    pub path: String,
    /// Bytes of the body.
    pub body: u64,
    /// How it left.
    pub way: Way,
    /// What went along.
    pub bearing: Bearing,
}

/// Told of every request when it is over.
pub trait Witness: Send + Sync + 'static {
    /// A request has left. Must not block.
    fn left(&self, sent: Sent);
}

/// Looks away.
pub struct Nobody;

impl Witness for Nobody {
    fn left(&self, _sent: Sent) {}
}

/// Testifies when it is dropped: also for a request that is cut short.
pub(super) struct Watch<'w> {
    witness: &'w dyn Witness,
    sent: Option<Sent>,
}

impl<'w> Watch<'w> {
    pub(super) fn over(witness: &'w dyn Witness, sent: Sent) -> Self {
        Self { witness, sent: Some(sent) }
    }

    /// There was nobody to send it to.
    pub(super) fn nothing_left(&mut self) {
        self.sent = None;
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.witness.left(sent);
        }
    }
}

/// The path of an endpoint without what only one account, model or token has in it.
pub(super) fn template(segments: &[&str]) -> String {
    segments.iter().fold(API_PREFIX.to_owned(), |path, segment| {
        path + "/" + if WORDS.contains(segment) { segment } else { "…" }
    })
}

/// The last requests.
pub struct RequestLog {
    clock: SharedClock,
    requests: Mutex<VecDeque<(Timestamp, Sent)>>,
}

impl RequestLog {
    /// An empty one.
    pub fn new(clock: SharedClock) -> Arc<Self> {
        Arc::new(Self { clock, requests: Mutex::default() })
    }

    /// The last requests, the newest first, and when each was over.
    pub fn latest(&self) -> Vec<(Timestamp, Sent)> {
        self.kept().iter().rev().cloned().collect()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<(Timestamp, Sent)>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for RequestLog {
    fn left(&self, sent: Sent) {
        let now = self.clock.now();
        let mut kept = self.kept();
        if kept.len() >= MOST_REQUESTS {
            kept.pop_front();
        }
        kept.push_back((now, sent));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::ManualClock;

    fn sent(body: u64) -> Sent {
        let path = template(&["me"]);
        Sent { method: "GET", path, body, way: Way::Tor, bearing: Bearing::Account }
    }

    #[test]
    fn the_oldest_requests_are_forgotten() {
        let clock = ManualClock::shared(Timestamp::from_unix(0));
        let log = RequestLog::new(clock.clone());
        for number in 0..250 {
            clock.advance(1);
            log.left(sent(number));
        }
        let latest = log.latest();
        assert_eq!(latest.len(), MOST_REQUESTS);
        assert_eq!(latest[0], (Timestamp::from_unix(250), sent(249)));
        assert_eq!(latest[199], (Timestamp::from_unix(51), sent(50)));
    }

    #[test]
    fn a_request_counts_however_it_ends_unless_nothing_left() {
        let log = RequestLog::new(ManualClock::shared(Timestamp::from_unix(7)));
        drop(Watch::over(&*log, sent(1)));
        let mut kept_back = Watch::over(&*log, sent(2));
        kept_back.nothing_left();
        drop(kept_back);
        assert_eq!(log.latest(), [(Timestamp::from_unix(7), sent(1))]);
    }

    proptest! {
        #[test]
        fn a_path_names_nobody(word in prop::sample::select(&WORDS[..]), other in "[a-zA-Z0-9._/-]{1,40}") {
            prop_assume!(!WORDS.contains(&other.as_str()));
            prop_assert_eq!(template(&[word, &other]), format!("/api/v1/{word}/…"));
            prop_assert_eq!(template(&[&other, word]), format!("/api/v1/…/{word}"));
        }
    }
}
