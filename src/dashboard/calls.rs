//! Calls: when, which model, how long, how large, how it ended. Never what was said.

use maud::{Markup, html};

use super::desk::Call;
use super::words::{duration, ending, moment, size};

/// How many are shown at once, so that the page stays light.
const SHOWN: usize = 100;

/// The view.
pub(super) fn body(calls: &[Call]) -> Markup {
    html! {
        p.intro {
            "Kept in memory while llmtor runs, at most 500, and written nowhere. There is no prompt and no answer in it: llmtor \
             does not keep them, so it cannot show them."
        }
        div data-live="rows" { (rows(calls)) }
    }
}

/// What is refreshed.
pub(super) fn rows(calls: &[Call]) -> Markup {
    if calls.is_empty() {
        return html! {
            div.empty {
                p { strong { "No call yet." } }
                p { "Point a tool at the endpoint, then look here again: " code { "llmtor env" } }
            }
        };
    }
    html! {
        div.scroll role="region" aria-label="Calls" tabindex="0" {
            table {
                thead { tr {
                    th scope="col" { "Ended" }
                    th scope="col" { "Model" }
                    th scope="col" { "API" }
                    th scope="col" { "Outcome" }
                    th.num scope="col" { "Took" }
                    th.num scope="col" { "Sent, padded" }
                    th.num scope="col" { "Attempts" }
                } }
                tbody { @for call in calls.iter().take(SHOWN) { (row(call)) } }
            }
        }
        @if calls.len() > SHOWN {
            p.fine { "The last " (SHOWN) " of " (calls.len()) " that are remembered." }
        }
    }
}

fn row(call: &Call) -> Markup {
    let (word, meaning, tone) = ending(call.ending);
    html! {
        tr {
            td { (moment(call.ended)) }
            th scope="row" { (call.model) }
            td { (call.api) }
            td { span.tag.(tone.class()) title=(meaning) { (word) } }
            td.num { (duration(call.took)) }
            td.num { @match call.sendings.first() { Some(sent) => { (size(sent.body)) } None => { "nothing" } } }
            td.num { (call.attempts) }
        }
    }
}
