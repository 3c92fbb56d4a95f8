//! `llmtor status`

use std::fmt::Write as _;

use crate::control::message::{Condition, DaemonReport, SessionState, StatusReport, TorPhase, TorReport};
use crate::control::{Operation, Report};
use crate::passage::Passage;
use crate::vault::Custody;

use super::Context;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};
use super::tokens;

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let Report::Status(report) = operate(context, Operation::Status).await? else { return Err(mismatch()) };
    context.output.result(&report, || text(&report, context));
    Ok(Exit::Done)
}

/// The session, for a person. A daemon of an earlier version knows only whether there is one.
fn session(report: &StatusReport) -> &'static str {
    match report.session {
        SessionState::Expired => "expired; run `llmtor login` (the tokens in stock stay usable)",
        SessionState::None if !report.logged_in => "none; run `llmtor login`",
        SessionState::None | SessionState::Held => "held",
    }
}

/// How far Tor is, for a person.
pub(super) fn progress(tor: &TorReport) -> String {
    match (tor.phase, &tor.blockage) {
        (TorPhase::Ready, _) => "ready".into(),
        (TorPhase::AtRest, _) => "at rest while llmtor is paused".into(),
        (TorPhase::Dormant, _) => "dormant; the next call wakes it".into(),
        (TorPhase::Bootstrapping, _) => {
            format!("starting up, {} % done, {}", tor.percent, tor.stage.as_deref().unwrap_or_default())
        }
        (TorPhase::Blocked, reason) => {
            let reason = reason.as_deref().unwrap_or("it does not say why");
            match tor.percent {
                100 => format!("started, but {reason}"),
                percent => format!("stuck at {percent} %: {reason}"),
            }
        }
    }
}

/// What to know of a vault that spends nothing.
pub(super) fn paused(context: &Context, custody: Custody) -> Option<String> {
    let why = match custody {
        Custody::Ours => return None,
        Custody::Restored => {
            "this vault was restored from a backup, or its files were copied or moved to another disk, and spends nothing; \
             when no other machine or copy uses its tokens any more"
        }
        Custody::Retired => {
            "another vault was to take this one's tokens over, and this one spends nothing; if no other machine uses them"
        }
    };
    Some(format!("{why}, run `{}`", context.command("restore --take-over")))
}

/// The lines on a vault that spends nothing, or not everything yet; none on another.
pub(super) fn held_back(context: &Context, custody: Custody, resting_until: Option<&str>) -> String {
    match (paused(context, custody), resting_until) {
        (Some(paused), _) => format!("PAUSED: {paused}\n"),
        (None, Some(until)) => format!(
            "RESTING: this vault was just taken over, or an older copy of vault.db was put in its place; the tokens that came \
             with it may be used from {until} on, because a call may still be under way, and count as maybe spent\n"
        ),
        (None, None) => String::new(),
    }
}

fn text(report: &StatusReport, context: &Context) -> String {
    let Condition { sentence, next, .. } = report.condition();
    let next = next.map(|next| format!(" Next: {next}.")).unwrap_or_default();
    let mut text = format!("{sentence}{next}\n");
    text += &match &report.daemon {
        Some(daemon) => {
            let DaemonReport { pid, base_url, transport, tor, warm } = daemon;
            let mut text = format!("running: {base_url} (pid {pid}), transport {transport}\n");
            if let Some(tor) = tor {
                let _ = writeln!(text, "tor: {}; {warm} streams wait for a call", progress(tor));
            }
            text
        }
        // Said in the first line.
        None => String::new(),
    };
    let or_none = |url: &Option<String>| url.clone().unwrap_or_else(|| "none; run `llmtor init`".into());
    let session = session(report);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "home: {}", report.home.display());
    let _ = writeln!(text, "identity plane: {}", or_none(&report.identity_url));
    let _ = writeln!(text, "anonymous plane: {}", or_none(&report.anonymous_url));
    let _ = writeln!(text, "session: {session}");
    if report.passage == Passage::Paused {
        let resume = context.command("resume");
        let _ = writeln!(text, "PAUSED: nothing leaves this machine until `{resume}`");
    }
    text.push_str(&held_back(context, report.custody, report.resting_until.as_deref()));
    text + &tokens::table(&report.models)
        + &tokens::supplies(&report.supply)
        + &tokens::abuse(&report.abuse)
        + &tokens::losses(report.credits_lost)
}
