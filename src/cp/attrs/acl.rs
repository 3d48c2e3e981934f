//! Permission bits and ACLs. Both are set in one call where the file system has ACLs, so that neither is ever in effect
//! without the other.

use std::io;

use nix::sys::stat::SFlag;

use super::handle::{ALL_BITS, AttrHandle};
use crate::cp::file_status::file_type_of_mode;

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// The set-user-id, set-group-id and sticky bits, which no ACL contains.
pub(super) const SPECIAL_BITS: u32 = 0o7000;

/// An ACL as the kernel's header `posix_acl_xattr.h` lays it out: a version, then entries of tag, permissions and id.
const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const GROUP_OBJ: u16 = 0x04;
const OTHER: u16 = 0x20;
const NO_ID: u32 = u32::MAX;
const MINIMAL: usize = 4 + 3 * 8;

/// The side of the copy on which an ACL operation failed.
pub(super) enum AclError {
    Source(io::Error),
    Dest(io::Error),
}

/// Gives `to` the ACLs of `source` and the mode `mode`, and removes the further entries that the default ACL of its
/// directory gave it.
pub(super) fn copy(
    source: &AttrHandle<'_>,
    to: &AttrHandle<'_>,
    mode: u32,
) -> Result<(), AclError> {
    let Some(access) = access_of(source, mode).map_err(AclError::Source)? else {
        set_mode_without_acl(to, mode).map_err(AclError::Dest)?;
        return lose_special_bits(to, mode).map_err(AclError::Dest);
    };
    let default = if is_directory(mode) {
        source.get(DEFAULT.as_ref()).map_err(AclError::Source)?
    } else {
        None
    };
    set(to, &access, default.as_deref(), mode).map_err(AclError::Dest)?;
    lose_special_bits(to, mode).map_err(AclError::Dest)
}

/// Removes the set-id and sticky bits of an existing file, which no ACL contains, where `mode` has none of them. cp 9.7
/// does the same, since it changes the mode before the ACL.
fn lose_special_bits(to: &AttrHandle<'_>, mode: u32) -> io::Result<()> {
    if mode & SPECIAL_BITS == 0 && to.stat()?.st_mode & SPECIAL_BITS != 0 {
        to.set_mode(mode)?;
    }
    Ok(())
}

/// Returns the access ACL of `source`, made from `mode` where the file has none, or `None` where the file system has no
/// ACLs.
fn access_of(source: &AttrHandle<'_>, mode: u32) -> io::Result<Option<Vec<u8>>> {
    match source.get(ACCESS.as_ref()) {
        Ok(acl) => Ok(Some(acl.unwrap_or_else(|| minimal(mode)))),
        Err(e) if unsupported(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Sets the ACLs, and then the mode with its set-id bits. Before the ACL, the group bits of the mode would be taken for
/// those of the ACL's mask.
fn set(to: &AttrHandle<'_>, access: &[u8], default: Option<&[u8]>, mode: u32) -> io::Result<()> {
    let done = match to.set(ACCESS.as_ref(), access) {
        Ok(()) if is_directory(mode) => set_default(to, default),
        Ok(()) => Ok(()),
        Err(e) if unsupported(&e) => {
            to.set_mode(mode)?;
            return if access.len() <= MINIMAL {
                Ok(())
            } else {
                Err(e)
            };
        }
        // cp sets at least the mode in this case.
        Err(e) => {
            let _ = set_mode_without_acl(to, mode);
            return Err(e);
        }
    };
    if mode & SPECIAL_BITS != 0 {
        to.set_mode(mode)?;
    }
    done
}

fn set_default(to: &AttrHandle<'_>, default: Option<&[u8]>) -> io::Result<()> {
    match default {
        Some(acl) => to.set(DEFAULT.as_ref(), acl),
        None => to.remove(DEFAULT.as_ref()).or_else(|e| {
            if e.raw_os_error() == Some(libc::ENODATA) {
                Ok(())
            } else {
                Err(e)
            }
        }),
    }
}

/// Gives `to` this mode and no ACL beyond it. Removes a default ACL only where the mode is that of a directory.
pub(super) fn set_mode_without_acl(to: &AttrHandle<'_>, mode: u32) -> io::Result<()> {
    match to.set(ACCESS.as_ref(), &minimal(mode)) {
        Ok(()) => {
            let default = if is_directory(mode) {
                set_default(to, None)
            } else {
                Ok(())
            };
            if mode & SPECIAL_BITS != 0 {
                to.set_mode(mode)?;
            }
            default
        }
        Err(e) if unsupported(&e) => to.set_mode(mode),
        Err(e) => {
            let _ = to.set_mode(mode);
            Err(e)
        }
    }
}

fn is_directory(mode: u32) -> bool {
    file_type_of_mode(mode) == SFlag::S_IFDIR
}

fn minimal(mode: u32) -> Vec<u8> {
    let mut acl = Vec::with_capacity(MINIMAL);
    acl.extend(VERSION.to_le_bytes());
    for (tag, shift) in [(USER_OBJ, 6), (GROUP_OBJ, 3), (OTHER, 0)] {
        let permissions = ((mode & ALL_BITS) >> shift & 0o7) as u16;
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(NO_ID.to_le_bytes());
    }
    acl
}

/// Returns whether the error means that the file system has no ACLs. Some NFS servers return EBUSY for that.
fn unsupported(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EBUSY)
    )
}
