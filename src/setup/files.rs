//! Other programs' files: read whole, written whole or not at all.
//!
//! A link is followed: dotfiles managers have the file elsewhere, and it stays theirs. One that has the key in it can be read
//! by its owner alone, as long as the key is there; otherwise a file keeps its mode.

use std::fs::{self, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use super::SetupError;
use crate::draft::{self, Mode};

/// More than any settings file is long.
const LIMIT: u64 = 4 << 20;
/// A chain of links that is longer goes in a circle.
const MOST_LINKS: usize = 16;

/// Who may read a new file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// As the system has it.
    Usual,
    /// Its owner.
    Owner,
}

/// Where a path leads.
pub(super) fn resolve(path: &Path) -> PathBuf {
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&at) {
            Ok(target) => at = at.parent().map_or_else(|| target.clone(), |parent| parent.join(&target)),
            Err(_) => break,
        }
    }
    // The directories above it too, as far as they are there: once they all are, it has to be the same path.
    let there = at.ancestors().skip(1).find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    match there.and_then(|(above, real)| Some(real.join(at.strip_prefix(above).ok()?))) {
        Some(real) => real,
        None => at,
    }
}

/// The directories that have to be made for a file, the innermost first.
pub(super) fn missing_directories(path: &Path) -> Vec<PathBuf> {
    path.ancestors().skip(1).take_while(|above| !above.exists()).map(Path::to_owned).collect()
}

/// Takes away a directory that nothing is in; one that holds something stays.
pub(super) fn remove_empty_directory(path: &Path) {
    drop(fs::remove_dir(path));
}

/// The text, if there is such a file.
pub(super) fn read(path: &Path) -> Result<Option<String>, SetupError> {
    let unreadable = |error: io::Error| SetupError::Unreadable { path: path.to_owned(), kind: error.kind() };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
        Ok(found) if !found.is_file() || found.len() > LIMIT => {
            return Err(SetupError::NotSettings { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(SetupError::NotSettings { path: path.to_owned() })
        }
        Err(error) => Err(unreadable(error)),
    }
}

/// Replaces a file: a draft beside it, on disk, then in its place. Its mode is that of `like` or of itself, of which
/// [`Access::Owner`] leaves the owner's part.
pub(super) fn write(path: &Path, text: &str, like: Option<&Path>, access: Access) -> Result<(), SetupError> {
    let unwritable = |error: io::Error| SetupError::Unwritable { path: path.to_owned(), kind: error.kind() };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(unwritable)?;
    }
    draft::replace(path, text.as_bytes(), mode(like.unwrap_or(path), access)).map_err(unwritable)
}

/// Takes a file away, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), SetupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SetupError::Unwritable { path: path.to_owned(), kind: error.kind() })
        }
        _ => Ok(()),
    }
}

/// A name beside a file that nothing has yet.
pub(super) fn backup_name(path: &Path) -> PathBuf {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(".before-llmtor");
        if number > 1 {
            name.push(format!("-{number}"));
        }
        PathBuf::from(name)
    };
    (1..=u32::MAX).map(name).find(|name| fs::symlink_metadata(name).is_err()).unwrap_or_else(|| name(1))
}

/// Whether others of this machine can read it.
pub(super) fn is_open_to_others(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o044 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

/// Whether a file has the mode that the one `before` us got when the key was put into it.
pub(super) fn was_closed(path: &Path, before: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).map(|found| found.permissions().mode() & 0o777);
        matches!((mode(path), mode(before)), (Ok(now), Ok(then)) if now == then & 0o700)
    }
    #[cfg(not(unix))]
    {
        let _ = (path, before);
        false
    }
}

fn mode(like: &Path, access: Access) -> Mode {
    match (fs::metadata(like).map(|found| found.permissions()), access) {
        (Ok(permissions), Access::Usual) => Mode::As(permissions),
        (Ok(permissions), Access::Owner) => Mode::As(of_the_owner(permissions)),
        (Err(_), Access::Usual) => Mode::Usual,
        (Err(_), Access::Owner) => Mode::Private,
    }
}

#[cfg_attr(not(unix), expect(unused_mut, reason = "modes are of Unix"))]
fn of_the_owner(mut permissions: Permissions) -> Permissions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        permissions.set_mode(permissions.mode() & 0o700);
    }
    permissions
}
