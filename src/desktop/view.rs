//! What the tray shows of a report. Pure.

use crate::control::message::{Condition, State, StatusReport, TorPhase};
use crate::passage::Passage;

/// Models that have a line of their own; the rest are told by `llmtor tokens`.
const MOST_MODELS: usize = 8;

/// What can be clicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    OpenPage,
    CopyUrl,
    CopyKey,
    Start,
    Pause,
    Resume,
    NewIdentity,
    LogFolder,
    StartAtLogin,
    Quit,
}

impl Entry {
    pub(super) const ALL: [Self; 10] = [
        Self::OpenPage,
        Self::CopyUrl,
        Self::CopyKey,
        Self::Start,
        Self::Pause,
        Self::Resume,
        Self::NewIdentity,
        Self::LogFolder,
        Self::StartAtLogin,
        Self::Quit,
    ];

    /// Tells it from the others; stable.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::OpenPage => "open-page",
            Self::CopyUrl => "copy-url",
            Self::CopyKey => "copy-key",
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::NewIdentity => "new-identity",
            Self::LogFolder => "log-folder",
            Self::StartAtLogin => "start-at-login",
            Self::Quit => "quit",
        }
    }

    pub(super) fn of(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entry| entry.id() == id)
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::OpenPage => "Open page",
            Self::CopyUrl => "Copy base URL",
            Self::CopyKey => "Copy key",
            Self::Start => "Start llmtor",
            Self::Pause => "Pause: nothing leaves",
            Self::Resume => "Resume",
            Self::NewIdentity => "New identity",
            Self::LogFolder => "Open log folder",
            Self::StartAtLogin => "Start at login",
            Self::Quit => "Quit (llmtor keeps running)",
        }
    }
}

/// One row of the menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// To be read.
    Line(String),
    /// To be clicked.
    Entry(Entry),
    Separator,
}

/// All that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) state: State,
    pub(super) tooltip: String,
    pub(super) rows: Vec<Row>,
}

impl View {
    /// Of what the daemon said last, and what an entry came to.
    pub(super) fn of(report: Option<&StatusReport>, said: Option<&str>) -> Self {
        let Condition { state, sentence, next } = match report {
            // The way forward is in this very menu.
            Some(report) if report.passage == Passage::Paused && report.daemon.is_some() => {
                Condition { next: Some("choose “Resume”".into()), ..report.condition() }
            }
            Some(report) => report.condition(),
            None => Condition {
                state: State::Trouble,
                sentence: "llmtor is not running.".into(),
                next: Some("choose “Start llmtor”".into()),
            },
        };
        let mut rows = vec![Row::Line(sentence.clone())];
        rows.extend(next.map(|next| Row::Line(format!("Next: {next}"))));
        rows.extend(said.map(|said| Row::Line(said.to_owned())));
        rows.extend(report.and_then(tor).map(Row::Line));
        rows.extend(report.map(tokens).unwrap_or_default().into_iter().map(Row::Line));
        rows.push(Row::Separator);
        let entries: &[Entry] = match report.map(|report| report.passage) {
            None => &[Entry::CopyKey, Entry::Start],
            Some(Passage::Open) => {
                &[Entry::OpenPage, Entry::CopyUrl, Entry::CopyKey, Entry::Pause, Entry::NewIdentity]
            }
            Some(Passage::Paused) => &[Entry::OpenPage, Entry::CopyUrl, Entry::CopyKey, Entry::Resume],
        };
        rows.extend(entries.iter().copied().map(Row::Entry));
        rows.push(Row::Separator);
        rows.extend([Entry::LogFolder, Entry::StartAtLogin].map(Row::Entry));
        rows.push(Row::Separator);
        rows.push(Row::Entry(Entry::Quit));
        Self { state, tooltip: format!("llmtor: {sentence}"), rows }
    }
}

fn tor(report: &StatusReport) -> Option<String> {
    let daemon = report.daemon.as_ref()?;
    let Some(tor) = &daemon.tor else { return Some(format!("Way out: {}", daemon.transport)) };
    Some(match tor.phase {
        TorPhase::Ready => "Tor: ready".into(),
        TorPhase::Dormant => "Tor: asleep; the next call wakes it".into(),
        TorPhase::AtRest => "Tor: at rest".into(),
        TorPhase::Bootstrapping => format!("Tor: starting, {} %", tor.percent),
        TorPhase::Blocked => {
            format!("Tor: stuck, {}", tor.blockage.as_deref().unwrap_or("it does not say why"))
        }
    })
}

