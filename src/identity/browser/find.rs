//! Where browsers are installed, by each platform's rules.
//!
//! Deliberately absent: Firefox and Safari, which do not speak the protocol that the window is driven by.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What browsers are called on the search path.
const NAMES: [&str; 9] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "chrome",
    "microsoft-edge-stable",
    "microsoft-edge",
    "brave-browser",
    "brave",
];
/// What they are called among macOS's applications.
const BUNDLES: [&str; 4] = ["Chromium", "Google Chrome", "Microsoft Edge", "Brave Browser"];
/// Where they are below Windows' directories of programs.
const PROGRAMS: [&str; 4] = [
    r"Chromium\Application\chrome.exe",
    r"Google\Chrome\Application\chrome.exe",
    r"Microsoft\Edge\Application\msedge.exe",
    r"BraveSoftware\Brave-Browser\Application\brave.exe",
];
/// Where Ubuntu's packages of this kind are; they see little of the disk.
const SNAPS: &str = "/snap/";

/// Whose rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platform {
    Windows,
    MacOs,
    /// Linux and its kin.
    Other,
}

/// What of the environment decides.
pub(super) struct Places {
    pub(super) platform: Platform,
    /// `PATH`
    pub(super) path: OsString,
    pub(super) home: Option<PathBuf>,
    /// Windows' directories of programs, for all and for this user.
    pub(super) programs: Vec<PathBuf>,
    /// Whether a display server is named.
    pub(super) has_display: bool,
}

impl Places {
    pub(super) fn of_this_machine() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let platform = if cfg!(windows) {
            Platform::Windows
        } else if cfg!(target_os = "macos") {
            Platform::MacOs
        } else {
            Platform::Other
        };
        let programs = ["ProgramFiles", "ProgramFiles(x86)", "LOCALAPPDATA"];
        Self {
            platform,
            path: variable("PATH").unwrap_or_default(),
            home: variable("HOME").map(PathBuf::from),
            programs: programs.into_iter().filter_map(variable).map(PathBuf::from).collect(),
            has_display: ["DISPLAY", "WAYLAND_DISPLAY"].into_iter().any(|name| variable(name).is_some()),
        }
    }

    /// Whether a window could not be shown.
    pub(super) fn lacks_display(&self) -> bool {
        self.platform == Platform::Other && !self.has_display
    }

    /// Where `browser` can write, if that is not everywhere.
    pub(super) fn confined_to(&self, browser: &Path) -> Option<PathBuf> {
        let name = browser.strip_prefix(SNAPS).ok()?.file_name()?;
        Some(self.home.as_ref()?.join("snap").join(name).join("common"))
    }
}

/// The first browser that is installed.
pub(super) fn browser(places: &Places) -> Option<PathBuf> {
    candidates(places).find(|path| is_program(path))
}

/// Where one may be, best first.
fn candidates(places: &Places) -> impl Iterator<Item = PathBuf> {
    let below = |roots: Vec<PathBuf>, names: Vec<String>| {
        names.into_iter().flat_map(move |name| roots.clone().into_iter().map(move |root| root.join(&name)))
    };
    let own = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    match places.platform {
        Platform::Windows => below(places.programs.clone(), own(&PROGRAMS)),
        Platform::MacOs => {
            let mut roots = vec![PathBuf::from("/Applications")];
            roots.extend(places.home.as_ref().map(|home| home.join("Applications")));
            below(roots, BUNDLES.map(|name| format!("{name}.app/Contents/MacOS/{name}")).to_vec())
        }
        Platform::Other => {
            // A relative entry would run whatever lies in the current directory.
            let roots = std::env::split_paths(&places.path).filter(|path| path.is_absolute());
            below(roots.collect(), own(&NAMES))
        }
    }
}

/// Whether it can be run.
pub(super) fn is_program(path: &Path) -> bool {
    let Ok(meta) = path.metadata() else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        meta.is_file() && meta.permissions().mode() & 0o111 != 0
    }
    #[cfg(not(unix))]
    meta.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(platform: Platform, path: &str) -> Places {
        Places {
            platform,
            path: path.into(),
            home: Some("/home/alice".into()),
            programs: vec!["/pf".into(), "/local".into()],
            has_display: false,
        }
    }

    #[test]
    fn a_name_goes_before_a_directory_and_relative_directories_do_not_count() {
        let found: Vec<_> = candidates(&places(Platform::Other, "/a:.:b:/c")).take(3).collect();
        assert_eq!(found, ["/a/chromium", "/c/chromium", "/a/chromium-browser"].map(PathBuf::from));
    }

    #[test]
    fn applications_are_looked_for_where_the_platform_keeps_them() {
        let mac: Vec<_> = candidates(&places(Platform::MacOs, "/a")).collect();
        let chrome = "/home/alice/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";
        assert!(mac.contains(&PathBuf::from(chrome)));
        let windows: Vec<_> = candidates(&places(Platform::Windows, "/a")).collect();
        assert_eq!(windows.len(), 8);
        assert!(windows.contains(&Path::new("/local").join(PROGRAMS[2])));
    }

    #[test]
    fn what_is_no_program_is_no_browser() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("chromium");
        std::fs::write(&path, "").unwrap();
        let places = places(Platform::Other, room.path().to_str().unwrap());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(browser(&places), None);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        assert_eq!(browser(&places), Some(path));
    }

    #[test]
    fn a_confined_browser_gets_its_profile_where_it_can_write() {
        let places = places(Platform::Other, "");
        let confined = places.confined_to(Path::new("/snap/bin/chromium"));
        assert_eq!(confined, Some("/home/alice/snap/chromium/common".into()));
        assert_eq!(places.confined_to(Path::new("/usr/bin/chromium")), None);
        assert!(places.lacks_display());
    }
}
