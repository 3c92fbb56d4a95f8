//! What leaves the home to be kept elsewhere, always under a passphrase or somebody's key.
//!
//! | format | holds | who reads it |
//! | --- | --- | --- |
//! | [`abuse`] | the two abuse tokens, in plain inside | the official client and this one, from a file or from the server |
//! | [`archive`] | a whole vault with its master key, settings and pinned keys | this one; the outer layer is age |
//!
//! Invariants: plaintext is in memory only, and wiped; what is written is written whole, to its owner alone, and replaces
//! nothing unasked ([`write`]); a file that cannot be read leaves everything as it was.
//!
//! Deliberately absent: the session (whoever finds a backup and its passphrase should not be signed in as well), the key
//! of the local endpoint, Tor's state (a copied guard would tie two machines together), and a passphrase from an argument
//! or a variable, where other programs see it.

pub mod abuse;
pub mod archive;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// The fewest characters of a passphrase that something new is sealed under. Whoever holds the file, and for the server's
/// copy that is the operator, may try as many as they like.
pub const SHORTEST_PASSPHRASE: usize = 10;

/// In lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a backup is sealed under, or opened with.
#[derive(Clone)]
pub struct Passphrase(Secret<String>);

impl Passphrase {
    /// For opening: whatever was typed.
    pub fn new(text: Secret<String>) -> Self {
        Self(text)
    }

    /// For sealing: one that is long enough.
    pub fn to_seal(text: Secret<String>) -> Result<Self, BackupError> {
        if text.expose().chars().count() < SHORTEST_PASSPHRASE {
            return Err(BackupError::ShortPassphrase);
        }
        Ok(Self(text))
    }

    fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// What is done about a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overwrite {
    /// It stays, and nothing is written.
    Refuse,
    /// It is replaced.
    Replace,
}

/// Why a backup was not made or not read. Names no secret and nothing of the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Too short.
    #[error(
        "the passphrase is too short: take at least {SHORTEST_PASSPHRASE} characters, better a few random words"
    )]
    ShortPassphrase,
    /// Not in the format at all.
    #[error("this is no such backup: {0}. Name a file that `llmtor backup` or `llmtor abuse backup` wrote")]
    NotABackup(&'static str),
    /// The cipher refuses, which has two reasons that look the same.
    #[error(
        "the backup does not open: the passphrase is wrong, or the file is damaged; nothing was changed, so try again"
    )]
    WrongPassphrase,
    /// It is sealed to other recipients.
    #[error(
        "the backup is not for this identity file; nothing was changed. Name the right one with --identity FILE"
    )]
    WrongIdentity,
    /// It is sealed under a passphrase, not to a recipient.
    #[error("the backup is sealed under a passphrase; leave --identity out")]
    NeedsPassphrase,
    /// It is sealed to a recipient.
    #[error("the backup is sealed to a recipient; name the file with the identity: --identity FILE")]
    NeedsIdentity,
    /// It ends early, or was changed.
    #[error("the backup is damaged or cut short; nothing was changed. Take another copy of it")]
    Damaged,
    /// Its key takes more memory than is given to it.
    #[error(
        "the backup's passphrase is hardened beyond what is opened here (scrypt above 2^20, 1 GiB), and llmtor makes no such one; nothing was changed. Use a backup that llmtor made"
    )]
    TooMuchWork,
    /// A newer program made it.
    #[error("the backup has format {found}, this llmtor knows up to {known}; install a newer llmtor")]
    Newer {
        /// Its format.
        found: u32,
        /// The newest known here.
        known: u32,
    },
    /// Not a recipient.
    #[error("not a recipient: expected one like age1…, as `age-keygen` prints it")]
    InvalidRecipient,
    /// Not an identity file.
    #[error(
        "no identity was found in that file: expected a line AGE-SECRET-KEY-1…, as `age-keygen` writes it"
    )]
    InvalidIdentity,
    /// Larger than the server takes.
    #[error("the backup is larger than the 100 KiB that the server keeps; keep it in a file")]
    TooLarge,
    /// The account has one already.
    #[error("the server keeps a backup for this account already, and it was left alone; --force replaces it")]
    ExistsOnServer,
    /// There is such a file.
    #[error("{} is there already and was left alone; choose another name, or use --force", .0.display())]
    Exists(PathBuf),
    /// It is a device, a directory, a link: what is behind it is not ours to replace.
    #[error("{} is no plain file and was left alone; choose another name", .0.display())]
    NotAFile(PathBuf),
    /// A backup there would take the place of something, or be lost with it.
    #[error("{} is inside the home {}; keep a backup elsewhere, best on another disk", path.display(), home.display())]
    InsideHome {
        /// Where it was to be.
        path: PathBuf,
        /// Which home.
        home: PathBuf,
    },
    /// The file cannot be written.
    #[error("{} cannot be written ({kind}); check the directory and its permissions", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The system's cipher failed; a defect.
    #[error("sealing failed; nothing was written, so try again")]
    Sealing,
}

