//! How much space a copy needed and how much there was, for errors that say only that there is no space.

use std::fs::File;

use nix::sys::stat::fstat;
use nix::sys::statvfs::fstatvfs;

use super::file_status::{allocated_bytes, is_regular};
use crate::transfer::Error;
use crate::transfer::capabilities::SourceInfo;
use crate::transfer::plan::{Sparse, TransferOptions};

/// The space that a copy needed, and what there was for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceShortage {
    /// Bytes of data that the copy was to write.
    pub needed: u64,
    /// Bytes that this user could have had for it, those that the destination holds already included.
    pub free: u64,
}

/// Returns how many bytes of data a copy writes: without the holes, if they are kept. It is 0 for a stream, whose size is
/// not known.
pub(super) fn needed_bytes(source: &SourceInfo, options: &TransferOptions) -> u64 {
    match options.sparse {
        Sparse::Never => source.size,
        Sparse::Auto | Sparse::Always => source.data,
    }
}

impl SpaceShortage {
    /// Asks the file system of `dest` why a copy of `needed` bytes has failed. Returns `None` if the error is another, or
    /// if the file system reports enough space: then the limit is one that it does not tell, such as the quota of a user.
    pub(super) fn of(error: &Error, needed: u64, dest: &File) -> Option<Self> {
        error.no_space()?;
        let stat = fstat(dest).ok().filter(is_regular)?;
        // A tmpfs without a limit has 0 blocks.
        let space = fstatvfs(dest).ok().filter(|space| space.blocks() > 0)?;
        let blocks = if nix::unistd::geteuid().is_root() {
            space.blocks_free()
        } else {
            space.blocks_available()
        };
        let held = allocated_bytes(&stat);
        let free = (blocks * space.fragment_size()).saturating_add(held);
        (free < needed).then_some(Self { needed, free })
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use nix::errno::Errno;

    use super::*;
    use crate::transfer::errno_class::Endpoint;

    fn shortage(errno: Errno, needed: u64) -> Option<SpaceShortage> {
        let dest = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let error = Error::Io(Endpoint::Dest, io::Error::from(errno));
        SpaceShortage::of(&error, needed, &dest)
    }

    #[test]
    fn only_space_that_is_missing_is_told() {
        for errno in [Errno::ENOSPC, Errno::EDQUOT] {
            let told = shortage(errno, u64::MAX).expect("more than there is anywhere");
            assert_eq!(told.needed, u64::MAX);
            assert!(told.free > 0 && told.free < u64::MAX, "{told:?}");
            assert_eq!(shortage(errno, 0), None, "there is enough");
        }
        assert_eq!(shortage(Errno::EIO, u64::MAX), None);
    }
}
