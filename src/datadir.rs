//! The home: one directory that holds everything a user has here.
//!
//! Invariants: the directory is 0700 and every file in it 0600; at most one process works in it at a time
//! ([`Home::lock`]); small files are replaced whole ([`Home::write_private`]); the master key is made once, and
//! never again while anything is sealed under it ([`Home::master_key`]).
//!
//! | file | what it is |
//! | --- | --- |
//! | `config.toml`, `keys.json` | settings; pinned issuer keys |
//! | `vault.db`, `vault.db.mark` | tokens ([`crate::vault`]); what that file must at least be |
//! | `session.sealed`, `api-key`, `control.sock` | session with the identity plane; key of the local endpoint; local socket |
//! | `master.key`, `master.toml` | master key if there is no keyring; where the master key is |
//! | `logs/` | what the daemon said, a file a day |
//! | `origin.toml` | where a restored home was copied from, until it is taken over |
//! | `llmtor-open-*.html` | leads a browser to a link that is a secret; for minutes ([`crate::browse`]) |
//! | `paused` | there while nothing may leave ([`crate::passage`]) |
//! | `lock` | held, with our pid in it, while a process works here |
//! | `tray.lock` | held while an icon is shown |
//!
//! Deliberately absent: any fallback to another directory. A home that cannot be used is an error that says
//! what to do.

mod master_key;
mod staging;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::draft::{self, Mode};
use crate::passage::Passage;

pub use master_key::{KeyStore, MasterKey};
pub use staging::Staging;

/// `DIR` of `--home`; 0700.
#[derive(Clone)]
pub struct Home {
    root: PathBuf,
}

/// Why a home, or something in it, cannot be used. Paths inside the home may be named, contents never.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A file stands where the directory should be.
    #[error("{} is not a directory; choose another home with --home", .0.display())]
    NotADirectory(PathBuf),
    /// Others may look into the directory, and it is not ours to change that.
    #[error("{} can be read by others and is not ours to close; run `chmod 700` on it as its owner", .0.display())]
    Exposed(PathBuf),
    /// It cannot be created or written.
    #[error("{} cannot be written ({}); {}, or choose another home with --home", path.display(), reason(*kind), remedy(*kind))]
    Unwritable {
        /// What could not be written.
        path: PathBuf,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// It cannot be read.
    #[error("{} cannot be read ({}); {}", path.display(), reason(*kind), remedy(*kind))]
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// A restore makes a whole home, and there is one.
    #[error(
        "{} holds something already and was left alone; restore into another home (--home DIR), or move that one away",
        .0.display()
    )]
    Occupied(PathBuf),
    /// Another process works here.
    #[error("llmtor{} is using this home; stop it first, or choose another home with --home", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        /// Which one, if it could be read.
        pid: Option<u32>,
    },
    /// The key is recorded to be in the keyring, and the keyring does not answer.
    #[error(
        "the master key is in the system's keyring, and that cannot be reached; unlock it or log in to the desktop, then try again"
    )]
    KeyringUnavailable,
    /// A keyring was asked for and there is none.
    #[error("no keyring could be used; start one, or keep the key in a file: --set vault.key_store=file")]
    NoKeyring,
    /// Configuration and record disagree on where the key is.
    #[error(
        "the master key of this home is kept in the {recorded} store; set vault.key_store to \"{recorded}\" or \"auto\""
    )]
    OtherStore {
        /// Where it is.
        recorded: &'static str,
    },
    /// Something is sealed under a key that is not there any more.
    #[error(
        "the vault's key is gone: the master key that vault.db and session.sealed were sealed under is not where it was put; restore it (master.key, or the keyring that had it), or move those two and master.toml away to start with an empty vault"
    )]
    KeyGone,
    /// The key that was found is not the one that was made.
    #[error("the master key is damaged or belongs to another home; restore the right one")]
    KeyDamaged,
}

/// Held as long as the process may touch the home; released when dropped, and by the system if the process dies.
pub struct HomeLock {
    /// The lock goes with the open file.
    _file: File,
}

/// Only whoever holds the lock writes it.
const SESSION: &str = "session.sealed";
/// Nobody takes so long to replace a small file.
const DRAFT: std::time::Duration = std::time::Duration::from_secs(60);

