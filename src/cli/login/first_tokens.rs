//! Tokens at once, for whoever does not want to wait: said for what it is, and never without having been asked for.

use crate::cli::arguments::LoginOptions;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::cli::typed;
use crate::control::Operation;
use crate::control::message::{Readiness, StatusReport};
use crate::vault::Stock;
use crate::wire::ModelName;
use std::collections::BTreeMap;

/// How many are offered: for an evening, not for a week.
const OFFERED: u32 = 20;

/// How many of which model: what was asked for in the command line or, with an empty vault and somebody at the terminal, what
/// they say yes to.
pub(super) async fn wanted(
    options: &LoginOptions,
    output: Output,
    status: &StatusReport,
    credits: &BTreeMap<String, i64>,
) -> Result<Vec<(ModelName, u32)>, Failure> {
    if let Some(most) = options.first_tokens {
        return Ok(within(most, status, credits));
    }
    let is_empty = status.models.values().all(|stock| held(stock) == 0);
    let offer = within(OFFERED, status, credits);
    let is_askable = !options.session_stdin && typed::is_somebody_there(output);
    if !is_empty || offer.is_empty() || !is_askable {
        return Ok(Vec::new());
    }
    Ok(if typed::yes(&question(&offer)).await? { offer } else { Vec::new() })
}

pub(super) fn order(model: ModelName, count: u32) -> Operation {
    Operation::Mint { model, count, readiness: Readiness::Now }
}

/// Up to `most` of each model that has a pinned key and credits.
fn within(most: u32, status: &StatusReport, credits: &BTreeMap<String, i64>) -> Vec<(ModelName, u32)> {
    let count = |model: &ModelName| {
        let left = credits.get(model.as_str()).copied().unwrap_or(0).max(0);
        u32::try_from(left).unwrap_or(u32::MAX).min(most)
    };
    let counted = status.models.keys().map(|model| (model.clone(), count(model)));
    counted.filter(|(_, count)| *count > 0).collect()
}

fn held(stock: &Stock) -> u64 {
    stock.available + stock.maturing + stock.blinded
}

fn question(offer: &[(ModelName, u32)]) -> String {
    let offer: Vec<_> = offer.iter().map(|(model, count)| format!("{count} for {model}")).collect();
    format!(
        "There are no tokens here yet. They come by themselves, at random times, so that nobody can match your account with your \
         calls.\nMint some now ({})? They are usable at once; the backend can match this mint and your first calls by their \
         times. [y/N] ",
        offer.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::control::message::{AbuseReport, SessionState};
    use crate::vault::Custody;

    #[test]
    fn no_more_is_minted_than_was_said_than_there_are_credits_and_than_keys_are_pinned() {
        let model = |name: &str| name.parse::<ModelName>().unwrap();
        let status = StatusReport {
            room: crate::control::message::Room::Some,
            daemon: None,
            home: PathBuf::new(),
            identity_url: None,
            anonymous_url: None,
            logged_in: true,
            passage: crate::passage::Passage::Open,
            session: SessionState::Held,
            custody: Custody::Ours,
            resting_until: None,
            models: ["a", "b", "c"].map(|name| (model(name), Stock::default())).into(),
            supply: BTreeMap::new(),
            abuse: AbuseReport::default(),
            credits_lost: 0,
        };
        let credits =
            [("a", 100), ("b", 3), ("c", -1), ("d", 50)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(within(10, &status, &credits.into()), [(model("a"), 10), (model("b"), 3)]);
    }
}
