//! A browser's profile that is thrown away: nobody else may look into it, and it is gone afterwards.
//!
//! One that a killed process left behind is swept by the next sign-in, or by the daemon's start: whoever uses a profile holds
//! a lock in it, which the system lets go of with the process.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What such a directory's name begins with.
const PREFIX: &str = "llmtor-login-";
/// The lock in it.
const LOCK: &str = "llmtor.lock";
/// Longer than a profile is without its lock, while it is made or deleted.
const UNLOCKED: Duration = Duration::from_secs(60);
/// A browser that was just ended may still be writing.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// The directory; deleted when dropped, if it was not before.
pub(super) struct Profile {
    path: PathBuf,
    _lock: File,
}

impl Profile {
    /// Makes one below `parent`, which is made if it is not there, and sweeps those that were left behind.
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        make(parent, true)?;
        sweep(parent, SystemTime::now());
        let path = parent.join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple()));
        make(&path, false)?;
        let lock = File::create(path.join(LOCK))?;
        lock.try_lock()?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes it, also if the browser's last processes are still at it.
    pub(super) async fn remove(self) {
        for _ in 0..TRIES {
            match std::fs::remove_dir_all(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        tracing::warn!(path = %self.path.display(), "the browser's profile cannot be deleted; delete it by hand");
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn make(path: &Path, recursive: bool) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(recursive);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// Deletes the profiles below `parent` that nobody uses any more.
pub fn sweep(parent: &Path, now: SystemTime) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_left_behind(&entry.path(), now) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn is_left_behind(profile: &Path, now: SystemTime) -> bool {
    match File::open(profile.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let changed = profile.metadata().and_then(|meta| meta.modified());
            changed.is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age > UNLOCKED))
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_profile_is_private_and_gone_afterwards() {
        let room = tempfile::tempdir().unwrap();
        let profile = Profile::create(&room.path().join("browser")).unwrap();
        let path = profile.path().to_owned();
        std::fs::write(path.join("Cookies"), "x").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
        profile.remove().await;
        assert!(!path.exists());
        let dropped = Profile::create(room.path()).unwrap().path().to_owned();
        assert!(!dropped.exists());
    }

    #[test]
    fn what_was_left_behind_is_swept_and_nothing_else() {
        let room = tempfile::tempdir().unwrap();
        let used = Profile::create(room.path()).unwrap();
        let [left, bare, other] = [format!("{PREFIX}1"), format!("{PREFIX}2"), "other".to_owned()];
        let [left, bare, other] = [left, bare, other].map(|name| room.path().join(name));
        for path in [&left, &bare, &other] {
            std::fs::create_dir(path).unwrap();
        }
        std::fs::write(left.join(LOCK), "").unwrap();
        let now = SystemTime::now();
        sweep(room.path(), now);
        assert!(!left.exists(), "its lock is free");
        assert!(bare.exists(), "somebody may be making it");
        sweep(room.path(), now + 2 * UNLOCKED);
        assert!(!bare.exists() && other.exists());
        assert!(used.path().exists(), "somebody is signing in just now");
    }
}
