//! What the user is told of without asking. Pure: time is an argument.
//!
//! | what | when | told again |
//! | --- | --- | --- |
//! | tokens run low, and the account has no credit | at once | after it was over |
//! | the backend said that the session has ended | at once | after it was over |
//! | trouble | when it has lasted for two minutes | after it was over |
//!
//! Nothing else: what passes by itself, or is only nice to know, is in the menu.

use std::time::{Duration, Instant};

use crate::control::message::{NextTopUp, SessionState, State, StatusReport, SupplyLevel};
use crate::passage::Passage;

/// How long trouble lasts before it is told: a network that comes back, a daemon that is updated.
const LASTS: Duration = Duration::from_secs(120);

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) summary: &'static str,
    pub(super) body: String,
}

/// What was told already.
#[derive(Default)]
pub(super) struct Notices {
    low: Told,
    session: Told,
    trouble: Told,
    trouble_since: Option<Instant>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Told {
    #[default]
    NotYet,
    Already,
}

impl Notices {
    /// What to tell of the state of things at `now`.
    pub(super) fn of(&mut self, report: Option<&StatusReport>, now: Instant) -> Vec<Notice> {
        let is_paused = report.is_some_and(|report| report.passage == Passage::Paused);
        // Whoever paused knows why nothing happens.
        let mut supply = report.into_iter().filter(|_| !is_paused).flat_map(|report| report.supply.iter());
        // Of a model that was never used nobody needs to hear: few accounts have credits for all that is offered.
        let short = supply.find(|(_, one)| {
            matches!(one.next, NextTopUp::NoCredit { .. })
                && one.level != SupplyLevel::Ample
                && one.days.is_some()
        });
        let is_short = short.is_some();
        let has_ended = !is_paused && report.is_some_and(|report| report.session == SessionState::Expired);
        let condition = report.map(StatusReport::condition);
        let is_trouble = condition.as_ref().is_none_or(|condition| condition.state == State::Trouble);
        self.trouble_since = is_trouble.then(|| self.trouble_since.unwrap_or(now));
        let lasts = self.trouble_since.is_some_and(|since| now.duration_since(since) >= LASTS);
        let (sentence, next) = condition.map_or_else(
            || ("llmtor is not running.".to_owned(), Some("start it from its menu".to_owned())),
            |condition| (condition.sentence, condition.next),
        );
        let trouble = Notice {
            summary: "llmtor needs you",
            body: next.map_or(sentence.clone(), |next| format!("{sentence} Next: {next}.")),
        };
        let low = Notice {
            summary: "llmtor: tokens run low",
            body: match short {
                Some((model, _)) => {
                    format!(
                        "The account has no credit left to make new ones for {model}. Buy some with `llmtor buy`."
                    )
                }
                None => String::new(),
            },
        };
        let session = Notice {
            summary: "llmtor: please sign in",
            body: "The session has ended. Calls go on while there are tokens; `llmtor login` lets new ones be made.".into(),
        };
        [
            (is_short, &mut self.low, low),
            (has_ended, &mut self.session, session),
            (lasts, &mut self.trouble, trouble),
        ]
        .into_iter()
        .filter_map(|(is_so, told, notice)| told.once(is_so).then_some(notice))
        .collect()
    }

    /// When trouble that is seen now is to be told, if nothing else happens.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.trouble == Told::NotYet).then_some(self.trouble_since?).map(|since| since + LASTS)
    }
}

impl Told {
    /// Whether it is to be told now.
    fn once(&mut self, is_so: bool) -> bool {
        let before = std::mem::replace(self, if is_so { Self::Already } else { Self::NotYet });
        is_so && before == Self::NotYet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn trouble_is_told_once_when_it_has_lasted() {
        let (mut notices, begun) = (Notices::default(), Instant::now());
        assert!(notices.of(None, begun).is_empty());
        assert_eq!(notices.due(), Some(begun + LASTS));
        assert!(notices.of(None, begun + seconds(119)).is_empty());
        let told = notices.of(None, begun + seconds(120));
        assert_eq!(told.len(), 1);
        assert!(told[0].body.contains("not running"));
        assert!(notices.of(None, begun + seconds(900)).is_empty() && notices.due().is_none());
    }

    #[test]
    fn what_was_over_is_told_again() {
        let mut told = Told::default();
        let seen = [true, true, false, true].map(|is_so| told.once(is_so));
        assert_eq!(seen, [true, false, false, true]);
    }
}
