//! What a user may pass on when asking for help: one text to be read before it goes anywhere.
//!
//! | told | how |
//! | --- | --- |
//! | version, system | as they are |
//! | settings | numbers, switches and words; of all others only that they are set |
//! | findings of the doctor | scrubbed ([`scrub`]) |
//! | last lines of the log | the same, by the hour, with "some" for every number but statuses and percents; of the account's side only what went wrong |
//! | the state | in round terms: no count of tokens, no name of a model |
//!
//! The operator, who is asked first, knows when each account had how many signatures made: a line of a top-up with its count and
//! its second would say which account this is, beside what the other plane had to say.
//!
//! Deliberately absent: sending it. Who gets it is the user's business.

pub mod scrub;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::Level;
use crate::config::table::{Key, Kind};
use crate::control::message::{
    CheckName, DoctorReport, SessionState, StatusReport, SupplyLevel, TorPhase, Verdict,
};
use crate::vault::Custody;

use super::logging::reading::Line;
use scrub::Scrub;

/// Who says what becomes of the account.
const ACCOUNT: &str = "llmtor::identity";

/// What there is to tell.
pub struct Facts<'a> {
    /// The day, `YYYY-MM-DD`.
    pub day: &'a str,
    /// What the system calls itself.
    pub system: &'a str,
    /// Every setting, if they can be read.
    pub settings: Vec<Setting>,
    /// What the doctor found.
    pub doctor: &'a DoctorReport,
    /// The state, if it can be had.
    pub status: Option<&'a StatusReport>,
    /// The last of the log.
    pub log: &'a [Line],
}

/// A setting as it may be told.
pub struct Setting {
    path: &'static str,
    value: String,
    origin: SettingOrigin,
}

/// Whether somebody changed a setting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SettingOrigin {
    Default,
    Changed,
}

impl Setting {
    /// `value` of `key`, told as its kind allows.
    pub fn of(key: &'static Key, value: Option<&toml::Value>) -> Self {
        let default = key.default.value();
        let origin = if value == default.as_ref() { SettingOrigin::Default } else { SettingOrigin::Changed };
        let value = match (&key.kind, value) {
            (_, None) => "not set".to_owned(),
            // Of this machine, all of them.
            (
                Kind::Listen
                | Kind::Transport
                | Kind::Integer(..)
                | Kind::Choice(_)
                | Kind::Switch
                | Kind::Ladder(..),
                Some(value),
            ) => value.to_string(),
            (_, Some(toml::Value::Array(values))) => format!("{} values", values.len()),
            (_, Some(toml::Value::Table(values))) => format!("{} entries", values.len()),
            (_, Some(_)) => "set".to_owned(),
        };
        Self { path: key.path, value, origin }
    }
}

/// The report. Markdown, for a person.
pub fn write(facts: &Facts<'_>, scrub: &Scrub) -> String {
    let Facts { day, system, settings, doctor, status, log } = facts;
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "# llmtor report\n\n\
         Made by `llmtor report` on {day}. Names, addresses, hosts, paths, keys, tokens and their counts were left out, and\n\
         exact times and top-ups; prompts and answers are never written down. Read it all the same before you pass it on.\n\n\
         - llmtor {version}\n- {system}\n\n## What the doctor found\n\n",
    );
    // Writing to a String cannot fail.
    for check in &doctor.checks {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "PROBLEM",
            Verdict::Skipped => "skipped",
        };
        let name = serde_json::to_string(&check.name).unwrap_or_default();
        let detail = scrub.text(&check.detail);
        let detail = if check.name == CheckName::Vault { uncounted(&detail) } else { detail };
        let _ = writeln!(text, "- {verdict}: {}: {detail}", name.trim_matches('"'));
        if let Some(advice) = &check.advice {
            let _ = writeln!(text, "  - advice: {}", scrub.text(advice));
        }
    }
    text.push_str("\n## State\n\n");
    text.push_str(&match status {
        Some(status) => state(status, scrub),
        None => "- not known\n".to_owned(),
    });
    text.push_str("\n## Settings\n\n");
    if settings.is_empty() {
        text.push_str("They cannot be read; see above.\n");
    }
    let (changed, default): (Vec<_>, Vec<_>) =
        settings.iter().partition(|setting| setting.origin == SettingOrigin::Changed);
    for Setting { path, value, .. } in changed {
        let _ = writeln!(text, "- `{path}`: {value} **(changed)**");
    }
    for Setting { path, value, .. } in default {
        let _ = writeln!(text, "- `{path}`: {value} (default)");
    }
    text.push_str("\n## The last of the log\n\n```text\n");
    for line in lines(log, scrub) {
        let _ = writeln!(text, "{}", line.replace("```", "'''"));
    }
    text + "```\n"
}

