//! How it works: the protocol step by step, with the values of a token that was made for this page.

use base64::Engine as _;
use maud::{Markup, html};

use super::access::Admitted;
use super::drawing;
use super::words::hex;
use super::workshop::{Redeemed, Shown};

/// The view.
pub(super) fn body(shown: Option<&Shown>, admitted: &Admitted) -> Markup {
    html! {
        p.intro {
            "You pay with an account that knows you. You prompt with tokens that do not. What keeps the two apart is not a \
             promise but arithmetic, and here it is, with numbers that were computed on your machine a moment ago."
        }
        (drawing::planes())
        @match shown {
            Some(shown) => { (steps(shown, admitted)) }
            None => {
                p.notice.waiting data-again role="status" {
                    "A key pair is being made for this page, which takes a second or two. "
                    a href="workings" { "Reload" }
                }
            }
        }
        (seen())
    }
}

fn steps(shown: &Shown, admitted: &Admitted) -> Markup {
    html! {
        section aria-labelledby="steps" {
            h2 #steps { "The life of one token" }
            p {
                "It is made by the code that makes real tokens. The issuer's key, " code { (short(&shown.fingerprint)) } ", is a \
                 throw-away one, and issuer and spent-list are stand-ins in this program's memory: the same rules as the backend's, \
                 but this token can pay for nothing."
            }
            ol.steps {
                (step(1, "A random token", "your machine",
                    &html! { "A random UUID. Nobody but you knows it, and nobody gave it to you." },
                    &html! { (value("Token", &shown.token)) }))
                (step(2, "It is blinded", "your machine",
                    &html! { "Its hash is multiplied by a random number raised to the issuer's exponent. The product could belong to \
                             any token whatever: for each there is a random number that gives just this product." },
                    &html! {
                        (value("Blinded: this goes to the issuer", &hex(&shown.blinded)))
                        (value("Unblinding factor: this never leaves", &hex(&shown.blinding_secret)))
                    }))
                (step(3, "The issuer signs, blindfold", "the backend, which knows your account",
                    &html! { "It takes one credit from your account and signs the product, without a way of knowing what is in it." },
                    &html! { (value("Blind signature", &hex(&shown.blind_signature))) }))
                (step(4, "The blinding is taken off", "your machine",
                    &html! { "Divided by the random number, what is left is an ordinary signature on the token, which the issuer has \
                             never seen, neither the one nor the other." },
                    &html! { (value("Signature", &hex(&shown.signature))) }))
                (step(5, "It is verified", "your machine",
                    &html! { "Under the pinned public key, before the token is kept: an issuer that signs some users with another \
                             key, to recognise them, is found out here." },
                    &html! {
                        p.result { (verdict(Redeemed::Accepted, "valid under the issuer's key")) }
                        p.result { (verdict(shown.changed, "the same signature for a token with one letter changed")) }
                        details.value {
                            summary { span.name { "Verify it without llmtor" } code { "openssl dgst …" } }
                            pre { code { (recipe(shown)) } }
                        }
                    }))
                (step(6, "It pays for a call", "the backend, which knows nobody",
                    &html! { "Hours or weeks later, through Tor. The backend verifies the signature and writes the token's SHA-256 down \
                             as spent. It has seen neither number before." },
                    &html! {
                        (value("Written down", &hex(&shown.spent_entry)))
                        p.result { (verdict(shown.first, "first redemption")) }
                    }))
                (step(7, "It does not pay twice", "the backend",
                    &html! { "Shown again, its hash is on the list. So the backend needs no name to be paid honestly." },
                    &html! { p.result { (verdict(shown.replay, "second redemption of the same token")) } }))
            }
            form.again method="post" action="another" {
                input type="hidden" name="form" value=(admitted.form.expose());
                button { "Make another token" }
            }
        }
    }
}

fn step(number: usize, title: &str, place: &str, words: &Markup, values: &Markup) -> Markup {
    html! {
        li.step {
            (drawing::step(number))
            div {
                h3 { span.number { (number) } (title) }
                p.place { "On " (place) }
                p { (words) }
                (values)
            }
        }
    }
}

