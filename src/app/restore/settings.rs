//! What is taken of the settings in a backup.
//!
//! Whoever knows a recipient can seal a backup to it, and settings start programs (`tor.arti`, `login.browser`), lead prompts
//! elsewhere, and end what keeps calls apart. So of a backup that only proves whom it was sealed *to*, no more is taken
//! unasked than the list here: what is shown (the URLs) and what can harm nobody. The rest is told, line by line, for its
//! owner to put back. A backup under a passphrase was made by somebody who knows it, and is taken whole.

use toml::{Table, Value};

use crate::backup::BackupError;
use crate::config::table;
use crate::wire::shown::shown;

/// Characters of one setting that are shown.
const LONGEST: usize = 300;

/// These, and `identity.transport` where it is the stricter of the two.
const HARMLESS: &[&str] = &[
    "strict",
    "privacy",
    "server.listen",
    "api.most_choices",
    "api.second_try",
    "api.aliases",
    "ollama.enabled",
    "anthropic.enabled",
    "page.enabled",
    "page.listen",
    "backend.identity_url",
    "backend.anonymous_url",
    "topup.enabled",
    "topup.warn_days",
    "topup.models",
];

/// Which settings are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// All.
    All,
    /// Those that can harm nobody.
    Harmless,
}

/// The settings that are taken, as a file, and the others, each a line for its owner to read.
pub(super) fn sift(file: &[u8]) -> Result<(String, Vec<String>), BackupError> {
    let text = std::str::from_utf8(file).map_err(|_| BackupError::Damaged)?;
    let settings: Table = text.parse().map_err(|_| BackupError::Damaged)?;
    let (mut kept, mut left) = (Table::new(), Vec::new());
    for (section, value) in settings {
        match value {
            Value::Table(keys) if table::find(&section).is_none() => {
                let mut of_section = Table::new();
                for (name, value) in keys {
                    let path = format!("{section}.{name}");
                    if is_harmless(&path, &value) {
                        of_section.insert(name, value);
                    } else {
                        left.push(line(&path, &value));
                    }
                }
                if !of_section.is_empty() {
                    kept.insert(section, Value::Table(of_section));
                }
            }
            value if is_harmless(&section, &value) => {
                kept.insert(section, value);
            }
            value => left.push(line(&section, &value)),
        }
    }
    Ok((toml::to_string(&kept).map_err(|_| BackupError::Damaged)?, left))
}

fn is_harmless(path: &str, value: &Value) -> bool {
    let is_stricter = path == "identity.transport" && value.as_str() == Some("tor");
    (HARMLESS.contains(&path) || is_stricter) && table::find(path).is_some_and(|key| key.kind.accepts(value))
}

fn line(path: &str, value: &Value) -> String {
    shown(&format!("{path} = {value}"), LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_whatever_weakens_anonymity_are_left_out_and_told() {
        let hostile = r#"
            privacy = "strong"
            surprise = "\u001b[2J"
            [server]
            listen = "localhost:8787"
            allowed_origins = ["https://evil.example"]
            [backend]
            identity_url = "https://api.example.org"
            body_limit = 99999
            [anonymous]
            isolation = "shared"
            padding = []
            transport = "socks5h://127.0.0.1:9"
            socks_without_tor = true
            [tls]
            extra_roots = "evil.pem"
            [login]
            browser = "/bin/sh"
            browser_args = ["--x"]
            [identity]
            transport = "direct"
            [tor]
            arti_config = "evil.toml"
            [[tor.arti.bridges.transports]]
            protocols = ["obfs4"]
            path = "/bin/sh"
            run_on_startup = true
            [topup.models."gpt-4.1"]
            target = 10
        "#;
        let (kept, left) = sift(hostile.as_bytes()).ok().unwrap();
        let kept: Table = kept.parse().unwrap();
        let expected = r#"
            privacy = "strong"
            [server]
            listen = "localhost:8787"
            [backend]
            identity_url = "https://api.example.org"
            [topup.models."gpt-4.1"]
            target = 10
        "#;
        assert_eq!(kept, expected.parse().unwrap());
        assert_eq!(left.len(), 13, "{left:#?}");
        let told = left.join("\n");
        for path in ["tor.arti = ", "/bin/sh", "login.browser = ", "tls.extra_roots", "anonymous.padding"] {
            assert!(told.contains(path), "{path} in {told}");
        }
        assert!(!told.contains('\u{1b}'));

        let (kept, left) = sift(b"[identity]\ntransport = \"tor\"\n").ok().unwrap();
        assert!(kept.contains("tor") && left.is_empty());
        // Not what its kind may be, so not what was looked at.
        let (kept, left) = sift(b"privacy = { a = 1 }\nserver = 3").ok().unwrap();
        assert!(kept.is_empty() && left.len() == 2, "{kept} {left:?}");
        assert!(sift(b"= broken").is_err() && sift(&[0xff]).is_err());
    }
}
