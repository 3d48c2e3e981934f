//! The modes that new files are created with, which never grant more than the final mode, and the bits that are added
//! or removed at the end.

use std::fs::File;
use std::io;

use nix::sys::stat::{FileStat, SFlag};

use super::acl::SPECIAL_BITS;
use super::handle::{ALL_BITS, AttrHandle};
use super::owner::{OWNER_BITS, narrowed};
use super::{Attributes, DIRECTORY_DEFAULT, FILE_DEFAULT, default_of};
use crate::cp::file_status::file_type;

/// Permission bits of group and others.
const NON_OWNER_BITS: u32 = 0o077;

/// Permission bits that let group and others create files in a directory that is being filled.
const OTHERS_WRITE: u32 = 0o022;

const OWNER_WRITE: u32 = 0o200;

/// The bits that the kernel clears when a process other than root writes.
const CLEARED_BY_WRITE: u32 = 0o6000;

/// The bits of the mode that are still to be cleared and added on a file that this run made.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingMode {
    clear: u32,
    add: u32,
}

impl PendingMode {
    pub(super) fn add(add: u32) -> Self {
        Self { clear: 0, add }
    }

    /// Returns the change that leaves exactly `mode`. It is for directories whose permissions were widened temporarily.
    fn exactly(mode: u32) -> Self {
        Self {
            clear: ALL_BITS & !mode,
            add: mode,
        }
    }

    pub(super) fn apply(self, to: &AttrHandle<'_>) -> io::Result<()> {
        let now = to.stat()?.st_mode & ALL_BITS;
        let end = now & !self.clear | self.add;
        if end == now { Ok(()) } else { to.set_mode(end) }
    }
}

impl Attributes {
    /// Returns the mode for open(2) of a new regular file.
    #[must_use]
    pub fn file_mode(&self, from: &FileStat) -> u32 {
        let bits = from.st_mode & DIRECTORY_DEFAULT & !self.withheld(from);
        bits & self.allowed(FILE_DEFAULT) | self.extra(from)
    }

    /// Returns the mode for mknod(2) of a FIFO, a socket or a device.
    #[must_use]
    pub fn special_mode(&self, from: &FileStat) -> u32 {
        let bits = from.st_mode & ALL_BITS & !self.withheld(from);
        // Set-id bits mean nothing on these, and cp leaves them as mknod(2) made them.
        bits & (self.allowed(default_of(from)) | SPECIAL_BITS)
    }

    /// Returns the mode for mkdir(2). [`grant_owner_access`](Self::grant_owner_access) adds the bits that its owner
    /// needs to fill the directory.
    #[must_use]
    pub fn directory_mode(&self, from: &FileStat) -> u32 {
        from.st_mode & ALL_BITS & !self.withheld(from)
    }

    /// Returns the mode for mkdir(2) of a directory that --parents names.
    #[must_use]
    pub fn parent_mode(&self, from: &FileStat) -> u32 {
        let withheld = if self.preserve.mode || self.preserve.ownership {
            NON_OWNER_BITS
        } else {
            0
        };
        self.parent_bits(from) & !withheld
    }

    /// Gives the owner read, write and search permission on a new directory where the mode, the umask or a default ACL
    /// withholds them. Returns the mode that the directory was made with, reduced to `asked`.
    ///
    /// # Errors
    /// Returns the errors of the system calls.
    pub fn grant_owner_access(&self, dest: &File, asked: u32) -> io::Result<u32> {
        let held = AttrHandle::from_clone(dest)?;
        let mut made = held.stat()?.st_mode & ALL_BITS;
        if made & DIRECTORY_DEFAULT & !asked != 0 {
            // On a file system that does not keep modes this changes nothing. On one that does, this is not the
            // directory that was made.
            made &= asked | !DIRECTORY_DEFAULT;
            let _ = held.set_mode(made | OWNER_BITS);
        } else if made & OWNER_BITS != OWNER_BITS {
            held.set_mode(made | OWNER_BITS)?;
        }
        Ok(made)
    }

