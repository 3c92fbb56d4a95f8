//! When the abuse token of a new month is fetched.
//!
//! # What moment is best
//!
//! The backend takes a transient token in its own month only (protocol.md §3, §4), so from the first second of a month until
//! its token is here no call can be made. Three ways were weighed:
//!
//! - *Ahead of time.* The signer is blind and would sign a token for next month today; no call would ever wait. It is not
//!   done. An operator who issues nothing more to an account expects it to end with the month, and a client that stocks
//!   months ahead takes that away from all operators; an account that is issued none in a month in which everybody is tells
//!   which client it runs; and a key changed with the month makes the stock worthless.
//! - *Within the first hours or days.* The later the fetch may be, the longer calls fail, and it does not even hide more: a
//!   pseudonym that is seen with the month's token cannot be of an account that has not fetched one yet, so each hour of waiting
//!   is an hour in which calls narrow down whose they are.
//! - *Within the first minutes*, which is what is done: [`WINDOW`] seconds, uniformly, drawn a month ahead. Every machine that is
//!   awake has its token before the window is over, and then the moment says nothing. Not at the first second: thousands of
//!   clients would ask at once, and each would show by how much its clock is off.
//!
//! A machine that was off or asleep then fetches it [`SOONEST`] to [`LATEST`] seconds after it is back, drawn then and kept:
//! short, since calls fail until then; not at once, since that is when its user begins to work. This is the one moment
//! that follows from the user's day, and it is so once a month. Who wants it otherwise leaves the machine on over the turn
//! of the month, UTC, or runs `llmtor abuse setup` then.
//!
//! A call that fails for want of the token triggers nothing. Nor does one whose token the backend refuses: whoever wants another
//! then asks for it (`llmtor abuse rotate --later`), and it is fetched at a moment drawn out of [`ASKED`] seconds, so that a
//! backend that refuses one pseudonym does not learn from who comes next whose it was.
//!
//! | found at a tick | what is done |
//! | --- | --- |
//! | abuse tokens are not set up, or the backend asks for none | nothing: the first ones come with `llmtor abuse setup` |
//! | this month's token is held | a moment early in the next month is drawn and kept, unless there is one |
//! | it is not held, its moment is ahead | waits |
//! | it is not held, its moment is now | a repetition is drawn and kept, then it is fetched |
//! | it is not held, and its moment was slept through, or none was drawn | a late moment is drawn and kept |
//! | the fetch fails | the repetition holds: minutes, doubling, up to hours, each time random |
//! | the month's 30 tokens are used up, or the backend refuses | as a failure; said once |
//! | the session is over | nothing is asked until a sign-in, then it is late |
//! | the clock is set back behind the drawing | drawn anew |
//! | a token of a later month is held (the clock was ahead) | nothing: `llmtor abuse setup` when the clock is right |

use rand::{CryptoRng, RngExt as _};
use serde::{Deserialize, Serialize};

use super::agenda::{Continuity, patience, unix};
use crate::clock::Timestamp;
use crate::wire::redemption::Epoch;

/// Seconds of a month in which its token is fetched.
pub const WINDOW: i64 = 15 * 60;
/// Seconds after a start or a wake-up before which a late token is not fetched.
pub const SOONEST: i64 = 60;
/// Seconds after which it is, at the latest.
pub const LATEST: i64 = 10 * 60;
/// Seconds after which, at the soonest and at the latest, a token comes that the user asked for because the backend refuses the one in
/// use: a refusal may be the backend's way of asking who will come for another.
pub const ASKED: std::ops::Range<i64> = 3600..24 * 3600;
/// The same after that moment was slept through, or the fetch failed.
const ASKED_AGAIN: std::ops::Range<i64> = 600..3 * 3600;
/// As for top-ups: a clock that stands so many seconds before a drawing was set back.
const SET_BACK: i64 = 3600;

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// Abuse tokens are not asked for, or not set up.
    None,
    /// The permanent token, and the transient one of this month or a later one.
    Current,
    /// The permanent token, and no transient one of this month.
    Old,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing now.
    Wait,
    /// The token is fetched now.
    Fetch,
}

/// When the next fetch is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    moment: Option<Moment>,
    /// When another token of this month is fetched, though one is held: the user asked for one.
    #[serde(default)]
    asked: Option<Asked>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    /// The month in which it was.
    epoch: u32,
    #[serde(with = "unix")]
    due: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Moment {
    /// The month of the token.
    epoch: u32,
    #[serde(with = "unix")]
    due: Timestamp,
    #[serde(with = "unix")]
    drawn: Timestamp,
    failures: u32,
}

