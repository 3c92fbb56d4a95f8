//! A link that is a secret, opened in the user's own browser without being told to anybody else.
//!
//! What a program is started with can be read by every account of the machine, for as long as it runs: a browser's, for days.
//! So the link is written into a slip, a file that nobody else may read, and the browser is started with the slip's path.
//! The slip leads it on.
//!
//! | the slip | |
//! | --- | --- |
//! | is written into | the home; where the browser is one of Ubuntu's snaps, which cannot look into the home, the snap's own directory |
//! | can be read by | this account: 0600, and a name that cannot be guessed |
//! | is deleted | by whoever had it opened and waits, at the end; else when it is minutes old, by the daemon or by the next one |
//!
//! Deliberately absent: a server on a port of this machine that leads on. Other accounts can dial it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use url::Url;

use crate::datadir::{Home, private_file};

/// After so long a slip's link is good for nothing any more (a purchase's lives longest).
pub const LIFE: Duration = Duration::from_secs(300);

/// What a slip's name begins with.
const PREFIX: &str = "llmtor-open-";
/// Where snaps' entries among the applications are.
const SNAPS: &str = "/var/lib/snapd/desktop/applications";

/// A browser has been given it; deleted when dropped.
#[must_use = "dropped at once, it is gone before the browser has read it"]
pub struct Slip {
    path: PathBuf,
    ending: Ending,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Deleted,
    Left,
}

impl Slip {
    /// Opens `link` in the user's browser.
    pub fn open(home: &Home, link: &str) -> io::Result<Self> {
        sweep(home, SystemTime::now());
        let directory = snap_directory().map_or_else(|| std::path::absolute(home.root()), Ok)?;
        let slip = Self::write(&directory, link)?;
        open::that_detached(&slip.path)?;
        Ok(slip)
    }

    /// For whoever does not wait until it was read: a later [`sweep`] deletes it.
    pub fn leave(mut self) {
        self.ending = Ending::Left;
    }

    fn write(directory: &Path, link: &str) -> io::Result<Self> {
        use io::Write as _;

        let page = page(link).ok_or(io::ErrorKind::InvalidInput)?;
        let path = directory.join(format!("{PREFIX}{:032x}.html", rand::random::<u128>()));
        let mut file = private_file().create_new(true).open(&path)?;
        // From here on it is deleted if it cannot be finished.
        let slip = Self { path, ending: Ending::Deleted };
        file.write_all(page.as_bytes())?;
        Ok(slip)
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        if self.ending == Ending::Deleted {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Deletes the slips of `home` that are older than [`LIFE`].
pub fn sweep(home: &Home, now: SystemTime) {
    let snaps = directories::BaseDirs::new().map(|dirs| dirs.home_dir().join("snap"));
    let snaps = snaps.and_then(|snaps| fs::read_dir(snaps).ok()).into_iter().flatten().flatten();
    for directory in snaps.map(|snap| snap.path().join("common")).chain([home.root().to_owned()]) {
        sweep_directory(&directory, now);
    }
}

fn sweep_directory(directory: &Path, now: SystemTime) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_slip = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let written = entry.metadata().and_then(|meta| meta.modified());
        let is_old = written.is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age >= LIFE));
        if is_slip && is_old {
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// A page that leads on to `link`; none to anything but the web.
fn page(link: &str) -> Option<String> {
    let url = Url::parse(link).ok().filter(|url| ["http", "https"].contains(&url.scheme()))?;
    // What is left in a URL that could end an attribute. The address stays as it was given otherwise.
    let escaped: String = url.as_str().chars().fold(String::new(), |mut text, letter| {
        match letter {
            '&' => text.push_str("&amp;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            '<' => text.push_str("&lt;"),
            other => text.push(other),
        }
        text
    });
    Some(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
         <meta name=\"color-scheme\" content=\"light dark\"><meta http-equiv=\"refresh\" content=\"0; url={escaped}\">\
         <title>llmtor</title><main><p><a href=\"{escaped}\">Go on</a></p></main></html>\n"
    ))
}

/// Where the browser can read, if it cannot read everything of this account.
fn snap_directory() -> Option<PathBuf> {
    let applications = Path::new(SNAPS);
    if !applications.is_dir() {
        return None;
    }
    let asked = Command::new("xdg-mime").args(["query", "default", "text/html"]).output().ok()?;
    let snap = snap(String::from_utf8(asked.stdout).ok()?.trim(), applications)?;
    let directory = directories::BaseDirs::new()?.home_dir().join("snap").join(snap).join("common");
    directory.is_dir().then_some(directory)
}

/// The snap that an entry among the applications is of.
fn snap(entry: &str, applications: &Path) -> Option<String> {
    let (name, _) = entry.split_once('_')?;
    let is_plain = !entry.contains('/') && !name.is_empty();
    (is_plain && applications.join(entry).is_file()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_slip_is_for_this_account_alone_and_goes_when_it_has_been_used() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let slips = || fs::read_dir(directory.path()).unwrap().count();
        let slip = Slip::write(directory.path(), "http://127.0.0.1:7/enter?ticket=canary").unwrap();
        let mode = fs::metadata(&slip.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!slip.path.to_string_lossy().contains("canary"));
        assert!(
            fs::read_to_string(&slip.path).unwrap().contains("url=http://127.0.0.1:7/enter?ticket=canary\"")
        );
        drop(slip);
        assert_eq!(slips(), 0);
    }

    #[test]
    fn a_slip_that_was_left_is_swept_once_its_link_is_dead_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::open(directory.path()).unwrap();
        let slip = Slip::write(home.root(), "http://127.0.0.1:7/").unwrap();
        let path = slip.path.clone();
        slip.leave();
        let now = SystemTime::now();
        sweep(&home, now + LIFE.saturating_sub(Duration::from_secs(60)));
        assert!(path.exists());
        sweep(&home, now + LIFE + Duration::from_secs(1));
        assert!(!path.exists() && home.root().join("lock").exists());
    }

    #[test]
    fn a_slip_leads_to_the_web_alone_and_a_link_stays_within_its_quotes() {
        for no in ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "", "/enter"] {
            assert_eq!(page(no), None, "{no}");
        }
        let page = page("https://shop.example/buy?a=1&b=\"><script>'").unwrap();
        assert!(!page.contains("<script") && page.contains("a=1&amp;b="), "{page}");
        assert_eq!(page.matches('"').count() % 2, 0, "{page}");
    }

    #[test]
    fn a_browser_that_is_a_snap_is_told_by_its_entry() {
        let applications = tempfile::tempdir().unwrap();
        fs::write(applications.path().join("firefox_firefox.desktop"), "").unwrap();
        let told = |entry: &str| snap(entry, applications.path());
        assert_eq!(told("firefox_firefox.desktop").as_deref(), Some("firefox"));
        for no in ["firefox.desktop", "other_other.desktop", "../x_y.desktop", "_x", ""] {
            assert_eq!(told(no), None, "{no}");
        }
    }
}
