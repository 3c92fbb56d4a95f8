//! Issuance: one credit for one blind signature, once per RequestID for five minutes (protocol.md §3).
//!
//! | step | on failure |
//! | --- | --- |
//! | recognise the RequestID | a repeat gets the same signature; two at once wait for one another |
//! | model has a key, credit is there | `no auth manager found`, `no quota left` |
//! | sign | nothing debited |
//! | debit, durable | nothing leaves |
//! | remember, answer | – |
//!
//! The memory is deliberately this process's own, as the deployed server's is: after a restart, or five
//! minutes, a repeat is a second debit.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::issuer::Issuer;
use super::ledger::{AccountId, Debit, Ledger};
use super::locks::KeyedLocks;
use super::sqlite::StoreError;
use crate::clock::{SharedClock, Timestamp};
use crate::wire::ModelName;

/// How long a RequestID is remembered, seconds (protocol.md §3).
pub(super) const REMEMBERED_SECONDS: i64 = 300;

/// Why no signature is issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssuanceError {
    #[error("no key for the model")]
    NoAuthManager,
    #[error("no credit")]
    NoQuota,
    #[error("the blinded token is not below the modulus and as long as it")]
    Unsignable,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was signed for a RequestID.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) model: ModelName,
    pub(super) signature: Vec<u8>,
}

type Key = (AccountId, uuid::Uuid);

/// Issuance with its memory.
pub(super) struct Issuance {
    locks: KeyedLocks<Key>,
    remembered: Mutex<HashMap<Key, (Timestamp, Issued)>>,
    clock: SharedClock,
}

impl Issuance {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { locks: KeyedLocks::new(), remembered: Mutex::default(), clock }
    }

    /// Signs `blinded` with `model`'s key against one credit of `account`.
    pub(super) async fn issue(
        &self,
        ledger: &dyn Ledger,
        issuer: &Issuer,
        account: AccountId,
        request: uuid::Uuid,
        model: ModelName,
        blinded: Vec<u8>,
    ) -> Result<Issued, IssuanceError> {
        let key = (account.clone(), request);
        let _turn = self.locks.lock(key.clone()).await;
        if let Some(issued) = self.recall(&key) {
            return Ok(issued);
        }
        if !issuer.knows_model(model.as_str()) {
            return Err(IssuanceError::NoAuthManager);
        }
        // Spares the signing when there is nothing to pay with; the debit below is what counts.
        if ledger.balance(account.clone(), model.clone()).await? < 1 {
            return Err(IssuanceError::NoQuota);
        }
        let signature = issuer.sign(model.as_str(), blinded).await.map_err(|_| IssuanceError::Unsignable)?;
        if ledger.debit(account, model.clone()).await? == Debit::NoQuota {
            return Err(IssuanceError::NoQuota);
        }
        let done = Issued { model, signature };
        self.remember(key, done.clone());
        Ok(done)
    }

    fn recall(&self, key: &Key) -> Option<Issued> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, issued) = remembered.get(key)?;
        (self.clock.now().seconds_since(*at) < REMEMBERED_SECONDS).then(|| issued.clone())
    }

    fn remember(&self, key: Key, issued: Issued) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.insert(key, (self.clock.now(), issued));
    }

    /// Drops what is too old to be recalled; called now and then.
    pub(super) fn forget_old(&self) {
        let now = self.clock.now();
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, (at, _)| now.seconds_since(*at) < REMEMBERED_SECONDS);
    }
}
