//! What left this machine: for calls, each header line as it was written, the size, the way out, and who shares it; for the
//! account's side, what was asked, when, how large, by which way, and in whose name.
//!
//! The lines come from the stream itself (`anonymous::redeem::record`), so this view cannot be prettier than the truth. What
//! is explained here is why each is there; a line that is not known says so.

use maud::{Markup, html};

use super::desk::{AccountWay, Bearing, Call, Company, Errand, Sending, Way};
use super::words::{company, duration, ending, moment, size, way};

/// How many are shown at once, so that the page stays light.
const SHOWN: usize = 12;
/// The same for the account's side, whose lines are short.
const ERRANDS_SHOWN: usize = 50;

/// The view.
pub(super) fn body(calls: &[Call], errands: &[Errand], account: AccountWay) -> Markup {
    let left: Vec<&Call> = calls.iter().filter(|call| !call.sendings.is_empty()).collect();
    html! {
        p.intro {
            "First, your calls: every header line that was really written for one, copied from the connection as it went out. Your \
             tool's own headers, its name, your operating system, your language: none of it is there. The rest of what left is \
             the body: model, messages, the token that pays with its signature, and the two abuse tokens with theirs, filled up \
             with spaces to one of a few sizes. The abuse tokens are the same in all your calls of a month, so the backend can \
             tie those calls to one another, though not to your account. Below the calls is what was sent in your account's \
             name: " a href="#account" { "another list" } "."
        }
        @if left.is_empty() {
            div.empty {
                p { strong { "Nothing has left for a call yet." } }
                p { "Make a call, then look here again. While no call is made, llmtor keeps Tor circuits ready and says nothing on them." }
            }
        } @else {
            div.left {
                @for (at, call) in left.iter().take(SHOWN).enumerate() { (one(call, at == 0)) }
            }
            @if left.len() > SHOWN { p.fine { "The last " (SHOWN) " of " (left.len()) "." } }
        }
        (other_side(errands, account))
        (check(left.first().and_then(|call| call.sendings.first()), account))
    }
}

fn one(call: &Call, is_first: bool) -> Markup {
    let (word, meaning, tone) = ending(call.ending);
    html! {
        details.call open[is_first] {
            summary {
                span.when { (moment(call.ended)) }
                span.what { (call.model) }
                span.tag.(tone.class()) { (word) }
                @if let Some(sent) = call.sendings.first() {
                    span.how { (size(sent.body)) ", " (way(sent.way)) ", " (company(sent)) }
                }
            }
            div.inside {
                p { (meaning) " It took " (duration(call.took)) " and left " (times(call.attempts)) "." }
                @match call.sendings.as_slice() {
                    [] => {}
                    [first, rest @ ..] => {
                        (sending(first))
                        @if !rest.is_empty() { (repeats(first, rest)) }
                    }
                }
            }
        }
    }
}

fn times(attempts: u32) -> String {
    match attempts {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

fn sending(sent: &Sending) -> Markup {
    html! {
        @match &sent.head {
            Some(head) => {
                table.head {
                    caption { "The head, line by line" }
                    thead { tr { th scope="col" { "As written" } th scope="col" { "Why it is there" } } }
                    tbody {
                        @for line in head.split("\r\n") {
                            tr { td { code { (line) } } td { (why(line)) } }
                        }
                    }
                }
            }
            None => { p { "The connection broke before the head was written whole." } }
        }
        dl.facts {
            div { dt { "Body" } dd { (size(sent.body)) } }
            div { dt { "Way out" } dd { (way(sent.way)) } }
            div { dt { "Isolation" } dd { (company(sent)) } }
        }
        p.fine { (isolation(sent)) }
    }
}

fn repeats(first: &Sending, rest: &[Sending]) -> Markup {
    let same = rest.iter().all(|sent| sent.head == first.head && sent.body == first.body);
    html! {
        @if same {
            p { "The other attempts were the same bytes, each on a new connection." }
        } @else {
            p { "Another attempt differed:" }
            @for sent in rest.iter().filter(|sent| sent.head != first.head || sent.body != first.body) { (sending(sent)) }
        }
    }
}

/// Why a line of the head is there.
fn why(line: &str) -> &'static str {
    let Some((name, value)) = line.split_once(": ") else {
        return "What is asked for. It is the same path for every model and every user.";
    };
    match name.to_ascii_lowercase().as_str() {
        "host" => "The backend's name, without which HTTP/1.1 does not go. The same for all its users.",
        "content-type" if value == "application/json" => "The body is JSON. The same for everybody.",
        "accept" if value == "application/json" => "JSON is wanted back. The same for everybody.",
        "accept-encoding" if value == "identity" => {
            "No compression, so that nothing on the way can change the answer unseen, and its length tells no more."
        }
        "content-length" => {
            "The body's length after padding: one of a few steps, so it says roughly how long the conversation is, and no more."
        }
        "connection" if value == "close" => "The connection is used for this one request and never again.",
        _ => "This page does not know this line. It should not be there: please report it.",
    }
}

fn isolation(sent: &Sending) -> &'static str {
    match (sent.way, sent.company) {
        (Way::Loopback, _) => {
            "The backend is on this machine, so nothing left it: this is for trying things out, and hides nothing."
        }
        (_, Company::Nobody) => {
            "This call had a Tor circuit of its own, used for nothing before and nothing after. To the exit and to the backend \
             it came from nowhere in particular."
        }
        (_, Company::Conversation) => {
            "Calls of one conversation share a circuit, by your setting: the exit and the backend see that they belong together."
        }
        (_, Company::Anybody) => {
            "All calls share a circuit, by your setting: the exit and the backend see that they come from one user."
        }
    }
}

