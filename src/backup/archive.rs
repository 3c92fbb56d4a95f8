//! A whole vault in one file: age on the outside, files with a manifest inside.
//!
//! ```text
//! age( {"format":1,"llmtor":…,"made":…,"lineage":…,"generation":…,"home":…,"files":[{"name","bytes"},…]} \n
//!      the files' bytes, one after another )
//! ```
//!
//! So `age -d backup.age | head -1` tells what is in it. age notices every change, which is why there are no checksums.
//! Who made a file only a passphrase tells: to a recipient anybody can seal who knows it, with a vault, keys and settings of
//! their own. So whoever restores such a file has to look at what is in it.
//! The passphrase goes through scrypt with the work factor that `age` itself uses, not one that is measured here: a slow
//! machine must not make a weak file.
//!
//! | file | is |
//! | --- | --- |
//! | `config.toml`, `keys.json` | as in the home; absent where the home has none |
//! | `master.key` | what the vault is sealed under, wherever the home keeps it |
//! | `vault.db` | a snapshot ([`crate::vault::backups`]), paused |
//!
//! A reader refuses a format that it does not know, and a file that it does not know: to leave something out unsaid would
//! be worse.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, scrypt, x25519};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{BackupError, Passphrase};
use crate::secret::Secret;

/// Of the container inside. Goes up with every change that a reader must know of.
const FORMAT: u32 = 1;
/// As the `age` program's; about a second and 256 MiB.
const WORK_FACTOR: u8 = 18;
/// Four times as much (1 GiB) is still opened; more would only be somebody's way to have this program killed.
const MOST_WORK: u8 = 20;
/// The longest manifest that is read, bytes.
const MANIFEST_LIMIT: usize = 64 << 10;

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileName {
    /// Settings.
    #[serde(rename = "config.toml")]
    Config,
    /// Pinned keys.
    #[serde(rename = "keys.json")]
    Keys,
    /// The master key, as 64 hex digits.
    #[serde(rename = "master.key")]
    MasterKey,
    /// The vault.
    #[serde(rename = "vault.db")]
    Vault,
}

/// What the archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The program's version that made it.
    pub llmtor: String,
    /// When, RFC 3339.
    pub made: String,
    /// The vault's lineage, hex.
    pub lineage: String,
    /// Its generation.
    pub generation: u32,
    /// Where the source was.
    pub home: PathBuf,
    files: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    name: FileName,
    bytes: usize,
}

/// Only what is needed to refuse a newer one.
#[derive(Deserialize)]
struct AnyManifest {
    format: u32,
}

/// What an archive holds.
pub struct Archive {
    /// Where it is from.
    pub manifest: Manifest,
    files: Vec<(FileName, Secret<Vec<u8>>)>,
}

/// To whom an archive is sealed.
pub enum Lock {
    /// To whoever knows it.
    Passphrase(Passphrase),
    /// To the holders of these `age1…`.
    Recipients(Vec<String>),
}

/// What an archive is opened with.
pub enum Unlock {
    /// As sealed.
    Passphrase(Passphrase),
    /// The text of an identity file.
    Identity(Secret<String>),
}

impl Archive {
    /// Of these files.
    pub fn new(
        made: String,
        lineage: String,
        generation: u32,
        home: PathBuf,
        files: Vec<(FileName, Secret<Vec<u8>>)>,
    ) -> Self {
        let entries = files
            .iter()
            .map(|(name, content)| Entry { name: *name, bytes: content.expose().len() })
            .collect();
        let llmtor = env!("CARGO_PKG_VERSION").to_owned();
        let manifest = Manifest { format: FORMAT, llmtor, made, lineage, generation, home, files: entries };
        Self { manifest, files }
    }

    /// One of the files.
    pub fn file(&self, name: FileName) -> Option<&Secret<Vec<u8>>> {
        self.files.iter().find(|(found, _)| *found == name).map(|(_, content)| content)
    }

    /// As an age file. Takes a second with a passphrase.
    pub fn seal(&self, lock: &Lock) -> Result<Vec<u8>, BackupError> {
        let plain = self.to_bytes()?;
        let mut sealed = Vec::with_capacity(plain.len() + 4096);
        let mut writer = encryptor(lock)?.wrap_output(&mut sealed).map_err(|_| BackupError::Sealing)?;
        writer.write_all(&plain).map_err(|_| BackupError::Sealing)?;
        writer.finish().map_err(|_| BackupError::Sealing)?;
        Ok(sealed)
    }

