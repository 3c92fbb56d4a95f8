//! Signing in through a browser window: the user's own browser, with a profile of its own that is thrown away.
//!
//! | step | what happens |
//! | --- | --- |
//! | start | the browser is found by the platform's rules, or named; it gets an empty profile (0700) and opens the backend's sign-in |
//! | meanwhile | the user does whatever the backend and its identity provider ask for; nothing of it is looked at |
//! | the browser is led to [`CALLBACK`] | the request is held back in the browser: nothing listens there, and nothing is sent |
//! | then | the cookies *of the backend's URL* are asked for, and `sessionID` of its host is taken |
//! | the end, whatever it is | the browser is closed, or killed; the profile is deleted |
//!
//! Invariants: no cookie of another origin is asked for; the session is in no argument, log or file; a certificate that the
//! browser refuses is refused; the browser goes from this machine's own address, so where the identity plane is to go through
//! Tor it is not started (the caller sees to that).
//!
//! The window is driven over a pipe (`piped`), so that no other account of this machine can. Windows has pipes of another
//! kind: there it is DevTools' port, on this machine's loopback, as SECURITY.md says.
//!
//! Deliberately absent: downloading a browser, filling anything in, and the user's own profile, whose cookies are nobody's
//! business.

mod find;
#[cfg(unix)]
mod piped;
#[cfg(not(unix))]
mod ported;
mod profile;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use chromiumoxide::cdp::browser_protocol::browser::CloseParams;
use chromiumoxide::cdp::browser_protocol::fetch::{self, EventRequestPaused};
use chromiumoxide::cdp::browser_protocol::network::GetCookiesParams;
use chromiumoxide::cdp::browser_protocol::target::EventTargetDestroyed;
use chromiumoxide::error::CdpError;
use chromiumoxide::handler::HandlerConfig;
use chromiumoxide::{Browser, Page};
use futures_util::StreamExt as _;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::url::IdentityUrl;
use crate::secret::Secret;
use crate::wire::SESSION_COOKIE;
use find::Places;
#[cfg(unix)]
use piped::Piped as Started;
#[cfg(not(unix))]
use ported::Ported as Started;
use profile::Profile;
pub use profile::sweep;

/// Where the backend leads a browser afterwards: what the official client uses (protocol.md §3), so that ours does not
/// stand out.
pub const CALLBACK: &str = "http://127.0.0.1:5139/callback";

/// How long the browser may take to start.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end by itself.
const CLOSE: Duration = Duration::from_secs(3);
/// What the browser says of a page that another one was opened in place of.
const ABORTED: &str = "ERR_ABORTED";
const STEP: Duration = Duration::from_millis(50);

/// What a browser does by itself and need not: talk to its maker, look names up ahead, offer itself as the default.
const QUIET: &[&str] = &[
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--no-service-autorun",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-quic",
    "--disable-sync",
    "--dns-prefetch-disable",
    "--metrics-recording-only",
    "--safebrowsing-disable-auto-update",
    "--use-mock-keychain",
    "--password-store=basic",
    "--disable-features=AutofillServerCommunication,CertificateTransparencyComponentUpdater,MediaRouter,\
     OptimizationHints,Translate",
];

/// What is to be done.
pub struct BrowserOrder {
    /// The backend.
    pub url: IdentityUrl,
    /// The browser; looked for if none is named.
    pub executable: Option<PathBuf>,
    /// More arguments for it, such as `--no-sandbox`.
    pub arguments: Vec<String>,
    /// In which directory its profile is made.
    pub profiles: PathBuf,
    /// How long the user may take.
    pub patience: Duration,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// None is installed.
    #[error("no browser was found that llmtor can open a window of: Chromium, Chrome, Edge or Brave")]
    NotFound,
    /// The named one is not one.
    #[error("{} is not a program that can be run", .0.display())]
    NotAProgram(PathBuf),
    /// There is no screen to show a window on.
    #[error("there is no screen here to open a browser window on")]
    NoDisplay,
    /// A browser does not run as the superuser.
    #[error("browsers refuse to run as root")]
    Root,
    /// It does not start, or cannot be driven.
    #[error("{} does not start, or cannot be driven", .0.display())]
    Unstartable(PathBuf),
    /// Its profile cannot be made.
    #[error("the browser's profile cannot be made in {}: {kind}", path.display())]
    Profile {
        /// Where.
        path: PathBuf,
        /// Why.
        kind: std::io::ErrorKind,
    },
    /// The backend's page cannot be opened.
    #[error("the browser cannot open the backend's sign-in page")]
    Unreachable,
    /// The user closed it.
    #[error("the browser window was closed before the sign-in was over; nothing was changed")]
    Closed,
    /// The user took too long.
    #[error("the sign-in was not over after {} minutes; nothing was changed", .0.as_secs().div_ceil(60))]
    TimedOut(Duration),
    /// The backend led back without a session.
    #[error("the backend said that the sign-in is over, but gave no session")]
    NoSession,
    /// Asked to stop.
    #[error("stopped before the sign-in was over; nothing was changed")]
    Cancelled,
}

