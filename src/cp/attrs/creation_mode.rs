//! The modes that things are made with: never more than they end with, and what is left to add or to take away then.

use std::fs::File;
use std::io;

use nix::sys::stat::{FileStat, SFlag};

use super::acl::SPECIAL_BITS;
use super::handle::{ALL_BITS, AttrHandle};
use super::owner::{OWNER_BITS, narrowed};
use super::{Attributes, DIRECTORY_DEFAULT, FILE_DEFAULT, default_of};
use crate::cp::file_status::file_type;

/// Permissions of all who are not the owner.
const NON_OWNER_BITS: u32 = 0o077;

/// Of those, what lets them put something into a directory that is being filled.
const OTHERS_WRITE: u32 = 0o022;

const OWNER_WRITE: u32 = 0o200;

/// What a write by others than root takes away.
const CLEARED_BY_WRITE: u32 = 0o6000;

/// What is left to do about the mode of a thing that this run made.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingMode {
    clear: u32,
    add: u32,
}

impl PendingMode {
    pub(super) fn add(add: u32) -> Self {
        Self { clear: 0, add }
    }

    /// For what was opened up: all that was taken or given for that is undone.
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
    /// For open(2) of a new regular file.
    #[must_use]
    pub fn file_mode(&self, from: &FileStat) -> u32 {
        let bits = from.st_mode & DIRECTORY_DEFAULT & !self.withheld(from);
        bits & self.allowed(FILE_DEFAULT) | self.extra(from)
    }

    /// For mknod(2) of a FIFO, a socket or a device.
    #[must_use]
    pub fn special_mode(&self, from: &FileStat) -> u32 {
        let bits = from.st_mode & ALL_BITS & !self.withheld(from);
        // Set-id bits mean nothing on these, and cp leaves them as mknod(2) made them.
        bits & (self.allowed(default_of(from)) | SPECIAL_BITS)
    }

    /// For mkdir(2). What its owner needs to fill it, [`open_up`](Self::grant_owner_access) adds.
    #[must_use]
    pub fn directory_mode(&self, from: &FileStat) -> u32 {
        from.st_mode & ALL_BITS & !self.withheld(from)
    }

    /// For mkdir(2) of a directory that --parents names.
    #[must_use]
    pub fn parent_mode(&self, from: &FileStat) -> u32 {
        let withheld = if self.preserve.mode || self.preserve.ownership {
            NON_OWNER_BITS
        } else {
            0
        };
        self.parent_bits(from) & !withheld
    }

    /// Makes a directory usable for its owner that was just made, where its mode, mask or default ACL would keep even him
    /// out, and says which mode it was made with: `asked` or less of it.
    ///
    /// # Errors
    /// Of the calls.
    pub fn grant_owner_access(&self, dest: &File, asked: u32) -> io::Result<u32> {
        let held = AttrHandle::from_clone(dest)?;
        let mut made = held.stat()?.st_mode & ALL_BITS;
        if made & DIRECTORY_DEFAULT & !asked != 0 {
            // Where modes are not kept this changes nothing; where they are, this is not the one that was made.
            made &= asked | !DIRECTORY_DEFAULT;
            let _ = held.set_mode(made | OWNER_BITS);
        } else if made & OWNER_BITS != OWNER_BITS {
            held.set_mode(made | OWNER_BITS)?;
        }
        Ok(made)
    }

    /// Narrows an existing regular file before it gets data that others may not be meant to read. Says whether it did;
    /// where nothing was written in the end, [`give_back`](Self::restore_mode) undoes it.
    pub fn narrow_before_write(&self, from: &FileStat, dest: &File, before: &FileStat) -> bool {
        if !self.preserve.mode || self.attributes_only || file_type(before) != SFlag::S_IFREG {
            return false;
        }
        let mut narrow = narrowed(before.st_mode, from);
        if self.root && self.preserve.ownership && before.st_uid != from.st_uid {
            // Whoever it belongs to still is not who it will belong to.
            narrow &= !OWNER_BITS;
        }
        if !self.root {
            // The kernel takes these away with the first byte, but not of a file that nobody may execute.
            narrow &= !CLEARED_BY_WRITE;
            if self.preserve.xattr {
                narrow |= before.st_mode & OWNER_WRITE;
            }
        }
        // Where it is not ours to narrow, what comes last will fail and be told.
        narrow != before.st_mode & ALL_BITS && AttrHandle::Open(dest).set_mode(narrow).is_ok()
    }

    /// The mode from before [`hold_back`](Self::narrow_before_write); the ACL was only masked.
    ///
    /// # Errors
    /// fchmod's.
    pub fn restore_mode(&self, dest: &File, before: &FileStat) -> io::Result<()> {
        AttrHandle::Open(dest).set_mode(before.st_mode)
    }

    /// Extended attributes are written to what may be written to, so its owner may for as long as that takes.
    pub(super) fn extra(&self, from: &FileStat) -> u32 {
        if self.preserve.xattr && !self.root {
            OWNER_WRITE & !from.st_mode
        } else {
            0
        }
    }

    /// Whether owner or mode of a thing are still to come when it was made.
    pub(super) fn changes_mode(&self) -> bool {
        self.preserve.mode || self.preserve.ownership || self.preserve.default_mode
    }

    /// All bits, or those of `default` where nothing will have more.
    fn allowed(&self, default: u32) -> u32 {
        if self.preserve.default_mode {
            default
        } else {
            ALL_BITS
        }
    }

    /// Permissions that a thing gets only when it is complete: an owner, an ACL or another mode is still to come, or
    /// others could write into a directory while it is being filled.
    fn withheld(&self, from: &FileStat) -> u32 {
        if self.changes_mode() {
            NON_OWNER_BITS
        } else if file_type(from) == SFlag::S_IFDIR {
            OTHERS_WRITE
        } else {
            0
        }
    }

    /// Of those, what is added in the end where the mode as such is not preserved.
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

    /// `made` is the mode that mkdir gave.
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
