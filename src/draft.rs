//! A small file, replaced whole: a draft beside it, on disk, then in its place. After a crash it is the old one or the new one.
//!
//! The file is the path's own: whoever means what a link leads to says that path. A draft that did not take its place is taken
//! away again, for it may hold a secret.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Who may read the file.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// Its owner.
    Private,
    /// As the system has it for a new one.
    Usual,
    /// As another one, mostly itself before.
    As(Permissions),
}

/// What is to take a file's place.
pub(crate) struct Draft<'p> {
    path: &'p Path,
    draft: PathBuf,
}

impl<'p> Draft<'p> {
    /// Writes it; on disk when this returns.
    pub(crate) fn of(path: &'p Path, bytes: &[u8], mode: Mode) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{:016x}.new", rand::random::<u64>()));
        let draft = Self { path, draft: PathBuf::from(name) };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if !matches!(mode, Mode::Usual) {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        let mut file = options.open(&draft.draft)?;
        file.write_all(bytes)?;
        if let Mode::As(permissions) = mode {
            file.set_permissions(permissions)?;
        }
        file.sync_all()?;
        Ok(draft)
    }

    /// Puts it in the file's place; on disk when this returns.
    pub(crate) fn take_place(self) -> io::Result<()> {
        fs::rename(&self.draft, self.path)?;
        match self.path.parent() {
            Some(directory) if cfg!(unix) && !directory.as_os_str().is_empty() => {
                File::open(directory)?.sync_all()
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // Mostly it is gone, and in its place.
        drop(fs::remove_file(&self.draft));
    }
}

/// The name of the file that one of `name` was to replace, if it is a draft's.
pub(crate) fn file_of(name: &str) -> Option<&str> {
    let (file, mark) = name.strip_suffix(".new")?.rsplit_once('.')?;
    let is_mark = mark.len() == 16 && mark.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_mark && !file.is_empty()).then_some(file)
}

/// Both.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    Draft::of(path, bytes, mode)?.take_place()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_known_by_its_name() {
        assert_eq!(file_of("session.sealed.0123456789abcdef.new"), Some("session.sealed"));
        for other in ["session.sealed", "notes.new", ".0123456789abcdef.new", "a.0123456789ABCDEF.new"] {
            assert_eq!(file_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_draft_takes_the_file_s_place_or_leaves_nothing() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("file");
        replace(&path, b"old", Mode::Usual).unwrap();
        drop(Draft::of(&path, b"given up", Mode::Private).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        replace(&path, b"new", Mode::As(fs::metadata(&path).unwrap().permissions())).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn who_may_read_it_is_as_it_was_said() {
        use std::os::unix::fs::PermissionsExt as _;
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("file");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        replace(&path, b"", Mode::Private).unwrap();
        assert_eq!(mode(), 0o600);
        for wanted in [0o640, 0o444, 0o600] {
            replace(&path, b"", Mode::As(Permissions::from_mode(wanted))).unwrap();
            assert_eq!(mode(), wanted);
        }
    }
}
