//! What an unprivileged user can still write to a file system: free blocks without the reserve of root, and less where a
//! quota says so.

use std::fs::File;
use std::io;

use nix::sys::statvfs::fstatvfs;

use crate::sys::quota::{FileOwner, quota_left};

/// The free space of a file system at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FreeSpace {
    /// Bytes that can still be written.
    pub(super) free: u64,
    /// Bytes of the whole file system.
    pub(super) total: u64,
    /// Size of one block in bytes.
    pub(super) block: u64,
}

impl FreeSpace {
    /// Asks the file system of `file`, and the quota of `owner` if there is one. Returns `None` where the file system has
    /// no limit that it tells, such as a tmpfs without one.
    ///
    /// # Errors
    /// The error of fstatvfs(3).
    pub(super) fn query(file: &File, owner: Option<FileOwner>) -> io::Result<Option<Self>> {
        let stat = fstatvfs(file)?;
        if stat.blocks() == 0 {
            return Ok(None);
        }
        let block = stat.fragment_size();
        let free = stat.blocks_available().saturating_mul(block);
        let quota = owner.and_then(|owner| quota_left(file, owner));
        Ok(Some(Self {
            free: quota.map_or(free, |left| free.min(left)),
            total: stat.blocks().saturating_mul(block),
            block: block.max(1),
        }))
    }
}
