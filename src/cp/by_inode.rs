//! Removes, replaces and restores names on the condition that they lead to a known inode.
//!
//! unlink(2) and rename(2) act on whatever has the name at that moment, and between a check and the call another
//! process may give the name to another file. Where renameat2(2) can move a file aside without replacing anything, or
//! exchange two names in one step, the file is checked after the move, and a wrong move is undone.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, RenameFlags, renameat2};
use nix::sys::stat::{FileStat, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::file_status::{FileId, file_id};
use super::path_parts::sibling_path;

/// Number of random names that are tried before the directory is treated as broken. Of 2^64 names, a second one is
/// never needed.
const MAX_RANDOM_NAMES: u32 = 16;

/// The result of removing a name.
#[derive(Debug, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// The name led to the inode, and is gone.
    Done,
    /// There was no such name.
    Gone,
    /// The name leads to another file, which was left alone.
    Other,
    /// The name led to another file for a moment, and cannot be restored, since a third file has it: the other file has
    /// this name now.
    Aside(OsString),
}

/// The result of exchanging two names.
#[derive(Debug)]
pub enum ExchangeOutcome {
    /// The new file has the name; the file that had it before has the other name.
    Done,
    /// The name led to a file that was not acceptable: both names are as they were.
    Refused,
    /// There is no file with the name.
    Gone,
    /// The name led to a file that was not acceptable, but meanwhile a third file took the name, so the former file
    /// stays under the other name. The new file no longer exists.
    Displaced,
}

