//! What all views stand in: head, navigation, notices; and the door, where nobody is let in.

use maud::{DOCTYPE, Markup, html};

use super::drawing;
use crate::control::Refusal;

/// A view.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Overview,
    Calls,
    Leaving,
    Settings,
    Workings,
}

/// What is said above a view, once.
pub(super) enum Notice {
    Saved,
    Refused(Refusal),
}

/// Why somebody is not let in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// The link was used, or is too old.
    Used,
    /// There is no session.
    Closed,
}

impl View {
    const ALL: [Self; 5] = [Self::Overview, Self::Calls, Self::Leaving, Self::Settings, Self::Workings];

    fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Calls => "Calls",
            Self::Leaving => "What left this machine",
            Self::Settings => "Settings",
            Self::Workings => "How it works",
        }
    }

    fn link(self) -> &'static str {
        match self {
            Self::Overview => "./",
            Self::Calls => "calls",
            Self::Leaving => "leaving",
            Self::Settings => "settings",
            Self::Workings => "workings",
        }
    }
}

/// A whole page.
pub(super) fn page(view: View, notice: Option<Notice>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(view.title()))
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    div.bar {
                        a.brand href="./" { (drawing::mark()) span { "llmtor" } }
                        nav aria-label="Views" {
                            ul {
                                @for other in View::ALL {
                                    li {
                                        a href=(other.link()) aria-current=[(other == view).then_some("page")] {
                                            (other.title())
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                main id="content" tabindex="-1" {
                    h1 { (view.title()) }
                    @if let Some(notice) = notice { (noticed(notice)) }
                    (body)
                }
                p #spoken .unseen role="status" aria-live="polite" {}
                footer.foot {
                    p {
                        "Served by llmtor on this machine, to this machine. Nothing on this page comes from elsewhere, and \
                         nothing of it is stored."
                    }
                }
                script src="/page.js" defer {}
            }
        }
    }
}

fn noticed(notice: Notice) -> Markup {
    match notice {
        Notice::Saved => html! {
            p.notice.good role="status" { strong { "Saved." } " Changed settings take effect when llmtor is started again." }
        },
        Notice::Refused(refusal) => refused(&refusal),
    }
}

/// What went wrong, and what to do.
pub(super) fn refused(refusal: &Refusal) -> Markup {
    html! {
        p.notice.bad role="alert" {
            strong { "That did not work: " } (refusal.message) "."
            @if let Some(advice) = &refusal.advice { " " (advice) "." }
        }
    }
}

/// For whoever is not let in.
pub(super) fn door(door: Door) -> Markup {
    let (title, why) = match door {
        Door::Used => (
            "This link is used up",
            "Each link opens this page once, within a minute of being made. This one was used already, or is older.",
        ),
        Door::Closed => (
            "This page is closed",
            "It opens only by a link that llmtor makes for you. Links from other pages, bookmarks and old windows do not open it.",
        ),
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body.door {
                main id="content" {
                    (drawing::mark())
                    h1 { (title) }
                    p { (why) }
                    p { "For a new link, run this in a terminal:" }
                    pre { code { "llmtor open" } }
                }
            }
        }
    }
}

/// On the way in, where a redirect would lose the cookie.
pub(super) fn entered(place: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "llmtor" }
                meta http-equiv="refresh" content=(format!("0; url={place}"));
            }
            body { main { h1 { "Opening llmtor" } p { a href=(place) { "Go on" } } } }
        }
    }
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · llmtor" }
            link rel="icon" href=(drawing::ICON);
            link rel="stylesheet" href="/style.css";
        }
    }
}
