//! A home in the making: filled beside its place, and put there whole.
//!
//! | the process dies | there is |
//! | --- | --- |
//! | while it is filled | no home; `NAME.restoring` beside it, which the next attempt removes |
//! | after it was put in place | the whole home |
//!
//! What is called `NAME.restoring` is removed only if it is such a leftover (it has a lock file) and nobody works in it.
//!
//! The place must be free: absent, or a directory with nothing in it but a lock file, as a command leaves it that found no
//! home there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Home, HomeError, HomeLock};

/// See the module. Dropped before it is put in place, it is removed.
pub struct Staging {
    home: Home,
    /// Two attempts at once would take each other's files away.
    lock: Option<HomeLock>,
    target: PathBuf,
    placed: Placed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Placed {
    NotYet,
    Yes,
}

impl Staging {
    /// Begins a home that is to be at `target`.
    pub fn begin(target: &Path) -> Result<Self, HomeError> {
        check_free(target)?;
        let mut name = target.file_name().ok_or_else(|| HomeError::Occupied(target.to_owned()))?.to_owned();
        name.push(".restoring");
        // Beside it, also where the path ends in a slash.
        let beside = target.with_file_name(name);
        let is_leftover = beside.join("lock").is_file();
        let is_free = fs::read_dir(&beside).map_or_else(
            |error| error.kind() == io::ErrorKind::NotFound,
            |mut entries| entries.next().is_none(),
        );
        if !is_leftover && !is_free {
            return Err(HomeError::Occupied(beside));
        }
        let home = Home::open(&beside)?;
        let lock = home.lock()?;
        empty(&beside).map_err(|error| unwritable(&beside, &error))?;
        Ok(Self { home, lock: Some(lock), target: target.to_owned(), placed: Placed::NotYet })
    }

    /// To be filled.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Puts it in its place; durable.
    pub fn place(mut self) -> Result<Home, HomeError> {
        let failed = |error: &io::Error| unwritable(&self.target, error);
        check_free(&self.target)?;
        if self.target.exists() {
            // Empty but for the lock file, as was just seen.
            drop(fs::remove_file(self.target.join("lock")));
            fs::remove_dir(&self.target).map_err(|error| failed(&error))?;
        }
        if cfg!(windows) {
            // A directory with an open file in it cannot be renamed there.
            drop(self.lock.take());
        }
        sync_directory(self.home.root()).map_err(|error| failed(&error))?;
        fs::rename(self.home.root(), &self.target).map_err(|error| failed(&error))?;
        self.placed = Placed::Yes;
        if let Some(parent) = self.target.parent() {
            sync_directory(parent).map_err(|error| failed(&error))?;
        }
        Home::open(&self.target)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.placed == Placed::NotYet {
            // The next attempt removes what stays.
            drop(fs::remove_dir_all(self.home.root()));
        }
    }
}

/// Takes everything away but the lock, which is held.
fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()? {
            _ if entry.file_name() == "lock" => {}
            kind if kind.is_dir() => fs::remove_dir_all(entry.path())?,
            _ => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

fn check_free(target: &Path) -> Result<(), HomeError> {
    match fs::read_dir(target) {
        Ok(mut entries) => {
            let only_lock = entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "lock"));
            if only_lock { Ok(()) } else { Err(HomeError::Occupied(target.to_owned())) }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(HomeError::NotADirectory(target.to_owned()))
        }
        Err(error) => Err(HomeError::Unreadable { path: target.to_owned(), kind: error.kind() }),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if cfg!(unix) { fs::File::open(path)?.sync_all() } else { Ok(()) }
}

fn unwritable(path: &Path, error: &io::Error) -> HomeError {
    HomeError::Unwritable { path: path.to_owned(), kind: error.kind() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_appears_whole_and_an_abandoned_one_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("home/");
        let staging = Staging::begin(&target).unwrap();
        staging.home().write_private(&staging.home().config_path(), b"").unwrap();
        assert!(!target.exists());
        drop(staging);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let staging = Staging::begin(&target).unwrap();
        staging.home().write_private(&staging.home().config_path(), b"whole").unwrap();
        let home = staging.place().unwrap();
        assert_eq!(fs::read(home.config_path()).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_attempt_left_is_removed_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("home");
        let mut killed = Staging::begin(&target).unwrap();
        // Its lock goes with it, what it wrote does not.
        killed.placed = Placed::Yes;
        drop(killed);
        let leftover = dir.path().join("home.restoring/master.key");
        fs::write(&leftover, "canary").unwrap();
        let staging = Staging::begin(&target).unwrap();
        assert!(!leftover.exists());
        staging.place().unwrap();
    }

    #[test]
    fn a_directory_of_somebody_else_s_and_an_attempt_under_way_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("home");
        let begun = Staging::begin(&target).unwrap();
        begun.home().write_private(&begun.home().config_path(), b"begun").unwrap();
        assert!(matches!(Staging::begin(&target), Err(HomeError::InUse { .. })));
        assert_eq!(fs::read(begun.home().config_path()).unwrap(), b"begun");
        drop(begun);
        let theirs = dir.path().join("home.restoring/photo");
        fs::create_dir(dir.path().join("home.restoring")).unwrap();
        fs::write(&theirs, "theirs").unwrap();
        assert!(matches!(Staging::begin(&target), Err(HomeError::Occupied(_))));
        assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
    }

    #[test]
    fn a_place_with_something_in_it_is_left_alone_and_an_empty_one_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("home");
        // As after a command in a home that was not there.
        Home::open(&target).unwrap();
        drop(Staging::begin(&target).unwrap());
        fs::write(target.join("config.toml"), "mine").unwrap();
        let refused = Staging::begin(&target).err().unwrap();
        assert!(refused.to_string().contains("--home"), "{refused}");
        assert_eq!(fs::read(target.join("config.toml")).unwrap(), b"mine");
        fs::remove_file(target.join("config.toml")).unwrap();
        Staging::begin(&target).unwrap().place().unwrap();
    }
}
