//! The pinned issuer keys: `{key name: SPKI PEM}`, imported by the user, never fetched.
//!
//! A blind signature hides which credit paid for which prompt only among the users of one key: a backend
//! that gave each account a key of its own could tell them all apart (RFC 9474 §7.3). So keys come from a file
//! that the user obtained and can compare with others', they are shown by fingerprint, and a name whose
//! key changes is refused unless the user says so in so many words ([`Replacement`]).
//!
//! Deliberately absent: fetching keys from anywhere, and any notion of trust on first use.

pub mod import;
pub mod store;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::blind::{Fingerprint, PublicKey};
use crate::wire::{ABUSE_PERMANENT, ABUSE_TRANSIENT, InvalidModelName, ModelName};

/// What a key is for: a model's tokens, or one of the two abuse tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyName {
    /// Signs the credit tokens of a model.
    Model(ModelName),
    /// Signs permanent abuse tokens; `abuse-permanent` in a keys file.
    AbusePermanent,
    /// Signs transient abuse tokens; `abuse-transient` in a keys file.
    AbuseTransient,
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(model) => model.fmt(f),
            Self::AbusePermanent => f.write_str(ABUSE_PERMANENT),
            Self::AbuseTransient => f.write_str(ABUSE_TRANSIENT),
        }
    }
}

impl FromStr for KeyName {
    type Err = InvalidModelName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            ABUSE_PERMANENT => Ok(Self::AbusePermanent),
            ABUSE_TRANSIENT => Ok(Self::AbuseTransient),
            model => ModelName::new(model).map(Self::Model),
        }
    }
}

/// Every pinned key. Cheap to clone.
#[derive(Clone, Default)]
pub struct Keyring {
    models: BTreeMap<ModelName, PublicKey>,
    abuse_permanent: Option<PublicKey>,
    abuse_transient: Option<PublicKey>,
}

impl Keyring {
    /// The key that signs tokens for `model`.
    pub fn model(&self, model: &ModelName) -> Option<&PublicKey> {
        self.models.get(model)
    }

    /// Every model with a key, in order.
    pub fn models(&self) -> impl Iterator<Item = &ModelName> {
        self.models.keys()
    }

    /// The permanent abuse token's key; absent with an older backend.
    pub fn abuse_permanent(&self) -> Option<&PublicKey> {
        self.abuse_permanent.as_ref()
    }

    /// The transient abuse token's key; absent with an older backend.
    pub fn abuse_transient(&self) -> Option<&PublicKey> {
        self.abuse_transient.as_ref()
    }

    /// The key of that name.
    pub fn get(&self, name: &KeyName) -> Option<&PublicKey> {
        match name {
            KeyName::Model(model) => self.models.get(model),
            KeyName::AbusePermanent => self.abuse_permanent.as_ref(),
            KeyName::AbuseTransient => self.abuse_transient.as_ref(),
        }
    }

    /// Sets the key of that name; returns the one it had.
    pub fn insert(&mut self, name: KeyName, key: PublicKey) -> Option<PublicKey> {
        match name {
            KeyName::Model(model) => self.models.insert(model, key),
            KeyName::AbusePermanent => self.abuse_permanent.replace(key),
            KeyName::AbuseTransient => self.abuse_transient.replace(key),
        }
    }

    /// Every key with its name: models in order, then the abuse keys.
    pub fn iter(&self) -> impl Iterator<Item = (KeyName, &PublicKey)> {
        let models = self.models.iter().map(|(model, key)| (KeyName::Model(model.clone()), key));
        let permanent = self.abuse_permanent.iter().map(|key| (KeyName::AbusePermanent, key));
        let transient = self.abuse_transient.iter().map(|key| (KeyName::AbuseTransient, key));
        models.chain(permanent).chain(transient)
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Keys that stand under more than one name, with those names. Seen in the wild, and worth telling
    /// the user: a token for one of these models is a token for the other.
    pub fn shared(&self) -> Vec<(Fingerprint, Vec<KeyName>)> {
        let mut names: BTreeMap<Fingerprint, Vec<KeyName>> = BTreeMap::new();
        for (name, key) in self.iter() {
            names.entry(key.fingerprint()).or_default().push(name);
        }
        names.into_iter().filter(|(_, names)| names.len() > 1).collect()
    }

    /// These keys with `incoming` laid over them. Names absent from `incoming` stay. All or nothing:
    /// with [`Replacement::Refused`] one changed key refuses everything.
    pub fn merge(&self, incoming: &Self, replacement: Replacement) -> Result<(Self, Changes), ChangedKeys> {
        let changes = diff(self, incoming);
        if replacement == Replacement::Refused && !changes.changed.is_empty() {
            return Err(ChangedKeys(changes.changed));
        }
        let mut merged = self.clone();
        for (name, key) in incoming.iter() {
            merged.insert(name, key.clone());
        }
        Ok((merged, changes))
    }
}

/// Whether an import may change the key of a name that has one (`--replace`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// A changed key refuses the import.
    Refused,
    /// The user asked for it.
    Allowed,
}

