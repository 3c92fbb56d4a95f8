//! `llmtor login --session-stdin`

use std::io::{IsTerminal as _, Read as _};

use crate::control::message::SecretText;
use crate::control::{Operation, Report};
use crate::secret::Secret;

use super::Context;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};
use super::output::noted;

/// More than any session is long.
const LIMIT: u64 = 16 * 1024;

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        context
            .output
            .remark("Paste the session (the value of the cookie sessionID), then Enter and Ctrl-D:");
    }
    let mut text = Vec::with_capacity(256);
    stdin.lock().take(LIMIT).read_to_end(&mut text).map_err(|error| {
        Failure::new(Exit::Failed, format!("standard input cannot be read: {error}"))
            .advise("give the session by a pipe or a file: llmtor login --session-stdin < FILE")
    })?;
    let text = String::from_utf8(text).map_err(|error| {
        drop(Secret::new(error.into_bytes()));
        Failure::new(Exit::Usage, "the session on standard input is not text")
            .advise("give the value of the cookie `sessionID`, and nothing else")
    })?;
    let session = SecretText(Secret::new(text));
    let Report::Login(report) = operate(context, Operation::Login { session }).await? else {
        return Err(mismatch());
    };
    context.output.result(&report, || {
        let who = [report.name.as_str(), report.email.as_str()].join(" ");
        let text = match who.trim() {
            "" => "logged in; the session is kept sealed in the home".into(),
            who => format!("logged in as {who}; the session is kept sealed in the home"),
        };
        noted(&text, &report.notes)
    });
    Ok(Exit::Done)
}