    /// Narrows the mode of an existing regular file before private data is written to it. Returns whether the mode was
    /// changed; if nothing is written in the end, [`restore_mode`](Self::restore_mode) undoes the change.
    #[must_use]
    pub fn narrow_before_write(&self, from: &FileStat, dest: &File, before: &FileStat) -> bool {
        if !self.preserve.mode || self.attributes_only || file_type(before) != SFlag::S_IFREG {
            return false;
        }
        let mut narrow = narrowed(before.st_mode, from);
        if self.root && self.preserve.ownership && before.st_uid != from.st_uid {
            // The present owner is not the final owner, and shall not read the data.
            narrow &= !OWNER_BITS;
        }
        if !self.root {
            // The kernel clears these bits with the first write, but not on a file that nobody may execute.
            narrow &= !CLEARED_BY_WRITE;
            if self.preserve.xattr {
                narrow |= before.st_mode & OWNER_WRITE;
            }
        }
        // If this process may not change the mode, the final change of attributes fails too, and that failure is
        // reported.
        narrow != before.st_mode & ALL_BITS && AttrHandle::Open(dest).set_mode(narrow).is_ok()
    }

    /// Restores the mode from before [`narrow_before_write`](Self::narrow_before_write). The ACL needs no restoring,
    /// since only its mask was changed.
    ///
    /// # Errors
    /// Returns the error of fchmod(2).
    pub fn restore_mode(&self, dest: &File, before: &FileStat) -> io::Result<()> {
        AttrHandle::Open(dest).set_mode(before.st_mode)
    }

    /// Returns the owner's write permission where it is missing and extended attributes are to be written, which the
    /// kernel allows only on writable files. The bit is removed afterwards.
    pub(super) fn extra(&self, from: &FileStat) -> u32 {
        if self.preserve.xattr && !self.root {
            OWNER_WRITE & !from.st_mode
        } else {
            0
        }
    }

    /// Returns whether the owner or the mode of a new file is changed after its creation.
    pub(super) fn changes_mode(&self) -> bool {
        self.preserve.mode || self.preserve.ownership || self.preserve.default_mode
    }

    /// Returns the bits of `default` where --no-preserve=mode limits the mode to them, else all bits.
    fn allowed(&self, default: u32) -> u32 {
        if self.preserve.default_mode {
            default
        } else {
            ALL_BITS
        }
    }

    /// Returns the permission bits that a file gets only when it is complete. They are withheld because an owner, an
    /// ACL or another mode is still to be set, or because others could write into a directory while it is being filled.
    fn withheld(&self, from: &FileStat) -> u32 {
        if self.changes_mode() {
            NON_OWNER_BITS
        } else if file_type(from) == SFlag::S_IFDIR {
            OTHERS_WRITE
        } else {
            0
        }
    }

    /// Returns those of the withheld bits that are added in the end where the mode itself is not preserved.
    pub(super) fn deferred_bits(&self, from: &FileStat) -> u32 {
        let omitted = if self.preserve.ownership {
            NON_OWNER_BITS
        } else if file_type(from) == SFlag::S_IFDIR {
            OTHERS_WRITE
        } else {
            0
        };
        from.st_mode & omitted & !self.umask
    }

    /// Returns the final change of a directory's mode. `made` is the mode that mkdir(2) gave the directory.
    pub(super) fn complete_directory(&self, made: u32, from: &FileStat) -> PendingMode {
        if made & OWNER_BITS == OWNER_BITS {
            PendingMode::add(self.deferred_bits(from))
        } else {
            PendingMode::exactly(made | self.deferred_bits(from))
        }
    }

    pub(super) fn complete_parent(&self, made: u32, from: &FileStat) -> PendingMode {
        let omitted = if self.preserve.ownership {
            NON_OWNER_BITS
        } else {
            0
        };
        PendingMode::exactly(made | self.parent_bits(from) & omitted & !self.umask)
    }

    fn parent_bits(&self, from: &FileStat) -> u32 {
        if self.preserve.default_mode {
            DIRECTORY_DEFAULT
        } else {
            from.st_mode & ALL_BITS
        }
    }
}
