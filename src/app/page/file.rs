//! The settings of the page in `config.toml`: read as they are, changed where they stand.
//!
//! Invariants: comments, order and mode stay; the file is replaced whole or not at all, and never by what was made of an older
//! one; what is written was read back by the same code that reads it at the start, or it is not written.

use std::sync::{Mutex, PoisonError};

use toml_edit::{DocumentMut, Item, Value};

use crate::config::{Config, IdentityTransport, IsolationChoice, Layers, PrivacyChoice};
use crate::dashboard::desk::Setting;
use crate::datadir::{Home, HomeError};
use crate::draft::{Draft, Mode};

use super::super::AppError;

/// How often a change is made anew, because the file was changed at the same time.
const ATTEMPTS: u32 = 3;

/// How a setting of the page is read out of a configuration.
type Read = fn(&Config) -> &'static str;

/// The settings that the page shows.
const SHOWN: [(&str, Read); 5] = [
    ("privacy", |config| match config.privacy {
        PrivacyChoice::Frugal => "frugal",
        PrivacyChoice::Balanced => "balanced",
        PrivacyChoice::Strong => "strong",
    }),
    ("anonymous.isolation", |config| match config.anonymous.isolation {
        IsolationChoice::PerCall => "per-call",
        IsolationChoice::PerConversation => "per-conversation",
        IsolationChoice::Shared => "shared",
    }),
    ("identity.transport", |config| match config.identity.transport {
        IdentityTransport::Direct => "direct",
        IdentityTransport::Tor => "tor",
    }),
    ("topup.enabled", |config| word(config.topup.enabled)),
    ("images.fetch_over_tor", |config| word(config.images.fetch_over_tor)),
];

/// The settings of one home.
pub(super) struct Settings {
    home: Home,
    /// What the daemon was started with.
    running: Config,
    /// Settings that the daemon was given beside the file, such as with `--set`: as it began, the file said otherwise.
    given: Vec<&'static str>,
    /// One change at a time.
    turn: Mutex<()>,
}

impl Settings {
    pub(super) fn new(home: Home, running: &Config) -> Self {
        let mut settings = Self { home, running: running.clone(), given: Vec::new(), turn: Mutex::new(()) };
        if let Ok(filed) = settings.text().and_then(|text| settings.read(&text)) {
            let others = SHOWN.iter().filter(|(_, read)| read(&filed) != read(running));
            settings.given = others.map(|(key, _)| *key).collect();
        }
        settings
    }

    /// In effect, and after the next start.
    pub(super) fn all(&self) -> Vec<Setting> {
        let next = self.text().and_then(|text| self.read(&text));
        SHOWN
            .iter()
            .map(|(key, read)| {
                let now = read(&self.running).to_owned();
                Setting {
                    key,
                    // A file that cannot be read says nothing of what comes; saving says what is wrong with it.
                    next: next.as_ref().map_or_else(|_| now.clone(), |config| read(config).to_owned()),
                    now,
                    overruled_by: overruled(key).or_else(|| {
                        self.given
                            .contains(key)
                            .then(|| "the command that llmtor was started with".to_owned())
                    }),
                }
            })
            .collect()
    }

    /// Writes `changes`, all or none.
    pub(super) fn change(&self, changes: &[(String, String)]) -> Result<(), AppError> {
        self.change_while(changes, &mut || ())
    }

    /// `other` is what else happens to the file at the worst moment.
    fn change_while(&self, changes: &[(String, String)], other: &mut dyn FnMut()) -> Result<(), AppError> {
        if changes.is_empty() {
            return Ok(());
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        (0..ATTEMPTS)
            .find_map(|_| self.change_once(changes, other).transpose())
            .unwrap_or_else(|| Err(AppError::NotChanged("another program goes on writing it".to_owned())))
    }

    /// Nothing if the file has become another meanwhile, such as by an editor.
    fn change_once(
        &self,
        changes: &[(String, String)],
        other: &mut dyn FnMut(),
    ) -> Result<Option<()>, AppError> {
        let before = self.text()?;
        let text = edit(&before, changes)?;
        self.read(&text)?;
        // Where it is a link, what it leads to is replaced, not the link.
        let path = self.home.config_path();
        let path = path.canonicalize().unwrap_or(path);
        let mode = std::fs::metadata(&path).map_or(Mode::Private, |found| Mode::As(found.permissions()));
        let unwritten = |error: std::io::Error| {
            AppError::from(HomeError::Unwritable { path: path.clone(), kind: error.kind() })
        };
        let draft = Draft::of(&path, text.as_bytes(), mode).map_err(unwritten)?;
        other();
        if self.text()? != before {
            return Ok(None);
        }
        draft.take_place().map(Some).map_err(unwritten)
    }

    fn text(&self) -> Result<String, AppError> {
        match std::fs::read_to_string(self.home.config_path()) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(AppError::NotChanged(format!("it cannot be read: {}", error.kind()))),
        }
    }