/// What an import would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names that had no key.
    pub added: Vec<(KeyName, Fingerprint)>,
    /// Names whose key stays.
    pub unchanged: Vec<(KeyName, Fingerprint)>,
    /// Names whose key differs.
    pub changed: Vec<ChangedKey>,
}

/// One name whose key differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedKey {
    /// The name.
    pub name: KeyName,
    /// The pinned key.
    pub old: Fingerprint,
    /// The incoming key.
    pub new: Fingerprint,
}

impl fmt::Display for ChangedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  pinned: {}\n  new:    {}", self.name, self.old, self.new)
    }
}

/// An import was refused because it would change pinned keys.
#[derive(Debug, PartialEq, Eq)]
pub struct ChangedKeys(pub Vec<ChangedKey>);

impl fmt::Display for ChangedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file changes keys that are pinned, so nothing was imported:")?;
        for changed in &self.0 {
            write!(f, "\n{changed}")?;
        }
        f.write_str(
            "\nA backend that gives you a key of your own can recognise your prompts. Compare the new \
             fingerprints with what others see; if the operator did rotate these keys, import with --replace.",
        )
    }
}

impl std::error::Error for ChangedKeys {}

/// Compares by name and fingerprint. Names that only `old` has are not mentioned: an import removes nothing.
pub fn diff(old: &Keyring, new: &Keyring) -> Changes {
    let mut changes = Changes::default();
    for (name, key) in new.iter() {
        let fingerprint = key.fingerprint();
        match old.get(&name).map(PublicKey::fingerprint) {
            None => changes.added.push((name, fingerprint)),
            Some(pinned) if pinned == fingerprint => changes.unchanged.push((name, fingerprint)),
            Some(pinned) => changes.changed.push(ChangedKey { name, old: pinned, new: fingerprint }),
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two public keys made for these tests; nobody holds their private halves.
    const ONE: &str = include_str!("../tests/vectors/rsa2048-a.pem");
    const TWO: &str = include_str!("../tests/vectors/rsa2048-b.pem");

    fn ring(entries: &[(&str, &str)]) -> Keyring {
        let mut ring = Keyring::default();
        for (name, pem) in entries {
            ring.insert(name.parse().expect("name"), PublicKey::from_spki_pem(pem).expect("key"));
        }
        ring
    }

    #[test]
    fn a_changed_key_is_refused_and_shown_old_against_new() {
        let old = ring(&[("gpt-4.1", ONE), ("o1", ONE)]);
        let new = ring(&[("gpt-4.1", TWO), ("gpt-4o", TWO), ("o1", ONE)]);
        let Err(refused) = old.merge(&new, Replacement::Refused) else { panic!("must be refused") };
        let text = refused.to_string();
        let prints =
            [ONE, TWO].map(|pem| PublicKey::from_spki_pem(pem).expect("key").fingerprint().to_string());
        assert!(text.contains("gpt-4.1") && text.contains("--replace"), "{text}");
        assert!(text.contains(&prints[0]) && text.contains(&prints[1]), "{text}");
        assert!(!text.contains("gpt-4o"), "an added key is no change: {text}");
    }

    #[test]
    fn an_allowed_replacement_changes_only_what_it_names() {
        let old = ring(&[("gpt-4.1", ONE), ("o1", ONE)]);
        let new = ring(&[("gpt-4.1", TWO), (ABUSE_PERMANENT, TWO)]);
        let (merged, changes) = old.merge(&new, Replacement::Allowed).expect("allowed");
        assert_eq!(changes.changed.len(), 1);
        assert_eq!(changes.added.len(), 1);
        assert_eq!(diff(&merged, &new).unchanged.len(), 2);
        assert_eq!(diff(&merged, &ring(&[("o1", ONE)])).unchanged.len(), 1);
    }

    #[test]
    fn one_key_under_two_names_is_reported() {
        let shared = ring(&[("gpt-4.1", ONE), ("gpt-4o", ONE), ("o1", TWO)]).shared();
        assert_eq!(shared.len(), 1);
        assert_eq!(shared[0].1.len(), 2);
        assert!(ring(&[("gpt-4.1", ONE), ("o1", TWO)]).shared().is_empty());
    }
}
