//! `llmtor account`, `llmtor whoami`

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::control::message::AccountReport;
use crate::control::{Operation, Report};

use super::Context;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let Report::Account(report) = operate(context, Operation::Account).await? else { return Err(mismatch()) };
    context.output.result(&report, || text(&report));
    Ok(Exit::Done)
}

pub(super) async fn whoami(context: &Context) -> Result<Exit, Failure> {
    let Report::Account(report) = operate(context, Operation::Account).await? else { return Err(mismatch()) };
    context.output.result(&report, || {
        let text = format!("{}\nbackend: {}\n", who(&report.name, &report.email), report.backend);
        text + &credits(&report.credits)
    });
    Ok(Exit::Done)
}

/// Whose account it is.
pub(super) fn who(name: &str, email: &str) -> String {
    match (name.trim(), email.trim()) {
        ("", "") => "signed in to an account without a name".into(),
        (name, "") => name.to_owned(),
        ("", email) => email.to_owned(),
        (name, email) => format!("{name} <{email}>"),
    }
}

/// Credits left, a line.
pub(super) fn credits(credits: &std::collections::BTreeMap<String, i64>) -> String {
    let left: Vec<_> = credits.iter().filter(|(_, count)| **count > 0).collect();
    if left.is_empty() {
        return "credits: none left".into();
    }
    let left: Vec<_> = left.into_iter().map(|(model, count)| format!("{model} {count}")).collect();
    format!("credits: {}", left.join(", "))
}

fn text(report: &AccountReport) -> String {
    let mut text = format!("account: {} {}\n", report.name, report.email);
    let models: BTreeSet<&String> = report.credits.keys().chain(report.used.keys()).collect();
    if models.is_empty() {
        text.push_str("no credits\n");
        return text;
    }
    let width = models.iter().map(|model| model.len()).max().unwrap_or(0).max(5);
    let _ = writeln!(text, "{:width$} {:>9} {:>9}", "model", "credits", "used");
    for model in models {
        let count =
            |counts: &std::collections::BTreeMap<String, i64>| counts.get(model).copied().unwrap_or(0);
        let _ = writeln!(text, "{model:width$} {:>9} {:>9}", count(&report.credits), count(&report.used));
    }
    text
}