    /// From an age file. Takes a second with a passphrase.
    pub fn open(sealed: &[u8], unlock: &Unlock) -> Result<Self, BackupError> {
        let decryptor = Decryptor::new_buffered(sealed).map_err(|error| refused(&error))?;
        let by_passphrase = decryptor.is_scrypt();
        let opened = match unlock {
            Unlock::Passphrase(_) if !by_passphrase => return Err(BackupError::NeedsIdentity),
            Unlock::Passphrase(passphrase) => {
                let mut identity = scrypt::Identity::new(secret_string(passphrase.expose()));
                identity.set_max_work_factor(MOST_WORK);
                decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))
            }
            Unlock::Identity(_) if by_passphrase => return Err(BackupError::NeedsPassphrase),
            Unlock::Identity(text) => {
                let identities = identities(text.expose())?;
                decryptor.decrypt(identities.iter().map(|identity| identity as &dyn age::Identity))
            }
        };
        let mut reader = opened.map_err(|error| refused(&error))?;
        // Reserved in full: a buffer that grew would leave plaintext behind in the heap.
        let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
        reader.read_to_end(&mut plain).map_err(|_| BackupError::Damaged)?;
        Self::from_bytes(&plain)
    }

    fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, BackupError> {
        let manifest = serde_json::to_vec(&self.manifest).map_err(|_| BackupError::Sealing)?;
        let content: usize = self.files.iter().map(|(_, content)| content.expose().len()).sum();
        let mut plain = Zeroizing::new(Vec::with_capacity(manifest.len() + 1 + content));
        plain.extend_from_slice(&manifest);
        plain.push(b'\n');
        for (_, content) in &self.files {
            plain.extend_from_slice(content.expose());
        }
        Ok(plain)
    }

    fn from_bytes(plain: &[u8]) -> Result<Self, BackupError> {
        let not_ours = BackupError::NotABackup("it is an age file of something else");
        let end =
            plain.iter().take(MANIFEST_LIMIT).position(|byte| *byte == b'\n').ok_or(not_ours.clone())?;
        let (head, rest) = (&plain[..end], &plain[end + 1..]);
        let AnyManifest { format } = serde_json::from_slice(head).map_err(|_| not_ours)?;
        if format > FORMAT {
            return Err(BackupError::Newer { found: format, known: FORMAT });
        }
        let manifest: Manifest = serde_json::from_slice(head).map_err(|_| BackupError::Damaged)?;
        let mut rest = rest;
        let mut files = Vec::with_capacity(manifest.files.len());
        for entry in &manifest.files {
            let (content, after) = rest.split_at_checked(entry.bytes).ok_or(BackupError::Damaged)?;
            files.push((entry.name, Secret::new(content.to_vec())));
            rest = after;
        }
        if rest.is_empty() { Ok(Self { manifest, files }) } else { Err(BackupError::Damaged) }
    }
}

/// Checks what is to be sealed to before anything else is done.
pub fn check_recipients(recipients: &[String]) -> Result<(), BackupError> {
    parse_recipients(recipients).map(|_| ())
}

fn parse_recipients(recipients: &[String]) -> Result<Vec<x25519::Recipient>, BackupError> {
    let parse = |text: &String| text.trim().parse().map_err(|_| BackupError::InvalidRecipient);
    recipients.iter().map(parse).collect()
}

fn encryptor(lock: &Lock) -> Result<Encryptor, BackupError> {
    let encryptor = match lock {
        Lock::Passphrase(passphrase) => {
            let mut recipient = scrypt::Recipient::new(secret_string(passphrase.expose()));
            recipient.set_work_factor(WORK_FACTOR);
            Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
        }
        Lock::Recipients(recipients) => {
            let recipients = parse_recipients(recipients)?;
            let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
            Encryptor::with_recipients(recipients)
        }
    };
    encryptor.map_err(|_| BackupError::InvalidRecipient)
}

/// The keys in an identity file: one a line, with comments between them.
fn identities(text: &str) -> Result<Vec<x25519::Identity>, BackupError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let found: Result<Vec<x25519::Identity>, _> = lines.map(str::parse).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or(BackupError::InvalidIdentity)
}

