//! Tokens one by one, and losses, for a person.

use std::fmt::Write as _;

use crate::control::message::{ExplainReport, LossReason, LossReport, LossesReport, TokenReport, TokenState};

/// How many digits of an id are shown where others show it, too.
const SHORT: usize = 8;
/// How many tokens are listed; a backend that was away leaves many.
const MOST: usize = 40;

/// One line for each token that is not simply in stock.
pub(super) fn special(tokens: &[TokenReport]) -> String {
    if tokens.is_empty() {
        return String::new();
    }
    let width = tokens.iter().map(|token| token.model.as_str().len()).max().unwrap_or(0);
    let mut text = String::from("\n");
    for token in tokens.iter().take(MOST) {
        let id = token.id.get(..SHORT).unwrap_or(&token.id);
        let _ = writeln!(text, "{id}  {:width$}  {}", token.model.as_str(), standing(token));
    }
    if let Some(more @ 1..) = tokens.len().checked_sub(MOST) {
        let _ = writeln!(text, "and {more} more; --json lists all");
    }
    text.push_str("`llmtor tokens explain ID` says what will become of one\n");
    text
}

/// What will become of one.
pub(super) fn explained(report: &ExplainReport) -> String {
    let ExplainReport { token, explanation } = report;
    let mut text = format!("{}  {}  {}\n", token.id, token.model, standing(token));
    for line in explanation {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// The losses, one a line.
pub(super) fn losses(report: &LossesReport) -> String {
    match (report.forgotten, report.losses.as_slice()) {
        (Some(_), _) => "forgotten".into(),
        (None, []) => "no credit is known to be lost".into(),
        (None, losses) => {
            let lines = losses.iter().map(one);
            let last = "`llmtor tokens losses --forget` clears this list\n".to_owned();
            lines.chain([last]).collect::<Vec<_>>().join("\n")
        }
    }
}

/// One line on all losses; empty if there are none.
pub(in crate::cli) fn summary(credits: u64) -> String {
    match credits {
        0 => String::new(),
        credits => format!("losses: {credits} credit(s); `llmtor tokens losses` tells when and why\n"),
    }
}

fn one(loss: &LossReport) -> String {
    let reason = match loss.reason {
        LossReason::Lost => "lost: their credit was taken, but the backend no longer repeats the signature",
        LossReason::Unclear => {
            "perhaps lost: the signature is not to be had any more, and whether the credit was taken cannot be told"
        }
        LossReason::GivenUp => {
            "given up: their account left this home first; credits not yet taken are still in that account"
        }
    };
    format!("{}  {} of {}  {reason}", minute(&loss.found), loss.credits, loss.model)
}

fn standing(token: &TokenReport) -> String {
    let mut text = match token.state {
        TokenState::Pending => "pending, its signature is not here yet",
        TokenState::Available => "available",
        TokenState::Maturing => "maturing",
        TokenState::OtherKey => "of a key that is not the pinned one",
        TokenState::Reserved => "in use, nothing sent yet",
        TokenState::Presented => "in use",
        TokenState::InDoubt => "in doubt",
        TokenState::Undelivered => "spent, its answer not delivered",
        TokenState::Refused => "refused",
    }
    .to_owned();
    if token.maybe_spent {
        text.push_str(", maybe spent");
    }
    if let Some(since) = &token.since {
        let _ = write!(text, ", since {}", minute(since));
    }
    if let Some(until) = &token.until {
        let _ = write!(text, ", until {}", minute(until));
    }
    text
}

/// `2026-09-21 14:13 UTC` of an RFC 3339 moment in UTC; anything else as it is.
fn minute(moment: &str) -> String {
    match (moment.get(..10), moment.get(10..11), moment.get(11..16)) {
        (Some(day), Some("T"), Some(time)) if moment.ends_with('Z') => format!("{day} {time} UTC"),
        _ => moment.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ModelName;

    fn token(id: &str, state: TokenState) -> TokenReport {
        TokenReport {
            id: id.into(),
            model: ModelName::new("gpt-4.1").unwrap(),
            state,
            maybe_spent: false,
            since: Some("2026-09-21T14:13:20Z".into()),
            until: Some("2026-09-27T14:13:20Z".into()),
        }
    }

    #[test]
    fn a_token_is_one_line_with_a_short_id_and_its_times() {
        let text = special(&[token("0123456789abcdef", TokenState::InDoubt)]);
        let line = "01234567  gpt-4.1  in doubt, since 2026-09-21 14:13 UTC, until 2026-09-27 14:13 UTC";
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("89abcdef"));
        assert_eq!(special(&[]), "");
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let tokens = vec![token("0123456789abcdef", TokenState::Refused); MOST + 3];
        let text = special(&tokens);
        assert_eq!(text.matches("01234567").count(), MOST);
        assert!(text.contains("and 3 more; --json lists all"), "{text}");
    }

    #[test]
    fn a_loss_says_when_how_many_and_why() {
        let model = ModelName::new("gpt-4.1").unwrap();
        let found = "2026-09-21T14:13:20Z".to_owned();
        let reason = LossReason::Lost;
        let report =
            LossesReport { losses: vec![LossReport { model, credits: 2, found, reason }], forgotten: None };
        let text = losses(&report);
        assert!(text.starts_with("2026-09-21 14:13 UTC  2 of gpt-4.1  lost: "), "{text}");
        assert!(text.contains("--forget"), "{text}");
    }
}