/// A line a model that there is something to say of.
fn tokens(report: &StatusReport) -> Vec<String> {
    let used = |model| report.supply.get(model).is_some_and(|supply| supply.days.is_some());
    let mut lines: Vec<_> = report
        .models
        .iter()
        .filter(|(model, stock)| stock.available + stock.maturing > 0 || used(*model))
        .map(|(model, stock)| match (stock.available, stock.maturing) {
            (available, 0) => format!("{model}: {available} tokens"),
            (available, maturing) => format!("{model}: {available} tokens, {maturing} maturing"),
        })
        .collect();
    if lines.len() > MOST_MODELS {
        let rest = lines.len() - MOST_MODELS;
        lines.truncate(MOST_MODELS);
        lines.push(format!("and {rest} more models (`llmtor tokens`)"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::{AbuseReport, DaemonReport, SessionState, TorReport};
    use crate::vault::{Custody, Stock};
    use crate::wire::ModelName;

    fn report(models: usize) -> StatusReport {
        let stock = Stock { available: 3, ..Stock::default() };
        let name = |number| ModelName::new(format!("model-{number}")).unwrap();
        let tor = TorReport { percent: 45, phase: TorPhase::Bootstrapping, stage: None, blockage: None };
        StatusReport {
            room: crate::control::message::Room::Some,
            daemon: Some(DaemonReport {
                pid: 1,
                base_url: "http://127.0.0.1:8787/v1".into(),
                transport: "tor".into(),
                tor: Some(tor),
                warm: 0,
            }),
            home: "/h".into(),
            identity_url: None,
            anonymous_url: None,
            passage: Passage::Open,
            logged_in: true,
            session: SessionState::Held,
            custody: Custody::Ours,
            resting_until: None,
            models: (0..models).map(|number| (name(number), stock)).collect(),
            supply: std::collections::BTreeMap::new(),
            abuse: AbuseReport::default(),
            credits_lost: 0,
        }
    }

    fn entries(view: &View) -> Vec<Entry> {
        let entry = |row: &Row| if let Row::Entry(entry) = row { Some(*entry) } else { None };
        view.rows.iter().filter_map(entry).collect()
    }

    #[test]
    fn a_daemon_that_starts_is_shown_with_tor_and_its_tokens() {
        let view = View::of(Some(&report(2)), None);
        assert_eq!(view.state, State::Starting);
        for line in ["Tor: starting, 45 %", "model-0: 3 tokens", "model-1: 3 tokens"] {
            assert!(view.rows.contains(&Row::Line(line.into())), "{view:?}");
        }
        assert!(entries(&view).contains(&Entry::Pause) && !entries(&view).contains(&Entry::Resume));
    }

    #[test]
    fn there_is_one_way_forward_whatever_is_so() {
        let paused = StatusReport { passage: Passage::Paused, ..report(1) };
        for (report, way) in
            [(None, Entry::Start), (Some(&report(1)), Entry::Pause), (Some(&paused), Entry::Resume)]
        {
            let entries = entries(&View::of(report, None));
            let ways: Vec<_> = [Entry::Start, Entry::Pause, Entry::Resume]
                .into_iter()
                .filter(|entry| entries.contains(entry))
                .collect();
            assert_eq!(ways, [way]);
            let commands = |row: &Row| matches!(row, Row::Line(line) if line.contains("llmtor resume"));
            assert!(!View::of(report, None).rows.iter().any(commands), "a command for what the menu has");
            assert!(entries.ends_with(&[Entry::LogFolder, Entry::StartAtLogin, Entry::Quit]));
        }
    }

    #[test]
    fn many_models_do_not_make_a_menu_that_no_screen_holds() {
        let view = View::of(Some(&report(100)), None);
        assert!(view.rows.len() < 25, "{}", view.rows.len());
        assert!(
            view.rows.iter().any(|row| matches!(row, Row::Line(line) if line.starts_with("and 92 more")))
        );
    }

    #[test]
    fn each_entry_is_found_by_its_own_id() {
        for entry in Entry::ALL {
            assert_eq!(Entry::of(entry.id()), Some(entry));
        }
    }
}