/// The log, as it may be told.
fn lines(log: &[Line], scrub: &Scrub) -> Vec<String> {
    let mut told = Vec::new();
    let mut is_left_out = false;
    for line in log {
        // What begins with no time belongs to the line before.
        if line.time.is_some() {
            is_left_out = line.level > Level::Warn && line.text.starts_with(ACCOUNT);
        }
        if is_left_out {
            continue;
        }
        let text = uncounted(&scrub.text(&line.text));
        told.push(match &line.time {
            Some(time) => format!("{} {:>5} {text}", hour(time), format!("{:?}", line.level).to_uppercase()),
            None => text,
        });
    }
    told
}

/// The hour of an RFC 3339 time in UTC.
fn hour(time: &str) -> String {
    let (day, clock) = time.split_once('T').unwrap_or((time, ""));
    format!("{day} {}h", clock.split(':').next().unwrap_or_default())
}

/// Without the counts: how many tokens somebody has tells them from others. None stays none, and what is no count stays: a
/// percentage, the status of an answer.
fn uncounted(text: &str) -> String {
    let is_between = |c: char| c.is_whitespace() || "=,;()[]{}\"'`:".contains(c);
    let mut told = String::new();
    let mut before = "";
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(is_between).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let number = word.trim_end_matches(['.', '!', '?']);
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let is_status = number.len() == 3 && ["status", "HTTP"].contains(&before);
        let is_port = told.ends_with(':') && !told.ends_with("::");
        let is_kept =
            is_status || is_port || behind.starts_with(" %") || number.bytes().all(|byte| byte == b'0');
        if is_number && !is_kept {
            told.push_str("some");
            told.push_str(&word[number.len()..]);
        } else {
            told.push_str(word);
        }
        if !word.is_empty() {
            before = word;
        }
        let next = behind.find(|c| !is_between(c)).unwrap_or(behind.len());
        told.push_str(&behind[..next]);
        rest = &behind[next..];
    }
    told
}

