//! Who asks, as far as redemption is told: nothing of it leaves this machine, and nothing of it is kept.

use super::record::Api;

/// One local request, so that the several answers that it may want are told from the same request made again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    request: u64,
    attempt: Attempt,
    api: Api,
}

/// Whether a client says that it asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It does not say so.
    First,
    /// A repeat of a request that it gave up waiting for, or that failed: it wants one answer for both.
    Retry,
}

impl Asking {
    /// A local request, made now.
    pub fn new(attempt: Attempt) -> Self {
        Self { request: rand::random(), attempt, api: Api::default() }
    }

    /// The same, made in that API.
    #[must_use]
    pub fn by(self, api: Api) -> Self {
        Self { api, ..self }
    }

    /// In which API.
    pub fn api(self) -> Api {
        self.api
    }

    /// Whether it is a repeat, by its client's word.
    pub fn attempt(self) -> Attempt {
        self.attempt
    }

    /// Whether both are of one local request.
    pub(super) fn is_of(self, other: Self) -> bool {
        self.request == other.request
    }
}
