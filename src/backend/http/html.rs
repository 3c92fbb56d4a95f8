//! Pages for people: one frame and one set of headers for all of them. What a page lets in is its own policy.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};

/// What other sites learn of the page's address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Referrer {
    /// Nothing.
    Nothing,
    /// Its origin.
    Origin,
}

/// A whole page: `head` is what it brings beside its title.
pub(super) fn document(title: &str, head: &Markup, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                (head)
            }
            body { main { (body) } }
        }
    };
    page.into_string()
}

/// A page that nothing foreign gets into but what `policy` lets, and that nobody keeps.
pub(super) fn answer(status: StatusCode, policy: &str, referrer: Referrer, page: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (
            header::REFERRER_POLICY,
            match referrer {
                Referrer::Nothing => "no-referrer",
                Referrer::Origin => "strict-origin",
            },
        ),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    // In place of the plain text's type that a string comes with.
    (status, headers, page).into_response()
}
