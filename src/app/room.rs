//! Whether there is room on the disk of a home.

use crate::control::message::Room;
use crate::datadir::Home;

/// Less than this, and the next write may be the one that fails.
#[cfg(unix)]
const LEAST: u64 = 64 * 1024;

/// For what a call writes. A disk that cannot be looked at has room.
pub(super) fn of(home: &Home) -> Room {
    #[cfg(unix)]
    if let Ok(disk) = rustix::fs::statvfs(home.root())
        && disk.f_bavail.saturating_mul(disk.f_frsize) < LEAST
    {
        return Room::None;
    }
    Room::Some
}
