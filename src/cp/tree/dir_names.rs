//! The names in a directory, packed: a directory of a million entries takes some 30 MB.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use nix::dir::Dir;

use crate::cp::by_inode::lstat_at;
use crate::cp::file_status::is_directory;

/// The names in a directory, in the order of their inodes, as in cp: on a disk neighbouring inodes are close together.
#[derive(Debug)]
pub(super) struct DirNames {
    bytes: Vec<u8>,
    /// The inode, and the offset of the name in `bytes`; the name ends with a NUL, which no name contains.
    entries: Vec<(u64, u32)>,
}

impl DirNames {
    /// Reads a directory to its end.
    ///
    /// # Errors
    /// Returns the error of readdir(3), or an error for more than 4 GiB of names.
    pub(super) fn of(directory: impl AsFd) -> std::io::Result<Self> {
        let mut listing = Dir::from_fd(directory.as_fd().try_clone_to_owned()?)?;
        let mut names = Self {
            bytes: Vec::new(),
            entries: Vec::new(),
        };
        for entry in listing.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            if name != b".\0" && name != b"..\0" {
                let at = u32::try_from(names.bytes.len()).map_err(std::io::Error::other)?;
                names.entries.push((entry.ino(), at));
                names.bytes.extend_from_slice(name);
            }
        }
        names.entries.sort_by_key(|(inode, _)| *inode);
        Ok(names)
    }

    /// Sorts the names by the sizes of their files, the smallest first, and directories last: a small file is drained soon.
    pub(super) fn sort_by_size(&mut self, directory: impl AsFd) {
        let key = |at: u32| {
            let stat = lstat_at(directory.as_fd(), name_at(&self.bytes, at));
            // What has gone meanwhile is reported first.
            stat.map_or((false, 0), |stat| (is_directory(&stat), stat.st_size))
        };
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_by_cached_key(|(_, at)| key(*at));
        self.entries = entries;
    }

    /// Returns the names, one after the other.
    pub(super) fn iter(&self) -> impl Iterator<Item = &OsStr> {
        self.entries.iter().map(|(_, at)| name_at(&self.bytes, *at))
    }
}

/// Returns the name that begins at an offset.
fn name_at(bytes: &[u8], at: u32) -> &OsStr {
    let rest = &bytes[at as usize..];
    let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
    OsStr::from_bytes(&rest[..end])
}
