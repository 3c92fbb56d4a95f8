//! `llmtor account`

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
