//! How many wrong voucher codes an account, or an address, may try in an hour.
//!
//! A code has 100 bits: nobody guesses one. What is held back is the attempt.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::backend::ledger::AccountId;
use crate::clock::{SharedClock, Timestamp};

const HOUR: i64 = 3600;
const PER_ACCOUNT: u32 = 10;
const PER_ADDRESS: u32 = 50;

/// Who tries a code.
pub(in crate::backend) struct Guesser {
    /// The account of the session.
    pub(in crate::backend) account: AccountId,
    /// Where it comes from, if that is its own address: not a proxy's, not an onion service's.
    pub(in crate::backend) address: Option<IpAddr>,
}

pub(super) struct Guesses {
    clock: SharedClock,
    counts: Mutex<Counts>,
}

struct Counts {
    since: Timestamp,
    accounts: HashMap<AccountId, u32>,
    addresses: HashMap<IpAddr, u32>,
}

impl Guesses {
    pub(super) fn new(clock: SharedClock) -> Self {
        let since = clock.now();
        let counts = Counts { since, accounts: HashMap::new(), addresses: HashMap::new() };
        Self { clock, counts: Mutex::new(counts) }
    }

    /// Whether nothing more of theirs is looked at.
    pub(super) fn is_spent(&self, guesser: &Guesser) -> bool {
        self.with(|counts| {
            let of = |count: Option<&u32>| count.copied().unwrap_or(0);
            of(counts.accounts.get(&guesser.account)) >= PER_ACCOUNT
                || guesser.address.is_some_and(|address| of(counts.addresses.get(&address)) >= PER_ADDRESS)
        })
    }

    /// One was wrong.
    pub(super) fn count(&self, guesser: &Guesser) {
        fn one_more<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: K) {
            let count = counts.entry(key).or_default();
            *count = count.saturating_add(1);
        }
        self.with(|counts| {
            one_more(&mut counts.accounts, guesser.account.clone());
            if let Some(address) = guesser.address {
                one_more(&mut counts.addresses, address);
            }
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut Counts) -> T) -> T {
        let now = self.clock.now();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if !(0..HOUR).contains(&now.seconds_since(counts.since)) {
            counts.since = now;
            counts.accounts.clear();
            counts.addresses.clear();
        }
        look(&mut counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn ten_wrong_codes_an_hour_are_an_account_s_and_fifty_an_address_s() {
        let clock = ManualClock::shared(Timestamp::from_unix(0));
        let guesses = Guesses::new(clock.clone());
        let from = |account: &str, last: u8| Guesser {
            account: AccountId::known(account),
            address: Some(IpAddr::from([192, 0, 2, last])),
        };
        for _ in 0..PER_ACCOUNT {
            assert!(!guesses.is_spent(&from("a", 1)));
            guesses.count(&from("a", 1));
        }
        assert!(guesses.is_spent(&from("a", 2)), "from wherever");
        assert!(!guesses.is_spent(&from("b", 1)));
        for account in 0..PER_ADDRESS {
            guesses.count(&from(&account.to_string(), 1));
        }
        assert!(guesses.is_spent(&from("b", 1)));
        assert!(!guesses.is_spent(&Guesser { address: None, ..from("b", 1) }));
        clock.advance(HOUR);
        assert!(!guesses.is_spent(&from("a", 1)));
    }
}