fn secret_string(text: &str) -> SecretString {
    let mut copy = text.to_owned();
    let secret = SecretString::from(copy.as_str());
    copy.zeroize();
    secret
}

fn refused(error: &DecryptError) -> BackupError {
    match error {
        DecryptError::NoMatchingKeys => BackupError::WrongIdentity,
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => BackupError::WrongPassphrase,
        DecryptError::ExcessiveWork { .. } => BackupError::TooMuchWork,
        DecryptError::InvalidHeader | DecryptError::UnknownFormat => {
            BackupError::NotABackup("it is not an age file")
        }
        _ => BackupError::Damaged,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn archive() -> Archive {
        let files = vec![
            (FileName::Vault, Secret::new(b"canary database".to_vec())),
            (FileName::MasterKey, Secret::new(b"canary key".to_vec())),
        ];
        Archive::new("2026-11-22T12:00:00Z".into(), "00".repeat(16), 3, "/h".into(), files)
    }

    fn key() -> (Lock, Unlock) {
        let identity = x25519::Identity::generate();
        let text = {
            use age::secrecy::ExposeSecret as _;
            format!("# a comment\n{}\n", identity.to_string().expose_secret())
        };
        (Lock::Recipients(vec![identity.to_public().to_string()]), Unlock::Identity(Secret::new(text)))
    }

    #[test]
    fn an_archive_opens_with_its_identity_and_with_no_other() {
        let (lock, unlock) = key();
        let sealed = archive().seal(&lock).unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        let opened = Archive::open(&sealed, &unlock).ok().unwrap();
        assert_eq!(opened.manifest, archive().manifest);
        assert!(opened.file(FileName::Vault).unwrap().matches(b"canary database"));
        assert!(opened.file(FileName::Config).is_none());
        assert_eq!(Archive::open(&sealed, &key().1).err(), Some(BackupError::WrongIdentity));
        let passphrase = Unlock::Passphrase(Passphrase::new(Secret::new("x".into())));
        assert_eq!(Archive::open(&sealed, &passphrase).err(), Some(BackupError::NeedsIdentity));
    }

    #[test]
    fn a_truncated_or_changed_file_is_damaged_and_never_half_read() {
        let (lock, unlock) = key();
        let sealed = archive().seal(&lock).unwrap();
        for end in 0..sealed.len() {
            assert!(Archive::open(&sealed[..end], &unlock).is_err(), "{end}");
        }
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(Archive::open(&changed, &unlock).err(), Some(BackupError::Damaged));
        let longer = [&sealed[..], b"x"].concat();
        assert_eq!(Archive::open(&longer, &unlock).err(), Some(BackupError::Damaged));
    }

    #[test]
    fn a_passphrase_that_would_take_all_memory_is_refused_unasked() {
        let mut recipient = scrypt::Recipient::new(secret_string("x"));
        recipient.set_work_factor(2);
        let sealed = age::encrypt(&recipient, b"content").unwrap();
        let end = sealed.windows(4).position(|window| window == b"\n---").unwrap();
        let head = std::str::from_utf8(&sealed[..end]).unwrap();
        let passphrase = || Unlock::Passphrase(Passphrase::new(Secret::new("x".into())));
        assert!(matches!(Archive::open(&sealed, &passphrase()), Err(BackupError::NotABackup(_))));
        // 2 GiB.
        let heavy = [head.replacen(" 2\n", " 21\n", 1).as_bytes(), &sealed[end..]].concat();
        assert_eq!(Archive::open(&heavy, &passphrase()).err(), Some(BackupError::TooMuchWork));
    }

    #[test]
    fn a_newer_format_and_an_unknown_file_are_refused() {
        let newer = br#"{"format":2,"something":"else"}"#;
        let newer = Archive::from_bytes(&[&newer[..], b"\n"].concat()).err();
        assert_eq!(newer, Some(BackupError::Newer { found: 2, known: 1 }));
        let known = String::from_utf8(archive().to_bytes().unwrap().to_vec()).unwrap();
        let unknown = known.replace("vault.db", "vault.xy");
        assert_eq!(Archive::from_bytes(unknown.as_bytes()).err(), Some(BackupError::Damaged));
        assert!(Archive::from_bytes(b"just some text\n").is_err());
    }

    proptest! {
        #[test]
        fn no_content_breaks_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(Archive::from_bytes(&bytes));
            drop(identities(&String::from_utf8_lossy(&bytes)));
        }
    }
}
