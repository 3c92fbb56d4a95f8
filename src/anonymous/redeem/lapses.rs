//! What one call may cost in tokens that may be spent: how many of those it drew brought nothing that can be shown.
//!
//! | brought | how often in one call | then |
//! | --- | --- | --- |
//! | `token expired`, which costs the backend nothing | 64 times | the call ends |
//! | an answer that is older by the backend's clock, or by ours where it does not tell its own | 8 times | the call ends; if all are as late as each other, it is a clock: as below |
//! | an answer that does not say when it was made | twice | only certain tokens are drawn, in this call and, until an answer to a certain one says its time rightly, in any other for this model |
//! | something else, which has no time | twice | only certain tokens are drawn in this call |

use crate::vault::Trust;

use super::outcome::Lapse;

const MOST_LAPSED: u32 = 64;
/// If the provider's clock is behind, each of these was a call at the backend.
const MOST_OLDER: u32 = 8;
/// Each of these may have been one.
const MOST_UNPROVEN: u32 = 2;
/// As far apart as answers may be that are as late as each other, seconds.
const AS_LATE: i64 = 60;

/// Of one call.
#[derive(Default)]
pub(super) struct Lapses {
    all: u32,
    undated: u32,
    unproven: u32,
    /// How old the older ones were.
    ages: Vec<i64>,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Onward {
    /// Another token may be drawn, such as this lets.
    Another(Trust),
    /// The same, and what the answers say of their time is of no use.
    CertainFromNowOn,
    /// No other.
    End,
    /// No other, and the same.
    EndAndCertainFromNowOn,
}

impl Lapses {
    /// One more.
    pub(super) fn count(&mut self, lapse: Lapse) -> Onward {
        self.all += 1;
        match lapse {
            Lapse::Expired => {}
            Lapse::Older(age) => self.ages.push(age),
            Lapse::Undated => self.undated += 1,
            Lapse::Unproven => self.unproven += 1,
        }
        if self.ages.len() >= MOST_OLDER as usize {
            let oldest = self.ages.iter().max().copied().unwrap_or_default();
            let youngest = self.ages.iter().min().copied().unwrap_or_default();
            return if oldest - youngest <= AS_LATE { Onward::EndAndCertainFromNowOn } else { Onward::End };
        }
        if self.all >= MOST_LAPSED {
            Onward::End
        } else if self.undated >= MOST_UNPROVEN {
            Onward::CertainFromNowOn
        } else if self.undated + self.unproven >= MOST_UNPROVEN {
            Onward::Another(Trust::Certain)
        } else {
            Onward::Another(Trust::Any)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lapses: impl IntoIterator<Item = Lapse>) -> Onward {
        let mut counted = Lapses::default();
        lapses.into_iter().map(|lapse| counted.count(lapse)).last().unwrap()
    }

    #[test]
    fn tokens_that_expired_are_looked_through_and_such_as_cost_a_call_are_not() {
        assert_eq!(after([Lapse::Expired; 63]), Onward::Another(Trust::Any));
        assert_eq!(after([Lapse::Expired; 64]), Onward::End);
        assert_eq!(after([Lapse::Undated]), Onward::Another(Trust::Any));
        assert_eq!(after([Lapse::Undated; 2]), Onward::CertainFromNowOn);
        assert_eq!(after([Lapse::Unproven; 2]), Onward::Another(Trust::Certain));
        assert_eq!(after([Lapse::Unproven, Lapse::Undated]), Onward::Another(Trust::Certain));
    }

    #[test]
    fn older_answers_that_are_all_as_late_show_a_clock_and_others_do_not() {
        assert_eq!(after((0..7).map(|_| Lapse::Older(90))), Onward::Another(Trust::Any));
        assert_eq!(after((0..8).map(|number| Lapse::Older(90 + number))), Onward::EndAndCertainFromNowOn);
        assert_eq!(after((0..8).map(|number| Lapse::Older(600 * number))), Onward::End);
    }
}