impl Home {
    /// Opens the directory, creating it (0700) with its parents. One that others may read is closed to them,
    /// with a warning, if it is ours.
    pub fn open(root: &Path) -> Result<Self, HomeError> {
        let unwritable =
            |error: &io::Error| HomeError::Unwritable { path: root.to_path_buf(), kind: error.kind() };
        match fs::metadata(root) {
            Ok(found) if !found.is_dir() => return Err(HomeError::NotADirectory(root.to_path_buf())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_private_directory(root).map_err(|error| unwritable(&error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(HomeError::NotADirectory(root.to_path_buf()));
            }
            Err(error) => return Err(unwritable(&error)),
        }
        close_to_others(root, 0o700)?;
        let home = Self { root: root.to_path_buf() };
        // The lock file is needed anyway, and making it shows that the directory can be written.
        home.lock_file()?;
        Ok(home)
    }

    /// The platform's directory for such data (Linux: `$XDG_DATA_HOME/llmtor`). `--home` and `LLMTOR_HOME` go
    /// before it; that is the caller's business.
    pub fn default_path() -> Option<PathBuf> {
        directories::ProjectDirs::from("", "", "llmtor").map(|dirs| dirs.data_dir().to_path_buf())
    }

    /// The home that `path` is in, or would be; also another one than ours.
    pub fn around(path: &Path) -> Option<PathBuf> {
        let real = path.parent()?.canonicalize().ok()?;
        let is_home = |path: &&Path| path.join("lock").is_file() && path.join("vault.db").is_file();
        real.ancestors().find(is_home).map(Path::to_owned)
    }

    /// Takes the lock, writing our pid into the file. [`HomeError::InUse`] names the pid that holds it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let mut file = self.lock_file()?;
        let path = self.root.join("lock");
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Elsewhere than on Unix a locked file may be unreadable: then the pid is not known.
                drop(file.take(32).read_to_string(&mut text));
                return Err(HomeError::InUse { pid: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(error)) => {
                return Err(HomeError::Unwritable { path, kind: error.kind() });
            }
        }
        let pid = format!("{}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.write_all(pid.as_bytes()))
            .map_err(|error| HomeError::Unwritable { path, kind: error.kind() })?;
        self.sweep_drafts();
        Ok(HomeLock { _file: file })
    }

    /// Removes what a kill left of files that were being replaced, which may hold what is removed from their place since. What is
    /// young may be somebody's who writes without the lock.
    fn sweep_drafts(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(of) = name.to_str().and_then(draft::file_of) else { continue };
            let age = entry.metadata().and_then(|found| found.modified()).ok();
            let is_old = age.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > DRAFT);
            if (is_old || of == SESSION)
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::warn!(kind = ?error.kind(), "what is left of a file that was being replaced cannot be removed");
            }
        }
    }

    fn lock_file(&self) -> Result<File, HomeError> {
        let path = self.root.join("lock");
        private_file()
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| HomeError::Unwritable { path, kind: error.kind() })
    }

    /// Loads the master key, creating it on first use. Where it is kept is recorded, so a keyring that is
    /// locked later is an error and never a new key; with something sealed and no key, it is
    /// [`HomeError::KeyGone`]. Blocks: up to 2 s while looking for a keyring, up to 30 s while one that holds the
    /// key is being unlocked. Call it with the lock held.
    pub fn master_key(&self, store: KeyStore) -> Result<MasterKey, HomeError> {
        master_key::load(self, store)
    }

    /// Keeps a master key that was made elsewhere; for a home that has none. Blocks as [`Home::master_key`] does.
    pub fn adopt_master_key(&self, store: KeyStore, key: &MasterKey) -> Result<(), HomeError> {
        master_key::adopt(self, store, key)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Settings.
    pub fn config_path(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Pinned issuer keys.
    pub fn keys_path(&self) -> PathBuf {
        self.root.join("keys.json")
    }

    /// Tokens.
    pub fn vault_path(&self) -> PathBuf {
        self.root.join("vault.db")
    }

    /// Session with the identity plane.
    pub fn session_path(&self) -> PathBuf {
        self.root.join("session.sealed")
    }

    /// Where a restored home was copied from; there until it is taken over.
    pub fn origin_path(&self) -> PathBuf {
        self.root.join("origin.toml")
    }

    /// Key of the local endpoint.
    pub fn api_key_path(&self) -> PathBuf {
        self.root.join("api-key")
    }

    /// What the daemon says, a file a day.
    pub fn logs_path(&self) -> PathBuf {
        Self::logs_in(&self.root)
    }

    /// The same of a home that is not opened, or not there.
    pub fn logs_in(root: &Path) -> PathBuf {
        root.join("logs")
    }

    /// The same, made if it is not there; 0700.
    pub fn open_logs(&self) -> Result<PathBuf, HomeError> {
        let path = self.logs_path();
        create_private_directory(&path)
            .map_err(|error| HomeError::Unwritable { path: path.clone(), kind: error.kind() })?;
        close_to_others(&path, 0o700)?;
        Ok(path)
    }

    /// There while nothing may leave.
    pub fn paused_path(&self) -> PathBuf {
        self.root.join("paused")
    }

    /// Whether anything may leave.
    pub fn passage(&self) -> Passage {
        // What cannot be looked at is taken for the stricter of the two.
        match self.paused_path().try_exists() {
            Ok(false) => Passage::Open,
            Ok(true) | Err(_) => Passage::Paused,
        }
    }

    /// Keeps whether anything may leave; on disk when this returns. Called by whoever holds the lock, or in the place of a command that does
    /// and takes no orders.
    pub fn keep_passage(&self, passage: Passage) -> Result<(), HomeError> {
        let path = self.paused_path();
        match passage {
            Passage::Paused => self.write_private(&path, b""),
            Passage::Open => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(HomeError::Unwritable { path, kind: error.kind() })
                }
                _ => Ok(()),
            },
        }
    }

    /// Local socket of the running daemon.
    pub fn control_path(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// Replaces a small file whole, readable by its owner alone ([`draft`]).
    pub fn write_private(&self, path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
        draft::replace(path, bytes, Mode::Private)
            .map_err(|error| HomeError::Unwritable { path: path.to_path_buf(), kind: error.kind() })
    }
}