    fn read(&self, text: &str) -> Result<Config, AppError> {
        let mut layers = Layers::defaults();
        let read = layers.file(&self.home.config_path(), text).and_then(|()| layers.finish());
        read.map_err(|error| AppError::NotChanged(error.to_string()))
    }
}

const fn word(switch: bool) -> &'static str {
    if switch { "true" } else { "false" }
}

/// The variable of the environment that stands over the file.
fn overruled(key: &str) -> Option<String> {
    let name = format!("LLMTOR_{}", key.replace('.', "__").to_ascii_uppercase());
    std::env::var_os(&name).map(|_| name)
}

/// `text` with the changes made where they belong.
fn edit(text: &str, changes: &[(String, String)]) -> Result<String, AppError> {
    let odd = |what: &str| AppError::NotChanged(what.to_owned());
    let mut document: DocumentMut = text.parse().map_err(|_| odd("it is not TOML"))?;
    for (key, value) in changes {
        let value = match value.as_str() {
            "true" => Value::from(true),
            "false" => Value::from(false),
            word => Value::from(word),
        };
        let table = match key.split_once('.') {
            None => document.as_table_mut(),
            Some((section, _)) => {
                let fresh = || Item::Table(toml_edit::Table::new());
                let section = document.entry(section).or_insert_with(fresh);
                section
                    .as_table_mut()
                    .ok_or_else(|| odd("a section is written in a form that is not changed here"))?
            }
        };
        let name = key.rsplit('.').next().unwrap_or(key);
        match table.get_mut(name).and_then(Item::as_value_mut) {
            Some(old) => {
                // What stands beside it stays.
                let decor = old.decor().clone();
                *old = value;
                *old.decor_mut() = decor;
            }
            None => drop(table.insert(name, Item::Value(value))),
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, key: &str, value: &str) -> String {
        edit(text, &[(key.to_owned(), value.to_owned())]).unwrap()
    }

    #[test]
    fn comments_and_order_stay() {
        let text = "# mine\nprivacy = \"frugal\" # for now\n\n[anonymous]\n# why\npool = 2\nisolation = 'shared'  # slow\n";
        assert_eq!(changed(text, "privacy", "strong"), text.replace("\"frugal\"", "\"strong\""));
        assert_eq!(
            changed(text, "anonymous.isolation", "per-call"),
            text.replace("'shared'", "\"per-call\"")
        );
        assert_eq!(changed(text, "topup.enabled", "false"), format!("{text}\n[topup]\nenabled = false\n"));
    }

    #[test]
    fn a_key_without_section_comes_before_the_sections() {
        let text = "[server]\nlisten = \"localhost:1\"\n";
        let after = changed(text, "privacy", "strong");
        let read: toml::Table = after.parse().unwrap();
        assert_eq!(read["privacy"].as_str(), Some("strong"), "{after}");
        assert_eq!(changed("", "privacy", "strong"), "privacy = \"strong\"\n");
    }

    #[test]
    fn every_setting_of_the_page_is_read_back_as_it_was_written() {
        let room = tempfile::tempdir().unwrap();
        let home = Home::open(&room.path().join("home")).unwrap();
        let config = Layers::defaults().finish().unwrap();
        let settings = Settings::new(home.clone(), &config);
        let changes = [
            ("privacy", "strong"),
            ("anonymous.isolation", "shared"),
            ("identity.transport", "tor"),
            ("topup.enabled", "false"),
            ("images.fetch_over_tor", "true"),
        ];
        settings.change(&changes.map(|(key, value)| (key.to_owned(), value.to_owned()))).unwrap();
        let all = settings.all();
        for (key, value) in changes {
            let setting = all.iter().find(|setting| setting.key == key).unwrap();
            assert_eq!(setting.next, value, "{key}");
            assert_ne!(setting.now, value, "{key}: a running daemon keeps what it began with");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_file_stays_a_link_and_what_the_command_line_says_is_not_offered() {
        let room = tempfile::tempdir().unwrap();
        let home = Home::open(&room.path().join("home")).unwrap();
        let kept = room.path().join("kept.toml");
        std::fs::write(&kept, "# mine\n").unwrap();
        std::os::unix::fs::symlink(&kept, home.config_path()).unwrap();
        let mut running = Layers::defaults().finish().unwrap();
        running.identity.transport = IdentityTransport::Tor;
        let settings = Settings::new(home.clone(), &running);
        settings.change(&[("privacy".to_owned(), "strong".to_owned())]).unwrap();
        assert!(home.config_path().is_symlink());
        let text = std::fs::read_to_string(&kept).unwrap();
        assert!(text.contains("# mine") && text.contains("privacy = \"strong\""), "{text}");
        for setting in settings.all() {
            assert_eq!(
                setting.overruled_by.is_some(),
                setting.key == "identity.transport",
                "{}",
                setting.key
            );
        }
    }

    #[test]
    fn what_an_editor_wrote_meanwhile_stays_and_a_file_that_never_rests_is_left_alone() {
        let room = tempfile::tempdir().unwrap();
        let home = Home::open(&room.path().join("home")).unwrap();
        let settings = Settings::new(home.clone(), &Layers::defaults().finish().unwrap());
        let changes = [("privacy".to_owned(), "strong".to_owned())];
        let text = || std::fs::read_to_string(home.config_path()).unwrap();
        let mut edits = vec!["# theirs\n[topup]\nenabled = false\n"];
        let mut editor = || drop(edits.pop().map(|edit| std::fs::write(home.config_path(), edit)));
        settings.change_while(&changes, &mut editor).unwrap();
        let both = text();
        assert!(both.contains("# theirs") && both.contains("enabled = false"), "{both}");
        assert!(both.contains("privacy = \"strong\""), "{both}");
        let mut number = 0;
        let mut restless = || {
            number += 1;
            std::fs::write(home.config_path(), format!("# {number}\n")).unwrap();
        };
        let refused = settings.change_while(&changes, &mut restless);
        assert!(matches!(refused, Err(AppError::NotChanged(_))));
        assert_eq!((text(), number), (format!("# {ATTEMPTS}\n"), ATTEMPTS));
        let left = std::fs::read_dir(home.root()).unwrap().flatten();
        assert!(!left.into_iter().any(|file| file.file_name().to_string_lossy().ends_with(".new")));
    }

    #[cfg(unix)]
    #[test]
    fn the_file_keeps_its_mode_and_a_new_one_is_its_owner_s() {
        use std::os::unix::fs::PermissionsExt as _;
        let room = tempfile::tempdir().unwrap();
        let home = Home::open(&room.path().join("home")).unwrap();
        let settings = Settings::new(home.clone(), &Layers::defaults().finish().unwrap());
        let mode = || std::fs::metadata(home.config_path()).unwrap().permissions().mode() & 0o777;
        settings.change(&[("privacy".to_owned(), "strong".to_owned())]).unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(home.config_path(), std::fs::Permissions::from_mode(0o640)).unwrap();
        settings.change(&[("privacy".to_owned(), "frugal".to_owned())]).unwrap();
        assert_eq!(mode(), 0o640);
    }

    #[test]
    fn a_file_that_would_not_be_read_is_not_written() {
        let room = tempfile::tempdir().unwrap();
        let home = Home::open(&room.path().join("home")).unwrap();
        let settings = Settings::new(home.clone(), &Layers::defaults().finish().unwrap());
        for broken in ["privacy = ", "nonsense = 1\n", "topup = 1\n"] {
            std::fs::write(home.config_path(), broken).unwrap();
            let refused = settings.change(&[("topup.enabled".to_owned(), "false".to_owned())]);
            assert!(matches!(refused, Err(AppError::NotChanged(_))), "{broken}");
            assert_eq!(std::fs::read_to_string(home.config_path()).unwrap(), broken);
        }
    }
}
