//! Owner and group, without a moment at which a new owner has the permissions of an old file.

use nix::sys::stat::FileStat;

use super::acl::SPECIAL_BITS;
use super::handle::{ALL_BITS, AttrHandle};
use super::{AttrCopy, AttrResult, Attributes, Unpreserved};
use crate::cp::error::Operation;

/// The permissions of the owner alone.
pub(super) const OWNER_BITS: u32 = 0o700;

/// Whether the owner is as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerOutcome {
    Right,
    /// The set-id bits belong to an owner: without the one they were given to, they go.
    Refused,
}

impl OwnerOutcome {
    /// Returns what of the mode of a source is left.
    pub(super) fn mode(self, from: &FileStat) -> u32 {
        match self {
            Self::Right => from.st_mode,
            Self::Refused => from.st_mode & !SPECIAL_BITS,
        }
    }
}

/// Returns the mode that an existing destination is narrowed to before it has a new owner or new data: nothing that is not its owner's
/// before and after. Set-id bits are the kernel's business.
pub(super) fn narrowed(now: u32, from: &FileStat) -> u32 {
    now & SPECIAL_BITS | now & from.st_mode & OWNER_BITS
}

impl AttrCopy<'_> {
    /// Gives the destination the owner and group of the source. What another owner may not have is taken away before.
    pub(super) fn copy_owner(
        &mut self,
        to: &AttrHandle<'_>,
        now: &FileStat,
        made: bool,
    ) -> Result<OwnerOutcome, Unpreserved> {
        let (attributes, from) = (self.attributes, self.from);
        if made {
            attributes.drop_excess_owner_bits(to, from, now);
        } else if attributes.preserve.mode
            && let Err(e) = to.set_mode(narrowed(now.st_mode, from))
        {
            if !attributes.is_expected_without_root(e.raw_os_error()) {
                self.push(Operation::ClearMode, e);
            }
            return attributes
                .fail_if_required()
                .map(|()| OwnerOutcome::Refused);
        }
        let Err(e) = to.set_owner(Some(from.st_uid), from.st_gid) else {
            return Ok(OwnerOutcome::Right);
        };
        if attributes.is_expected_without_root(Some(e as i32)) {
            // As cp: the group at least, where we are a member of it.
            let _ = to.set_owner(None, from.st_gid);
        } else {
            self.push(Operation::SetOwner, e);
            attributes.fail_if_required()?;
        }
        Ok(OwnerOutcome::Refused)
    }

    /// Gives a symbolic link itself the owner and group of the source.
    pub(super) fn give_link(&mut self, to: &AttrHandle<'_>) -> AttrResult {
        match to.set_owner(Some(self.from.st_uid), self.from.st_gid) {
            Err(e) if !self.attributes.is_expected_without_root(Some(e as i32)) => {
                self.push(Operation::SetLinkOwner, e);
                self.attributes.fail_if_required()
            }
            _ => Ok(()),
        }
    }

    /// Does the same for a directory that --parents names, where any failure counts.
    pub(super) fn give_parent(&mut self, to: &AttrHandle<'_>, now: &FileStat) -> AttrResult {
        let from = self.from;
        if self.attributes.preserve.mode {
            let _ = to.set_mode(narrowed(now.st_mode, from));
        }
        match to.set_owner(Some(from.st_uid), from.st_gid) {
            Err(e) if !self.attributes.is_expected_without_root(Some(e as i32)) => {
                Err(self.fail(Operation::SetOwner, e))
            }
            Err(_) => {
                let _ = to.set_owner(None, from.st_gid);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

impl Attributes {
    /// Takes the permissions away that a directory had as its owner filled it and that another owner shall not have.
    fn drop_excess_owner_bits(&self, to: &AttrHandle<'_>, from: &FileStat, now: &FileStat) {
        let excess = now.st_mode & OWNER_BITS & !from.st_mode;
        if self.root && from.st_uid != now.st_uid && excess != 0 {
            // What this is for is set in the end in any case; whether that fails is told then.
            let _ = to.set_mode(now.st_mode & ALL_BITS & !excess);
        }
    }

    /// Returns whether a failure to give a file away is no error: a process that is not root may not, and need not be told
    /// so. CIFS says EACCES for that (cp minds it since 9.5).
    fn is_expected_without_root(&self, errno: Option<i32>) -> bool {
        !self.root && matches!(errno, Some(libc::EPERM | libc::EINVAL | libc::EACCES))
    }
}
