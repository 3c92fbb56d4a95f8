//! A browser's profile that is thrown away: nobody else may look into it, and it is gone afterwards.
//!
//! One that a killed process left behind is swept by the next sign-in.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What such a directory's name begins with.
const PREFIX: &str = "llmtor-login-";
/// Longer than any sign-in takes.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);
/// A browser that was just ended may still be writing.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// The directory; deleted when dropped, if it was not before.
pub(super) struct Profile(PathBuf);

impl Profile {
    /// Makes one below `parent`, which is made if it is not there, and sweeps those that were left behind.
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        make(parent, true)?;
        sweep(parent, SystemTime::now());
        let path = parent.join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple()));
        make(&path, false)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Deletes it, also if the browser's last processes are still at it.
    pub(super) async fn remove(self) {
        for _ in 0..TRIES {
            match std::fs::remove_dir_all(&self.0) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        tracing::warn!(path = %self.0.display(), "the browser's profile cannot be deleted; delete it by hand");
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
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

fn sweep(parent: &Path, now: SystemTime) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let changed = entry.metadata().and_then(|meta| meta.modified());
        let is_old = changed.is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age > LEFT_BEHIND));
        if is_ours && is_old {
            let _ = std::fs::remove_dir_all(entry.path());
        }
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
        let (ours, other) = (room.path().join(format!("{PREFIX}1")), room.path().join("other"));
        for path in [&ours, &other] {
            std::fs::create_dir(path).unwrap();
        }
        sweep(room.path(), SystemTime::now());
        assert!(ours.exists(), "somebody may be signing in just now");
        sweep(room.path(), SystemTime::now() + LEFT_BEHIND + Duration::from_secs(60));
        assert!(!ours.exists() && other.exists());
    }
}
