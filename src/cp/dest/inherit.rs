//! The attributes that a file inherits from the file that it replaces, as if that had been overwritten: owner, ACL,
//! extended attributes and mode.

use std::ffi::OsStr;
use std::fs::File;
use std::io;

use nix::sys::stat::{FileStat, Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown};
use xattr::FileExt;

use crate::cp::error::{AtomicObstacle, KeptAttribute};

const ACCESS_ACL: &str = "system.posix_acl_access";

/// Extended attributes that depend on the content: the kernel removes or renews them when a file is written.
const CONTENT_XATTRS: [&str; 3] = ["security.capability", "security.ima", "security.evm"];

/// The set-id bits, which run a program as another user or group.
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const GROUP_RUNS: u32 = 0o010;

/// The owner's read and write bits with the set-id bits; nothing for group and others.
const OWNER_WRITES: u32 = 0o7600;

/// Gives `new` the attributes of `old`.
///
/// # Errors
/// Returns the attribute that could not be kept, and why.
pub(super) fn inherit(
    old: &File,
    there: &FileStat,
    new: &File,
    keep_mode: bool,
) -> Result<(), AtomicObstacle> {
    // The owner is set first: a change of it clears the set-id bits, and some attributes depend on it.
    inherit_owner(there, new).map_err(|e| AtomicObstacle::Keep(KeptAttribute::Owner, e.into()))?;
    attributes(old, new, keep_mode)?;
    // An ACL that is copied afterwards does not change the set-id bits, as in cp.
    let shown = if keep_mode { !0 } else { OWNER_WRITES };
    fchmod(new, kept_mode(there) & Mode::from_bits_truncate(shown))
        .map_err(|e| AtomicObstacle::Keep(KeptAttribute::Mode, e.into()))
}

fn inherit_owner(there: &FileStat, new: &File) -> nix::Result<()> {
    let now = fstat(new)?;
    if (now.st_uid, now.st_gid) == (there.st_uid, there.st_gid) {
        return Ok(());
    }
    let uid = (now.st_uid != there.st_uid).then(|| Uid::from_raw(there.st_uid));
    fchown(new, uid, Some(Gid::from_raw(there.st_gid)))
}

/// Returns the mode that the new file inherits. The set-id bits are cleared unless the process is root (CAP_FSETID), as
/// a write to the old file would clear them.
fn kept_mode(there: &FileStat) -> Mode {
    let mut mode = there.st_mode & 0o7777;
    if !nix::unistd::geteuid().is_root() {
        mode &= !SET_UID;
        if mode & GROUP_RUNS != 0 {
            mode &= !SET_GID;
        }
    }
    Mode::from_bits_truncate(mode)
}

/// Copies the extended attributes, including the ACL where `acl` is set, up to the first that cannot be copied.
fn attributes(old: &File, new: &File, acl: bool) -> Result<(), AtomicObstacle> {
    let names = match old.list_xattr() {
        Ok(names) => names,
        Err(e) if is_absent(&e) => return Ok(()),
        Err(e) => return Err(AtomicObstacle::Keep(KeptAttribute::Xattrs, e)),
    };
    let mut had_acl = false;
    for name in names {
        let is_acl = name == ACCESS_ACL;
        had_acl |= is_acl;
        if is_acl && !acl || CONTENT_XATTRS.iter().any(|skipped| name == *skipped) {
            continue;
        }
        let copied = match old.get_xattr(&name) {
            Ok(Some(value)) => keep_one(new, &name, &value),
            Ok(None) => Ok(()),
            Err(e) => Err(e),
        };
        copied.map_err(|e| AtomicObstacle::Keep(KeptAttribute::Xattr(name), e))?;
    }
    if acl && !had_acl {
        // This ACL came from the default ACL of the directory.
        match new.remove_xattr(ACCESS_ACL) {
            Err(e) if !is_absent(&e) => return Err(AtomicObstacle::Keep(KeptAttribute::Acl, e)),
            _ => {}
        }
    }
    Ok(())
}

/// Sets one attribute, unless the new file has the same value already: a security module that gave it the same label
/// may forbid setting it.
fn keep_one(new: &File, name: &OsStr, value: &[u8]) -> io::Result<()> {
    if new
        .get_xattr(name)
        .is_ok_and(|now| now.as_deref() == Some(value))
    {
        return Ok(());
    }
    new.set_xattr(name, value)
}

fn is_absent(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::ENODATA)
    )
}