/// Returns the status of the file with this name, without following a symbolic link.
///
/// # Errors
/// Returns the error of fstatat(2).
pub fn lstat_at(dir: BorrowedFd<'_>, name: &OsStr) -> nix::Result<FileStat> {
    fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// Returns whether a name leads to this inode now.
#[must_use]
pub fn is_name_of_inode(dir: BorrowedFd<'_>, name: &OsStr, inode: FileId) -> bool {
    lstat_at(dir, name).is_ok_and(|now| file_id(&now) == inode)
}

/// Returns a name that nobody can guess, for a temporary file or a file that is moved aside.
#[must_use]
pub fn random_digits() -> String {
    // The kernel provides the random keys of each state.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// Removes a name if it leads to `inode` immediately before. This is for temporary names, which no other process uses,
/// and for old files that the user wants removed: in the microsecond between the two calls, another process could still
/// swap the file. A rename first, as in [`remove_made`], would make overlayfs copy a file of the lower layer only to
/// remove it.
///
/// # Errors
/// Returns the error of fstatat(2) or unlinkat(2).
pub fn remove_checked(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    inode: FileId,
) -> nix::Result<RemoveOutcome> {
    match lstat_at(dir, name) {
        Ok(now) if file_id(&now) == inode => {}
        Ok(_) => return Ok(RemoveOutcome::Other),
        Err(Errno::ENOENT) => return Ok(RemoveOutcome::Gone),
        Err(e) => return Err(e),
    }
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => Ok(RemoveOutcome::Done),
        Err(Errno::ENOENT) => Ok(RemoveOutcome::Gone),
        Err(e) => Err(e),
    }
}

/// Removes a name of a file that this run made, and of no other file. The file is renamed to a random name first and
/// checked there, and is renamed back if it is another file.
///
/// # Errors
/// Returns the error of fstatat(2), renameat2(2) or unlinkat(2).
pub fn remove_made(dir: BorrowedFd<'_>, name: &OsStr, inode: FileId) -> nix::Result<RemoveOutcome> {
    if !is_name_of_inode(dir, name, inode) {
        return remove_checked(dir, name, inode);
    }
    let Ok(aside) = rename_to_random_name(dir, name) else {
        // The file system does not support this rename, or there is no room for a name.
        return remove_checked(dir, name, inode);
    };
    match remove_checked(dir, &aside, inode)? {
        RemoveOutcome::Other => match rename_noreplace(dir, &aside, name) {
            Err(Errno::EEXIST) => Ok(RemoveOutcome::Aside(aside)),
            other => other.map(|()| RemoveOutcome::Other),
        },
        removed => Ok(removed),
    }
}

fn rename_to_random_name(dir: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OsString> {
    for _ in 0..MAX_RANDOM_NAMES {
        let aside = format!(".mmapcp-{}", random_digits());
        let aside = sibling_path(name, OsStr::new(&aside));
        match renameat2(
            dir,
            name,
            dir,
            aside.as_os_str(),
            RenameFlags::RENAME_NOREPLACE,
        ) {
            Ok(()) => return Ok(aside),
            Err(Errno::EEXIST) => {}
            Err(e) => return Err(e),
        }
    }
    Err(Errno::EEXIST)
}

/// Returns whether the error of renameat2(2) means that the kernel or the file system does not support the flags, or
/// that a sandbox refuses them.
#[must_use]
pub fn is_unsupported(e: Errno) -> bool {
    matches!(
        e,
        Errno::EINVAL | Errno::ENOSYS | Errno::EPERM | Errno::EOPNOTSUPP
    )
}

/// Renames to a name that no file has. Makes a second link instead where RENAME_NOREPLACE is not supported.
///
/// # Errors
/// Returns EEXIST where a file has the name, else the error of renameat2(2), linkat(2) or unlinkat(2).
pub fn rename_noreplace(dir: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> nix::Result<()> {
    match renameat2(dir, from, dir, to, RenameFlags::RENAME_NOREPLACE) {
        Err(e) if is_unsupported(e) => {
            linkat(dir, from, dir, to, AtFlags::empty())?;
            let linked = file_id(&lstat_at(dir, to)?);
            remove_checked(dir, from, linked).map(drop)
        }
        other => other,
    }
}

/// Exchanges two names in one step.
///
/// # Errors
/// Returns the error of renameat2(2); [`is_unsupported`] says whether the call is supported at all.
pub fn exchange(dir: BorrowedFd<'_>, one: &OsStr, other: &OsStr) -> nix::Result<()> {
    renameat2(dir, one, dir, other, RenameFlags::RENAME_EXCHANGE)
}

/// Gives `name` to the inode `mine`, which has the name `new`, if the file that had `name` until that moment is
/// acceptable. That file has the name `new` afterwards.
///
/// # Errors
/// Returns the errors of [`exchange`]; both names are as they were then.
pub fn exchange_checked(
    dir: BorrowedFd<'_>,
    (new, mine): (&OsStr, FileId),
    name: &OsStr,
    acceptable: impl Fn(&FileStat) -> bool,
) -> nix::Result<ExchangeOutcome> {
    match exchange(dir, new, name) {
        Ok(()) => {}
        Err(Errno::ENOENT) => return Ok(ExchangeOutcome::Gone),
        Err(e) => return Err(e),
    }
    if lstat_at(dir, new).is_ok_and(|old| acceptable(&old)) {
        return Ok(ExchangeOutcome::Done);
    }
    if exchange(dir, new, name).is_err() {
        // Another process removed the new file: the other file is renamed back, unless a third has the name.
        let _ = rename_noreplace(dir, new, name);
        return Ok(ExchangeOutcome::Displaced);
    }
    if is_name_of_inode(dir, new, mine) {
        return Ok(ExchangeOutcome::Refused);
    }
    // Another process replaced the new file, and its file is the latest.
    let _ = exchange(dir, new, name);
    Ok(ExchangeOutcome::Displaced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    fn inode(path: &Path) -> io::Result<FileId> {
        fs::symlink_metadata(path).map(|meta| FileId {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }

    #[test]
    fn only_the_inode_that_is_meant_is_removed() -> io::Result<()> {
        for remove in [remove_made, remove_checked] {
            let place = tempfile::tempdir()?;
            let dir = File::open(place.path())?;
            let (made, other) = (place.path().join("made"), place.path().join("other"));
            fs::write(&made, "made")?;
            fs::write(&other, "other")?;
            let mine = inode(&made)?;
            let name = OsStr::new("made");
            fs::rename(&other, &made)?;
            assert_eq!(remove(dir.as_fd(), name, mine)?, RemoveOutcome::Other);
            assert_eq!(fs::read(&made)?, b"other");
            let others = inode(&made)?;
            assert_eq!(remove(dir.as_fd(), name, others)?, RemoveOutcome::Done);
            assert_eq!(remove(dir.as_fd(), name, others)?, RemoveOutcome::Gone);
            assert_eq!(fs::read_dir(place.path())?.count(), 0);
        }
        Ok(())
    }

    #[test]
    fn a_wrong_exchange_is_taken_back() -> io::Result<()> {
        let place = tempfile::tempdir()?;
        let dir = File::open(place.path())?;
        let (new, old) = (place.path().join("new"), place.path().join("old"));
        fs::write(&new, "new")?;
        fs::write(&old, "old")?;
        let mine = inode(&new)?;
        let exchange = |acceptable: bool| {
            let pair = (OsStr::new("new"), mine);
            exchange_checked(dir.as_fd(), pair, OsStr::new("old"), |_| acceptable)
        };
        assert!(matches!(exchange(false)?, ExchangeOutcome::Refused));
        assert_eq!(
            (fs::read(&new)?, fs::read(&old)?),
            (b"new".into(), b"old".into())
        );
        assert!(matches!(exchange(true)?, ExchangeOutcome::Done));
        assert_eq!(
            (fs::read(&new)?, fs::read(&old)?),
            (b"old".into(), b"new".into())
        );
        fs::remove_file(&old)?;
        assert!(matches!(exchange(true)?, ExchangeOutcome::Gone));
        Ok(())
    }

    /// Between the two exchanges a third file takes the name: the third file keeps it, and nothing is lost.
    #[test]
    fn what_comes_between_stays() -> io::Result<()> {
        let place = tempfile::tempdir()?;
        let dir = File::open(place.path())?;
        let path = |name: &str| place.path().join(name);
        for name in ["new", "old", "third"] {
            fs::write(path(name), name)?;
        }
        let pair = (OsStr::new("new"), inode(&path("new"))?);
        let third = |_: &FileStat| fs::rename(path("third"), path("old")).is_err();
        let exchanged = exchange_checked(dir.as_fd(), pair, OsStr::new("old"), third)?;
        assert!(matches!(exchanged, ExchangeOutcome::Displaced));
        assert_eq!(fs::read(path("old"))?, b"third");
        assert_eq!(fs::read(path("new"))?, b"old");
        Ok(())
    }
}
