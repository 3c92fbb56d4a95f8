//! Reading published keys: three formats, one result, all or nothing.
//!
//! - a JSON object `{key name: SPKI PEM}`;
//! - a PEM bundle, each key under a line `# name`;
//! - TypeScript source with PEM constants and a name map ([`typescript`]).
//!
//! Every key passes the checks of [`PublicKey::from_spki_pem`] and every name is checked; the first that fails refuses
//! the file. Errors name the entry and the line where there is one.

mod syntax;
mod typescript;

use serde::de::{Deserializer, MapAccess, Visitor};

use crate::blind::{KeyError, PublicKey};
use crate::keys::{KeyName, Keyring};

/// The line that opens a public key.
pub(crate) const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// Published files have a few kilobytes.
const LARGEST: usize = 4 * 1024 * 1024;

/// What a file held.
pub struct Imported {
    /// Every key with its name.
    pub keys: Keyring,
    /// PEM constants that no name leads to, as they are called in the source. To be shown to the user.
    pub unused: Vec<String>,
}

/// Why a file was not imported. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Larger than any list of keys.
    #[error("the file is larger than 4 MiB; give one with the keys alone, as a JSON object of name and PEM")]
    TooLarge,
    /// None of the three formats.
    #[error(
        "no public key found: expected a JSON object of name and PEM, a PEM bundle with `# name` lines, \
         or TypeScript source"
    )]
    NoKeys,
    /// Looks like JSON, is not an object of strings.
    #[error("expected a JSON object of key name and PEM text; line {0} is something else")]
    Json(usize),
    /// Twice the same name.
    #[error(
        "the key of `{0}` is given twice, with different content; leave in the one that the operator publishes"
    )]
    Conflict(KeyName),
    /// Not a name.
    #[error("`{0}` is not a key name: use a model id, `abuse-permanent` or `abuse-transient`")]
    Name(String),
    /// Not a key that we blind under.
    #[error("the key of `{name}` is refused: {error}; get the operator's published file once more")]
    Key {
        /// The entry.
        name: String,
        /// What is wrong with its key.
        error: KeyError,
    },
    /// A PEM block without a `# name` line before it.
    #[error("line {0}: a key without a name; put a line `# name` before it")]
    Unnamed(usize),
    /// Text between the blocks of a bundle, or a block that does not end.
    #[error("line {0}: expected `# name` or a whole PEM block of a public key")]
    Bundle(usize),
    /// Source that is not read to the end.
    #[error("line {0}: this source cannot be read; give the keys as a JSON object of name and PEM instead")]
    Source(usize),
    /// PEM constants, and nothing that names them.
    #[error(
        "the source has keys, but no map of names that could be read; \
         give the keys as a JSON object of name and PEM instead"
    )]
    NoMap,
    /// A name in the map that leads to no known model.
    #[error(
        "`{0}` stands for no known model id (or for more than one); \
         give the keys as a JSON object of name and PEM instead"
    )]
    Symbol(String),
    /// A value in the map that leads to no PEM.
    #[error("the key of `{0}` is not in this file; give the keys as a JSON object of name and PEM instead")]
    Value(String),
}

/// Reads `text` in whichever of the three formats it is.
pub fn parse(text: &str) -> Result<Imported, ImportError> {
    if text.len() > LARGEST {
        return Err(ImportError::TooLarge);
    }
    let text = text.trim_start_matches('\u{feff}').trim();
    let imported = if text.starts_with('{') {
        Imported { keys: from_json(text)?, unused: Vec::new() }
    } else if text.starts_with("-----BEGIN") || text.starts_with('#') {
        Imported { keys: from_bundle(text)?, unused: Vec::new() }
    } else {
        typescript::read(text)?
    };
    if imported.keys.is_empty() { Err(ImportError::NoKeys) } else { Ok(imported) }
}

/// Reads a JSON object `{key name: SPKI PEM}`; it may be empty.
pub fn from_json(text: &str) -> Result<Keyring, ImportError> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, String)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of strings")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    // A map type would keep the last of two entries of one name without a word.
    let mut json = serde_json::Deserializer::from_str(text);
    let entries = json
        .deserialize_map(Entries)
        .and_then(|entries| json.end().map(|()| entries))
        .map_err(|error| ImportError::Json(error.line()))?;
    let mut keys = Keyring::default();
    for (name, pem) in entries {
        add(&mut keys, &name, &pem)?;
    }
    Ok(keys)
}

