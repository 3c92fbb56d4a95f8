//! `llmtor tokens`, `llmtor tokens mint`, `llmtor tokens explain`, `llmtor tokens losses`

mod entries;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::control::message::{
    AbuseReport, MintReport, NextTopUp, Readiness, SessionState, SupplyLevel, SupplyReport, TokensReport,
    Usable,
};
use crate::control::{Operation, Report};
use crate::vault::Stock;
use crate::wire::ModelName;

pub(super) use entries::summary as losses;

use super::Context;
use super::arguments::{TokensCommand, TokensOptions};
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};
use super::status::held_back;

pub(super) async fn run(options: TokensOptions, context: &Context) -> Result<Exit, Failure> {
    match options.command {
        None => {
            let Report::Tokens(report) = operate(context, Operation::Tokens).await? else {
                return Err(mismatch());
            };
            context.output.result(&report, || text(&report, context));
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

fn text(report: &TokensReport, context: &Context) -> String {
    let mut text = held_back(context, report.custody, report.resting_until.as_deref());
    if report.session == SessionState::Expired {
        text.push_str("session: expired; run `llmtor login` (the tokens in stock stay usable)\n");
    }
    text.push_str(&table(&report.models));
    text.push_str(&supplies(&report.supply));
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
    match report.usable {
        Usable::Now => text.push_str(
            "\nusable at once: if calls follow soon, the backend can match your account and these calls by their times; \
             without --now it cannot",
        ),
        Usable::Later { mean_minutes: 0 } => {}
        Usable::Later { mean_minutes } => {
            let mean = match mean_minutes {
                minutes @ 1..120 => format!("{minutes} minutes"),
                minutes => format!("{} hours", minutes / 60),
            };
            let _ = write!(text, "\neach of them may be used after a random delay, {mean} on average");
        }
    }
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

/// How long each stock lasts and what happens next by itself, one line a model.
pub(super) fn supplies(supply: &BTreeMap<ModelName, SupplyReport>) -> String {
    let line = |(model, report): (&ModelName, &SupplyReport)| {
        let stock = match (report.level, report.days) {
            (SupplyLevel::Empty, _) => "empty".to_owned(),
            (SupplyLevel::Low, None | Some(0)) => "low, lasts for less than a day".to_owned(),
            (SupplyLevel::Low, Some(days)) => format!("low, lasts for less than {} days", days + 1),
            (SupplyLevel::Ample, Some(1)) => "lasts for about a day".to_owned(),
            (SupplyLevel::Ample, Some(days @ 0..1000)) => format!("lasts for about {days} days"),
            (SupplyLevel::Ample, _) => "hardly used so far".to_owned(),
        };
        format!("{model}: {stock}; {}\n", next(model, &report.next))
    };
    supply.iter().map(line).collect()
}

pub(super) fn next(model: &ModelName, next: &NextTopUp) -> String {
    match next {
        NextTopUp::Look { before } => {
            format!("next top-up by itself, if it is needed: before {before} (UTC)")
        }
        NextTopUp::NoCredit { before } => {
            let looked = before.as_ref().map_or_else(String::new, |before| {
                format!("; the account is looked at again before {before} (UTC)")
            });
            format!("no credits left: `llmtor buy {model}` gets some{looked}")
        }
        NextTopUp::Refused { before } => {
            format!("the backend refused to top it up; it is asked again before {before} (UTC)")
        }
        NextTopUp::Resume => "no top-up by itself until `llmtor resume`".into(),
        NextTopUp::Paused => "no top-up by itself while the vault is paused".into(),
        NextTopUp::SignIn => "no top-up by itself until `llmtor login`".into(),
        NextTopUp::Stopped => {
            "no top-up by itself: the backend signed with another key than the pinned one; compare \
             `llmtor keys list` with what is published"
                .into()
        }
        NextTopUp::Off => {
            format!("top-ups are off (`topup.enabled`); `llmtor tokens mint --model {model} --count N`")
        }
        NextTopUp::NotRunning => "topped up by itself while `llmtor serve` runs".into(),
        NextTopUp::Unplanned => "the next top-up is about to be planned".into(),
    }
}

/// One line on the abuse tokens.
pub(super) fn abuse(report: &AbuseReport) -> String {
    let held = |yes: bool| if yes { "held" } else { "missing" };
    if !report.required && !report.permanent && report.transient.is_none() {
        return "abuse tokens: not asked for by this backend\n".into();
    }
    let transient =
        report.transient.as_deref().map_or_else(|| "missing".into(), |epoch| format!("of {epoch}"));
    let comes = report.comes_before.as_deref().map_or_else(String::new, |time| {
        format!("; this month's comes by itself before {time}, `llmtor abuse setup` gets it now")
    });
    format!("abuse tokens: permanent {}, monthly {transient}{comes}\n", held(report.permanent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stock_s_line_says_how_long_it_lasts_and_what_happens_next() {
        let model: ModelName = "gpt-4.1".parse().unwrap();
        let line = |level, days, next| {
            supplies(&BTreeMap::from([(model.clone(), SupplyReport { level, days, next })]))
        };
        let before = || "2026-12-01".to_owned();
        assert_eq!(
            line(SupplyLevel::Ample, Some(12), NextTopUp::Look { before: before() }),
            "gpt-4.1: lasts for about 12 days; next top-up by itself, if it is needed: before 2026-12-01 (UTC)\n"
        );
        let empty = line(SupplyLevel::Empty, Some(0), NextTopUp::NoCredit { before: Some(before()) });
        assert!(empty.contains("empty; no credits left: `llmtor buy gpt-4.1`"), "{empty}");
        let low = line(SupplyLevel::Low, Some(2), NextTopUp::SignIn);
        assert!(
            low.contains("low, lasts for less than 3 days; no top-up") && low.contains("llmtor login"),
            "{low}"
        );
        let off = line(SupplyLevel::Ample, None, NextTopUp::Off);
        assert!(off.contains("llmtor tokens mint --model gpt-4.1"), "{off}");
    }

    #[test]
    fn a_mint_says_what_haste_costs_and_what_patience_means() {
        let minted_with = |usable| {
            minted(&MintReport {
                model: "gpt-4.1".parse().unwrap(),
                minted: 5,
                resumed: 0,
                available: 5,
                maturing: 0,
                usable,
                notes: Vec::new(),
            })
        };
        assert!(minted_with(Usable::Now).contains("match your account and these calls by their times"));
        let later = minted_with(Usable::Later { mean_minutes: 360 });
        assert!(later.contains("a random delay, 6 hours on average"), "{later}");
    }
}
