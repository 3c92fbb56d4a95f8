//! Overview: can calls be made, for how long, and what should be done.

use maud::{Markup, html};

use super::access::Admitted;
use super::words::{Tone, number};
use crate::control::message::{
    DaemonReport, NextTopUp, State, StatusReport, SupplyLevel, SupplyReport, TorPhase,
};
use crate::passage::Passage;
use crate::vault::Stock;

/// The view around the state.
pub(super) fn body(state: &Markup, passage: Passage, admitted: &Admitted) -> Markup {
    html! {
        div data-live="state" { (state) }
        (pause(passage, admitted))
        section aria-labelledby="acts" {
            h2 #acts { "New identity" }
            div.row {
                p {
                    "Leaves every Tor circuit behind: no later call shares one with an earlier call. With a circuit of its own \
                     for each call, which is the default, no two calls share one anyway."
                }
                form method="post" action="identity" {
                    input type="hidden" name="form" value=(admitted.form.expose());
                    button { "New identity" }
                }
            }
        }
    }
}

fn pause(passage: Passage, admitted: &Admitted) -> Markup {
    let (title, about, action, button) = match passage {
        Passage::Open => (
            "Pause",
            "Nothing leaves this machine until you resume, also after a restart. Calls are refused at once and cost nothing; what is \
             under way ends by itself.",
            "pause",
            "Pause",
        ),
        Passage::Paused => ("Paused", "Nothing leaves this machine. Tools are told so.", "resume", "Resume"),
    };
    html! {
        section aria-labelledby="pausing" {
            h2 #pausing { (title) }
            div.row {
                p { (about) }
                form method="post" action=(action) {
                    input type="hidden" name="form" value=(admitted.form.expose());
                    button { (button) }
                }
            }
        }
    }
}

