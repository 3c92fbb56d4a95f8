//! From "hyper has it" to "the client's kernel side has it": when an answer counts as delivered.
//!
//! A response body is consumed long before it is on its way: hyper buffers. Settling the token then would
//! lose the answer of a client that hangs up in between. So the body, when consumed, leaves its
//! [`Handover`] with the connection ([`Handovers`]), and the connection's socket passes it on once a flush has
//! succeeded, which hyper does only with an empty buffer. A connection that dies first drops
//! what it holds.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::task::TaskTracker;

use crate::anonymous::redeem::{Delivery, Prompt, RedeemErrorKind, Redeemer};

/// A call under way. Dropping it is the client hanging up.
pub type Redeeming = Pin<Box<dyn Future<Output = Result<Box<dyn Handover>, RedeemErrorKind>> + Send>>;

/// Gets an answer for a prompt: the endpoint's only way out. A trait so that tests can stand there.
pub trait Redeem: Send + Sync + 'static {
    /// Begins the call.
    fn redeem(&self, prompt: Prompt) -> Redeeming;
}

/// An answer on its way to the client. Dropping it means that the client did not get it.
pub trait Handover: Send {
    /// What the provider answered, whole.
    fn answer(&self) -> &[u8];
    /// The client has it.
    fn delivered(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl Redeem for Arc<Redeemer> {
    fn redeem(&self, prompt: Prompt) -> Redeeming {
        let redeemer = Self::clone(self);
        Box::pin(async move {
            let delivery = Redeemer::redeem(&redeemer, prompt).await?;
            Ok(Box::new(delivery) as Box<dyn Handover>)
        })
    }
}

impl Handover for Delivery {
    fn answer(&self) -> &[u8] {
        &Delivery::answer(self).body
    }

    fn delivered(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Delivery::delivered(*self))
    }
}

/// The answers of one connection that hyper has buffered and the socket has not taken.
pub(super) struct Handovers {
    buffered: Mutex<Vec<Box<dyn Handover>>>,
    /// Whether `buffered` has anything, so that most flushes cost one load.
    any: AtomicBool,
    /// Deliveries run here; a shutdown waits for them.
    tasks: TaskTracker,
}

impl Handovers {
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self { buffered: Mutex::default(), any: AtomicBool::new(false), tasks }
    }

    /// The last byte of this answer is in hyper's buffer.
    pub(super) fn buffered(&self, handover: Box<dyn Handover>) {
        self.buffered.lock().unwrap_or_else(PoisonError::into_inner).push(handover);
        self.any.store(true, Ordering::Release);
    }

    /// The socket has taken everything that was in the buffer.
    pub(super) fn flushed(&self) {
        if !self.any.swap(false, Ordering::AcqRel) {
            return;
        }
        let handovers = std::mem::take(&mut *self.buffered.lock().unwrap_or_else(PoisonError::into_inner));
        for handover in handovers {
            self.tasks.spawn(handover.delivered());
        }
    }
}
