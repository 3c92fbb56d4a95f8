//! From "hyper has it" to "the client's side has it": when an answer counts as delivered.
//!
//! A response body is consumed long before it is on its way: hyper buffers. Settling the token then would
//! lose the answer of a client that hangs up in between. So the body, when consumed, leaves its
//! [`Delivery`] with the connection, and the connection's socket ends it once a flush has succeeded, which
//! hyper does only with an empty buffer. A connection that dies first drops what it holds, and the answers
//! stay with their tokens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::anonymous::redeem::Delivery;

/// The answers of one connection that hyper has buffered and the socket has not taken.
#[derive(Default)]
pub(super) struct Handovers {
    buffered: Mutex<Vec<Delivery>>,
    /// Whether `buffered` has anything, so that most flushes cost one swap.
    any: AtomicBool,
}

impl Handovers {
    /// The last byte of this answer is in hyper's buffer.
    pub(super) fn buffered(&self, delivery: Delivery) {
        self.buffered.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
        self.any.store(true, Ordering::Release);
    }

    /// The socket has taken everything that was in the buffer.
    pub(super) fn flushed(&self) {
        if self.any.swap(false, Ordering::AcqRel) {
            let delivered =
                std::mem::take(&mut *self.buffered.lock().unwrap_or_else(PoisonError::into_inner));
            delivered.into_iter().for_each(Delivery::delivered);
        }
    }
}
