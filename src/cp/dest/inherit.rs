//! What a file that takes the place of another has from it, so that it looks as one would that had been overwritten:
//! owner, ACL, extended attributes and mode.

use std::ffi::OsStr;
use std::fs::File;
use std::io;

use nix::sys::stat::{FileStat, Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown};
use xattr::FileExt;

use crate::cp::error::{AtomicObstacle, KeptAttribute};

const ACCESS_ACL: &str = "system.posix_acl_access";

/// Extended attributes that are about the bytes: the kernel removes or renews them when a file is written.
const CONTENT_XATTRS: [&str; 3] = ["security.capability", "security.ima", "security.evm"];

/// The bits of a mode that make a program somebody else's.
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const GROUP_RUNS: u32 = 0o010;

/// What others see nothing of, with the bits that say whose a program is.
const OWNER_WRITES: u32 = 0o7600;

/// Gives `new` what `old` has.
///
/// # Errors
/// What could not be kept, and why.
pub(super) fn inherit(
    old: &File,
    there: &FileStat,
    new: &File,
    keep_mode: bool,
) -> Result<(), AtomicObstacle> {
    // The owner first: a change of it takes set-id bits away, and some attributes depend on it.
    inherit_owner(there, new).map_err(|e| AtomicObstacle::Keep(KeptAttribute::Owner, e.into()))?;
    attributes(old, new, keep_mode)?;
    // An ACL that is copied afterwards leaves the set-id bits alone, as in cp.
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

/// A write takes the set-id bits away from a file, save for root (CAP_FSETID): so does this.
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

/// Copies the extended attributes, the ACL among them where `acl` says so, up to the first that cannot be copied.
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
        // What a default ACL of the directory has given to the new file.
        match new.remove_xattr(ACCESS_ACL) {
            Err(e) if !is_absent(&e) => return Err(AtomicObstacle::Keep(KeptAttribute::Acl, e)),
            _ => {}
        }
    }
    Ok(())
}

/// A security module that gave the new file the same label need not allow that it be set.
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
