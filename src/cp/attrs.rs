//! Times, owner and mode of what was made, in cp's order: on a descriptor none of them disturbs an earlier one.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, futimens, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use xattr::FileExt;

use super::place::Place;
use crate::report::quote::quote;
use crate::sys::words::reason;

/// The extended attributes that hold ACLs; cp counts them as part of the mode.
const ACCESS_ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";

/// The permission bits of a mode, set-id and sticky ones with them.
const ALL_BITS: u32 = 0o7777;
const SET_ID: u32 = 0o7000;

/// Gives an open file or directory the times, owner and mode of `from`.
///
/// # Errors
/// A message for the first that could not be set, where cp stops, too. That an owner cannot be given away by who is not
/// root is no error; the set-id bits are dropped then.
pub fn preserve(source: &File, from: &FileStat, dest: &File, name: &Path) -> Result<(), String> {
    let failed = |what, e| message(what, name, e);
    let (accessed, modified) = times(from);
    futimens(dest, &accessed, &modified).map_err(|e| failed("preserving times for", e))?;
    let kept = own(dest, from).map_err(|e| failed("failed to preserve ownership for", e))?;
    let directory = from.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
    copy_acls(source, dest, directory)
        .map_err(|e| format!("preserving permissions for {}: {}", quote(name), reason(&e)))?;
    fchmod(dest, wanted_mode(from, kept)).map_err(|e| failed("preserving permissions for", e))
}

/// The same for what cannot be opened: a symbolic link, which has no mode, a FIFO, a device.
///
/// # Errors
/// As [`preserve`].
pub fn preserve_at(from: &FileStat, place: &Place<'_>, link: bool) -> Result<(), String> {
    let (dir, base) = (place.dir, place.base);
    let failed = |what, e| message(what, place.shown, e);
    let (accessed, modified) = times(from);
    utimensat(
        dir,
        base,
        &accessed,
        &modified,
        UtimensatFlags::NoFollowSymlink,
    )
    .map_err(|e| failed("preserving times for", e))?;
    let give = |uid, gid| fchownat(dir, base, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW);
    let kept = give_away(from, give).map_err(|e| failed("failed to preserve ownership for", e))?;
    if link {
        return Ok(());
    }
    fchmodat(
        dir,
        base,
        wanted_mode(from, kept),
        FchmodatFlags::NoFollowSymlink,
    )
    .map_err(|e| failed("preserving permissions for", e))
}

/// The set-id bits belong to an owner: without the one they were given to, they go.
fn wanted_mode(from: &FileStat, owner_kept: bool) -> Mode {
    let dropped = if owner_kept { 0 } else { SET_ID };
    Mode::from_bits_truncate(from.st_mode & ALL_BITS & !dropped)
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

/// Gives `dest` the ACLs of `source`, and takes away what a default ACL of its directory gave it beyond them.
fn copy_acls(source: &File, dest: &File, directory: bool) -> io::Result<()> {
    copy_acl(ACCESS_ACL, source, dest)?;
    if directory {
        copy_acl(DEFAULT_ACL, source, dest)?;
    }
    Ok(())
}

fn copy_acl(name: &str, source: &File, dest: &File) -> io::Result<()> {
    let none = |e: io::Error| match e.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::ENODATA) => Ok(()),
        _ => Err(e),
    };
    match source.get_xattr(name) {
        Ok(Some(acl)) => dest.set_xattr(name, &acl),
        Ok(None) => dest.remove_xattr(name).or_else(none),
        Err(e) => none(e),
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

fn message(what: &str, name: &Path, e: Errno) -> String {
    format!("{what} {}: {}", quote(name), reason(&e.into()))
}
