//! What tells one file from another, and which of two was modified later.

use nix::sys::stat::FileStat;

/// A file by what does not change when it is renamed: device and inode.
pub type FileId = (u64, u64);

/// The identity that a stat tells.
#[must_use]
pub fn file_id(stat: &FileStat) -> FileId {
    (stat.st_dev, stat.st_ino)
}

/// Whether a file was modified before another.
#[must_use]
pub fn is_older(there: &FileStat, from: &FileStat) -> bool {
    (there.st_mtime, there.st_mtime_nsec) < (from.st_mtime, from.st_mtime_nsec)
}