/// Whether [`write`] would find the place free, or what may be replaced in it.
pub fn check_place(path: &Path, overwrite: Overwrite) -> Result<(), BackupError> {
    match path.symlink_metadata() {
        Ok(_) if overwrite == Overwrite::Refuse => Err(BackupError::Exists(path.to_owned())),
        Ok(found) if !found.is_file() => Err(BackupError::NotAFile(path.to_owned())),
        _ => Ok(()),
    }
}

/// Writes a file whole and to its owner alone: a draft beside it, synced, then put in place. After a crash the file is
/// there whole or not at all. An error says that `path` does not hold these bytes.
pub fn write(path: &Path, bytes: &[u8], overwrite: Overwrite) -> Result<(), BackupError> {
    write_and(path, bytes, overwrite, sync_directory)
}

fn write_and(
    path: &Path,
    bytes: &[u8],
    overwrite: Overwrite,
    sync: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), BackupError> {
    let unwritable =
        |error: &io::Error| BackupError::Unwritable { path: path.to_owned(), kind: error.kind() };
    check_place(path, overwrite)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{:016x}.new", rand::random::<u64>()));
    let draft = PathBuf::from(draft);
    let written = fill(&draft, bytes).and_then(|()| {
        // A file system of another machine may say that it failed and have done it.
        place(&draft, path, overwrite).or_else(|error| match fs::read(path) {
            Ok(found) if found == bytes => Ok(()),
            _ => Err(error),
        })
    });
    // It may not have been made at all, or have become the file.
    drop(fs::remove_file(&draft));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(path.to_owned()),
        _ => unwritable(&error),
    })?;
    // The file is there. Whether its name outlives a power cut now is no reason to say that it is not.
    if let Err(error) = sync(path) {
        tracing::warn!(path = %path.display(), %error, "the directory of the backup could not be synced");
    }
    Ok(())
}

fn fill(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn place(draft: &Path, path: &Path, overwrite: Overwrite) -> io::Result<()> {
    match overwrite {
        Overwrite::Replace => fs::rename(draft, path),
        // A link is refused where a file has appeared meanwhile; a renaming would replace it.
        Overwrite::Refuse => match fs::hard_link(draft, path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // A memory stick's file system has no links.
            Err(_) => fs::rename(draft, path),
        },
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if cfg!(unix) => {
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            fs::File::open(directory)?.sync_all()
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_replaced_only_when_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup.age");
        write(&path, b"first", Overwrite::Refuse).unwrap();
        let refused = write(&path, b"second", Overwrite::Refuse).unwrap_err();
        assert!(refused.to_string().contains("--force"), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write(&path, b"second", Overwrite::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft stays");
    }

    #[cfg(unix)]
    #[test]
    fn only_a_plain_file_is_ever_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, link) = (dir.path().join("kept"), dir.path().join("link"));
        fs::write(&kept, b"kept").unwrap();
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        for path in [link.as_path(), dir.path(), Path::new("/dev/null")] {
            let refused = write(path, b"backup", Overwrite::Replace).unwrap_err();
            assert_eq!(refused, BackupError::NotAFile(path.to_owned()));
        }
        assert!(link.is_symlink() && fs::read(&kept).unwrap() == b"kept");
    }

    #[test]
    fn a_file_that_has_its_name_is_written_whatever_its_directory_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup.age");
        // As of a drop directory, or of a file system that knows no syncing of directories.
        let refuses = |_: &Path| Err(io::Error::from(io::ErrorKind::PermissionDenied));
        write_and(&path, b"whole", Overwrite::Refuse, refuses).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft stays");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_written_is_its_owner_s_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup.age");
        write(&path, b"", Overwrite::Refuse).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let nowhere = dir.path().join("no/such/backup.age");
        assert!(matches!(write(&nowhere, b"", Overwrite::Refuse), Err(BackupError::Unwritable { .. })));
    }

    #[test]
    fn a_short_passphrase_seals_nothing() {
        let of = |text: &str| Passphrase::to_seal(Secret::new(text.to_owned()));
        assert!(of("nine char").is_err());
        assert!(of("ten chars!").is_ok() && of("zehn Öfen!").is_ok());
    }
}
