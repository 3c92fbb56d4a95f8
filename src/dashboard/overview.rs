//! Overview: can calls be made, for how long, and what should be done.

use maud::{Markup, html};

use super::access::Admitted;
use super::words::{Tone, number};
use crate::control::message::{DaemonReport, NextTopUp, StatusReport, SupplyLevel, SupplyReport, TorPhase};
use crate::vault::{Custody, Stock};

/// The state in a sentence, and the next step if there is one.
struct Headline {
    tone: Tone,
    word: &'static str,
    sentence: String,
    step: Option<Step>,
}

/// What the user can do.
struct Step {
    why: &'static str,
    command: &'static str,
}

/// The view around the state.
pub(super) fn body(state: &Markup, admitted: &Admitted) -> Markup {
    html! {
        div data-live="state" { (state) }
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

/// What is refreshed while the page is looked at.
pub(super) fn state(status: &StatusReport) -> Markup {
    let headline = headline(status);
    html! {
        section.hero.(headline.tone.class()) aria-labelledby="state" {
            p.lamp { span.dot aria-hidden="true" {} span #state data-spoken { (headline.word) } }
            p.lead { (headline.sentence) }
            @if let Some(step) = &headline.step {
                p.next { (step.why) " " code { (step.command) } }
            }
        }
        @if let Some(daemon) = &status.daemon { (facts(status, daemon)) }
        (tokens(status))
    }
}

fn headline(status: &StatusReport) -> Headline {
    let tor = status.daemon.as_ref().and_then(|daemon| daemon.tor.as_ref());
    let step = |why, command| Some(Step { why, command });
    let usable: u64 = status.models.values().map(|stock| stock.available).sum();
    if status.custody != Custody::Ours {
        return Headline {
            tone: Tone::Bad,
            word: "Held back",
            sentence: "This vault may be a copy of another one, so it spends nothing.".into(),
            step: step("When no other machine uses its tokens any more:", "llmtor restore --take-over"),
        };
    }
    match tor.map(|tor| (tor.phase, tor)) {
        Some((TorPhase::Blocked, tor)) => {
            let why = tor.blockage.as_deref().unwrap_or("it does not say why");
            return Headline {
                tone: Tone::Bad,
                word: "Trouble",
                sentence: format!("Tor is stuck: {why}. No call can leave."),
                step: step("To find out more:", "llmtor doctor"),
            };
        }
        Some((TorPhase::Bootstrapping, tor)) => {
            return Headline {
                tone: Tone::Waiting,
                word: "Starting",
                sentence: format!("Tor is starting, {} % done. Calls wait for it.", tor.percent),
                step: None,
            };
        }
        _ => {}
    }
    if status.models.is_empty() {
        return Headline {
            tone: Tone::Attention,
            word: "Not set up",
            sentence: "No key of the backend is known here, so nothing can be paid for.".into(),
            step: step("To set it up:", "llmtor init --help"),
        };
    }
    if usable == 0 {
        let maturing: u64 = status.models.values().map(|stock| stock.maturing).sum();
        return Headline {
            tone: Tone::Attention,
            word: "No tokens",
            sentence: match maturing {
                0 => "There is no token to pay a call with.".into(),
                count => format!("No token is usable yet; {} become usable by themselves.", number(count)),
            },
            step: match status.logged_in {
                true => step("Tokens come by themselves; to have some at once:", "llmtor tokens mint --now"),
                false => step("Tokens come by themselves once you are signed in:", "llmtor login"),
            },
        };
    }
    let is_low = |supply: &SupplyReport| supply.level != SupplyLevel::Ample;
    let low: Vec<&str> =
        status.supply.iter().filter(|(_, supply)| is_low(supply)).map(|(model, _)| model.as_str()).collect();
    if !low.is_empty() {
        return Headline {
            tone: Tone::Attention,
            word: "Low on tokens",
            sentence: format!("Calls can be made, but there are few tokens left for {}.", low.join(", ")),
            step: match status.logged_in {
                true => None,
                false => step("Tokens come by themselves once you are signed in:", "llmtor login"),
            },
        };
    }
    Headline {
        tone: Tone::Good,
        word: "Ready",
        sentence: format!("Calls can be made; {} tokens are at hand.", number(usable)),
        step: (!status.logged_in).then_some(Step {
            why: "You are not signed in, so no tokens come by themselves:",
            command: "llmtor login",
        }),
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
    }
}

fn tokens(status: &StatusReport) -> Markup {
    html! {
        section aria-labelledby="tokens" {
            h2 #tokens { "Tokens" }
            @if status.models.is_empty() {
                p { "None, and no keys to get some with." }
            } @else {
                div.scroll role="region" aria-labelledby="tokens" tabindex="0" {
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
        NextTopUp::NoCredit { before } => html! { "no credits left; looked at again before " (before) },
        NextTopUp::Refused { before } => html! { "refused; asked again before " (before) },
        NextTopUp::Paused => html! { "none while the vault is held back" },
        NextTopUp::SignIn => html! { "none until " code { "llmtor login" } },
        NextTopUp::Stopped => html! { "stopped: compare " code { "llmtor keys list" } },
        NextTopUp::Off => html! { "switched off" },
        NextTopUp::NotRunning | NextTopUp::Unplanned => html! { "about to be planned" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::{AbuseReport, TorReport};
    use crate::wire::ModelName;

    fn status(available: u64, tor: Option<TorPhase>) -> StatusReport {
        let model = ModelName::new("gpt-4.1").unwrap();
        let supply = SupplyReport {
            level: SupplyLevel::Ample,
            days: Some(9),
            next: NextTopUp::Look { before: "2026-12-01".into() },
        };
        StatusReport {
            daemon: Some(DaemonReport {
                pid: 1,
                base_url: "http://127.0.0.1:8787/v1".into(),
                transport: "tor".into(),
                tor: tor.map(|phase| TorReport { percent: 40, phase, stage: None, blockage: None }),
                warm: 2,
            }),
            home: "/home".into(),
            identity_url: None,
            anonymous_url: None,
            logged_in: true,
            custody: Custody::Ours,
            resting_until: None,
            models: [(model.clone(), Stock { available, ..Stock::default() })].into(),
            supply: [(model, supply)].into(),
            abuse: AbuseReport::default(),
            credits_lost: 0,
        }
    }

    #[test]
    fn the_headline_names_the_first_thing_that_stands_in_the_way() {
        for (status, word) in [
            (status(5, Some(TorPhase::Ready)), "Ready"),
            (status(5, Some(TorPhase::Dormant)), "Ready"),
            (status(5, None), "Ready"),
            (status(0, Some(TorPhase::Bootstrapping)), "Starting"),
            (status(5, Some(TorPhase::Blocked)), "Trouble"),
            (status(0, Some(TorPhase::Ready)), "No tokens"),
            (StatusReport { custody: Custody::Restored, ..status(5, None) }, "Held back"),
            (StatusReport { models: [].into(), ..status(0, None) }, "Not set up"),
        ] {
            assert_eq!(headline(&status).word, word);
        }
        let mut low = status(5, None);
        low.supply.values_mut().for_each(|supply| supply.level = SupplyLevel::Low);
        assert_eq!(headline(&low).word, "Low on tokens");
    }

    #[test]
    fn every_trouble_comes_with_a_next_step() {
        for status in [
            status(5, Some(TorPhase::Blocked)),
            status(0, None),
            StatusReport { logged_in: false, ..status(5, None) },
            StatusReport { custody: Custody::Retired, ..status(5, None) },
        ] {
            assert!(headline(&status).step.is_some_and(|step| step.command.starts_with("llmtor ")));
        }
    }
}
