//! The names in a directory, packed: a directory of a million entries takes some 30 MB.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use nix::dir::Dir;

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

    /// Returns the names, one after the other.
    pub(super) fn iter(&self) -> impl Iterator<Item = &OsStr> {
        self.entries.iter().map(|(_, at)| {
            let rest = &self.bytes[*at as usize..];
            let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
            OsStr::from_bytes(&rest[..end])
        })
    }
}
