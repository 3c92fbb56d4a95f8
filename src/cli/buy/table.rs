//! What is printed of packages and of credits.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::control::message::{OfferReport, SupplyReport};
use crate::wire::ModelName;

use super::super::tokens;

/// Numbered, in columns.
pub(super) fn of(packages: &[OfferReport]) -> String {
    let width = |head: &str, cell: &dyn Fn(&OfferReport) -> usize| {
        packages.iter().map(cell).max().unwrap_or(0).max(head.len())
    };
    let id = width("id", &|package| package.id.len());
    let model = width("model", &|package| package.model.len());
    let price = width("price", &|package| package.price.chars().count());
    let mut text = format!("    {:id$}  {:model$}  credits  {:>price$}\n", "id", "model", "price");
    for (number, package) in (1..).zip(packages) {
        let mark = if package.popular { "  popular" } else { "" };
        let _ = writeln!(
            text,
            "{number:>2}  {:id$}  {:model$}  {:>7}  {:>price$}{mark}",
            package.id, package.model, package.credits, package.price
        );
    }
    text.trim_end().to_owned()
}

/// Which credits came, and what becomes of them.
pub(super) fn arrived(granted: &BTreeMap<String, i64>, supply: &BTreeMap<ModelName, SupplyReport>) -> String {
    let mut text = String::new();
    for (model, count) in granted {
        let _ = writeln!(text, "{count} credits for {model} are in your account");
    }
    text.push_str(
        "They become tokens by themselves, later and at random times, so that nobody can match this purchase with them.\n",
    );
    for model in granted.keys() {
        let next = match supply.iter().find(|(name, _)| name.as_str() == model) {
            Some((name, supply)) => tokens::next(name, &supply.next),
            None => {
                "no key is pinned for it, so none is made: `llmtor keys import FILE` with the operator's keys"
                    .into()
            }
        };
        let _ = writeln!(text, "{model}: {next}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::{NextTopUp, SupplyLevel};

    #[test]
    fn packages_stand_in_columns() {
        let offer = |id: &str, model: &str, credits, price: &str, popular| OfferReport {
            id: id.into(),
            model: model.into(),
            credits,
            price: price.into(),
            popular,
        };
        let text =
            of(&[offer("small", "gpt-4.1", 100, "$5.00", false), offer("l", "gemini", 1000, "$40.00", true)]);
        let expected = "    id     model    credits   price\n \
                        1  small  gpt-4.1      100   $5.00\n \
                        2  l      gemini      1000  $40.00  popular";
        assert_eq!(text, expected);
    }

    #[test]
    fn credits_come_with_what_becomes_of_them() {
        let model: ModelName = "gpt-4.1".parse().unwrap();
        let next = NextTopUp::Look { before: "2026-12-01".into() };
        let supply = [(model, SupplyReport { level: SupplyLevel::Empty, days: None, next })].into();
        let text = arrived(&[("gpt-4.1".to_owned(), 100), ("other".to_owned(), 5)].into(), &supply);
        assert!(
            text.starts_with("100 credits for gpt-4.1 are in your account\n5 credits for other"),
            "{text}"
        );
        assert!(
            text.contains("gpt-4.1: next top-up by itself, if it is needed: before 2026-12-01"),
            "{text}"
        );
        assert!(text.contains("other: no key is pinned"), "{text}");
    }
}