impl Rotation {
    /// When this month's token comes, if it is not held and its moment is known.
    pub fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let this = Epoch::at(now.unix()).number();
        self.moment.as_ref().filter(|moment| moment.epoch == this).map(|moment| moment.due)
    }

    /// The next moment that is ahead.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let asked = self.asked.as_ref().map(|asked| asked.due);
        self.moment.as_ref().map(|moment| moment.due).into_iter().chain(asked).filter(|due| *due > now).min()
    }

    /// Another token is wanted, some time: when. Who asks again waits no shorter and no longer.
    pub fn ask<R: CryptoRng + ?Sized>(&mut self, now: Timestamp, rng: &mut R) -> Timestamp {
        let epoch = Epoch::at(now.unix()).number();
        let due = now.plus_seconds(rng.random_range(ASKED));
        self.asked.take_if(|asked| asked.epoch != epoch || asked.due <= now);
        self.asked.get_or_insert(Asked { epoch, due }).due
    }

    /// Whether one that was asked for is fetched now; a repetition is drawn then, as after a moment that was slept through.
    pub fn tick_asked<R: CryptoRng + ?Sized>(
        &mut self,
        holding: Holding,
        now: Timestamp,
        continuity: Continuity,
        rng: &mut R,
    ) -> Step {
        let epoch = Epoch::at(now.unix()).number();
        // The month's own is another one.
        self.asked.take_if(|asked| asked.epoch != epoch || holding != Holding::Current);
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.due <= now) else { return Step::Wait };
        asked.due = now.plus_seconds(rng.random_range(ASKED_AGAIN));
        if continuity == Continuity::Broken { Step::Wait } else { Step::Fetch }
    }

    /// It is here, or will not be.
    pub fn answered(&mut self) {
        self.asked = None;
    }

    /// How often the fetch of this moment failed.
    pub fn failures(&self) -> u32 {
        self.moment.as_ref().map_or(0, |moment| moment.failures)
    }

    /// See the table. With [`Step::Fetch`] the moment is that of a repetition already. `seconds_left` of this month.
    pub fn tick<R: CryptoRng + ?Sized>(
        &mut self,
        holding: Holding,
        seconds_left: i64,
        now: Timestamp,
        continuity: Continuity,
        rng: &mut R,
    ) -> Step {
        let this = Epoch::at(now.unix()).number();
        if self.moment.as_ref().is_some_and(|moment| now.plus_seconds(SET_BACK) < moment.drawn) {
            self.moment = None;
        }
        match holding {
            Holding::None => {
                self.moment = None;
                Step::Wait
            }
            Holding::Current => {
                let next = this.saturating_add(1);
                if self.moment.as_ref().is_none_or(|moment| moment.epoch != next) {
                    let due = now.plus_seconds(seconds_left).plus_seconds(rng.random_range(0..WINDOW));
                    self.moment = Some(Moment { epoch: next, due, drawn: now, failures: 0 });
                }
                Step::Wait
            }
            Holding::Old => {
                let moment = self.moment.take().filter(|moment| moment.epoch == this);
                let is_missed = |moment: &Moment| moment.due <= now && continuity == Continuity::Broken;
                let Some(mut moment) = moment.filter(|moment| !is_missed(moment)) else {
                    let due = now.plus_seconds(rng.random_range(SOONEST..LATEST));
                    self.moment = Some(Moment { epoch: this, due, drawn: now, failures: 0 });
                    return Step::Wait;
                };
                let step = if moment.due <= now { Step::Fetch } else { Step::Wait };
                if step == Step::Fetch {
                    moment.due = now.plus_seconds(patience(moment.failures, rng.random_range(0.5..1.5)));
                    moment.drawn = now;
                    moment.failures = moment.failures.saturating_add(1);
                }
                self.moment = Some(moment);
                step
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    /// 2026-12-01T00:00:00Z.
    const TURN: i64 = 1_796_083_200;
    const MONTH: i64 = 31 * 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(TURN + seconds)
    }

    fn planned(rng: &mut StdRng) -> Rotation {
        let mut rotation = Rotation::default();
        let step = rotation.tick(Holding::Current, 86_400, at(-86_400), Continuity::Broken, rng);
        assert_eq!(step, Step::Wait);
        rotation
    }

    #[test]
    fn a_new_month_s_token_is_fetched_within_its_first_minutes_at_a_moment_drawn_before() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut seen = Vec::new();
        for _ in 0..200 {
            let mut rotation = planned(&mut rng);
            let due = rotation.next(at(-1)).unwrap();
            assert!((at(0)..at(WINDOW)).contains(&due));
            let before = due.plus_seconds(-1);
            if before >= at(0) {
                let step = rotation.tick(Holding::Old, MONTH, before, Continuity::Unbroken, &mut rng);
                assert_eq!(step, Step::Wait);
            }
            let step = rotation.tick(Holding::Old, MONTH, due, Continuity::Unbroken, &mut rng);
            assert_eq!(step, Step::Fetch);
            // It is not fetched twice, and the next month's is planned once it is here.
            assert_eq!(rotation.tick(Holding::Old, MONTH, due, Continuity::Unbroken, &mut rng), Step::Wait);
            rotation.tick(Holding::Current, MONTH - 900, at(900), Continuity::Unbroken, &mut rng);
            assert!(rotation.next(at(900)).unwrap() >= at(MONTH));
            seen.push(due.seconds_since(at(0)));
        }
        let early = seen.iter().filter(|second| **second < WINDOW / 2).count();
        assert!((60..140).contains(&early), "{early}");
    }

    #[test]
    fn a_machine_that_slept_over_the_turn_fetches_minutes_after_it_is_back_and_not_at_once() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut rotation = planned(&mut rng);
        let back = at(9 * 3600);
        assert_eq!(rotation.tick(Holding::Old, 1, back, Continuity::Broken, &mut rng), Step::Wait);
        let due = rotation.due(back).unwrap();
        assert!((SOONEST..LATEST).contains(&due.seconds_since(back)));
        assert_eq!(rotation.tick(Holding::Old, 1, due, Continuity::Unbroken, &mut rng), Step::Fetch);
    }

    #[test]
    fn without_abuse_tokens_nothing_is_ever_fetched() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut rotation = planned(&mut rng);
        for second in 0..WINDOW {
            let step = rotation.tick(Holding::None, 1, at(second), Continuity::Unbroken, &mut rng);
            assert_eq!(step, Step::Wait);
        }
    }

    #[test]
    fn a_token_that_was_asked_for_comes_hours_later_once_and_not_upon_waking() {
        let mut rng = StdRng::seed_from_u64(5);
        for _ in 0..100 {
            let mut rotation = planned(&mut rng);
            let due = rotation.ask(at(-86_400), &mut rng);
            assert_eq!(rotation.ask(at(-86_300), &mut rng), due, "asking again changes nothing");
            assert!(ASKED.contains(&due.seconds_since(at(-86_400))));
            let mut tick = |rotation: &mut Rotation, now, continuity| {
                rotation.tick_asked(Holding::Current, now, continuity, &mut rng)
            };
            if due >= at(0) {
                continue;
            }
            assert_eq!(tick(&mut rotation, due.plus_seconds(-1), Continuity::Unbroken), Step::Wait);
            assert_eq!(tick(&mut rotation, due, Continuity::Broken), Step::Wait, "slept through");
            let again = rotation.next(due).unwrap();
            assert!(again >= due.plus_seconds(ASKED_AGAIN.start));
            if again >= at(0) {
                continue;
            }
            assert_eq!(tick(&mut rotation, again, Continuity::Unbroken), Step::Fetch);
            rotation.answered();
            assert_eq!(tick(&mut rotation, at(-1), Continuity::Unbroken), Step::Wait, "once");
        }
    }

    #[test]
    fn a_note_of_before_tokens_could_be_asked_for_is_read() {
        let rotation: Rotation = serde_json::from_str(r#"{"moment":null}"#).unwrap();
        assert_eq!(rotation, Rotation::default());
    }

    #[test]
    fn a_moment_survives_its_note() {
        let rotation = planned(&mut StdRng::seed_from_u64(4));
        let note = serde_json::to_vec(&rotation).unwrap();
        assert_eq!(serde_json::from_slice::<Rotation>(&note).unwrap(), rotation);
    }

    proptest! {
        #[test]
        fn a_backend_that_is_away_is_asked_ever_more_seldom(seed in any::<u64>()) {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut rotation = planned(&mut rng);
            let mut asked = Vec::new();
            for minute in 0..2 * 24 * 60 {
                let now = at(minute * 60);
                if rotation.tick(Holding::Old, 1, now, Continuity::Unbroken, &mut rng) == Step::Fetch {
                    asked.push(now);
                }
            }
            prop_assert!(asked.len() <= 18, "{}", asked.len());
            prop_assert!(asked.windows(2).all(|pair| pair[1].seconds_since(pair[0]) >= 300));
        }
    }
}
