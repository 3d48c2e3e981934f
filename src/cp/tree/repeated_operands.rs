//! Operands that name one source twice, or lead to one destination.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;

use nix::sys::stat::FileStat;

use super::CopyRun;
use crate::cp::at_path::AtPath;
use crate::cp::file_status::{FileId, file_id, is_directory};
use crate::cp::operands::OperandJobs;
use crate::cp::options::CopyOptions;
use crate::sys::lock::lock;

/// The operands so far, where there are several.
pub(super) struct RepeatedOperands {
    several: bool,
    sources: HashSet<(FileId, Vec<u8>, FileId)>,
    /// The destinations as they are written: cp treats two names that lead to one file separately.
    names: HashSet<OsString>,
    links: HashSet<FileId>,
}

impl RepeatedOperands {
    pub(super) fn new(jobs: &OperandJobs) -> Self {
        Self {
            several: jobs.list.len() > 1,
            sources: HashSet::new(),
            names: HashSet::new(),
            links: HashSet::new(),
        }
    }

    /// Returns whether there is more than one operand.
    pub(super) fn several(&self) -> bool {
        self.several
    }

    /// Returns whether this very entry was an operand before. With backups each is copied again, and the walk handles
    /// repeated directories itself.
    pub(super) fn is_repeated(
        &mut self,
        source: &AtPath,
        from: &FileStat,
        options: &CopyOptions,
    ) -> bool {
        if !self.several {
            return false;
        }
        let Ok((above, name)) = source.entry() else {
            return false;
        };
        let new = self.sources.insert((above, name.to_vec(), file_id(from)));
        !new && !is_directory(from) && options.backup.is_none()
    }

    /// Notes a symbolic link that this run made.
    pub(super) fn note_symlink(&mut self, link: &FileStat) {
        if self.several {
            self.links.insert(file_id(link));
        }
    }

    /// Returns whether this run made any symbolic links.
    pub(super) fn has_links(&self) -> bool {
        !self.links.is_empty()
    }

    /// Returns whether this run made this symbolic link.
    pub(super) fn is_our_link(&self, link: &FileStat) -> bool {
        self.links.contains(&file_id(link))
    }

    /// Returns whether an earlier operand led to this name.
    pub(super) fn is_earlier_dest(&self, dest: &Path) -> bool {
        self.several && self.names.contains(dest.as_os_str())
    }

    /// Notes that an operand leads to this name.
    pub(super) fn note_dest(&mut self, dest: &Path) {
        if self.several {
            self.names.insert(dest.into());
        }
    }
}

impl CopyRun<'_> {
    /// Notes the name that an operand was copied to, and the inode of the copy.
    pub(super) fn note_made(&self, dest: &Path, made: FileId) {
        let mut all = lock(&self.made);
        all.insert(dest.into(), made);
    }

    /// Returns the inode of the copy that an operand made at this name.
    pub(super) fn operand_dest_id(&self, dest: &Path) -> Option<FileId> {
        let all = lock(&self.made);
        all.get(dest.as_os_str()).copied()
    }
}
