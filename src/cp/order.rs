//! The order of --first and --order: which operands, and which entries of a directory, are copied before the others.
//!
//! Without these options the order is that of cp: operands as they are given, entries in the order of their inodes.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::stat::FileStat;

use super::file_status::{allocated_bytes, is_directory};
use super::path_parts::split;
use crate::sys::fnmatch;

/// The key by which files are copied one after the other (--order).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderBy {
    /// Operands as they are given, and the entries of a directory by their inodes, as cp does.
    Given,
    /// The least allocated bytes first, and directories last.
    Size,
    /// The bytes of the last component of the path.
    Name,
}

/// The settings of --first and --order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyOrder {
    /// The patterns of --first, the most important one first.
    pub first: Vec<CString>,
    /// The key of --order; `None` where the option was not given.
    pub by: Option<OrderBy>,
}

impl CopyOrder {
    /// Returns whether the order differs from that of cp.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.first.is_empty() || !matches!(self.by, None | Some(OrderBy::Given))
    }

    /// Returns the index of the first pattern that a path matches, or the number of patterns where none does. A pattern
    /// with a slash is compared with the path, in which `*` matches no slash, and any other with its last component.
    #[must_use]
    pub fn rank(&self, path: &Path) -> usize {
        let bytes = path.as_os_str().as_bytes();
        let (above, name) = split(bytes);
        let whole = &bytes[..bytes.len().min(above.len() + name.len())];
        let (Ok(whole), Ok(name)) = (CString::new(whole), CString::new(name)) else {
            return self.first.len();
        };
        let matches = |pattern: &CString| {
            let of_path = pattern.as_bytes().contains(&b'/');
            fnmatch::matches_path(pattern, if of_path { &whole } else { &name })
        };
        let found = self.first.iter().position(matches);
        found.unwrap_or(self.first.len())
    }
}

/// The sort key of --order=size: what cannot be examined comes first, so that it is reported first, and directories
/// come last.
pub type SizeKey = (bool, u64);

/// Returns the sort key of --order=size for a file with this status.
#[must_use]
pub fn size_key(stat: nix::Result<FileStat>) -> SizeKey {
    stat.map_or((false, 0), |stat| match is_directory(&stat) {
        true => (true, 0),
        false => (false, allocated_bytes(&stat)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_with_a_slash_is_compared_with_the_path() {
        let patterns = [c"core.*", c"logs/*.txt", c"[ab]?"];
        let order = CopyOrder {
            first: patterns.map(CString::from).to_vec(),
            by: None,
        };
        for (path, rank) in [
            ("core.1", 0),
            ("x/core.2/", 0),
            ("core", 3),
            ("logs/a.txt", 1),
            ("x/logs/a.txt", 3),
            ("logs/x/a.txt", 3),
            ("d/a1", 2),
            ("/", 3),
        ] {
            assert_eq!(order.rank(Path::new(path)), rank, "{path}");
        }
    }
}
