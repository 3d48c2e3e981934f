//! Owner and group of the destination. At no moment does a new owner have the permissions of the old file.

use nix::sys::stat::FileStat;

use super::acl::SPECIAL_BITS;
use super::handle::{ALL_BITS, AttrHandle};
use super::{AttrCopy, AttrResult, Attributes, Unpreserved};
use crate::cp::error::Operation;

/// The permissions of the owner alone.
pub(super) const OWNER_BITS: u32 = 0o700;

/// Whether the destination has the owner of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerOutcome {
    Right,
    /// The owner could not be set. The set-id bits are dropped, since they were meant for the owner of the source.
    Refused,
}

impl OwnerOutcome {
    /// Returns the mode of the source, without the set-id bits where its owner was refused.
    pub(super) fn mode(self, from: &FileStat) -> u32 {
        match self {
            Self::Right => from.st_mode,
            Self::Refused => from.st_mode & !SPECIAL_BITS,
        }
    }
}

/// Returns the mode that an existing destination is narrowed to before it gets a new owner or new data: only
/// permissions that its owner has before and after. The set-id bits are kept, since the kernel clears them.
pub(super) fn narrowed(now: u32, from: &FileStat) -> u32 {
    now & SPECIAL_BITS | now & from.st_mode & OWNER_BITS
}

impl AttrCopy<'_> {
    /// Gives the destination the owner and group of the source. Permissions that the new owner may not have are removed
    /// first.
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
            // As in cp, at least the group is set where the process is a member of it.
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

    /// Gives the owner and group of the source to a directory that --parents names, where every failure counts.
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
    /// Removes the owner permissions that a directory had while it was filled, where its new owner shall not have them.
    fn drop_excess_owner_bits(&self, to: &AttrHandle<'_>, from: &FileStat, now: &FileStat) {
        let excess = now.st_mode & OWNER_BITS & !from.st_mode;
        if self.root && from.st_uid != now.st_uid && excess != 0 {
            // The permissions are set again at the end in any case, and a failure is reported then.
            let _ = to.set_mode(now.st_mode & ALL_BITS & !excess);
        }
    }

    /// Returns whether a failure to change the owner is no error. A process that is not root may not change it, and its
    /// user need not be told. CIFS returns EACCES for that (cp accepts this since 9.5).
    fn is_expected_without_root(&self, errno: Option<i32>) -> bool {
        !self.root && matches!(errno, Some(libc::EPERM | libc::EINVAL | libc::EACCES))
    }
}