fn value(name: &str, whole: &str) -> Markup {
    if whole.len() <= 64 {
        return html! { div.value { span.name { (name) } code { (whole) } } };
    }
    html! {
        details.value {
            summary { span.name { (name) } code { (short(whole)) } span.more { (whole.len() / 2) " bytes" } }
            code.whole { (whole) }
        }
    }
}

/// Verifies the token's signature with a program that is not ours, in a shell.
fn recipe(shown: &Shown) -> String {
    let signature = base64::engine::general_purpose::STANDARD.encode(&shown.signature);
    format!(
        "cat > key.pem <<'END'\n{}\nEND\nprintf %s {} > token\nprintf %s {signature} | openssl base64 -d -A > signature\n\
         openssl dgst -sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:48 \\\n  \
         -verify key.pem -signature signature token\n",
        shown.key.trim_end(),
        shown.token,
    )
}

fn short(whole: &str) -> String {
    match (whole.get(..16), whole.get(whole.len().saturating_sub(8)..)) {
        (Some(begin), Some(end)) if whole.len() > 24 => format!("{begin}…{end}"),
        _ => whole.to_owned(),
    }
}

fn verdict(redeemed: Redeemed, what: &str) -> Markup {
    let (class, word) = match redeemed {
        Redeemed::Accepted => ("good", "accepted"),
        Redeemed::Replayed => ("bad", "refused: already spent"),
        Redeemed::Forged => ("bad", "refused: not signed by the issuer"),
    };
    html! { span.tag.(class) { (word) } " " (what) }
}

fn seen() -> Markup {
    html! {
        section aria-labelledby="seen" {
            h2 #seen { "Who sees what" }
            div.scroll role="region" aria-label="Table of who sees what" tabindex="0" {
                table {
                    thead { tr {
                        th scope="col" { "Who" } th scope="col" { "Your account" } th scope="col" { "Your address" }
                        th scope="col" { "Your prompt" } th scope="col" { "The token" }
                    } }
                    tbody {
                        (who("The backend, signing", ["yes", "yes, unless through Tor", "no", "blinded only"]))
                        (who("Your Tor guard", ["no", "yes", "no", "no"]))
                        (who("The Tor exit", ["no", "no", "no: TLS", "no: TLS"]))
                        (who("The backend, answering", ["no", "no", "yes", "yes, for the first time"]))
                        (who("The model's provider", ["no", "no", "yes", "no"]))
                    }
                }
            }
            p {
                "What remains: the words themselves. A prompt with your name in it has your name in it. The two abuse tokens, \
                 which go with every call: they are made blindly as well, so they name nobody, but they stay the same for a \
                 month, and tie the calls of that month to one another. And times and counts: how \
                 they could be matched, and how well llmtor resists, is measured in the linking game of the documentation."
            }
        }
    }
}

fn who(name: &str, cells: [&str; 4]) -> Markup {
    html! { tr { th scope="row" { (name) } @for cell in cells { td { (cell) } } } }
}

#[cfg(test)]
mod tests {
    use super::super::workshop::Workshop;
    use super::*;

    #[cfg(unix)]
    #[tokio::test]
    async fn a_program_that_is_not_ours_verifies_the_token_that_is_shown() {
        let workshop = Workshop::open();
        workshop.prepare();
        while workshop.shown().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let shown = workshop.shown().unwrap();
        let room = tempfile::tempdir().unwrap();
        let run = |recipe: &str| {
            let output =
                std::process::Command::new("sh").args(["-c", recipe]).current_dir(room.path()).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        if run("command -v openssl").is_empty() {
            assert!(std::env::var_os("CI").is_none(), "openssl is missing");
            eprintln!("SKIPPED: there is no openssl here");
            return;
        }
        let recipe = recipe(&shown);
        assert_eq!(run(&recipe).trim(), "Verified OK");
        assert_ne!(run(&recipe.replace(&shown.token, "another token")).trim(), "Verified OK");
    }
}
