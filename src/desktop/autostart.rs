//! Whether the tray is started at the log-in: a file in the desktop's autostart folder, a launch agent, a registry value.

use std::path::PathBuf;

use auto_launch::{AutoLaunch, AutoLaunchBuilder};

/// As the system knows it.
const NAME: &str = "llmtor-tray";

/// The switch.
pub(super) struct Autostart(Option<AutoLaunch>);

impl Autostart {
    /// For this program, and for the home that it was started with.
    pub(super) fn new(named_home: Option<&PathBuf>) -> Self {
        let Ok(program) = std::env::current_exe() else { return Self(None) };
        let mut arguments = vec!["tray".to_owned()];
        if let Some(home) = named_home {
            let home = std::path::absolute(home).unwrap_or_else(|_| home.clone());
            arguments.extend(["--home".to_owned(), quoted(&home.to_string_lossy())]);
        }
        let built = AutoLaunchBuilder::new()
            .set_app_name(NAME)
            .set_app_path(&quoted(&program.to_string_lossy()))
            .set_args(&arguments)
            .build();
        Self(built.ok())
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.as_ref().is_some_and(|launch| launch.is_enabled().unwrap_or(false))
    }

    /// Switches it, and says why not.
    pub(super) fn switch(&self) -> Result<(), String> {
        let launch =
            self.0.as_ref().ok_or("this system has no place for programs to be started at the log-in")?;
        let is_on = launch.is_enabled().unwrap_or(false);
        let done = if is_on { launch.disable() } else { launch.enable() };
        done.map_err(|error| format!("It could not be changed: {error}"))
    }
}

/// One word, as this system's place for such programs wants it; the library writes words as they are.
fn quoted(word: &str) -> String {
    if cfg!(windows) {
        for_command_line(word)
    } else if cfg!(target_os = "macos") {
        for_property_list(word)
    } else {
        for_desktop_entry(word)
    }
}

/// As the desktop entry specification wants a word with special characters; words without stay as they are. What is between
/// quotes is escaped, and then once more, as every text of such a file.
fn for_desktop_entry(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "/._-+:@,=~".contains(character);
    if word.chars().all(is_plain) {
        return word.to_owned();
    }
    let mut quoted = String::from('"');
    for character in word.chars() {
        match character {
            '\\' => quoted.push_str(r"\\\\"),
            '"' | '`' | '$' => quoted.extend(['\\', '\\', character]),
            '%' => quoted.push_str("%%"),
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

/// As Windows takes a command line apart. A path has no quotes in it; a backslash before one would take it away.
fn for_command_line(word: &str) -> String {
    let at_end = word.len() - word.trim_end_matches('\\').len();
    format!("\"{word}{}\"", "\\".repeat(at_end))
}

/// As a text of XML.
fn for_property_list(word: &str) -> String {
    word.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_with_special_characters_stays_one_word() {
        assert_eq!(for_desktop_entry("/home/u/.local/share/llmtor"), "/home/u/.local/share/llmtor");
        assert_eq!(for_desktop_entry("/home/u/my $home 100%"), "\"/home/u/my \\\\$home 100%%\"");
        assert_eq!(for_desktop_entry(r"/home/u/a\b"), r#""/home/u/a\\\\b""#);
    }

    #[test]
    fn windows_and_macos_get_one_word_too() {
        assert_eq!(for_command_line(r"C:\Users\Jane Doe\llmtor"), r#""C:\Users\Jane Doe\llmtor""#);
        assert_eq!(for_command_line(r"D:\"), r#""D:\\""#);
        assert_eq!(for_property_list("/Users/u/R&D <1>"), "/Users/u/R&amp;D &lt;1&gt;");
    }
}
