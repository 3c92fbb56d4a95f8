//! Shells, and how a text becomes one word of theirs.
//!
//! | shell | quoted | inside of that |
//! | --- | --- | --- |
//! | POSIX, zsh | `'…'` | nothing means anything but `'`, which is put outside |
//! | fish | `'…'` | `\` before `\` and `'` |
//! | PowerShell | `'…'` | a quote is doubled, and a typographic one is a quote as well |

/// What reads a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// `sh`, bash, zsh.
    Posix,
    /// fish.
    Fish,
    /// PowerShell.
    Power,
}

impl Shell {
    /// That of which a user of this system most likely has a window open.
    pub const HERE: Self = if cfg!(windows) { Self::Power } else { Self::Posix };

    /// `text` as one word, whatever is in it.
    pub fn quoted(self, text: &str) -> String {
        let inner = match self {
            Self::Posix => text.replace('\'', r"'\''"),
            Self::Fish => text.replace('\\', r"\\").replace('\'', r"\'"),
            Self::Power => text.chars().fold(String::new(), |mut inner, c| {
                if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
                    inner.push(c);
                }
                inner.push(c);
                inner
            }),
        };
        format!("'{inner}'")
    }

    /// `text` as one word, quoted only if it has to be.
    pub fn word(self, text: &str) -> String {
        let means_itself = |c: char| {
            c.is_ascii_alphanumeric() || "/._-".contains(c) || (self == Self::Power && "\\:".contains(c))
        };
        if !text.is_empty() && text.chars().all(means_itself) { text.to_owned() } else { self.quoted(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_has_its_quotes() {
        let odd = r"it's C:\a $x";
        assert_eq!(Shell::Posix.quoted(odd), r"'it'\''s C:\a $x'");
        assert_eq!(Shell::Fish.quoted(odd), r"'it\'s C:\\a $x'");
        assert_eq!(Shell::Power.quoted(odd), r"'it''s C:\a $x'");
        assert_eq!(Shell::Power.quoted("d\u{2019}or"), "'d\u{2019}\u{2019}or'");
    }

    #[test]
    fn a_plain_word_stays_plain() {
        assert_eq!(Shell::Posix.word("/home/u/llmtor-2"), "/home/u/llmtor-2");
        assert_eq!(Shell::Posix.word("~/a b"), "'~/a b'");
        assert_eq!(Shell::Posix.word(""), "''");
        assert_eq!(Shell::Power.word(r"C:\Users\u"), r"C:\Users\u");
        assert_eq!(Shell::Power.word(r"C:\Users\a b"), r"'C:\Users\a b'");
    }

    /// In the command substitution in which `setup env` puts it.
    #[cfg(unix)]
    fn read_by(shell: &str, which: Shell, text: &str) -> Option<String> {
        let word = which.quoted(text);
        let line = match which {
            Shell::Posix => format!("printf '%s' \"$(printf '%s.' {word} 2>/dev/null)\""),
            Shell::Fish => format!("printf '%s.' {word}"),
            Shell::Power => return None,
        };
        let read = std::process::Command::new(shell).args(["-c", &line]).output().ok()?;
        assert!(read.status.success(), "{shell}: {line}");
        Some(String::from_utf8(read.stdout).unwrap())
    }

    #[cfg(unix)]
    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

        #[test]
        fn a_shell_reads_what_was_quoted(text in "[ -~äß’\\\\'\"`$!;()]{0,24}") {
            for (shell, which) in [("sh", Shell::Posix), ("bash", Shell::Posix), ("fish", Shell::Fish)] {
                match read_by(shell, which, &text) {
                    Some(read) => assert_eq!(read, format!("{text}.")),
                    None => assert!(std::env::var_os("CI").is_none(), "{shell} is missing"),
                }
            }
        }
    }
}
