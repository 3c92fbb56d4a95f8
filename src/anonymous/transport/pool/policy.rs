//! How many streams to keep warm, and how long: pure, in the caller's time.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Calls this far back say what may come.
const MEMORY: Duration = Duration::from_secs(300);
/// Calls within this time of one another need a stream each.
const BURST: Duration = Duration::from_secs(5);
/// The longest life of an idle stream: most servers close one after one to two minutes.
const LONGEST_LIFE: Duration = Duration::from_secs(100);
/// The shortest that is learnt: below it a dead network would be taken for an impatient server.
const SHORTEST_LIFE: Duration = Duration::from_secs(8);

/// The calls of late, and what follows from them.
pub(super) struct Demand {
    calls: VecDeque<Instant>,
    last: Instant,
    most: usize,
    dormant_after: Duration,
}

impl Demand {
    /// Nothing is known yet: one is kept.
    pub(super) fn new(now: Instant, most: usize, dormant_after: Duration) -> Self {
        Self { calls: VecDeque::new(), last: now, most, dormant_after }
    }

    /// A call came.
    pub(super) fn called(&mut self, now: Instant) {
        self.forget(now);
        // More than this at once changes nothing.
        if self.calls.len() >= 4 * self.most.max(1) {
            self.calls.pop_front();
        }
        self.calls.push_back(now);
        self.last = now;
    }

    /// How many streams to keep warm: the largest burst of late, at least one, and none after a long silence.
    pub(super) fn target(&mut self, now: Instant) -> usize {
        self.forget(now);
        if self.is_idle(now) {
            return 0;
        }
        let burst = |from: usize| {
            let begun = self.calls[from];
            self.calls.iter().skip(from).take_while(|call| call.duration_since(begun) < BURST).count()
        };
        (0..self.calls.len()).map(burst).max().unwrap_or(0).clamp(1, self.most.max(1)).min(self.most)
    }

    /// Whether the last call is so long ago that none is expected.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        now.duration_since(self.last) >= self.dormant_after
    }

    fn forget(&mut self, now: Instant) {
        while self.calls.front().is_some_and(|call| now.duration_since(*call) > MEMORY) {
            self.calls.pop_front();
        }
    }
}

/// How long the backend leaves an idle stream open, as far as it was seen.
pub(super) struct Patience {
    life: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { life: LONGEST_LIFE }
    }
}

impl Patience {
    /// How long to keep a stream; `jitter` from 0.6 to 1.
    pub(super) fn life(&self, jitter: f64) -> Duration {
        self.life.mul_f64(jitter)
    }

    /// The other side closed a stream of this age.
    pub(super) fn closed_after(&mut self, age: Duration) {
        self.life = self.life.min(age.mul_f64(0.9)).max(SHORTEST_LIFE);
    }

    /// A stream grew old in peace.
    pub(super) fn outlived(&mut self) {
        self.life = self.life.mul_f64(1.1).min(LONGEST_LIFE);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn one_is_kept_for_the_first_call_and_a_burst_is_remembered_for_a_while() {
        let start = Instant::now();
        let mut demand = Demand::new(start, 8, HOUR);
        assert_eq!(demand.target(start), 1);
        for _ in 0..5 {
            demand.called(start);
        }
        assert_eq!(demand.target(start + BURST), 5);
        assert_eq!(demand.target(start + MEMORY * 2), 1);
        assert_eq!(demand.target(start + HOUR), 0);
        demand.called(start + HOUR);
        assert_eq!(demand.target(start + HOUR), 1);
    }

    #[test]
    fn an_impatient_backend_is_believed_and_a_patient_one_trusted_again() {
        let mut patience = Patience::default();
        patience.closed_after(Duration::from_secs(30));
        assert_eq!(patience.life(1.0), Duration::from_secs(27));
        for _ in 0..50 {
            patience.outlived();
        }
        assert_eq!(patience.life(1.0), LONGEST_LIFE);
        patience.closed_after(Duration::ZERO);
        assert_eq!(patience.life(1.0), SHORTEST_LIFE);
    }

    proptest! {
        #[test]
        fn whatever_the_calls_the_target_is_within_its_bounds(
            gaps in proptest::collection::vec(0u64..4000, 0..200), most in 0usize..33,
        ) {
            let mut now = Instant::now();
            let mut demand = Demand::new(now, most, HOUR);
            for gap in gaps {
                now += Duration::from_secs(gap);
                let idle = demand.target(now);
                prop_assert!(idle <= most);
                demand.called(now);
                let target = demand.target(now);
                prop_assert!(target <= most && target >= 1.min(most));
            }
        }
    }
}
