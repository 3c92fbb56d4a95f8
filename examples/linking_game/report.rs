//! The results as tables (Markdown) and as a plot (SVG).

use std::fmt::Write as _;

use super::adversary::ATTACKS;
use super::contest::{Estimate, Part, Result};
use super::world::Cost;

/// One result in a line, while others are still played.
pub(crate) fn line(result: &Result) -> String {
    format!("{:8} {}", result.contest.trace.name(), row(result))
}

/// The tables of docs/linking-game.md.
pub(crate) fn tables(results: &[Result]) -> String {
    let mut text = String::new();
    let parts = [
        (Part::Policies, "Policies and traces"),
        (Part::Ingredients, "Ingredients (chat)"),
        (Part::Frontier, "Other ladders (chat)"),
        (Part::Long, "Longer, and with newcomers (chat)"),
    ];
    for (part, title) in parts {
        let _ = writeln!(text, "### {title}\n\n{HEAD}");
        for result in results.iter().filter(|result| result.contest.part == part) {
            let _ = writeln!(text, "| {} {}", result.contest.trace.name(), row(result));
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "### Attack by attack (pseudonyms, %)\n\n| trace | policy | {} |",
        ATTACKS.join(" | ")
    );
    let _ = writeln!(text, "| --- | --- |{}", " --- |".repeat(ATTACKS.len()));
    for result in results.iter().filter(|result| result.contest.part == Part::Policies) {
        let attacks: Vec<String> =
            result.attacks.iter().map(|share| format!("{:.1}", share * 100.0)).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            result.contest.trace.name(),
            result.contest.name,
            attacks.join(" | ")
        );
    }
    text
}

const HEAD: &str = "\
| trace | policy | pseudonyms named, % (by) | single redemptions, % | heaviest account, % | difference | redemptions through pseudonyms, % | entropy, bits | empty, % | unspent per used | held |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

fn row(result: &Result) -> String {
    let Result { contest, pseudonyms, attack, single, baseline, excess, through, entropy, cost, .. } = result;
    let Cost { calls, empty, issued, used, held } = cost;
    let people = contest.scale.people as f64 * contest.scale.games as f64;
    format!(
        "| {} | {} ({attack}) | {} | {} | {} | {} | {entropy:.1} | {:.2} | {:.2} | {:.0} |",
        contest.name,
        percent(*pseudonyms),
        percent(*single),
        percent(*baseline),
        percent(*excess),
        percent(*through),
        *empty as f64 / (*calls).max(1) as f64 * 100.0,
        unspent(*issued, *used),
        held / people,
    )
}

fn percent(share: Estimate) -> String {
    format!("{:.1} ± {:.1}", share.mean * 100.0, share.margin * 100.0)
}

fn unspent(issued: u64, used: u64) -> f64 {
    (issued - used) as f64 / used.max(1) as f64
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 400.0;

/// What privacy costs: unspent tokens against pseudonyms named, chat.
pub(crate) fn plot(results: &[Result]) -> String {
    let x = |unspent: f64| LEFT + (unspent / 8.0).min(1.0) * (WIDTH - LEFT - 40.0);
    // Logarithmic, 1% to 100%.
    let y = |share: f64| BOTTOM - (share * 100.0).max(1.0).log10() / 2.0 * (BOTTOM - 40.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">Pseudonyms named by the strongest adversary, and what keeps them unnamed costs</text>\n"
    );
    let (right, target, bound) = (WIDTH - 40.0, y(0.05), x(1.5));
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{target:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#dff0df\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#486\">at most 5%, 1.5 unspent</text>",
        bound - LEFT,
        BOTTOM - target,
        LEFT + 5.0,
        BOTTOM - 8.0,
    );
    for share in [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0] {
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">{3:.0}%</text>",
            y(share),
            LEFT - 8.0,
            y(share) + 4.0,
            share * 100.0,
        );
    }
    for unspent in 0..=8 {
        let at = x(f64::from(unspent));
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{unspent}</text>",
            BOTTOM + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">unspent tokens for each one used, after the first month (100 people, chat)</text>",
        f64::midpoint(LEFT, right),
        BOTTOM + 40.0,
    );
    for result in results
        .iter()
        .filter(|result| result.contest.trace.models() == 1 && result.contest.trace.name() == "chat")
    {
        let (fill, label) = match result.contest.part {
            Part::Policies => ("#b03030", result.contest.name.as_str()),
            Part::Ingredients if result.contest.name == "balanced" => continue,
            Part::Ingredients => ("#3060b0", result.contest.name.as_str()),
            Part::Frontier => ("#888", result.contest.name.as_str()),
            Part::Long => continue,
        };
        let (share, margin) = (result.pseudonyms.mean, result.pseudonyms.margin);
        let (cx, cy) = (x(unspent(result.cost.issued, result.cost.used)), y(share));
        let _ = writeln!(
            svg,
            "<line x1=\"{cx:.1}\" x2=\"{cx:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{fill}\"/>\
             <circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"4\" fill=\"{fill}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{fill}\" font-size=\"10\">{label}</text>",
            y(share - margin),
            y(share + margin),
            cx + 7.0,
            cy + 3.5,
        );
    }
    svg.push_str("</svg>\n");
    svg
}
