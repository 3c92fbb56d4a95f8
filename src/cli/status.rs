//! `llmtor status`

use std::fmt::Write as _;

use crate::control::message::StatusReport;
use crate::control::{Operation, Report};

use super::Context;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};
use super::tokens;

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let Report::Status(report) = operate(context, Operation::Status).await? else { return Err(mismatch()) };
    context.output.result(&report, || text(&report));
    Ok(Exit::Done)
}

fn text(report: &StatusReport) -> String {
    let mut text = match &report.daemon {
        Some(daemon) => {
            format!("running: {} (pid {}), transport {}\n", daemon.base_url, daemon.pid, daemon.transport)
        }
        None => "not running; start it with `llmtor serve`\n".into(),
    };
    let or_none = |url: &Option<String>| url.clone().unwrap_or_else(|| "none; run `llmtor init`".into());
    let session = if report.logged_in { "held" } else { "none; run `llmtor login --session-stdin`" };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "home: {}", report.home.display());
    let _ = writeln!(text, "identity plane: {}", or_none(&report.identity_url));
    let _ = writeln!(text, "anonymous plane: {}", or_none(&report.anonymous_url));
    let _ = writeln!(text, "session: {session}");
    text + &tokens::table(&report.models) + &tokens::abuse(&report.abuse)
}