/// What is refreshed while the page is looked at.
pub(super) fn state(status: &StatusReport) -> Markup {
    let condition = status.condition();
    html! {
        section.hero.(tone(condition.state).class()) aria-labelledby="state" {
            p.lamp { span.dot aria-hidden="true" {} span #state data-spoken { (condition.state.name()) } }
            p.lead { (typed(&condition.sentence)) }
            @if let Some(next) = &condition.next { p.next { "Next: " (typed(next)) "." } }
        }
        @if let Some(daemon) = &status.daemon { (facts(status, daemon)) }
        (tokens(status))
    }
}

fn tone(state: State) -> Tone {
    match state {
        State::Ready => Tone::Good,
        State::Starting => Tone::Waiting,
        State::LowOnTokens | State::Paused => Tone::Attention,
        State::Trouble => Tone::Bad,
    }
}

/// What stands between backticks is to be typed.
fn typed(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn facts(status: &StatusReport, daemon: &DaemonReport) -> Markup {
    let way = match daemon.transport.as_str() {
        "tor" => "Tor, built in",
        "socks" => "A Tor beside this program (SOCKS)",
        "loopback" => "None: the backend is on this machine",
        other => other,
    };
    html! {
        section aria-labelledby="facts" {
            h2 #facts { "At a glance" }
            dl.facts {
                div { dt { "Endpoint for tools" } dd { code { (daemon.base_url) } } }
                div { dt { "Way out" } dd { (way) } }
                @if let Some(tor) = &daemon.tor {
                    div {
                        dt { "Tor" }
                        dd {
                            (phase(tor.phase)) ", " (tor.percent) " %"
                            progress max="100" value=(tor.percent) aria-label="How far Tor has started" {}
                        }
                    }
                    div {
                        dt { "Circuits kept ready" }
                        dd { (daemon.warm) }
                    }
                }
                div {
                    dt { "Session" }
                    dd { @if status.logged_in { "signed in" } @else { "not signed in" } }
                }
                @if status.abuse.required {
                    div {
                        dt { "Abuse tokens" }
                        dd {
                            @match (status.abuse.permanent, status.abuse.transient.is_some()) {
                                (true, true) => { "both here" }
                                (true, false) => { "this month's is missing" }
                                _ => { "missing: " code { "llmtor abuse setup" } }
                            }
                        }
                    }
                }
                @if status.credits_lost > 0 {
                    div { dt { "Credits lost" } dd { (number(status.credits_lost)) ": " code { "llmtor tokens losses" } } }
                }
            }
        }
    }
}

fn phase(phase: TorPhase) -> &'static str {
    match phase {
        TorPhase::Bootstrapping => "starting",
        TorPhase::Ready => "ready",
        TorPhase::Dormant => "resting; the next call wakes it",
        TorPhase::Blocked => "stuck",
        TorPhase::AtRest => "at rest while paused",
    }
}

fn tokens(status: &StatusReport) -> Markup {
    html! {
        section aria-labelledby="tokens" {
            h2 #tokens { "Tokens" }
            @if status.models.is_empty() {
                p { "None, and no keys to get some with." }
            } @else {
                div.scroll role="region" aria-label="Table of tokens" tabindex="0" {
                    table {
                        thead { tr {
                            th scope="col" { "Model" }
                            th.num scope="col" { "Usable" }
                            th.num scope="col" { "Maturing" }
                            th.num scope="col" { "In use" }
                            th.num scope="col" { "In doubt" }
                            th scope="col" { "Lasts" }
                            th scope="col" { "Next top-up" }
                        } }
                        tbody {
                            @for (model, stock) in &status.models {
                                (row(model.as_str(), stock, status.supply.get(model)))
                            }
                        }
                    }
                }
                p.fine {
                    "Usable tokens can pay for a call now. Maturing ones wait for a random time, so that getting and spending \
                     them cannot be matched. One in doubt waits for the same request to be made again."
                }
            }
        }
    }
}

fn row(model: &str, stock: &Stock, supply: Option<&SupplyReport>) -> Markup {
    let lasts = match supply.map(|supply| (supply.level, supply.days)) {
        None | Some((SupplyLevel::Ample, None)) => "hardly used so far".to_owned(),
        Some((SupplyLevel::Empty, _)) => "none left".to_owned(),
        Some((SupplyLevel::Low, None | Some(0))) => "less than a day".to_owned(),
        Some((_, Some(1))) => "about a day".to_owned(),
        Some((_, Some(days))) => format!("about {days} days"),
    };
    html! {
        tr {
            th scope="row" { (model) }
            td.num { (number(stock.available)) }
            td.num { (number(stock.maturing)) }
            td.num { (number(stock.reserved + stock.presented)) }
            td.num { (number(stock.in_doubt)) }
            td { (lasts) }
            td { @match supply { Some(supply) => { (next(&supply.next)) } None => { "" } } }
        }
    }
}

fn next(next: &NextTopUp) -> Markup {
    match next {
        NextTopUp::Look { before } => html! { "if needed, before " (before) },
        NextTopUp::NoCredit { before: Some(before) } => {
            html! { "no credits left; looked at again before " (before) }
        }
        NextTopUp::NoCredit { before: None } => html! { "no credits left: " code { "llmtor buy" } },
        NextTopUp::Refused { before } => html! { "refused; asked again before " (before) },
        NextTopUp::Paused => html! { "none while the vault is held back" },
        NextTopUp::Resume => html! { "none while paused" },
        NextTopUp::SignIn => html! { "none until " code { "llmtor login" } },
        NextTopUp::Stopped => html! { "stopped: compare " code { "llmtor keys list" } },
        NextTopUp::Off => html! { "switched off" },
        NextTopUp::NotRunning | NextTopUp::Unplanned => html! { "about to be planned" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_typed_is_set_apart_and_the_rest_is_escaped() {
        assert_eq!(
            typed("run `llmtor <x>` & so").into_string(),
            "run <code>llmtor &lt;x&gt;</code> &amp; so"
        );
        assert_eq!(typed("").into_string(), "");
    }
}
