//! Owner and group, without a moment at which a new owner has the permissions of an old file.

use std::path::Path;

use nix::sys::stat::FileStat;

use super::acl::SPECIAL_BITS;
use super::handle::{ALL_BITS, AttrHandle};
use super::{AttrResult, Attributes, Unpreserved, fail, report_error};
use crate::sys::strerror::strerror;

/// The owner's own permissions.
pub(super) const OWNER_BITS: u32 = 0o700;

/// Whether the owner is as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerOutcome {
    Right,
    /// The set-id bits belong to an owner: without the one they were given to, they go.
    Refused,
}

impl OwnerOutcome {
    /// What of the mode of a source is left.
    pub(super) fn mode(self, from: &FileStat) -> u32 {
        match self {
            Self::Right => from.st_mode,
            Self::Refused => from.st_mode & !SPECIAL_BITS,
        }
    }
}

/// What an existing destination is narrowed to before it has a new owner or new data: nothing that is not its owner's
/// before and after. Set-id bits are the kernel's business.
pub(super) fn narrowed(now: u32, from: &FileStat) -> u32 {
    now & SPECIAL_BITS | now & from.st_mode & OWNER_BITS
}

impl Attributes {
    /// Gives `to` owner and group of `from`; what another owner may not have is taken away before.
    pub(super) fn copy_owner(
        &self,
        to: &AttrHandle<'_>,
        from: &FileStat,
        now: &FileStat,
        made: bool,
        shown: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Result<OwnerOutcome, Unpreserved> {
        if made {
            self.drop_excess_owner_bits(to, from, now);
        } else if self.preserve.mode
            && let Err(e) = to.set_mode(narrowed(now.st_mode, from))
        {
            if !self.is_expected_without_root(e.raw_os_error()) {
                report_error(say, "clearing permissions for", shown, &e);
            }
            return self.fail_if_required().map(|()| OwnerOutcome::Refused);
        }
        let Err(e) = to.set_owner(Some(from.st_uid), from.st_gid) else {
            return Ok(OwnerOutcome::Right);
        };
        if self.is_expected_without_root(Some(e as i32)) {
            // As cp: the group at least, where we are a member of it.
            let _ = to.set_owner(None, from.st_gid);
        } else {
            report_error(say, "failed to preserve ownership for", shown, &e.into());
            self.fail_if_required()?;
        }
        Ok(OwnerOutcome::Refused)
    }

    /// While it was filled, a directory had all permissions of an owner; another one gets only those that are to stay.
    fn drop_excess_owner_bits(&self, to: &AttrHandle<'_>, from: &FileStat, now: &FileStat) {
        let excess = now.st_mode & OWNER_BITS & !from.st_mode;
        if self.root && from.st_uid != now.st_uid && excess != 0 {
            // What this is for is set in the end in any case; whether that fails is told then.
            let _ = to.set_mode(now.st_mode & ALL_BITS & !excess);
        }
    }

    /// For a link itself. The name stands bare, as in cp.
    pub(super) fn give_link(
        &self,
        to: &AttrHandle<'_>,
        from: &FileStat,
        shown: &Path,
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        match to.set_owner(Some(from.st_uid), from.st_gid) {
            Err(e) if !self.is_expected_without_root(Some(e as i32)) => {
                say(&format!(
                    "failed to preserve ownership for {}: {}",
                    shown.display(),
                    strerror(&e.into())
                ));
                self.fail_if_required()
            }
            _ => Ok(()),
        }
    }

    /// For --parents, where any failure counts.
    pub(super) fn give_parent(
        &self,
        to: &AttrHandle<'_>,
        from: &FileStat,
        now: &FileStat,
        shown: &Path,
        say: &mut dyn FnMut(&str),
    ) -> AttrResult {
        if self.preserve.mode {
            let _ = to.set_mode(narrowed(now.st_mode, from));
        }
        match to.set_owner(Some(from.st_uid), from.st_gid) {
            Err(e) if !self.is_expected_without_root(Some(e as i32)) => {
                fail(say, "failed to preserve ownership for", shown, &e.into())
            }
            Err(_) => {
                let _ = to.set_owner(None, from.st_gid);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Who is not root may give nothing away, and need not be told so. CIFS says EACCES for that (cp minds it since 9.5).
    fn is_expected_without_root(&self, errno: Option<i32>) -> bool {
        !self.root && matches!(errno, Some(libc::EPERM | libc::EINVAL | libc::EACCES))
    }
}