fn from_bundle(text: &str) -> Result<Keyring, ImportError> {
    let mut keys = Keyring::default();
    let mut name: Option<&str> = None;
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            // The line right before a block names it; others are remarks.
            name = Some(comment.trim());
        } else if line == BEGIN {
            let name = name.take().ok_or(ImportError::Unnamed(at + 1))?;
            let mut pem = format!("{line}\n");
            loop {
                let (_, line) = lines.next().ok_or(ImportError::Bundle(at + 1))?;
                pem.push_str(line.trim());
                pem.push('\n');
                if line.trim() == END {
                    break;
                }
            }
            add(&mut keys, name, &pem)?;
        } else if !line.is_empty() {
            return Err(ImportError::Bundle(at + 1));
        }
    }
    Ok(keys)
}

/// Adds one entry, checked. The same key twice under one name is one entry.
fn add(keys: &mut Keyring, name: &str, pem: &str) -> Result<(), ImportError> {
    let parsed: KeyName = name.trim().parse().map_err(|_| ImportError::Name(shown(name)))?;
    let key = PublicKey::from_spki_pem(pem).map_err(|error| ImportError::Key { name: shown(name), error })?;
    let fingerprint = key.fingerprint();
    match keys.insert(parsed.clone(), key) {
        Some(earlier) if earlier.fingerprint() != fingerprint => Err(ImportError::Conflict(parsed)),
        _ => Ok(()),
    }
}

/// A name from a file, fit for a terminal.
fn shown(name: &str) -> String {
    crate::wire::shown::shown(name, 80)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) const ONE: &str = include_str!("../../tests/vectors/rsa2048-a.pem");
    pub(super) const TWO: &str = include_str!("../../tests/vectors/rsa2048-b.pem");

    fn names(keys: &Keyring) -> Vec<String> {
        keys.iter().map(|(name, _)| name.to_string()).collect()
    }

    fn refusal(text: &str) -> ImportError {
        match parse(text) {
            Ok(imported) => panic!("accepted: {:?}", names(&imported.keys)),
            Err(error) => error,
        }
    }

    #[test]
    fn a_json_object_is_read() {
        let text =
            serde_json::json!({"gpt-4.1": ONE, "abuse-permanent": TWO, "abuse-transient": TWO}).to_string();
        let keys = parse(&text).expect("read").keys;
        assert_eq!(names(&keys), ["gpt-4.1", "abuse-permanent", "abuse-transient"]);
    }

    #[test]
    fn a_bundle_with_names_is_read() {
        let text = format!("# published 2026-05\r\n# gpt-4.1\n{ONE}\n\n#abuse-transient\n{TWO}");
        assert_eq!(names(&parse(&text).expect("read").keys), ["gpt-4.1", "abuse-transient"]);
    }

    #[test]
    fn one_bad_entry_refuses_the_whole_file() {
        let small = include_str!("../../tests/vectors/rsa1024.pem");
        let json = serde_json::json!({"gpt-4.1": ONE, "o1": small}).to_string();
        assert_eq!(
            refusal(&json),
            ImportError::Key { name: "o1".into(), error: KeyError::ModulusBits(1024) }
        );
        assert_eq!(refusal(&format!("# gpt-4.1\n{ONE}{TWO}")), ImportError::Unnamed(11));
        assert_eq!(refusal(&format!("# a b\n{ONE}")), ImportError::Name("a b".into()));
        assert_eq!(refusal(&format!("# a\n{ONE}\nstray")), ImportError::Bundle(12));
        assert_eq!(refusal(&format!("# a\n{}", &ONE[..200])), ImportError::Bundle(2));
    }

    #[test]
    fn one_name_with_two_keys_is_refused_and_a_repeated_key_is_not() {
        let two = format!(
            r#"{{"o1":{one},"o1":{two}}}"#,
            one = serde_json::json!(ONE),
            two = serde_json::json!(TWO)
        );
        assert_eq!(refusal(&two), ImportError::Conflict("o1".parse().expect("name")));
        let same = format!("# o1\n{ONE}\n# o1\n{ONE}");
        assert_eq!(names(&parse(&same).expect("read").keys), ["o1"]);
    }

    #[test]
    fn what_holds_no_key_says_what_is_expected() {
        for text in ["", "{}", "# only a comment", "hello", "<html><body>404</body></html>"] {
            assert_eq!(refusal(text), ImportError::NoKeys, "{text}");
        }
        assert_eq!(refusal("{\"a\":\n1}"), ImportError::Json(2));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_cut_and_no_flipped_byte_of_a_bundle_is_half_imported(cut in 0usize..920, junk in any::<char>()) {
            let whole = format!("# gpt-4.1\n{ONE}# o1\n{TWO}");
            let cut = cut.min(whole.len());
            let text = format!("{}{junk}{}", &whole[..cut], &whole[cut..]);
            if let Ok(imported) = parse(&text) {
                prop_assert_eq!(imported.keys.iter().count(), 2);
            }
        }
    }
}
