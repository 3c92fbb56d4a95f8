//! The local page: what the daemon is doing, what left this machine, and how it works, in a browser.
//!
//! | file | what it is |
//! | --- | --- |
//! | `access` | one-time links, and the sessions that they open |
//! | `guard` | which requests are answered at all, and what every response says |
//! | `serve` | connections |
//! | `route` | paths |
//! | `desk` | what the page may read and do; the composition root is behind it |
//! | `frame`, `words`, `drawing` | what all views have in common |
//! | `overview`, `calls`, `leaving`, `settings`, `workings` | a view each |
//! | `workshop` | the token that is made on the spot, for show |
//!
//! Who gets in:
//!
//! | who | is stopped by |
//! | --- | --- |
//! | a page of another origin, another port of this machine included | `Sec-Fetch-Site` and `Origin`; no CORS; a form token; SameSite=Strict; frames forbidden |
//! | a name that was rebound to 127.0.0.1 | `Host` |
//! | whoever saw the one-time link | it is used up, or a minute old |
//! | another account of this machine | the link is told on the control socket only, and is in no program's arguments (`browse`); on Linux the connection's owner is asked of the system as well, before anything is read, and without one there is no way in; what others hold open takes no place of the owner's |
//! | a server on another port, to which browsers send the cookies of this one | the cookie's path, which is random |
//!
//! Invariants: nothing is loaded from elsewhere (the policy forbids it); no response is kept by the browser; nothing shown is
//! content of a call. The page knows neither plane, and decides nothing.
//!
//! Deliberately absent: a framework, a build step, the local endpoint's key, and any way to spend a token.

pub mod access;
mod calls;
pub mod desk;
mod drawing;
mod frame;
mod guard;
mod leaving;
mod overview;
mod route;
mod serve;
mod settings;
mod words;
mod workings;
mod workshop;

pub use access::Gate;
pub use desk::Desk;
pub use serve::{Doorman, Ends, Page, Visitor};
