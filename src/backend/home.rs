//! The backend's home: a 0700 directory of 0600 files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Creates the directory and its parents where missing, and closes it to everybody else.
pub(super) fn ensure_private_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Creates an empty file that only its owner can read; one that exists is closed to everybody else.
pub(super) fn ensure_private_file(path: &Path) -> io::Result<()> {
    let file = private_options().create(true).truncate(false).open(path)?;
    close_to_others(&file)
}

/// Writes a whole file, for its owner only, so that a crash leaves the old one or the new one.
pub(super) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = private_options().create(true).truncate(true).open(&draft)?;
    close_to_others(&file)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn close_to_others(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "one signature on every platform")]
fn close_to_others(_file: &File) -> io::Result<()> {
    Ok(())
}
