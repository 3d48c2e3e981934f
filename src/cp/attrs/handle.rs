//! The file that attributes are read from and set on: an open file, or an O_PATH descriptor of a file that cannot be
//! opened. While it is held, the name cannot be redirected to another file.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, fcntl};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, UtimensatFlags, fchmod, fchmodat, fstat, futimens, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use xattr::FileExt;

use crate::cp::at_path::AtPath;
use crate::sys::o_path;

/// The permission bits of a mode, including the set-id and sticky bits.
pub(super) const ALL_BITS: u32 = 0o7777;

/// A handle that refers to the same file for its whole lifetime.
pub(super) enum AttrHandle<'a> {
    /// A descriptor that is open for reading or writing.
    Open(&'a File),
    /// An `O_PATH` descriptor, with its path in /proc/self/fd for system calls that do not accept such a descriptor.
    Pinned(File, PathBuf),
}

impl AttrHandle<'_> {
    /// Makes a handle of an open file, whether its descriptor is an ordinary one or an `O_PATH` one.
    pub(super) fn of(file: &File) -> io::Result<AttrHandle<'_>> {
        let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
        if flags.contains(OFlag::O_PATH) {
            Self::from_clone(file)
        } else {
            Ok(AttrHandle::Open(file))
        }
    }

    /// Opens the file at this path with `O_PATH`, or the link itself where `follow` is false.
    pub(super) fn open_o_path(place: &AtPath, follow: bool) -> io::Result<AttrHandle<'static>> {
        let mut flags = OFlag::O_PATH;
        flags.set(OFlag::O_NOFOLLOW, !follow);
        Ok(Self::pinned(place.open(flags, 0)?))
    }

    /// Makes a handle of a duplicate of the descriptor, which may be an `O_PATH` one.
    pub(super) fn from_clone(file: &File) -> io::Result<AttrHandle<'static>> {
        Ok(Self::pinned(file.try_clone()?))
    }

    fn pinned(file: File) -> AttrHandle<'static> {
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        AttrHandle::Pinned(file, name.into())
    }

    pub(super) fn stat(&self) -> nix::Result<FileStat> {
        match self {
            Self::Open(file) => fstat(file),
            Self::Pinned(file, _) => fstat(file),
        }
    }

    pub(super) fn set_times(&self, from: &FileStat) -> io::Result<()> {
        let accessed = TimeSpec::new(from.st_atime, from.st_atime_nsec);
        let modified = TimeSpec::new(from.st_mtime, from.st_mtime_nsec);
        match self {
            Self::Open(file) => Ok(futimens(file, &accessed, &modified)?),
            Self::Pinned(file, name) => match o_path::set_times(file, &accessed, &modified) {
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                    let follow = UtimensatFlags::FollowSymlink;
                    Ok(utimensat(AT_FDCWD, name, &accessed, &modified, follow)?)
                }
                done => done,
            },
        }
    }

    pub(super) fn set_owner(&self, uid: Option<u32>, gid: u32) -> Result<(), Errno> {
        let (uid, gid) = (uid.map(Uid::from_raw), Some(Gid::from_raw(gid)));
        match self {
            Self::Open(file) => fchown(file, uid, gid),
            Self::Pinned(file, _) => fchownat(file, "", uid, gid, AtFlags::AT_EMPTY_PATH),
        }
    }

    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        let bits = Mode::from_bits_truncate(mode & ALL_BITS);
        match self {
            Self::Open(file) => Ok(fchmod(file, bits)?),
            Self::Pinned(file, name) => {
                match fchmodat(AT_FDCWD, name, bits, FchmodatFlags::FollowSymlink) {
                    // The name is missing where /proc is not mounted.
                    Err(Errno::ENOENT) => o_path::set_mode(file, bits.bits()),
                    done => Ok(done?),
                }
            }
        }
    }

    pub(super) fn list(&self) -> io::Result<Vec<OsString>> {
        Ok(match self {
            Self::Open(file) => file.list_xattr()?.collect(),
            Self::Pinned(_, name) => xattr::list_deref(name)?.collect(),
        })
    }

    /// Returns the value of an attribute, or `None` where the file has no attribute of this name.
    pub(super) fn get(&self, attribute: &OsStr) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Open(file) => file.get_xattr(attribute),
            Self::Pinned(_, name) => xattr::get_deref(name, attribute),
        }
    }

    pub(super) fn set(&self, attribute: &OsStr, value: &[u8]) -> io::Result<()> {
        match self {
            Self::Open(file) => file.set_xattr(attribute, value),
            Self::Pinned(_, name) => xattr::set_deref(name, attribute, value),
        }
    }

    pub(super) fn remove(&self, attribute: &OsStr) -> io::Result<()> {
        match self {
            Self::Open(file) => file.remove_xattr(attribute),
            Self::Pinned(_, name) => xattr::remove_deref(name, attribute),
        }
    }
}
