//! The identity, the type and the age of a file, from its status (stat(2)).

use nix::sys::stat::{FileStat, SFlag};

use crate::sys::file::{STAT_BLOCK_BYTES, StatxInfo};

/// Identifies a file by device and inode, which do not change when it is renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The device that the file is on.
    pub device: u64,
    /// The number of its inode on that device.
    pub inode: u64,
}

/// Returns the identity of a file.
#[must_use]
pub fn file_id(stat: &FileStat) -> FileId {
    FileId {
        device: stat.st_dev,
        inode: stat.st_ino,
    }
}

/// Returns the identity of a file, from what statx(2) reports.
#[must_use]
pub fn file_id_of_statx(look: &StatxInfo) -> FileId {
    FileId {
        device: look.device,
        inode: look.inode,
    }
}

/// Returns the type of a file.
#[must_use]
pub fn file_type(stat: &FileStat) -> SFlag {
    file_type_of_mode(stat.st_mode)
}

/// Returns the type of a file, given the mode in its status.
#[must_use]
pub fn file_type_of_mode(mode: u32) -> SFlag {
    SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits())
}

/// Returns whether a file is a directory.
#[must_use]
pub fn is_directory(stat: &FileStat) -> bool {
    file_type(stat) == SFlag::S_IFDIR
}

/// Returns whether a file is a regular file.
#[must_use]
pub fn is_regular(stat: &FileStat) -> bool {
    file_type(stat) == SFlag::S_IFREG
}

/// Returns whether a file is a symbolic link.
#[must_use]
pub fn is_link(stat: &FileStat) -> bool {
    file_type(stat) == SFlag::S_IFLNK
}

/// Returns whether a file is a FIFO.
#[must_use]
pub fn is_fifo(stat: &FileStat) -> bool {
    file_type(stat) == SFlag::S_IFIFO
}

/// Returns the bytes that are allocated for a file. FUSE daemons may report any number of blocks.
#[must_use]
pub fn allocated_bytes(stat: &FileStat) -> u64 {
    let blocks = stat.st_blocks.max(0).cast_unsigned();
    blocks.saturating_mul(STAT_BLOCK_BYTES)
}

/// Returns whether a file was modified before another.
#[must_use]
pub fn is_older(there: &FileStat, from: &FileStat) -> bool {
    (there.st_mtime, there.st_mtime_nsec) < (from.st_mtime, from.st_mtime_nsec)
}