fn state(status: &StatusReport, scrub: &Scrub) -> String {
    let mut text = String::new();
    let mut say = |line: String| text = format!("{text}- {line}\n");
    match &status.daemon {
        None => say("no daemon runs".into()),
        Some(daemon) => {
            say(format!("a daemon runs; way out: {}", daemon.transport));
            let kept = if daemon.warm == 0 { "no stream is" } else { "streams are" };
            say(format!("{kept} kept ready"));
            if let Some(tor) = &daemon.tor {
                let phase = match tor.phase {
                    TorPhase::Bootstrapping => "starting",
                    TorPhase::Ready => "ready",
                    TorPhase::Dormant => "dormant",
                    TorPhase::AtRest => "at rest, because llmtor is paused",
                    TorPhase::Blocked => "stuck",
                };
                let more = [&tor.stage, &tor.blockage].into_iter().flatten();
                let begun = format!("Tor: {phase}, {} %", tor.percent);
                say(more.fold(begun, |told, words| told + ", " + &scrub.text(words)));
            }
        }
    }
    say(match status.session {
        SessionState::None => "session: none".into(),
        SessionState::Held => "session: held".into(),
        SessionState::Expired => "session: ended".into(),
    });
    match status.custody {
        Custody::Ours => {}
        Custody::Restored => say("the vault is restored and not taken over".into()),
        Custody::Retired => say("the vault is retired".into()),
    }
    let mut levels: BTreeMap<&str, usize> = BTreeMap::new();
    for supply in status.supply.values() {
        let level = match supply.level {
            SupplyLevel::Ample => "last",
            SupplyLevel::Low => "are low",
            SupplyLevel::Empty => "are empty",
        };
        *levels.entry(level).or_default() += 1;
    }
    for (level, count) in levels {
        say(format!("stocks that {level}: {count}"));
    }
    let abuse = &status.abuse;
    let held = |is: bool| if is { "held" } else { "missing" };
    say(if abuse.required {
        format!(
            "abuse tokens: permanent {}, monthly {}",
            held(abuse.permanent),
            held(abuse.transient.is_some())
        )
    } else {
        "abuse tokens: not asked for".into()
    });
    if status.credits_lost > 0 {
        say("credits were lost (`llmtor tokens losses`)".into());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::app::unusable;
    use crate::config::Layers;
    use scrub::Hosts;

    #[test]
    fn a_count_becomes_some_and_none_stays_none() {
        for (text, expected) in [
            ("39 tokens usable, 0 maturing", "some tokens usable, 0 maturing"),
            ("made=200 pending=0 lost=3", "made=some pending=0 lost=some"),
            ("minted 3 of 5, then: (12)", "minted some of some, then: (some)"),
            ("Stock { available: 39 }", "Stock { available: some }"),
            ("200 were minted. 7.", "some were minted. some."),
            ("status 503, status=429, 42 %", "status 503, status=429, 42 %"),
            ("http://127.0.0.1:8787 gpt-4.1 3s", "http://127.0.0.1:8787 gpt-4.1 3s"),
        ] {
            assert_eq!(uncounted(text), expected);
        }
    }

    #[test]
    fn a_top_up_leaves_no_trace_in_the_log_that_is_told_and_times_are_of_the_hour() {
        let line = |time: Option<&str>, level, text: &str| Line {
            time: time.map(str::to_owned),
            level,
            text: text.to_owned(),
        };
        let log = [
            line(
                Some("2026-11-26T05:12:07Z"),
                Level::Info,
                "llmtor::identity::schedule::keeper: topped up model=gpt-4.1 made=200",
            ),
            line(None, Level::Info, "and 17 more of it"),
            line(
                Some("2026-11-26T05:12:08Z"),
                Level::Warn,
                "llmtor::identity::recovery: credits are gone credits=31",
            ),
            line(
                Some("2026-11-26T06:13:09Z"),
                Level::Info,
                "llmtor::app: vault opened found=Found { doubt: 4 }",
            ),
        ];
        let told = lines(&log, &Scrub::new(Path::new("/h"), None, Hosts::Hidden));
        assert_eq!(
            told,
            [
                "2026-11-26 05h  WARN llmtor::identity::recovery: credits are gone credits=some",
                "2026-11-26 06h  INFO llmtor::app: vault opened found=Found { doubt: some }",
            ]
        );
    }

    #[test]
    fn a_setting_is_told_by_value_only_where_its_kind_can_hold_nothing_of_ones_own() {
        let mut layers = Layers::defaults();
        for set in [
            "backend.identity_url=https://canary.example",
            "tls.extra_roots=/home/canary/ca.pem",
            "server.allowed_origins=[\"https://canary.example\"]",
            "api.aliases.canary=gpt-4.1",
            "log.level=info",
        ] {
            layers.set(set).unwrap();
        }
        let settings = layers.values().map(|(key, value)| Setting::of(key, value)).collect();
        let facts = Facts {
            day: "2026-11-26",
            system: "Linux",
            settings,
            doctor: &unusable(CheckName::Home, crate::app::AppError::NoBackend),
            status: None,
            log: &[],
        };
        let text = write(&facts, &Scrub::new(Path::new("/h"), None, Hosts::Hidden));
        assert!(!text.contains("canary"), "{text}");
        assert!(text.contains("`log.level`: \"info\" **(changed)**"), "{text}");
        assert!(text.contains("`backend.identity_url`: set **(changed)**"), "{text}");
        assert!(text.contains("`log.files`: 7 (default)"), "{text}");
    }
}
