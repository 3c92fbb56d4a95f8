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

const WIDTH: f64 = 1020.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 720.0;
const BOTTOM: f64 = 400.0;
/// Unspent tokens for each one used, at the right edge.
const MOST_UNSPENT: f64 = 9.0;

/// Where the number of a point may stand beside it, nearest first.
const BESIDE: [(f64, f64); 12] = [
    (11.0, 0.0),
    (-11.0, 0.0),
    (9.0, -11.0),
    (9.0, 11.0),
    (-9.0, -11.0),
    (-9.0, 11.0),
    (24.0, 0.0),
    (-24.0, 0.0),
    (22.0, -14.0),
    (22.0, 14.0),
    (-22.0, -14.0),
    (-22.0, 14.0),
];

/// The first place beside `point` where nothing stands yet.
fn place(point: (f64, f64), taken: &[(f64, f64)]) -> (f64, f64) {
    let free = |at: &(f64, f64)| taken.iter().all(|(x, y)| (x - at.0).abs() > 13.0 || (y - at.1).abs() > 9.0);
    let mut places = BESIDE.iter().map(|(right, down)| (point.0 + right, point.1 + down));
    places.find(free).unwrap_or((point.0 + 11.0, point.1))
}

/// What privacy costs: unspent tokens against pseudonyms named, chat.
pub(crate) fn plot(results: &[Result]) -> String {
    let x = |unspent: f64| LEFT + (unspent / MOST_UNSPENT).min(1.0) * (RIGHT - LEFT);
    // Logarithmic, 1% to 100%.
    let y = |share: f64| BOTTOM - (share * 100.0).max(1.0).log10() / 2.0 * (BOTTOM - 40.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">Pseudonyms named by the strongest adversary, and what keeps them unnamed costs</text>\n"
    );
    let (target, bound) = (y(0.05), x(1.5));
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
            "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">{3:.0}%</text>",
            y(share),
            LEFT - 8.0,
            y(share) + 4.0,
            share * 100.0,
        );
    }
    for unspent in 0..=9 {
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
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 40.0,
    );
    let mut points = Vec::new();
    for result in results
        .iter()
        .filter(|result| result.contest.trace.models() == 1 && result.contest.trace.name() == "chat")
    {
        let fill = match result.contest.part {
            Part::Policies => "#b03030",
            Part::Ingredients if result.contest.name == "balanced" => continue,
            Part::Ingredients => "#3060b0",
            Part::Frontier => "#707070",
            Part::Long => continue,
        };
        let at = (x(unspent(result.cost.issued, result.cost.used)), y(result.pseudonyms.mean));
        points.push((result, fill, at));
    }
    let mut taken: Vec<(f64, f64)> = points.iter().map(|(_, _, at)| *at).collect();
    for (number, (result, fill, (cx, cy))) in (1..).zip(points) {
        let (share, margin) = (result.pseudonyms.mean, result.pseudonyms.margin);
        let (left, middle) = place((cx, cy), &taken);
        taken.push((left, middle));
        let line = 40.0 + 19.0 * f64::from(number);
        let _ = writeln!(
            svg,
            "<line x1=\"{cx:.1}\" x2=\"{cx:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{fill}\" stroke-opacity=\"0.5\"/>\
             <circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3.5\" fill=\"{fill}\"/>\
             <text x=\"{left:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"{fill}\" font-size=\"10\">{number}</text>\n\
             <text x=\"{:.1}\" y=\"{line:.1}\" fill=\"{fill}\" font-size=\"11\"><tspan font-weight=\"bold\">{number}</tspan> {}</text>",
            y(share - margin),
            y(share + margin),
            middle + 3.5,
            RIGHT + 18.0,
            result.contest.name,
        );
    }
    svg.push_str("</svg>\n");
    svg
}
