//! Transient tokens: five minutes in which a browser without the session may buy for an account (protocol.md §3).
//!
//! In memory, as hashes: after a restart the buyer asks for a new one. A token opens the purchase page of its account and
//! nothing else, as often as the page is loaded.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use rand::CryptoRng;
use sha2::{Digest as _, Sha256};

use crate::backend::ledger::AccountId;
use crate::clock::{SharedClock, Timestamp};

/// How long one lives, seconds (protocol.md §3).
const LIFE: i64 = 300;
/// Most of one account: each look at `/me` makes one.
const MOST: usize = 128;

/// A token's hash, and since when it lives.
type Issued = ([u8; 32], Timestamp);

pub(super) struct Transients {
    clock: SharedClock,
    tokens: Mutex<HashMap<String, VecDeque<Issued>>>,
}

impl Transients {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { clock, tokens: Mutex::default() }
    }

    pub(super) fn issue(&self, account: &AccountId, rng: &mut impl CryptoRng) -> String {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        let token = uuid::Builder::from_random_bytes(bytes).into_uuid().to_string();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let own = tokens.entry(account.as_str().to_owned()).or_default();
        while own.len() >= MOST {
            own.pop_front();
        }
        own.push_back((Sha256::digest(&token).into(), self.clock.now()));
        token
    }

    pub(super) fn owner(&self, claimed: &str, token: &str) -> Option<AccountId> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let now = self.clock.now();
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tokens.get(claimed)?.iter().any(|(own, issued)| *own == hash && is_alive(*issued, now));
        found.then(|| AccountId::known(claimed))
    }

    pub(super) fn forget_old(&self) {
        let now = self.clock.now();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, own| {
            own.retain(|(_, issued)| is_alive(*issued, now));
            !own.is_empty()
        });
    }
}

/// A clock set back makes none young again.
fn is_alive(issued: Timestamp, now: Timestamp) -> bool {
    (0..LIFE).contains(&now.seconds_since(issued))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_token_is_its_account_s_for_five_minutes() {
        let clock = ManualClock::shared(Timestamp::from_unix(1_000));
        let transients = Transients::new(clock.clone());
        let (alice, bob) = (AccountId::known("alice"), AccountId::known("bob"));
        let token = transients.issue(&alice, &mut rand::rng());
        let _ = transients.issue(&bob, &mut rand::rng());
        let owns = |claimed: &str, token: &str| transients.owner(claimed, token).is_some();
        assert!(owns("alice", &token) && owns("alice", &token));
        assert!(!owns("bob", &token) && !owns("nobody", &token) && !owns("alice", "") && !owns("alice", "x"));
        clock.advance(299);
        assert!(owns("alice", &token));
        clock.advance(1);
        assert!(!owns("alice", &token));
        clock.advance(-301);
        assert!(!owns("alice", &token), "before it was issued");
        clock.advance(400);
        transients.forget_old();
        assert!(transients.tokens.lock().unwrap().is_empty());
    }

    #[test]
    fn looking_at_the_account_while_waiting_does_not_end_the_page_s_token() {
        let transients = Transients::new(ManualClock::shared(Timestamp::from_unix(1_000)));
        let alice = AccountId::known("alice");
        let first = transients.issue(&alice, &mut rand::rng());
        for _ in 1..MOST {
            let _ = transients.issue(&alice, &mut rand::rng());
        }
        assert!(transients.owner("alice", &first).is_some());
        let _ = transients.issue(&alice, &mut rand::rng());
        assert!(transients.owner("alice", &first).is_none(), "memory has an end");
    }
}