/// Opens a window, tells so by `opened`, waits until the user has signed in, and brings the session. Whatever comes of it,
/// browser and profile are gone afterwards.
pub async fn session_by_browser(
    order: &BrowserOrder,
    opened: &(dyn Fn() + Sync),
    stop: &CancellationToken,
) -> Result<Secret<String>, BrowserError> {
    order.url.check_direct().map_err(|_| BrowserError::Unreachable)?;
    let places = Places::of_this_machine();
    let executable = match &order.executable {
        Some(named) if !find::is_program(named) => return Err(BrowserError::NotAProgram(named.clone())),
        Some(named) => named.clone(),
        None => find::browser(&places).ok_or(BrowserError::NotFound)?,
    };
    let has =
        |wanted: &str| order.arguments.iter().any(|argument| argument.split('=').next() == Some(wanted));
    if !has("--headless") && places.lacks_display() {
        return Err(BrowserError::NoDisplay);
    }
    if is_root() && !has("--no-sandbox") {
        return Err(BrowserError::Root);
    }
    let parent = places.confined_to(&executable).unwrap_or_else(|| order.profiles.clone());
    let profile = Profile::create(&parent)
        .map_err(|error| BrowserError::Profile { path: parent.clone(), kind: error.kind() })?;
    let outcome = with_profile(order, executable, &profile, opened, stop).await;
    profile.remove().await;
    outcome
}

async fn with_profile(
    order: &BrowserOrder,
    executable: PathBuf,
    profile: &Profile,
    opened: &(dyn Fn() + Sync),
    stop: &CancellationToken,
) -> Result<Secret<String>, BrowserError> {
    let unstartable = || BrowserError::Unstartable(executable.clone());
    let mut started = Started::launch(&executable, profile.path(), &arguments(order, profile))
        .await
        .map_err(|_| unstartable())?;
    // The default of the library is to take any certificate.
    let config = HandlerConfig { ignore_https_errors: false, viewport: None, ..HandlerConfig::default() };
    let connected = Browser::connect_with_config(started.url(), config).await;
    let (browser, mut handler) = connected.map_err(|_| unstartable())?;
    // Ends when the browser does.
    let mut driving = tokio::spawn(async move { while let Some(Ok(())) = handler.next().await {} });
    let page = tokio::select! {
        page = first_page(&browser) => page.ok_or_else(unstartable),
        _ = &mut driving => Err(unstartable()),
        _ = started.wait() => Err(unstartable()),
        () = stop.cancelled() => Err(BrowserError::Cancelled),
    };
    let outcome = match page {
        Ok(page) => {
            opened();
            tokio::select! {
                outcome = attend(&browser, &page, order) => outcome,
                _ = &mut driving => Err(BrowserError::Closed),
                () = tokio::time::sleep(order.patience) => Err(BrowserError::TimedOut(order.patience)),
                () = stop.cancelled() => Err(BrowserError::Cancelled),
            }
        }
        Err(error) => Err(error),
    };
    close(&browser, &mut started).await;
    driving.abort();
    outcome
}

fn arguments(order: &BrowserOrder, profile: &Profile) -> Vec<String> {
    let mut arguments = vec![format!("--user-data-dir={}", profile.path().display())];
    arguments.extend(QUIET.iter().map(ToString::to_string));
    arguments
        .extend(order.arguments.iter().map(|argument| format!("--{}", argument.trim_start_matches('-'))));
    arguments.push("about:blank".into());
    arguments
}

