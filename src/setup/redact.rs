//! What of a settings file is shown: everything but keys, ours and the user's own for other services.
//!
//! A key is told by how it begins, or by the name before it on its line. Too much hidden is a lesser evil than one shown.

use std::collections::BTreeSet;

use crate::secret::Secret;

/// What stands in a key's place.
const HIDDEN: &str = "****";
/// Shorter ones are no keys.
const SHORTEST: usize = 8;
const BEGINNINGS: [&str; 16] = [
    "sk-",
    "sk_",
    "gsk_",
    "xai-",
    "hf_",
    "ghp_",
    "gho_",
    "github_pat_",
    "glpat-",
    "AIza",
    "AKIA",
    "ya29.",
    "eyJ",
    "r8_",
    "nvapi-",
    "pplx-",
];
const NAMES: [&str; 8] = ["key", "token", "secret", "passw", "auth", "bearer", "credential", "cookie"];

/// `text` with our key unreadable.
pub fn masked(text: &str, key: &Secret<String>) -> String {
    text.replace(key.expose().as_str(), "sk-llmtor-****")
}

/// Keys in `text`, as far as they can be told.
pub(super) fn keys_in(text: &str) -> BTreeSet<&str> {
    text.lines().flat_map(keys_in_line).collect()
}

/// `text` without `keys`.
pub(super) fn without(text: &str, keys: &BTreeSet<&str>) -> String {
    // The longest first: one may be the beginning of another.
    let mut keys: Vec<_> = keys.iter().collect();
    keys.sort_by_key(|key| std::cmp::Reverse(key.len()));
    keys.into_iter().fold(text.to_owned(), |text, key| text.replace(key, HIDDEN))
}

fn keys_in_line(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut names_a_key = false;
    let mut rest = line;
    while let Some(start) = rest.find(is_part) {
        let word = &rest[start..];
        let (word, behind) = word.split_at(word.find(|c: char| !is_part(c)).unwrap_or(word.len()));
        if is_name(behind) {
            let name = word.to_ascii_lowercase();
            names_a_key = NAMES.iter().any(|part| name.contains(part));
        } else if word.len() >= SHORTEST
            // Not a name of ours, nor a path.
            && !word.starts_with("sk-llmtor-")
            && !word.starts_with(['/', '~'])
            && (names_a_key || BEGINNINGS.iter().any(|beginning| word.starts_with(beginning)))
        {
            found.push(word);
        }
        rest = behind;
    }
    found
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.+/~".contains(c)
}

/// Whether what stands before `behind` is the name of a setting.
fn is_name(behind: &str) -> bool {
    const QUOTES: [char; 2] = ['"', '\''];
    let behind = behind.trim_start_matches(QUOTES).trim_start();
    let assigned = |value: &str| {
        // Else it is what a key in base64 ends with.
        value.trim_start().trim_start_matches(QUOTES).starts_with(|c| is_part(c) || "[{".contains(c))
    };
    behind.strip_prefix('=').is_some_and(assigned) || (behind.starts_with(':') && !behind.starts_with("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_by_their_beginning_or_by_the_name_before_them() {
        for (line, keys) in [
            ("openai-api-key: sk-MYSECRET2", &["sk-MYSECRET2"][..]),
            (r#"{"apiKey":"sk-ant-MYSECRET","model":"claude-sonnet"}"#, &["sk-ant-MYSECRET"]),
            ("bearer_token = 'abcdefgh1'  # from work", &["abcdefgh1"]),
            (r#""Authorization": "Bearer abcdefgh1""#, &["abcdefgh1"]),
            ("OPENAI_API_KEY=abc/def+12345==", &["abc/def+12345"]),
            (r#"{"token": "abc/def+12345=", "theme": "gruvbox-dark"}"#, &["abc/def+12345"]),
            ("model: gpt-4.1-mini-preview", &[]),
            ("base_url = \"https://api.example.com/v1\"", &[]),
            ("  api_key_name = { \"cat\", \"/home/u/llmtor/api-key\" },", &[]),
            ("apiKey: sk-llmtor-****", &[]),
        ] {
            assert_eq!(keys_in(line), keys.iter().copied().collect(), "{line}");
        }
    }

    #[test]
    fn a_key_that_begins_another_leaves_nothing_of_it() {
        let keys = BTreeSet::from(["sk-12345", "sk-123456789"]);
        assert_eq!(without("a sk-123456789 b sk-12345", &keys), "a **** b ****");
    }
}
