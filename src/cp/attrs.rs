//! Mode, owner and times of what was made, in cp's order: owner, mode with its ACL, then times.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, Mode, UtimensatFlags, fchmod, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use xattr::FileExt;

use crate::report::quote::{quote, reason};

/// The extended attribute that holds the access ACL; cp counts it as part of the mode.
const ACL: &str = "system.posix_acl_access";

/// The permission bits of a mode, set-id and sticky ones with them.
const ALL_BITS: u32 = 0o7777;
const SET_ID: u32 = 0o7000;

/// Gives an open file or directory the owner, mode and times of `from`.
///
/// # Errors
/// A message for each required attribute that could not be set. That an owner cannot be given away by who is not root is
/// none, as with cp; the set-id bits are dropped then.
pub fn preserve(source: &File, from: &FileStat, dest: &File, name: &Path) -> Vec<String> {
    let mut failed = Vec::new();
    let mut mode = from.st_mode & ALL_BITS;
    match own(dest, from) {
        Ok(true) => {}
        Ok(false) => mode &= !SET_ID,
        Err(e) => failed.push(message("failed to preserve ownership for", name, e)),
    }
    if let Err(e) = fchmod(dest, Mode::from_bits_truncate(mode)) {
        failed.push(message("preserving permissions for", name, e));
    } else if let Err(e) = copy_acl(source, dest) {
        failed.push(format!(
            "preserving permissions for {}: {}",
            quote(name),
            reason(&e)
        ));
    }
    let (accessed, modified) = times(from);
    if let Err(e) = futimens(dest, &accessed, &modified) {
        failed.push(message("preserving times for", name, e));
    }
    failed
}

/// The same for what cannot be opened: a symbolic link, a FIFO, a device.
#[must_use]
pub fn preserve_at(
    from: &FileStat,
    dir: BorrowedFd<'_>,
    base: &OsStr,
    name: &Path,
    link: bool,
) -> Vec<String> {
    let mut failed = Vec::new();
    let mut mode = from.st_mode & ALL_BITS;
    let give = |uid, gid| fchownat(dir, base, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW);
    match give_away(from, give) {
        Ok(true) => {}
        Ok(false) => mode &= !SET_ID,
        Err(e) => failed.push(message("failed to preserve ownership for", name, e)),
    }
    if !link {
        let flag = nix::sys::stat::FchmodatFlags::FollowSymlink;
        if let Err(e) = nix::sys::stat::fchmodat(dir, base, Mode::from_bits_truncate(mode), flag) {
            failed.push(message("preserving permissions for", name, e));
        }
    }
    let (accessed, modified) = times(from);
    if let Err(e) = utimensat(
        dir,
        base,
        &accessed,
        &modified,
        UtimensatFlags::NoFollowSymlink,
    ) {
        failed.push(message("preserving times for", name, e));
    }
    failed
}

/// Whether the owner is as wanted in the end.
fn own(dest: &File, from: &FileStat) -> Result<bool, Errno> {
    let now = nix::sys::stat::fstat(dest)?;
    if (now.st_uid, now.st_gid) == (from.st_uid, from.st_gid) {
        return Ok(true);
    }
    give_away(from, |uid, gid| fchown(dest, uid, gid))
}

/// Owner and group, else the group alone; a refusal is accepted from who is not root.
fn give_away(
    from: &FileStat,
    give: impl Fn(Option<Uid>, Option<Gid>) -> nix::Result<()>,
) -> Result<bool, Errno> {
    let gid = Some(Gid::from_raw(from.st_gid));
    match give(Some(Uid::from_raw(from.st_uid)), gid) {
        Ok(()) => Ok(true),
        Err(Errno::EPERM | Errno::EINVAL) if !nix::unistd::geteuid().is_root() => {
            // As cp: the group at least, where we are a member of it.
            let _ = give(None, gid);
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

fn copy_acl(source: &File, dest: &File) -> io::Result<()> {
    let unsupported = |e: &io::Error| {
        matches!(
            e.raw_os_error(),
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EPERM)
        )
    };
    match source.get_xattr(ACL) {
        Ok(Some(acl)) => dest.set_xattr(ACL, &acl),
        Ok(None) => Ok(()),
        Err(e) if unsupported(&e) => Ok(()),
        Err(e) => Err(e),
    }
}

fn times(from: &FileStat) -> (TimeSpec, TimeSpec) {
    (
        TimeSpec::new(from.st_atime, from.st_atime_nsec),
        TimeSpec::new(from.st_mtime, from.st_mtime_nsec),
    )
}

/// Sets the permission bits of an open file.
///
/// # Errors
/// A message.
pub fn set_mode(dest: impl AsFd, mode: u32, name: &Path) -> Result<(), String> {
    fchmod(dest, Mode::from_bits_truncate(mode & ALL_BITS))
        .map_err(|e| message("setting permissions for", name, e))
}

/// The file mode creation mask, read without changing it: umask(2) can only be asked by setting it, which another thread
/// might notice. Linux 4.7 and later say it in /proc.
#[must_use]
pub fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("Umask:"));
    line.and_then(|v| u32::from_str_radix(v.trim(), 8).ok())
        .unwrap_or(0o022)
}

fn message(what: &str, name: &Path, e: Errno) -> String {
    format!("{what} {}: {}", quote(name), reason(&e.into()))
}