/// How every file here is opened that may hold a secret: 0600.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn create_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Takes group's and others' access to `path` away, if they have any. Elsewhere than on Unix the profile
/// directory's inherited access list does this.
#[cfg(unix)]
fn close_to_others(path: &Path, mode: u32) -> Result<(), HomeError> {
    use std::os::unix::fs::PermissionsExt as _;
    let found = fs::metadata(path)
        .map_err(|error| HomeError::Unreadable { path: path.to_path_buf(), kind: error.kind() })?;
    if found.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|_| HomeError::Exposed(path.to_path_buf()))?;
        tracing::warn!(path = %path.display(), "was accessible to other users; it no longer is");
    }
    Ok(())
}

#[cfg(not(unix))]
fn close_to_others(_path: &Path, _mode: u32) -> Result<(), HomeError> {
    Ok(())
}

fn reason(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the disk is read-only".into(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full".into(),
        other => other.to_string(),
    }
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => "check its permissions",
        io::ErrorKind::ReadOnlyFilesystem => "mount the disk writable",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
        _ => "check the path and the disk",
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_a_kill_left_of_a_session_that_was_being_replaced_is_gone_when_the_home_is_next_worked_on() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let [left, young, other] =
            ["session.sealed.0123456789abcdef.new", "paused.0123456789abcdef.new", "my.new"]
                .map(|name| home.root().join(name));
        for path in [&left, &young, &other] {
            fs::write(path, "x").unwrap();
        }
        drop(home.lock().unwrap());
        assert_eq!([&left, &young, &other].map(|path| path.exists()), [false, true, true]);
        let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        File::options().write(true).open(&young).unwrap().set_modified(hour_ago).unwrap();
        drop(home.lock().unwrap());
        assert_eq!([&young, &other].map(|path| path.exists()), [false, true]);
    }

    #[test]
    fn what_to_do_fits_what_went_wrong() {
        let told = |kind| HomeError::Unwritable { path: "h/session.sealed".into(), kind }.to_string();
        let full = told(io::ErrorKind::StorageFull);
        assert!(
            full.contains("the disk is full); make room there") && !full.contains("permissions"),
            "{full}"
        );
        assert!(told(io::ErrorKind::PermissionDenied).contains("check its permissions"));
    }

    #[test]
    fn a_new_home_and_what_is_in_it_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b/home");
        let home = Home::open(&root).unwrap();
        assert_eq!(mode(&root), 0o700);
        assert_eq!(mode(&root.join("lock")), 0o600);
        home.write_private(&home.api_key_path(), b"canary").unwrap();
        assert_eq!(mode(&home.api_key_path()), 0o600);
    }

    #[test]
    fn a_home_that_others_may_read_is_closed_to_them() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Home::open(dir.path()).unwrap();
        assert_eq!(mode(dir.path()), 0o700);
    }

    #[test]
    fn a_file_in_place_of_the_home_is_an_error_that_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"x").unwrap();
        for root in [file.clone(), file.join("below")] {
            let error = Home::open(&root).err().unwrap();
            assert!(matches!(error, HomeError::NotADirectory(_)), "{error:?}");
            assert!(error.to_string().contains("--home"));
        }
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }

    #[test]
    fn replacing_a_file_leaves_one_file_with_the_new_content() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let path = home.keys_path();
        home.write_private(&path, b"old").unwrap();
        home.write_private(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the lock file and this one");
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file_and_no_draft() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        // A directory cannot be replaced by a file.
        let path = home.keys_path();
        fs::create_dir(&path).unwrap();
        assert!(matches!(home.write_private(&path, b"new"), Err(HomeError::Unwritable { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_pause_is_kept_until_it_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        assert_eq!(home.passage(), Passage::Open);
        for passage in [Passage::Paused, Passage::Paused, Passage::Open, Passage::Open] {
            home.keep_passage(passage).unwrap();
            assert_eq!(Home::open(dir.path()).unwrap().passage(), passage);
        }
    }

    #[test]
    fn a_lock_is_free_again_when_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let lock = home.lock().unwrap();
        let error = home.lock().err().unwrap();
        assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(lock);
        home.lock().unwrap();
    }
}
