//! The check whether the data of a file can fit into the file system of its destination.

use std::fs::File;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statfs::{self, fstatfs};

use super::errno_class::Endpoint;
use super::error::Error;
use super::stop_check::StopCheck;

/// Number of times that a file system without space is queried again: xfs frees the blocks of removed files in the
/// background (it was seen to report no space for some milliseconds after a removal), and a query starts that work.
pub(super) const FREE_SPACE_CHECKS: u32 = 10;
/// Time between two of these queries.
pub(super) const FREE_SPACE_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Checks whether `data` bytes can fit into the file system of `dest`, if `freed` bytes of it are freed first. Only a
/// certain "no" is reported: file systems that compress, share or grow are not checked.
///
/// # Errors
/// ENOSPC if it is certain; the error of `check_stop`.
pub(super) fn check_free_space(
    dest: &File,
    data: u64,
    freed: u64,
    check_stop: &mut StopCheck<'_>,
) -> Result<(), Error> {
    for _ in 0..FREE_SPACE_CHECKS {
        if !is_full_for(dest, data, freed) {
            return Ok(());
        }
        check_stop()?;
        std::thread::sleep(FREE_SPACE_CHECK_INTERVAL);
    }
    Err(Error::Io(Endpoint::Dest, Errno::ENOSPC.into()))
}

fn is_full_for(dest: &File, data: u64, freed: u64) -> bool {
    let Ok(stat) = fstatfs(dest) else {
        return false;
    };
    let counts = matches!(
        stat.filesystem_type(),
        statfs::EXT4_SUPER_MAGIC | statfs::XFS_SUPER_MAGIC | statfs::TMPFS_MAGIC
    );
    // f_bfree counts root's reserve, which we may be allowed to use; f_blocks is 0 on a tmpfs without a limit.
    let block = stat.block_size().unsigned_abs();
    let free = stat.blocks_free().saturating_mul(block);
    counts && stat.blocks() > 0 && data > free.saturating_add(freed)
}
