//! The user's machine as tools see it: where settings are kept, and which programs there are.
//!
//! Everything comes from the environment that it was made of, so that a test has a machine of its own. Deliberately absent:
//! running anything to find out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use directories::UserDirs;

/// Which conventions hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Linux and its like: the XDG directories.
    Unix,
    /// `~/Library`.
    MacOs,
    /// `%APPDATA%`.
    Windows,
}

/// Where things are.
pub struct Machine {
    system: System,
    home: PathBuf,
    here: PathBuf,
    variables: BTreeMap<OsString, OsString>,
}

impl Machine {
    /// This one; `None` where nobody has a home directory.
    pub fn this() -> Option<Self> {
        let system = if cfg!(windows) {
            System::Windows
        } else if cfg!(target_os = "macos") {
            System::MacOs
        } else {
            System::Unix
        };
        let variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        let home = variables.get(std::ffi::OsStr::new("HOME")).filter(|home| !home.is_empty());
        let home = match home {
            Some(home) => PathBuf::from(home),
            None => UserDirs::new()?.home_dir().to_owned(),
        };
        let here = std::env::current_dir().unwrap_or_else(|_| home.clone());
        Some(Self { system, home, here, variables })
    }

    /// One made up.
    pub fn new(system: System, home: &Path, variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { system, home: home.to_owned(), here: home.to_owned(), variables }
    }

    /// Which conventions hold.
    pub fn system(&self) -> System {
        self.system
    }

    /// A path in the home directory.
    pub fn home(&self, rest: &str) -> PathBuf {
        self.home.join(rest)
    }

    /// A path in the directory in which the command was given.
    pub fn here(&self, rest: impl AsRef<Path>) -> PathBuf {
        self.here.join(rest)
    }

    /// A variable that is not empty.
    pub fn variable(&self, name: &str) -> Option<&OsString> {
        self.variables.get(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty())
    }

    /// The directory that `variable` names, or another.
    pub fn named_or(&self, variable: &str, otherwise: PathBuf) -> PathBuf {
        self.variable(variable).map_or(otherwise, PathBuf::from)
    }

    /// `XDG_CONFIG_HOME` or `~/.config`: for programs that do so on every system.
    pub fn config(&self, rest: &str) -> PathBuf {
        self.named_or("XDG_CONFIG_HOME", self.home(".config")).join(rest)
    }

    /// Where programs of this system keep settings.
    pub fn app_config(&self, rest: &str) -> PathBuf {
        match self.system {
            System::Unix => self.config(rest),
            System::MacOs => self.home("Library/Application Support").join(rest),
            System::Windows => self.named_or("APPDATA", self.home("AppData/Roaming")).join(rest),
        }
    }

    /// Whether one of `names` is a program on the path.
    pub fn has_program(&self, names: &[&str]) -> bool {
        let Some(path) = self.variable("PATH") else { return false };
        let ends: &[&str] = if self.system == System::Windows { &[".exe", ".cmd", ""] } else { &[""] };
        std::env::split_paths(path).any(|directory| {
            names.iter().any(|name| ends.iter().any(|end| directory.join(format!("{name}{end}")).is_file()))
        })
    }

    /// Whether a directory holds an entry that begins with `prefix`, such as an extension with its version.
    pub fn has_entry(directory: &Path, prefix: &str) -> bool {
        let Ok(entries) = std::fs::read_dir(directory) else { return false };
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().to_lowercase().starts_with(prefix))
    }

    /// Whether VS Code, or a build of it, has an extension.
    pub fn has_extension(&self, id: &str) -> bool {
        [".vscode", ".vscode-oss", ".vscode-insiders"]
            .iter()
            .any(|place| Self::has_entry(&self.home(place).join("extensions"), id))
    }

    /// A path as a person writes it.
    pub fn shown(&self, path: &Path) -> String {
        match path.strip_prefix(&self.home) {
            Ok(rest) if self.system != System::Windows => format!("~/{}", rest.display()),
            _ => path.display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_has_its_place_for_settings() {
        let home = Path::new("/h");
        let at = |system, variables: &[(&str, &str)]| Machine::new(system, home, variables).app_config("x");
        assert_eq!(at(System::Unix, &[]), Path::new("/h/.config/x"));
        assert_eq!(at(System::Unix, &[("XDG_CONFIG_HOME", "/c")]), Path::new("/c/x"));
        assert_eq!(at(System::MacOs, &[]), Path::new("/h/Library/Application Support/x"));
        assert_eq!(at(System::Windows, &[("APPDATA", "/r")]), Path::new("/r/x"));
    }

    #[test]
    fn a_program_is_found_on_the_path_and_an_extension_by_the_beginning_of_its_name() {
        let room = tempfile::tempdir().unwrap();
        std::fs::write(room.path().join("codex"), "").unwrap();
        std::fs::create_dir_all(room.path().join(".vscode/extensions/saoudrizwan.claude-dev-3.1.0")).unwrap();
        let machine = Machine::new(System::Unix, room.path(), &[("PATH", room.path().to_str().unwrap())]);
        assert!(machine.has_program(&["nothing", "codex"]) && !machine.has_program(&["nothing"]));
        assert!(
            machine.has_extension("saoudrizwan.claude-dev") && !machine.has_extension("continue.continue")
        );
        assert_eq!(machine.shown(&room.path().join("a/b")), "~/a/b");
    }
}
