//! The pages: plain HTML, one style, no script, nothing from elsewhere.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::super::html::{Referrer, answer, document};
use super::PATH;
use crate::wire::API_PREFIX;

pub(super) const BAD_TARGET: &str = "The address that this sign-in would lead back to is not one that this backend allows, so \
    nothing was done. Start the sign-in again in the program that sent you here.";
pub(super) const NO_WAY: &str = "Nobody can sign in here at the moment: there is no open invite. Ask this backend's host for an \
    invite code, then reload this page.";
pub(super) const NO_PUBLIC_URL: &str = "This backend does not know its own address, so a provider could not send you back. Its host \
    has to set sign_in.public_url in backend.toml.";
pub(super) const BAD_FORM: &str = "The form did not arrive whole. Go back and send it again.";
pub(super) const BROKEN: &str =
    "The backend's store failed, and nobody was signed in. Try again in a minute.";
pub(super) const NOT_OURS: &str =
    "The form was not sent from this page, or it lay open for too long. Enter the code again.";
pub(super) const TOO_MANY: &str =
    "Too many wrong codes were tried from your address. Wait a minute, then try again.";
pub(super) const UNKNOWN_CODE: &str =
    "This code is unknown, used already, or expired. Check it for typing errors, or ask for another.";

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1b1f;--paper:#f6f6f8;--card:#fff;--line:#6b6b76;--deed:#3b3f9e;--on:#fff;--bad:#a3122b}\
@media(prefers-color-scheme:dark){:root{--ink:#ececf1;--paper:#141417;--card:#1e1e23;--line:#9a9aa6;--deed:#b9bcff;--on:#17172b;--bad:#ff9aa8}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}\
main{width:100%;max-width:26rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1.5rem}\
h1{margin:0 0 .5rem;font-size:1.4rem}\
h2{margin:1.5rem 0 .5rem;font-size:1rem}\
p{margin:.5rem 0}\
label{display:block;font-weight:600;margin-top:1rem}\
input{width:100%;padding:.6rem;margin:.25rem 0 1rem;font:1.1rem ui-monospace,monospace;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:.4rem}\
button,a.way{display:block;width:100%;padding:.65rem;margin:.5rem 0;text-align:center;font:inherit;font-weight:600;text-decoration:none;color:var(--on);background:var(--deed);border:0;border-radius:.4rem;cursor:pointer}\
:focus-visible{outline:3px solid var(--deed);outline-offset:2px}\
.bad{color:var(--bad);font-weight:600}";

static STYLE_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Sha256::digest(STYLE)));

/// Where to choose. `tie` is there if codes are taken.
pub(super) fn choice(
    status: StatusCode,
    tie: Option<&str>,
    providers: &[(&str, &str)],
    target: &Url,
    complaint: Option<&str>,
) -> Response {
    let action = format!("{API_PREFIX}{PATH}");
    let content = html! {
        h1 { "Sign in" }
        p { "After this, the page goes back to the program that you came from." }
        @if let Some(complaint) = complaint {
            p #complaint .bad role="alert" { (complaint) }
        }
        @if let Some(tie) = tie {
            form method="post" action=(action) {
                label for="code" { "Invite code" }
                input #code name="code" type="text" required autocomplete="one-time-code" autocapitalize="characters"
                    spellcheck="false" maxlength="64" autofocus aria-describedby=[complaint.map(|_| "complaint")]
                    aria-invalid=[complaint.map(|_| "true")];
                input type="hidden" name="form" value=(tie);
                input type="hidden" name="redirect" value=(target);
                button type="submit" { "Sign in with the code" }
            }
        }
        @if !providers.is_empty() {
            h2 { @if tie.is_some() { "Or with an account" } @else { "Choose an account" } }
            @for (name, label) in providers {
                a .way href=(way(name, target)) { "Continue with " (label) }
            }
        }
    };
    // Browsers hold a form's redirect to the same rule as its action.
    whole(status, "Sign in", &content, Some(target))
}

/// Something cannot be done.
pub(super) fn refusal(status: StatusCode, why: &str) -> Response {
    let content = html! {
        h1 { "Not signed in" }
        p role="alert" { (why) }
    };
    whole(status, "Not signed in", &content, None)
}

fn way(name: &str, target: &Url) -> String {
    let redirect = url::form_urlencoded::byte_serialize(target.as_str().as_bytes()).collect::<String>();
    format!("{API_PREFIX}{PATH}/oidc/{name}?redirect={redirect}")
}

fn whole(status: StatusCode, title: &str, content: &Markup, form_leads_to: Option<&Url>) -> Response {
    let page = document(title, &html! { style { (PreEscaped(STYLE)) } }, content);
    let forms = match form_leads_to {
        Some(target) => format!("'self' {}", target.origin().ascii_serialization()),
        None => "'none'".to_owned(),
    };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action {forms}; base-uri 'none'; frame-ancestors 'none'",
        STYLE_HASH.as_str()
    );
    answer(status, &policy, Referrer::Nothing, page)
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    #[test]
    fn what_a_visitor_brings_is_text_on_the_page_and_never_markup() {
        let target = Url::parse("http://127.0.0.1:1/?x=%22%3E<script>").unwrap();
        let link = way("corp", &target);
        assert!(!link.contains(['<', '"', ' ']), "{link}");
        let response = choice(StatusCode::OK, Some("t"), &[("corp", "<b>Corp</b>")], &target, None);
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("form-action 'self' http://127.0.0.1:1;"), "{policy}");
        assert!(policy.starts_with("default-src 'none'"));
        let types: Vec<_> = response.headers().get_all(header::CONTENT_TYPE).iter().collect();
        assert_eq!(types, ["text/html; charset=utf-8"], "one type, or a browser may take the other");
    }
}
