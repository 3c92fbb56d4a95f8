//! Origins of web pages, as browsers write them in `Origin`.
//!
//! Invariant: a [`WebOrigin`] names one origin, exactly. So `*` is none, and neither is `null`, which every sandboxed frame
//! and every local file can claim.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use url::Url;

/// One origin: scheme, host and, unless it is the scheme's own, port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WebOrigin(String);

/// Why a text is no [`WebOrigin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "exact origins as browsers send them, such as \"https://app.example\", \"http://localhost:3000\" or \
     \"chrome-extension://ID\", without path or trailing slash; never \"*\" or \"null\", which are any page"
)]
pub struct InvalidOrigin;

impl WebOrigin {
    /// As browsers write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WebOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        if text.contains('*') {
            return Err(InvalidOrigin);
        }
        let (scheme, host) = text.split_once("://").ok_or(InvalidOrigin)?;
        let is_exact = match scheme {
            "http" | "https" => Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text),
            // A local file's origin is `null`.
            "file" => false,
            // Of applications and extensions; what they put there is their own affair.
            _ => is_scheme(scheme) && is_host(host),
        };
        if is_exact { Ok(Self(text.to_owned())) } else { Err(InvalidOrigin) }
    }
}

impl TryFrom<String> for WebOrigin {
    type Error = InvalidOrigin;

    fn try_from(text: String) -> Result<Self, InvalidOrigin> {
        text.parse()
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte))
}

fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_origin_is_exactly_one() {
        for text in [
            "https://app.example",
            "https://app.example:8443",
            "http://localhost:3000",
            "http://127.0.0.1:5173",
            "http://[::1]:3000",
            "app://obsidian.md",
            "vscode-webview://0h2a9k3",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://0a1b2c3d-0000-4000-8000-0123456789ab",
            "tauri://localhost",
        ] {
            assert_eq!(text.parse::<WebOrigin>().map(|origin| origin.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "*",
            "null",
            "app.example",
            "https://*",
            "https://*.app.example",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example:443",
            "http://app.example:80",
            "https://App.example",
            "HTTPS://app.example",
            "https://user@app.example",
            "https://app.example?x",
            "https://app.example#x",
            "https://app.example, https://b.example",
            " https://app.example",
            "https://",
            "app://",
            "app://*",
            "app://a/b",
            "://a",
            "file://",
            "file:///home",
            "data:text/html,x",
            "https://\u{e4}.example",
        ] {
            assert_eq!(text.parse::<WebOrigin>(), Err(InvalidOrigin), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_taken_as_it_stands_and_names_one(text in "[a-z*]{1,6}(://)?[a-z*./:@A-Z0-9-]{0,16}") {
            if let Ok(origin) = text.parse::<WebOrigin>() {
                prop_assert_eq!(origin.as_str(), &text);
                prop_assert!(!text.contains('*') && text.matches('/').count() == 2 && !text.contains('@'));
            }
        }
    }
}
