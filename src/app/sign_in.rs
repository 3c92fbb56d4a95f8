//! Signing in through a browser window, as configured for a home.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::{Config, IdentityTransport};
use crate::control::RefusalKind;
use crate::control::message::SecretText;
use crate::datadir::Home;
use crate::identity::browser::{self, CALLBACK};
use crate::identity::{BrowserError, BrowserOrder, IdentityUrl, session_by_browser};
use crate::passage::Passage;

use super::AppError;

/// Where in a home the profiles are made.
const PROFILES: &str = "browser";
/// How soon a pause closes the window.
const LOOK: Duration = Duration::from_millis(500);

/// Opens a window of the `named` browser, or of the configured one, or of the first that is found, and brings the session that the user
/// gets there. `opened` is called once there is a window. On return window and profile are gone. A pause closes the window.
pub async fn by_browser(
    home: &Home,
    config: &Config,
    named: Option<PathBuf>,
    opened: &(dyn Fn() + Sync),
    stop: &CancellationToken,
) -> Result<SecretText, AppError> {
    let url = identity_url(config)?;
    // A browser has its own way out, and there is none behind the configured one.
    if config.identity.transport == IdentityTransport::Tor {
        return Err(AppError::BrowserOverTor);
    }
    url.check_direct()?;
    let order = BrowserOrder {
        url,
        executable: named.or_else(|| config.login.browser.as_ref().map(|path| home.root().join(path))),
        arguments: config.login.browser_args.clone(),
        profiles: home.root().join(PROFILES),
        patience: config.login.patience(),
    };
    if home.passage() == Passage::Paused {
        return Err(AppError::Paused);
    }
    let (stop, mut is_paused) = (stop.child_token(), false);
    let work = session_by_browser(&order, opened, &stop);
    tokio::pin!(work);
    let session = loop {
        if home.passage() == Passage::Paused {
            is_paused = true;
            stop.cancel();
        }
        // Kept in the home by whoever pauses, which is another process.
        if let Ok(session) = tokio::time::timeout(LOOK, &mut work).await {
            break session;
        }
    };
    if is_paused { Err(AppError::Paused) } else { Ok(SecretText(session?)) }
}

/// Deletes what sign-ins left behind whose llmtor was killed.
pub(super) fn sweep(home: &Home) {
    browser::sweep(&home.root().join(PROFILES), std::time::SystemTime::now());
}

/// The page to sign in at by hand, and the one whose cookie it is about.
pub fn pages(config: &Config) -> Result<(String, String), AppError> {
    let url = identity_url(config)?;
    let mut sign_in = url.endpoint(&["users", "signin"]);
    sign_in.query_pairs_mut().append_pair("redirect", CALLBACK);
    Ok((sign_in.into(), url.endpoint(&["me"]).into()))
}

/// What sort of thing it is for the one who asked.
pub(super) fn kind(error: &BrowserError) -> RefusalKind {
    match error {
        BrowserError::NotFound
        | BrowserError::NotAProgram(_)
        | BrowserError::NoDisplay
        | BrowserError::Root => RefusalKind::Usage,
        BrowserError::Unreachable => RefusalKind::Unreachable,
        BrowserError::Closed
        | BrowserError::TimedOut(_)
        | BrowserError::NoSession
        | BrowserError::Cancelled => RefusalKind::NotLoggedIn,
        BrowserError::Unstartable(_) | BrowserError::Profile { .. } => RefusalKind::Failed,
    }
}

/// What to do about it, where the message itself does not say.
pub(super) fn advice(error: &BrowserError) -> &'static str {
    match error {
        BrowserError::NotFound => {
            "install one, name one with --browser PATH, or sign in by hand with any browser: llmtor login --paste"
        }
        BrowserError::NotAProgram(_) => {
            "name the browser's program itself, with its whole path: --browser PATH; or sign in by hand: llmtor login --paste"
        }
        BrowserError::NoDisplay => "sign in by hand, with a browser on any machine: llmtor login --paste",
        BrowserError::Root => {
            "run llmtor as yourself; or sign in by hand: llmtor login --paste; or, if root is all there is: --set \
             login.browser_args='[\"--no-sandbox\"]'"
        }
        BrowserError::Unstartable(_) => {
            "see whether it starts by itself, name another with --browser PATH, or sign in by hand: llmtor login --paste"
        }
        BrowserError::Profile { .. } => {
            "make room there, and see to it that the directory is yours; or sign in by hand: llmtor login --paste"
        }
        BrowserError::Unreachable => {
            "check `backend.identity_url` and the network; `llmtor doctor` looks into both"
        }
        BrowserError::Closed | BrowserError::Cancelled => "run `llmtor login` again when you like",
        BrowserError::TimedOut(_) => {
            "run `llmtor login` again; `login.minutes` is how long the window waits, and --paste takes all the time you need"
        }
        BrowserError::NoSession => {
            "run `llmtor login` again; if it persists, tell the operator, and sign in by hand: llmtor login --paste"
        }
    }
}

fn identity_url(config: &Config) -> Result<IdentityUrl, AppError> {
    let url = config.backend.identity_url().ok_or(AppError::NoBackend)?;
    Ok(IdentityUrl::parse(url.as_str())?)
}
