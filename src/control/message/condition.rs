//! The condition of the whole, in one word and one sentence: what `status`, the tray and the page show first.
//!
//! The first row that applies counts:
//!
//! | what is so | condition |
//! | --- | --- |
//! | no daemon runs | Trouble |
//! | nothing may leave | Paused |
//! | the vault's tokens may be another vault's; the disk is full; no key is pinned; an abuse token is missing and does not come by itself; Tor is stuck | Trouble |
//! | Tor starts | Starting |
//! | there is no usable token at all, or a model that is used runs low | LowOnTokens |
//! | else | Ready |
//!
//! Pure: it says nothing that the report does not. A session that has ended is no trouble as long as there are tokens.

use serde::{Deserialize, Serialize};

use super::{NextTopUp, Room, StatusReport, SupplyLevel, TorPhase};
use crate::passage::Passage;
use crate::vault::Custody;

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Calls are answered.
    Ready,
    /// Calls wait until Tor is there.
    Starting,
    /// Calls are answered, and soon will not be; or there is nothing to pay with.
    LowOnTokens,
    /// Nothing leaves; the user wants it so.
    Paused,
    /// Calls fail until somebody does something.
    Trouble,
}

impl State {
    /// All of them, the best first.
    pub const ALL: [Self; 5] = [Self::Ready, Self::Starting, Self::LowOnTokens, Self::Paused, Self::Trouble];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::LowOnTokens => "low on tokens",
            Self::Paused => "paused",
            Self::Trouble => "trouble",
        }
    }
}

/// What the user can do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// In one word.
    pub state: State,
    /// What is so, in one sentence.
    pub sentence: String,
    /// What to do next, if there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl StatusReport {
    /// The condition of the whole.
    pub fn condition(&self) -> Condition {
        self.off()
            .or_else(|| self.hindered())
            .or_else(|| self.starting())
            .or_else(|| self.low())
            .unwrap_or_else(|| condition(State::Ready, "Ready: calls are answered.", None))
    }

    /// Nobody works, or nobody is to.
    fn off(&self) -> Option<Condition> {
        if self.daemon.is_none() {
            let next = match self.identity_url {
                Some(_) => "run `llmtor serve`, or `llmtor service install` to have it started for you",
                // It could not start.
                None => {
                    "run `llmtor login --backend URL --keys FILE`; or `llmtor demo`, which needs no backend"
                }
            };
            return Some(condition(State::Trouble, "llmtor is not running.", Some(next)));
        }
        (self.passage == Passage::Paused).then(|| {
            let sentence = "Paused: nothing leaves this machine.";
            condition(State::Paused, sentence, Some("run `llmtor resume` to let calls leave again"))
        })
    }

    /// Something that only the user can see to.
    fn hindered(&self) -> Option<Condition> {
        let trouble = |sentence: &str, next: &str| Some(condition(State::Trouble, sentence, Some(next)));
        if self.custody != Custody::Ours {
            return trouble(
                "This vault spends nothing, because another machine may use its tokens.",
                "run `llmtor restore --take-over` when no other machine uses them any more",
            );
        }
        if self.room == Room::None {
            return trouble(
                "The disk is full, so calls are refused.",
                "make room where the home is; `llmtor doctor` says where",
            );
        }
        if self.models.is_empty() {
            return trouble(
                "No model can be asked, because no key of the backend is pinned.",
                "run `llmtor keys import FILE` with the operator's published keys",
            );
        }
        let has_abuse = self.abuse.permanent && self.abuse.transient.is_some();
        if self.abuse.required && !has_abuse && self.abuse.comes_before.is_none() {
            return trouble("An abuse token is missing, so calls are refused.", "run `llmtor abuse setup`");
        }
        let tor = self.daemon.as_ref()?.tor.as_ref()?;
        (tor.phase == TorPhase::Blocked).then(|| {
            let reason = tor.blockage.as_deref().unwrap_or("it does not say why");
            let next = "see to the network; `llmtor doctor` looks closer";
            condition(State::Trouble, format!("Tor is stuck: {reason}."), Some(next))
        })
    }

    fn starting(&self) -> Option<Condition> {
        let tor = self.daemon.as_ref()?.tor.as_ref()?;
        // At rest without a pause: it is just beginning again.
        matches!(tor.phase, TorPhase::Bootstrapping | TorPhase::AtRest).then(|| {
            let sentence = format!("Starting: Tor is {} % there; calls wait for it.", tor.percent);
            condition(State::Starting, sentence, None)
        })
    }

    fn low(&self) -> Option<Condition> {
        if self.models.values().all(|stock| stock.available == 0) {
            if self.models.values().any(|stock| stock.maturing > 0) {
                let sentence = "No token may be used yet: those that were minted are still maturing.";
                let next = "wait; `llmtor tokens` says how long";
                return Some(condition(State::LowOnTokens, sentence, Some(next)));
            }
            return Some(condition(
                State::LowOnTokens,
                "There are no tokens left.",
                Some(&self.more_tokens()),
            ));
        }
        let is_low = |level, days: Option<u32>| {
            level == SupplyLevel::Low || (level == SupplyLevel::Empty && days.is_some())
        };
        let low = self.supply.iter().find(|(_, supply)| is_low(supply.level, supply.days))?;
        let sentence = format!("The tokens for {} are running low.", low.0);
        Some(condition(State::LowOnTokens, sentence, Some(&next_of(&low.1.next))))
    }

    /// Where tokens come from when there are none.
    fn more_tokens(&self) -> String {
        if !self.logged_in {
            return "run `llmtor login`, so that tokens can be minted".into();
        }
        let mut nexts = self.supply.values().map(|supply| &supply.next);
        let told = nexts.clone().find(|next| matches!(next, NextTopUp::Look { .. } | NextTopUp::Unplanned));
        told.or_else(|| nexts.next()).map_or_else(|| next_of(&NextTopUp::Off), next_of)
    }
}