fn other_side(errands: &[Errand], account: AccountWay) -> Markup {
    html! {
        section aria-labelledby="account" {
            h2 #account { "And in your account's name" }
            p {
                "llmtor also speaks to the backend as you: when tokens are made, by themselves or at your command, when you sign \
                 in or buy, and when it looks after your credits. Those requests carry your session, so they say who you are, and \
                 never a prompt or a token that can be spent."
            }
            @match account {
                AccountWay::Direct | AccountWay::Loopback => p {
                    "They go from this machine's own address, straight to the backend (" code { "identity.transport = \"direct\"" } "). \
                     Under Settings they can be sent through Tor."
                },
                AccountWay::Tor => p { "They go through Tor too, by your setting." },
            }
            @if errands.is_empty() {
                div.empty {
                    p { strong { "Nothing has been sent in your account's name since llmtor was started." } }
                }
            } @else {
                div.scroll role="region" aria-label="Requests in your account's name" tabindex="0" {
                    table {
                        thead { tr {
                            th scope="col" { "Over" }
                            th scope="col" { "What was asked" }
                            th.num scope="col" { "Body" }
                            th scope="col" { "Way" }
                            th scope="col" { "Carries" }
                        } }
                        tbody { @for errand in errands.iter().take(ERRANDS_SHOWN) { (request(errand)) } }
                    }
                }
                @if errands.len() > ERRANDS_SHOWN {
                    p.fine { "The last " (ERRANDS_SHOWN) " of " (errands.len()) " that are remembered." }
                }
            }
            p.fine {
                @if !errands.is_empty() {
                    "… stands for a model's name or the like. Beside the body each has the ordinary header lines of HTTP, and \
                     the cookie where the account is carried. "
                }
                "In memory since llmtor was started, at most 200, and written nowhere. Not here: what your browser sent when you \
                 signed in or paid there."
            }
        }
    }
}

fn request(errand: &Errand) -> Markup {
    html! {
        tr {
            td { (moment(errand.ended)) }
            th scope="row" { code { (errand.method) " " (errand.path) } }
            td.num { (size(errand.body)) }
            td {
                @match errand.way {
                    AccountWay::Direct => "direct, from your own address",
                    AccountWay::Tor => "Tor, on circuits of its own",
                    AccountWay::Loopback => "this machine only",
                }
            }
            td {
                @match errand.bearing {
                    Bearing::Account => "your account",
                    Bearing::Nobody => "nobody's name",
                }
            }
        }
    }
}

fn check(last: Option<&Sending>, account: AccountWay) -> Markup {
    html! {
        section aria-labelledby="check" {
            h2 #check { "Do not take our word for it" }
            ol.plain {
                li {
                    p { "See that nothing goes out but Tor. While you make a call, this lists every machine that yours speaks to:" }
                    pre { code { "sudo tcpdump -n -i any 'tcp and not host 127.0.0.1 and not host ::1'" } }
                    p { "Of a call you see one or two Tor guards, and never the backend's address." }
                    @if account == AccountWay::Direct {
                        p { "A connection to the backend itself, when no call is made, is your account's side, listed above." }
                    }
                }
                li {
                    p { "See that no name is looked up for a call. Names are resolved at the exit, not here:" }
                    pre { code { "sudo tcpdump -n -i any port 53" } }
                }
                li {
                    p { "See the bytes themselves. Between llmtor and Tor they are encrypted, so let the very same code speak to a \
                         backend on this machine, in the clear, and compare with what is shown above:" }
                    pre { code { "llmtor demo" } "\n" code { "sudo tcpdump -A -s0 -i lo 'tcp[((tcp[12]&0xf0)>>2):4] = 0x504f5354'" } }
                    p { "The filter shows packets that begin with " code { "POST" } ". You also see your own tool's request to \
                         llmtor: compare its headers with those that llmtor sends." }
                }
            }
            @if last.is_some_and(|sent| sent.way == Way::Socks) {
                p { "Your way out is a Tor beside llmtor: its own log and control port show the circuits." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_account_s_side_sent_is_told_with_its_way_and_its_name() {
        let errand = |bearing, way| Errand {
            ended: 1_790_000_000,
            method: "POST",
            path: "/api/v1/auth-token/…".into(),
            body: 421,
            way,
            bearing,
        };
        let errands = [
            errand(Bearing::Account, AccountWay::Direct),
            errand(Bearing::Nobody, AccountWay::Tor),
            errand(Bearing::Account, AccountWay::Loopback),
        ];
        let shown = body(&[], &errands, AccountWay::Direct).into_string();
        for word in [
            "POST /api/v1/auth-token/…",
            "421 B",
            "2026-09-21 14:13:20 UTC",
            "direct, from your own address",
            "Tor, on circuits of its own",
            "this machine only",
            "your account<",
            "nobody's name",
        ] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        assert!(
            body(&[], &[], AccountWay::Tor).into_string().contains("Nothing has been sent in your account")
        );
    }

    #[test]
    fn every_line_that_is_sent_is_explained_and_any_other_is_not_glossed_over() {
        let unknown = why("user-agent: curl");
        assert!(unknown.contains("should not be there"));
        for line in [
            "POST /api/v1/llm-proxy HTTP/1.1",
            "host: api.example",
            "content-type: application/json",
            "accept: application/json",
            "accept-encoding: identity",
            "content-length: 4096",
            "connection: close",
        ] {
            assert_ne!(why(line), unknown, "{line}");
        }
        // The right names with other values are not what is always sent.
        for line in ["accept: text/html", "accept-encoding: gzip", "connection: keep-alive"] {
            assert_eq!(why(line), unknown, "{line}");
        }
    }
}
