//! Whether another process can write to a source while it is copied: by its descriptors and its mappings.
//!
//! A store through a shared mapping changes the modification time of a file once, when the page is first written to, and
//! not again. A copy beside such stores is torn, and neither size nor time shows it. The kernel counts who has a file
//! open for writing, mappings included, and a lease asks for that count.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::sys::statfs;

use super::capabilities::{SourceInfo, SourceKind, fs_name};
use super::errno_class::retry;
use crate::sys::file_lease::{is_open_elsewhere, is_open_for_writing};
use crate::sys::strerror::strerror;

/// File systems other than those in memory whose inodes count all who write to them. Others show a file that is kept
/// elsewhere, below an overlay or on a server, where more processes may write to it.
const COUNTS_WRITERS: [statfs::FsType; 4] = [
    statfs::EXT4_SUPER_MAGIC,
    statfs::XFS_SUPER_MAGIC,
    statfs::BTRFS_SUPER_MAGIC,
    statfs::F2FS_SUPER_MAGIC,
];

/// Whether another process can write to a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writers {
    /// No process has it open for writing, or mapped so that it can be written to.
    None,
    /// Some process has it open or mapped in this way.
    Possible,
    /// It cannot be told, for this reason.
    Unknown(String),
}

impl Writers {
    /// Asks the kernel about a source that is open for reading.
    #[must_use]
    pub fn query(source: &File, info: &SourceInfo) -> Self {
        let unknown = |why: &str| Self::Unknown(why.to_owned());
        match info.kind {
            SourceKind::Stream => return unknown("it is no regular file with a size"),
            SourceKind::BlockDevice => return unknown("it is a block device"),
            SourceKind::Disk if !COUNTS_WRITERS.contains(&info.fs) => {
                let name = fs_name(info.fs);
                return Self::Unknown(format!("{name}: a lease does not show all writers"));
            }
            SourceKind::Disk | SourceKind::Tmpfs | SourceKind::Hugetlbfs | SourceKind::Ramfs => {}
        }
        match retry(|| is_open_for_writing(source)) {
            Ok(false) => Self::None,
            Ok(true) => Self::Possible,
            Err(e) => Self::Unknown(refusal(&e)),
        }
    }

    /// Asks the kernel about a file in memory that is open for writing here. Readers count as well, since only a lease that
    /// they prevent can be had then.
    #[must_use]
    pub fn query_others(source: &File) -> Self {
        match retry(|| is_open_elsewhere(source)) {
            Ok(false) => Self::None,
            Ok(true) => Self::Possible,
            Err(e) => Self::Unknown(refusal(&e)),
        }
    }

    /// Returns what is known of the time between an `earlier` answer and this one.
    #[must_use]
    pub fn since(self, earlier: &Self) -> Self {
        match (earlier, &self) {
            (Self::Possible, _) | (_, Self::None) => earlier.clone(),
            _ => self,
        }
    }

    /// Returns the word of `--json`: `none`, `possible` or `unknown`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Possible => "possible",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Returns why it cannot be told, where that is so.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Unknown(why) => Some(why),
            Self::None | Self::Possible => None,
        }
    }
}

/// Returns in words why a lease was refused.
fn refusal(error: &io::Error) -> String {
    let why = strerror(error);
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => {
            format!("a lease needs the owner of the file or CAP_LEASE ({why})")
        }
        _ => format!("no lease can be taken ({why})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_of_two_answers_stands() {
        let unknown = || Writers::Unknown("why".into());
        let table = [
            (Writers::None, Writers::None, "none"),
            (Writers::None, Writers::Possible, "possible"),
            (Writers::Possible, Writers::None, "possible"),
            (unknown(), Writers::None, "unknown"),
            (Writers::None, unknown(), "unknown"),
            (unknown(), Writers::Possible, "possible"),
            (Writers::Possible, unknown(), "possible"),
        ];
        for (earlier, later, want) in table {
            let context = format!("{earlier:?}, {later:?}");
            assert_eq!(later.since(&earlier).name(), want, "{context}");
        }
    }
}