fn condition(state: State, sentence: impl Into<String>, next: Option<&str>) -> Condition {
    Condition { state, sentence: sentence.into(), next: next.map(str::to_owned) }
}

/// What to do about a stock, by what happens next by itself.
fn next_of(next: &NextTopUp) -> String {
    match next {
        NextTopUp::Look { before } => {
            format!("nothing: they are topped up by themselves before {before} (UTC)")
        }
        NextTopUp::Unplanned => "nothing: a top-up is about to be planned".into(),
        NextTopUp::NoCredit { .. } => "buy credits with `llmtor buy`".into(),
        NextTopUp::Refused { .. } => "the backend refused a top-up; `llmtor account` asks it why".into(),
        NextTopUp::SignIn => "sign in with `llmtor login`".into(),
        NextTopUp::Stopped => "compare `llmtor keys list` with the operator's published keys".into(),
        NextTopUp::Resume => "run `llmtor resume`".into(),
        NextTopUp::Off | NextTopUp::NotRunning | NextTopUp::Paused => {
            "mint some with `llmtor tokens mint --model MODEL --count N`".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AbuseReport, DaemonReport, SessionState, SupplyReport, TorReport};
    use super::*;
    use crate::vault::Stock;
    use crate::wire::ModelName;

    fn model() -> ModelName {
        ModelName::new("gpt-4.1").unwrap()
    }

    fn ready() -> StatusReport {
        let tor = TorReport { percent: 100, phase: TorPhase::Ready, stage: None, blockage: None };
        StatusReport {
            room: Room::Some,
            daemon: Some(DaemonReport {
                pid: 1,
                base_url: "http://127.0.0.1:8787/v1".into(),
                transport: "tor".into(),
                tor: Some(tor),
                warm: 1,
            }),
            home: "/h".into(),
            identity_url: Some("https://backend.example/".into()),
            anonymous_url: None,
            passage: Passage::Open,
            logged_in: true,
            session: SessionState::Held,
            custody: Custody::Ours,
            resting_until: None,
            models: [(model(), Stock { available: 5, ..Stock::default() })].into(),
            supply: [(model(), supply(SupplyLevel::Ample, Some(9)))].into(),
            abuse: AbuseReport {
                required: true,
                permanent: true,
                transient: Some("2026-11".into()),
                ..AbuseReport::default()
            },
            credits_lost: 0,
        }
    }

    fn supply(level: SupplyLevel, days: Option<u32>) -> SupplyReport {
        SupplyReport { level, days, next: NextTopUp::Look { before: "2026-12-01".into() } }
    }

    type Change = fn(&mut StatusReport);

    fn tor(report: &mut StatusReport) -> &mut TorReport {
        report.daemon.as_mut().unwrap().tor.as_mut().unwrap()
    }

    #[test]
    fn without_a_daemon_the_first_advice_is_one_that_can_be_followed() {
        let off = StatusReport { daemon: None, ..ready() };
        assert!(off.condition().next.unwrap().contains("`llmtor serve`"));
        let bare = StatusReport { identity_url: None, ..off };
        let next = bare.condition().next.unwrap();
        assert!(next.contains("llmtor login --backend") && !next.contains("llmtor serve"), "{next}");
    }

    #[test]
    fn each_row_of_the_table_has_its_condition_and_its_next_step() {
        let stock = |report: &mut StatusReport, available, maturing| {
            report.models.insert(model(), Stock { available, maturing, ..Stock::default() });
        };
        let rows: [(&str, Change, State, &str); 14] = [
            ("as it should be", |_| (), State::Ready, ""),
            ("no daemon", |report| report.daemon = None, State::Trouble, "llmtor serve"),
            ("paused", |report| report.passage = Passage::Paused, State::Paused, "llmtor resume"),
            ("restored", |report| report.custody = Custody::Restored, State::Trouble, "--take-over"),
            ("retired", |report| report.custody = Custody::Retired, State::Trouble, "--take-over"),
            ("no keys", |report| report.models.clear(), State::Trouble, "keys import"),
            ("no abuse token", |report| report.abuse.permanent = false, State::Trouble, "abuse setup"),
            ("stuck", |report| tor(report).phase = TorPhase::Blocked, State::Trouble, "doctor"),
            ("starting", |report| tor(report).phase = TorPhase::Bootstrapping, State::Starting, ""),
            ("woken", |report| tor(report).phase = TorPhase::AtRest, State::Starting, ""),
            ("dormant", |report| tor(report).phase = TorPhase::Dormant, State::Ready, ""),
            (
                "a new month",
                |report| {
                    report.abuse.transient = None;
                    report.abuse.comes_before = Some("2026-12-01T00:15:00Z".into());
                },
                State::Ready,
                "",
            ),
            (
                "low",
                |report| {
                    report.supply.insert(model(), supply(SupplyLevel::Low, Some(1)));
                },
                State::LowOnTokens,
                "by themselves before 2026-12-01",
            ),
            (
                "no credit",
                |report| {
                    let next = NextTopUp::NoCredit { before: Some("2026-12-01".into()) };
                    let empty = SupplyReport { level: SupplyLevel::Empty, days: Some(0), next };
                    report.supply.insert(model(), empty);
                },
                State::LowOnTokens,
                "llmtor buy",
            ),
        ];
        for (what, change, state, next) in rows {
            let mut report = ready();
            change(&mut report);
            let told = report.condition();
            assert_eq!(told.state, state, "{what}: {told:?}");
            assert!(told.next.unwrap_or_default().contains(next), "{what}");
            assert!(told.sentence.ends_with('.'), "{what}");
        }
        for (available, maturing, logged_in, next) in
            [(0, 3, true, "wait"), (0, 0, false, "llmtor login"), (0, 0, true, "by themselves")]
        {
            let mut report = ready();
            stock(&mut report, available, maturing);
            report.logged_in = logged_in;
            let told = report.condition();
            assert_eq!(told.state, State::LowOnTokens);
            assert!(told.next.unwrap().contains(next));
        }
    }

    #[test]
    fn a_pause_hides_every_trouble_but_that_nobody_runs() {
        let mut report = StatusReport { passage: Passage::Paused, custody: Custody::Retired, ..ready() };
        report.models.clear();
        tor(&mut report).phase = TorPhase::Blocked;
        assert_eq!(report.condition().state, State::Paused);
        report.daemon = None;
        assert_eq!(report.condition().state, State::Trouble);
    }

    #[test]
    fn a_full_disk_is_trouble_though_there_are_tokens() {
        let full = StatusReport { room: Room::None, ..ready() }.condition();
        assert_eq!(full.state, State::Trouble);
        assert!(full.sentence.contains("disk is full") && full.next.is_some(), "{full:?}");
    }

    #[test]
    fn a_session_that_has_ended_is_no_trouble_while_there_are_tokens() {
        let report = StatusReport { session: SessionState::Expired, ..ready() };
        assert_eq!(report.condition().state, State::Ready);
    }

    #[test]
    fn a_model_that_nobody_uses_is_not_missed() {
        let mut report = ready();
        let other = ModelName::new("o3").unwrap();
        report.models.insert(other.clone(), Stock::default());
        report.supply.insert(other, supply(SupplyLevel::Empty, None));
        assert_eq!(report.condition().state, State::Ready);
    }
}