/// Starts `executable`, and ends it when it is dropped. What it says goes nowhere, and its reports of crashes go into `profile`.
fn command(executable: &Path, profile: &Path) -> Command {
    let mut command = Command::new(executable);
    command.env("CHROME_CONFIG_HOME", profile).env("BREAKPAD_DUMP_LOCATION", profile);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

/// Waits for the callback, and takes the session.
async fn attend(
    browser: &Browser,
    page: &Page,
    order: &BrowserOrder,
) -> Result<Secret<String>, BrowserError> {
    let driven = |_: CdpError| BrowserError::Closed;
    let mut gone = browser.event_listener::<EventTargetDestroyed>().await.map_err(driven)?;
    let mut held = page.event_listener::<EventRequestPaused>().await.map_err(driven)?;
    let pattern = fetch::RequestPattern::builder().url_pattern(format!("{CALLBACK}*")).build();
    page.execute(fetch::EnableParams::builder().pattern(pattern).build()).await.map_err(driven)?;
    let mut start = order.url.endpoint(&["users", "signin"]);
    start.query_pairs_mut().append_pair("redirect", CALLBACK);
    let going = page.goto(start.as_str());
    tokio::pin!(going);
    let mut is_going = true;
    loop {
        tokio::select! {
            // An error here is the network's; that somebody takes their time, or goes on at once, is none.
            there = &mut going, if is_going => match there {
                Err(CdpError::ChromeMessage(why)) if !why.contains(ABORTED) => return Err(BrowserError::Unreachable),
                _ => is_going = false,
            },
            event = held.next() => {
                let event = event.ok_or(BrowserError::Closed)?;
                if is_callback(&event.request.url) {
                    return session_of(page, &order.url).await;
                }
                let _ = page.execute(fetch::ContinueRequestParams::new(event.request_id.clone())).await;
            }
            event = gone.next() => match event {
                Some(event) if event.target_id != *page.target_id() => {}
                _ => return Err(BrowserError::Closed),
            },
        }
    }
}

/// The tab that the browser opened by itself.
async fn first_page(browser: &Browser) -> Option<Page> {
    let looking = async {
        loop {
            match browser.pages().await.ok()?.into_iter().next() {
                Some(page) => return Some(page),
                None => tokio::time::sleep(STEP).await,
            }
        }
    };
    tokio::time::timeout(START, looking).await.ok().flatten()
}

/// The cookie of the backend's own host. Cookies of other origins are not asked for.
async fn session_of(page: &Page, url: &IdentityUrl) -> Result<Secret<String>, BrowserError> {
    let base = url.endpoint(&["me"]);
    let cookies = page.execute(GetCookiesParams::builder().url(base.as_str()).build());
    let cookies = cookies.await.map_err(|_| BrowserError::Closed)?.result.cookies;
    let host = base.host_str().unwrap_or_default();
    let mut found = None;
    for cookie in cookies {
        let value = Secret::new(cookie.value);
        if cookie.name == SESSION_COOKIE && cookie.domain == host {
            found = Some(value);
        }
    }
    found.ok_or(BrowserError::NoSession)
}

fn is_callback(url: &str) -> bool {
    let (Ok(url), Ok(callback)) = (Url::parse(url), Url::parse(CALLBACK)) else { return false };
    url.origin() == callback.origin() && url.path() == callback.path()
}

/// Asks it to end, and ends it if it does not.
async fn close(browser: &Browser, started: &mut Started) {
    let ending = async {
        let _ = browser.execute(CloseParams::default()).await;
        let _ = started.wait().await;
    };
    if tokio::time::timeout(CLOSE, ending).await.is_err() {
        started.kill().await;
    }
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_callback_itself_is_the_callback() {
        for yes in [CALLBACK, "http://127.0.0.1:5139/callback?x=1", "http://127.0.0.1:5139/callback#x"] {
            assert!(is_callback(yes), "{yes}");
        }
        for no in [
            "http://127.0.0.1:5139/callbacks",
            "http://127.0.0.1:51390/callback",
            "https://127.0.0.1:5139/callback",
            "http://127.0.0.1:5139.evil.example/callback",
            "http://evil.example/?http://127.0.0.1:5139/callback",
        ] {
            assert!(!is_callback(no), "{no}");
        }
    }
}
