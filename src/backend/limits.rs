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
    guesses: Window<IpAddr>,
}

/// Wrong invite codes that may be tried from one address in a minute. Codes are too long to be guessed; this keeps the noise down.
const GUESSES: u32 = 20;

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
            guesses: Window::new(GUESSES, now),
        }
    }

    pub(super) fn count_address(&self, address: IpAddr) -> Pace {
        self.addresses.count(address, self.clock.now())
    }

    /// Whether an invite code from there is looked at. Who has no address of their own is not counted: one count for all of
    /// them would let anybody shut the others out.
    pub(super) fn may_guess(&self, address: Option<IpAddr>) -> Pace {
        address.map_or(Pace::Fine, |address| self.guesses.look(&network(address), self.minute()))
    }

    /// An invite code from there was wrong.
    pub(super) fn count_wrong_guess(&self, address: Option<IpAddr>) {
        if let Some(address) = address {
            let _ = self.guesses.count(network(address), self.minute());
        }
    }

    fn minute(&self) -> Timestamp {
        let now = self.clock.now().unix();
        Timestamp::from_unix(now - now.rem_euclid(60))
    }

    pub(super) fn count_session(&self, session: SessionHash) -> Pace {
        self.sessions.count(session, self.clock.now())
    }
}

/// Whose hand an address is in: a network of IPv6 is one household's.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

impl<K: Eq + Hash> Window<K> {
    fn new(most: u32, now: Timestamp) -> Self {
        Self { most, counts: Mutex::new((now, HashMap::new())) }
    }

    /// Whether one more would still be fine.
    fn look(&self, key: &K, now: Timestamp) -> Pace {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_spent = counts.0 == now && counts.1.get(key).is_some_and(|count| *count >= self.most);
        if is_spent { Pace::TooFast } else { Pace::Fine }
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
    fn codes_are_tried_so_often_a_minute_and_a_network_is_one_address() {
        let clock = ManualClock::shared(Timestamp::from_unix(30));
        let limiter = Limiter::new(RateLimits { per_session: 0, per_address: 0 }, clock.clone());
        let guess = |address: &str| {
            let address = address.parse().ok();
            let pace = limiter.may_guess(address);
            limiter.count_wrong_guess(address);
            pace
        };
        for host in 0..GUESSES {
            assert_eq!(guess(&format!("2001:db8::{host:x}")), Pace::Fine);
        }
        assert_eq!(guess("2001:db8::ffff"), Pace::TooFast);
        assert_eq!(
            (guess("2001:db8:0:1::1"), guess("192.0.2.1"), guess("")),
            (Pace::Fine, Pace::Fine, Pace::Fine)
        );
        for _ in 0..2 * GUESSES {
            assert_eq!(guess("no address"), Pace::Fine, "nobody is held back for somebody else's tries");
        }
        clock.advance(29);
        assert_eq!(guess("2001:db8::1"), Pace::TooFast);
        clock.advance(1);
        assert_eq!(guess("2001:db8::1"), Pace::Fine);
    }

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
