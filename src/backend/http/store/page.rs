//! The purchase page: HTML from here, and the payment provider's script where it is Paddle's.
//!
//! | who sells the package | the page has | the policy lets in |
//! | --- | --- | --- |
//! | Paddle | a button that opens its checkout in a frame, which also opens by itself | its script, style and frame |
//! | Dodo | a link to its hosted checkout | nothing |
//! | nobody | the voucher form, and what the host says | nothing |
//!
//! The provider is told a reference and the package, and of the account nothing. Where its script runs, the page has no
//! transient token and no account: neither in itself nor in the address that it was loaded from, which a script can read
//! even after it was replaced.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use maud::{Markup, PreEscaped, html};
use rand::Rng as _;
use url::Url;

use super::super::html::{Referrer, answer, document};
use crate::backend::settings::{PackageSettings, StoreSettings};
use crate::wire::ModelName;

const STYLE: &str = include_str!("page/page.css");
/// Takes the token out of the address bar and the history. It hides nothing from a script: where a foreign one runs, the
/// address never had the token.
const HIDE: &str = "history.replaceState(null, '', location.pathname);";
const OPEN_PADDLE: &str = include_str!("page/paddle.js");

/// What the page says in place of a checkout.
#[derive(Clone, Copy)]
pub(super) enum Notice {
    /// Somebody came without a link.
    NothingAsked,
    /// The transient token is not, or no more, good.
    LinkIsOver,
    /// No checkout has this reference.
    NoSuchCheckout,
    /// Nothing of that name is sold.
    NoSuchPackage,
    /// It would lead the buyer elsewhere.
    ForeignRedirect,
}

/// Lets whoever has the token redeem a voucher for its account.
pub(super) struct VoucherForm<'a> {
    pub(super) user: &'a str,
    pub(super) token: &'a str,
}

/// The pages of one store.
pub(super) struct Page<'a> {
    store: &'a StoreSettings,
    nonce: String,
}

impl<'a> Page<'a> {
    pub(super) fn new(store: &'a StoreSettings) -> Self {
        let mut bytes = [0u8; 16];
        rand::rng().fill_bytes(&mut bytes);
        Self { store, nonce: URL_SAFE_NO_PAD.encode(bytes) }
    }

    pub(super) fn notice(&self, status: StatusCode, notice: Notice) -> Response {
        let (title, text) = match notice {
            Notice::NothingAsked => (
                "Credits",
                "To buy, run “llmtor buy” (or use the button of your client): it opens this page for your account.",
            ),
            Notice::LinkIsOver => (
                "This link is over",
                "A link to this page is good for five minutes. Nothing was bought. Run “llmtor buy” again for a new one.",
            ),
            Notice::NoSuchCheckout => {
                ("There is no such checkout", "Nothing was bought. Run “llmtor buy” for a link that works.")
            }
            Notice::NoSuchPackage => {
                ("This package is not sold here", "Nothing was bought. “llmtor buy” shows what is.")
            }
            Notice::ForeignRedirect => (
                "This link leads elsewhere",
                "It would send you on to an address that this service does not allow, so nothing was begun. Somebody may have \
                 tampered with it: run “llmtor buy” yourself.",
            ),
        };
        let body = html! {
            p { (text) }
            (self.text())
        };
        self.whole(status, title, &body, &[])
    }

