//! `llmtor tokens`, `llmtor tokens mint`, `llmtor tokens explain`, `llmtor tokens losses`

mod entries;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::control::message::{AbuseReport, MintReport, Readiness, TokensReport};
use crate::control::{Operation, Report};
use crate::vault::Stock;
use crate::wire::ModelName;

pub(super) use entries::summary as losses;

use super::Context;
use super::arguments::{TokensCommand, TokensOptions};
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};

pub(super) async fn run(options: TokensOptions, context: &Context) -> Result<Exit, Failure> {
    match options.command {
        None => {
            let Report::Tokens(report) = operate(context, Operation::Tokens).await? else {
                return Err(mismatch());
            };
            context.output.result(&report, || text(&report));
        }
        Some(TokensCommand::Mint { model, count, now }) => {
            let readiness = if now { Readiness::Now } else { Readiness::Delayed };
            let operation = Operation::Mint { model, count, readiness };
            let Report::Mint(report) = operate(context, operation).await? else { return Err(mismatch()) };
            context.output.result(&report, || minted(&report));
        }
        Some(TokensCommand::Explain { id }) => {
            let Report::Explain(report) = operate(context, Operation::Explain { id }).await? else {
                return Err(mismatch());
            };
            context.output.result(&report, || entries::explained(&report));
        }
        Some(TokensCommand::Losses { forget }) => {
            let operation = if forget { Operation::ForgetLosses } else { Operation::Losses };
            let Report::Losses(report) = operate(context, operation).await? else { return Err(mismatch()) };
            context.output.result(&report, || entries::losses(&report));
        }
    }
    Ok(Exit::Done)
}

fn text(report: &TokensReport) -> String {
    let mut text = table(&report.models);
    text.push_str(&abuse(&report.abuse));
    text.push_str(&entries::summary(report.losses.iter().map(|loss| loss.credits).sum()));
    text.push_str(&entries::special(&report.special));
    text
}

fn minted(report: &MintReport) -> String {
    let mut text = format!("minted {} for {}", report.minted, report.model);
    if report.resumed > 0 {
        let _ = write!(text, ", and finished {} begun earlier", report.resumed);
    }
    let _ = write!(text, "; now {} usable, {} maturing", report.available, report.maturing);
    for note in &report.notes {
        let _ = write!(text, "\nnote: {note}");
    }
    text
}

/// One line a model.
pub(super) fn table(models: &BTreeMap<ModelName, Stock>) -> String {
    if models.is_empty() {
        return "no pinned keys and no tokens; import keys with `llmtor keys import FILE`\n".into();
    }
    let width = models.keys().map(|model| model.as_str().len()).max().unwrap_or(0).max(5);
    let mut text = format!(
        "{:width$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
        "model", "available", "maturing", "in use", "in doubt", "pending", "spent"
    );
    for (model, stock) in models {
        let in_use = stock.reserved + stock.presented;
        let _ = writeln!(
            text,
            "{:width$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            model.as_str(),
            stock.available,
            stock.maturing,
            in_use,
            stock.in_doubt,
            stock.blinded,
            stock.spent
        );
        if stock.other_key > 0 {
            let _ = writeln!(
                text,
                "{:width$} {} of a key that is not the pinned one: kept, and usable if it is pinned again",
                "", stock.other_key
            );
        }
        if stock.refused > 0 {
            let _ = writeln!(
                text,
                "{:width$} {} set aside: the backend says that the signature is not its own",
                "", stock.refused
            );
        }
    }
    text
}

/// One line on the abuse tokens.
pub(super) fn abuse(report: &AbuseReport) -> String {
    let held = |yes: bool| if yes { "held" } else { "missing" };
    if !report.required && !report.permanent && report.transient.is_none() {
        return "abuse tokens: not asked for by this backend\n".into();
    }
    let transient =
        report.transient.as_deref().map_or_else(|| "missing".into(), |epoch| format!("of {epoch}"));
    format!("abuse tokens: permanent {}, transient {transient}\n", held(report.permanent))
}
