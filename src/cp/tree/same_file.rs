//! Decides whether source and destination are one file, and whether that does any harm.

use nix::sys::stat::FileStat;

use crate::cp::at_path::AtPath;
use crate::cp::file_status::{file_id, is_link};
use crate::cp::options::{CopyMode, CopyOptions, Dereference};

/// The consequence for the copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SameFile {
    /// The copy does no harm and may continue.
    Harmless,
    /// The destination is already as it was asked for.
    AlreadyDone,
    /// The copy would destroy the source.
    Conflict,
}

/// An existing destination beside its source.
#[derive(Clone, Copy)]
pub(super) struct FilePair<'a> {
    pub(super) source: &'a AtPath,
    pub(super) dest: &'a AtPath,
    /// The status of the source.
    pub(super) from: &'a FileStat,
    /// The status of the destination.
    pub(super) there: &'a FileStat,
    pub(super) dereference: Dereference,
    pub(super) options: &'a CopyOptions,
}

impl FilePair<'_> {
    /// Decides what a copy would do, by the statuses as this copy reads them. The rules are cp's: two names of one file
    /// are an error, unless the destination is a link, or is removed before anything is written.
    pub(super) fn check(&self) -> SameFile {
        let never = self.dereference == Dereference::Never;
        if self.is_one_inode() && self.options.copy_mode == CopyMode::HardLink {
            return SameFile::AlreadyDone;
        }
        if never && is_link(self.from) && is_link(self.there) {
            return self.check_two_links();
        }
        if never {
            return self.check_entries();
        }
        if !self.is_one_inode() {
            return SameFile::Harmless;
        }
        let (Ok(from), Ok(there)) = (self.source.stat(false), self.dest.stat(false)) else {
            return SameFile::Harmless;
        };
        if is_link(&from) && is_link(&there) && self.options.remove_destination {
            return SameFile::Harmless;
        }
        let (from, there) = (&from, &there);
        FilePair {
            from,
            there,
            ..*self
        }
        .check_entries()
    }

    fn is_one_inode(&self) -> bool {
        file_id(self.from) == file_id(self.there)
    }

    /// Compares two symbolic links that are not followed: each may be copied over the other.
    fn check_two_links(&self) -> SameFile {
        if self.source.is_same_source(self.dest) {
            SameFile::Conflict
        } else if self.is_one_inode() && self.options.backup.is_none() {
            SameFile::AlreadyDone
        } else {
            SameFile::Harmless
        }
    }

    /// Compares entries that are not both links, by their statuses from lstat(2).
    fn check_entries(&self) -> SameFile {
        let (options, equal) = (self.options, self.is_one_inode());
        if options.backup.is_some() {
            return self.check_with_backup();
        }
        if options.remove_destination {
            if is_link(self.there) {
                return SameFile::Harmless;
            }
            if equal && self.there.st_nlink > 1 && !self.source.is_same_source(self.dest) {
                return SameFile::Harmless;
            }
        }
        if !is_link(self.from) && !is_link(self.there) {
            if !equal {
                return SameFile::Harmless;
            }
            if options.copy_mode == CopyMode::HardLink {
                return SameFile::AlreadyDone;
            }
        }
        if options.copy_mode == CopyMode::SymbolicLink && is_link(self.there) {
            return SameFile::Harmless;
        }
        if self.dereference == Dereference::Never {
            return self.check_through_links();
        }
        SameFile::Conflict
    }

    /// Compares source and destination where the destination is renamed first: there is a conflict only if it is the
    /// very entry of the source, or the target of the source.
    fn check_with_backup(&self) -> SameFile {
        let follows = self.dereference != Dereference::Never;
        let dangles = follows && is_link(self.from) && !is_link(self.there);
        let bad = if self.is_one_inode() {
            self.source.is_same_source(self.dest)
        } else {
            dangles
        };
        if bad {
            SameFile::Conflict
        } else {
            SameFile::Harmless
        }
    }

    /// Compares a link with its target, where one would be copied over the other.
    fn check_through_links(&self) -> SameFile {
        let target = |place: &AtPath, stat: &FileStat| {
            if is_link(stat) {
                place.stat(true).ok()
            } else {
                Some(*stat)
            }
        };
        match (
            target(self.source, self.from),
            target(self.dest, self.there),
        ) {
            (Some(a), Some(b)) if file_id(&a) == file_id(&b) => {}
            _ => return SameFile::Harmless,
        }
        match self.options.copy_mode {
            CopyMode::HardLink if is_link(self.there) => SameFile::Harmless,
            CopyMode::HardLink => SameFile::AlreadyDone,
            CopyMode::Copy | CopyMode::SymbolicLink => SameFile::Conflict,
        }
    }
}