    pub(super) fn paddle(
        &self,
        package: &PackageSettings,
        price: &str,
        reference: &str,
        redirect: Option<&Url>,
    ) -> Response {
        let Some(paddle) = &self.store.paddle else {
            return self.notice(StatusCode::NOT_FOUND, Notice::NoSuchPackage);
        };
        let script = paddle.script();
        let origin =
            Url::parse(script).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization());
        let frame = if paddle.script_url.is_some() { origin.as_str() } else { paddle.frame_origin() };
        let environment = match paddle.environment {
            crate::backend::settings::Environment::Production => "production",
            crate::backend::settings::Environment::Sandbox => "sandbox",
        };
        let body = html! {
            (offer(package))
            div id="checkout" data-token=(paddle.client_token) data-environment=(environment) data-price=(price)
                data-reference=(reference) data-package=(package.id) data-redirect=[redirect] {
                button id="pay" type="button" disabled { "Pay " (package.price) " with Paddle" }
                p id="state" role="status" { "Opening the payment window…" }
                noscript { p { "Paddle’s payment window needs JavaScript. Allow it for this page." } }
            }
            p .small { "Paddle takes the payment and learns what it asks you for. It is told a one-time reference, not your account." }
            // No form here: its token would be in reach of the script.
            p .small { "For a voucher run “llmtor buy --voucher -”." }
            (self.text())
            script src=(script) nonce=(self.nonce) {}
            script nonce=(self.nonce) { (PreEscaped(OPEN_PADDLE)) }
        };
        let lets = [("script-src", origin.as_str()), ("style-src", &origin), ("frame-src", frame)];
        self.whole(StatusCode::OK, "Buy credits", &body, &lets)
    }

    pub(super) fn dodo(
        &self,
        package: &PackageSettings,
        product: &str,
        reference: &str,
        redirect: Option<&Url>,
        form: &VoucherForm<'_>,
    ) -> Response {
        let checkout = self.store.dodo.as_ref().and_then(|dodo| Url::parse(dodo.checkout()).ok());
        let Some(mut checkout) = checkout else { return self.vouchers(form, Some(package)) };
        if let Ok(mut path) = checkout.path_segments_mut() {
            path.pop_if_empty().push(product);
        }
        {
            let mut query = checkout.query_pairs_mut();
            query.append_pair("quantity", "1").append_pair("metadata_reference", reference);
            query.append_pair("metadata_package", &package.id);
            if let Some(redirect) = redirect {
                query.append_pair("redirect_url", redirect.as_str());
            }
        }
        let body = html! {
            (offer(package))
            p { a .button id="pay" rel="noreferrer" href=(checkout) { "Pay " (package.price) " at Dodo Payments" } }
            p .small { "Dodo takes the payment and learns what it asks you for. It is told a one-time reference, not your account." }
            (voucher_form(form, None))
            (self.text())
        };
        self.whole(StatusCode::OK, "Buy credits", &body, &[])
    }

    /// For a package that nobody takes money for, or none.
    pub(super) fn vouchers(&self, form: &VoucherForm<'_>, package: Option<&PackageSettings>) -> Response {
        let body = html! {
            @if let Some(package) = package { (offer(package)) }
            p { "Nothing is sold online here. Credits come with vouchers from whoever runs this service." }
            (self.text())
            (voucher_form(form, None))
        };
        self.whole(StatusCode::OK, "Get credits", &body, &[])
    }

    /// The form once more, with what was wrong.
    pub(super) fn retry(&self, form: &VoucherForm<'_>, wrong: &str) -> Response {
        let body = voucher_form(form, Some(wrong));
        self.whole(StatusCode::UNPROCESSABLE_ENTITY, "The voucher was not taken", &body, &[])
    }

    pub(super) fn redeemed(&self, credits: &BTreeMap<ModelName, i64>) -> Response {
        let body = html! {
            ul { @for (model, count) in credits { li { (count) " credits for " (model) } } }
            p { "They are in your account. You can close this window." }
        };
        self.whole(StatusCode::OK, "The voucher is redeemed", &body, &[])
    }

    fn text(&self) -> Markup {
        html! { @if let Some(text) = &self.store.text { p { (text) } } }
    }

    /// `lets` adds sources to the policy.
    fn whole(&self, status: StatusCode, title: &str, body: &Markup, lets: &[(&str, &str)]) -> Response {
        let head = html! {
            meta name="color-scheme" content="light dark";
            style nonce=(self.nonce) { (PreEscaped(STYLE)) }
            @if lets.is_empty() { script nonce=(self.nonce) { (PreEscaped(HIDE)) } }
        };
        let document = document(title, &head, &html! { h1 { (title) } (body) });
        let nonce = format!("'nonce-{}'", self.nonce);
        let more_of = |name: &str| {
            let found: Vec<&str> =
                lets.iter().filter(|(directive, _)| *directive == name).map(|(_, origin)| *origin).collect();
            found.join(" ")
        };
        let frames = match more_of("frame-src") {
            text if text.is_empty() => String::new(),
            text => format!("frame-src {text}; "),
        };
        let policy = format!(
            "default-src 'none'; script-src {nonce} {}; style-src {nonce} {}; {frames}form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
            more_of("script-src"),
            more_of("style-src"),
        );
        // To the payment provider the origin alone: the address may have a token in it.
        answer(status, &policy, Referrer::Origin, document)
    }
}

fn voucher_form(form: &VoucherForm<'_>, wrong: Option<&str>) -> Markup {
    // Relative, for whoever serves all of this under a path: the second time from the form's own address.
    let action = if wrong.is_none() { "purchase/voucher" } else { "voucher" };
    html! {
        form method="post" action=(action) autocomplete="off" {
            h2 { "Redeem a voucher" }
            input type="hidden" name="userID" value=(form.user);
            input type="hidden" name="transientToken" value=(form.token);
            label for="code" { "Voucher code" }
            input #code name="Code" required spellcheck="false" autocapitalize="characters" maxlength="64"
                aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| "wrong")];
            @if let Some(wrong) = wrong { p #wrong role="alert" { (wrong) } }
            button type="submit" { "Redeem" }
        }
    }
}

fn offer(package: &PackageSettings) -> Markup {
    html! {
        dl {
            dt { "Package" } dd { (package.id) }
            dt { "Credits" } dd { (package.tokens) " for " (package.model) }
            dt { "Price" } dd { (package.price) }
        }
    }
}
