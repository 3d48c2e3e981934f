//! The names in a directory, packed: a directory of a million entries takes some 30 MB.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::dir::Dir;
use nix::sys::stat::FileStat;

use crate::cp::order::{CopyOrder, OrderBy, size_key};

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

    /// Sorts the names as --first and --order ask for. `stat` returns the status of an entry, and `path` the path that
    /// patterns are compared with. Returns the number of names at the beginning that --first names.
    pub(super) fn sort(
        &mut self,
        order: &CopyOrder,
        stat: impl Fn(&OsStr) -> nix::Result<FileStat>,
        path: impl Fn(&OsStr) -> PathBuf,
    ) -> usize {
        let Self { bytes, entries } = self;
        let name = |at: &u32| name_at(bytes, *at);
        match order.by {
            None | Some(OrderBy::Given) => {}
            Some(OrderBy::Size) => {
                entries.sort_by_cached_key(|(_, at)| size_key(stat(name(at))));
            }
            Some(OrderBy::Name) => entries.sort_by(|(_, a), (_, b)| name(a).cmp(name(b))),
        }
        if order.first.is_empty() {
            return 0;
        }
        let ranked = entries
            .drain(..)
            .map(|entry| (order.rank(&path(name(&entry.1))), entry));
        let (mut first, rest): (Vec<_>, Vec<_>) =
            ranked.partition(|(rank, _)| *rank < order.first.len());
        first.sort_by_key(|(rank, _)| *rank);
        let count = first.len();
        entries.extend(first.into_iter().chain(rest).map(|(_, entry)| entry));
        count
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
