//! How many requests a second (protocol.md §2).
//!
//! Counts in whole seconds of the clock; with each second everything is forgotten, so the tables stay as
//! small as one second's traffic. Sessions are counted by a hash of the cookie, valid or not.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::ledger::SessionHash;
use super::settings::RateLimits;
use crate::clock::{SharedClock, Timestamp};

/// Whether a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Fine,
    TooFast,
}

/// Both limits.
pub(super) struct Limiter {
    clock: SharedClock,
    sessions: Window<SessionHash>,
    addresses: Window<IpAddr>,
}

struct Window<K> {
    most: u32,
    counts: Mutex<(Timestamp, HashMap<K, u32>)>,
}

impl Limiter {
    pub(super) fn new(limits: RateLimits, clock: SharedClock) -> Self {
        let now = clock.now();
        Self {
            clock,
            sessions: Window::new(limits.per_session, now),
            addresses: Window::new(limits.per_address, now),
        }
    }

    pub(super) fn count_address(&self, address: IpAddr) -> Pace {
        self.addresses.count(address, self.clock.now())
    }

    pub(super) fn count_session(&self, session: SessionHash) -> Pace {
        self.sessions.count(session, self.clock.now())
    }
}

impl<K: Eq + Hash> Window<K> {
    fn new(most: u32, now: Timestamp) -> Self {
        Self { most, counts: Mutex::new((now, HashMap::new())) }
    }

    fn count(&self, key: K, now: Timestamp) -> Pace {
        if self.most == 0 {
            return Pace::Fine;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.0 != now {
            counts.0 = now;
            counts.1.clear();
        }
        let count = counts.1.entry(key).or_default();
        *count = count.saturating_add(1);
        if *count > self.most { Pace::TooFast } else { Pace::Fine }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn each_session_has_its_own_count_and_each_second_is_new() {
        let clock = ManualClock::shared(Timestamp::from_unix(0));
        let limiter = Limiter::new(RateLimits { per_session: 2, per_address: 0 }, clock.clone());
        assert_eq!([(); 3].map(|()| limiter.count_session([1; 32])), [Pace::Fine, Pace::Fine, Pace::TooFast]);
        assert_eq!(limiter.count_session([2; 32]), Pace::Fine);
        clock.advance(1);
        assert_eq!(limiter.count_session([1; 32]), Pace::Fine);
        assert_eq!([(); 50].map(|()| limiter.count_address(IpAddr::from([1, 2, 3, 4]))), [Pace::Fine; 50]);
    }
}
