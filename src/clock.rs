//! Time as an argument.
//!
//! Policies (maturity of a token, the five days of an answer, the month of an abuse token) read the
//! clock they are given, so tests turn it by hand instead of sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::failpoint;

/// Whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From Unix seconds.
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// As Unix seconds.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// `seconds` later; negative means earlier. Saturates.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to `self`; negative when the order is the other way round.
    pub fn seconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// A clock shared by the parts of one process.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
pub struct SystemClock;

impl SystemClock {
    /// The machine's clock, ready to share.
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX));
        Timestamp(seconds).plus_seconds(failpoint::clock_shift())
    }
}

/// Tells a machine that slept, or whose clock was set, by a wall clock that went on without the monotonic one.
pub struct Jumps {
    /// One moment on both clocks.
    moment: (Instant, Timestamp),
}

impl Jumps {
    /// The clocks differ by more than this many seconds: not a clock that is being steered right.
    const LEAST: i64 = 10;

    /// Begins to watch.
    pub fn new(now: Instant, wall: Timestamp) -> Self {
        Self { moment: (now, wall) }
    }

    /// Whether there was a jump since the last look.
    pub fn notice(&mut self, now: Instant, wall: Timestamp) -> bool {
        let (then, wall_then) = std::mem::replace(&mut self.moment, (now, wall));
        let elapsed = i64::try_from(now.duration_since(then).as_secs()).unwrap_or(i64::MAX);
        (wall.seconds_since(wall_then).saturating_sub(elapsed)).abs() > Self::LEAST
    }
}

/// A clock that moves only when told to; for tests.
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock standing at `start`.
    pub fn shared(start: Timestamp) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(start.0)))
    }

    /// Moves the clock by `seconds`, which may be negative.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wall_clock_that_goes_alone_is_a_jump_in_either_direction_and_is_told_once() {
        let (now, wall) = (Instant::now(), Timestamp::from_unix(1_700_000_000));
        let mut jumps = Jumps::new(now, wall);
        let later = now + Duration::from_secs(3600);
        assert!(!jumps.notice(later, wall.plus_seconds(3605)));
        assert!(jumps.notice(later, wall.plus_seconds(7200)));
        assert!(!jumps.notice(later, wall.plus_seconds(7200)));
        assert!(jumps.notice(later + Duration::from_secs(1), wall));
    }
}
