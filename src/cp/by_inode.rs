//! Removes, replaces and restores names on the condition that they lead to a known inode.
//!
//! unlink(2) and rename(2) act on whatever has the name at that moment, and between a check and the call another process
//! may give the name to another file. Where renameat2(2) can move a file aside without replacing anything, or exchange two
//! names in one step, the file is looked at after the move, and a wrong move is taken back.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, RenameFlags, renameat2};
use nix::sys::stat::{FileStat, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::file_status::{FileId, file_id};
use super::path_parts::sibling_path;

/// Random names that are tried before the directory is taken for broken: of 2^64 names, no second one is ever needed.
const MAX_RANDOM_NAMES: u32 = 16;

/// What became of a name that was to be removed.
#[derive(Debug, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// The name led to the inode, and is gone.
    Done,
    /// There was no such name.
    Gone,
    /// The name leads to another file, which was left alone.
    Other,
    /// The name led to another file for a moment, and cannot be given back, since a third one has it: the other file has
    /// this name now.
    Aside(OsString),
}

/// What became of two names that were to be exchanged.
#[derive(Debug)]
pub enum ExchangeOutcome {
    /// The new file has the name; what had it before is under the other one.
    Done,
    /// The name led to a file that was not acceptable: both names are as they were.
    Refused,
    /// Nothing has the name.
    Gone,
    /// As `Refused`, but meanwhile a third file took the name, so the one that had it before stays under the other name.
    /// The new file is gone.
    Displaced,
}

/// Returns the status of what has a name, not following a symbolic link.
///
/// # Errors
/// fstatat's.
pub fn lstat_at(dir: BorrowedFd<'_>, name: &OsStr) -> nix::Result<FileStat> {
    fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// Whether a name leads to this inode now.
#[must_use]
pub fn is_name_of_inode(dir: BorrowedFd<'_>, name: &OsStr, inode: FileId) -> bool {
    lstat_at(dir, name).is_ok_and(|now| file_id(&now) == inode)
}

/// Returns a name that nobody can guess, for a file that waits or is put aside.
pub fn random_digits() -> String {
    // Each state has random keys of its own, from the kernel.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// Removes a name if it leads to `inode` right before. For temporary names, which nobody else uses, and for old files that
/// the user wants gone: for the microsecond between the two calls, another process could still swap the file. A rename
/// first, as in [`remove_made`], would have overlayfs copy a file of the lower layer only to remove it.
///
/// # Errors
/// What fstatat or unlinkat said.
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

/// Removes a name of a file that this run made, and of no other: it is given a random name first, looked at there, and
/// given its name back if it is another's.
///
/// # Errors
/// What fstatat, renameat2 or unlinkat said.
pub fn remove_made(dir: BorrowedFd<'_>, name: &OsStr, inode: FileId) -> nix::Result<RemoveOutcome> {
    if !is_name_of_inode(dir, name, inode) {
        return remove_checked(dir, name, inode);
    }
    let Ok(aside) = rename_to_random_name(dir, name) else {
        // Not on this file system, or there is no room for a name.
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

/// Whether renameat2(2) said that the kernel or the file system knows no flags, or a sandbox refuses them.
#[must_use]
pub fn is_unsupported(e: Errno) -> bool {
    matches!(
        e,
        Errno::EINVAL | Errno::ENOSYS | Errno::EPERM | Errno::EOPNOTSUPP
    )
}

/// Renames to a name that nothing has, by a second link where there is no RENAME_NOREPLACE.
///
/// # Errors
/// EEXIST where something has the name; what renameat2, linkat or unlinkat said.
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
/// renameat2's; [`is_unsupported`] tells whether it can be done at all.
pub fn exchange(dir: BorrowedFd<'_>, one: &OsStr, other: &OsStr) -> nix::Result<()> {
    renameat2(dir, one, dir, other, RenameFlags::RENAME_EXCHANGE)
}

/// Gives `name` to the inode `mine`, which has the name `new`, if what `name` led to until that moment is acceptable. That
/// file has the name `new` afterwards.
///
/// # Errors
/// As [`exchange`]; both names are as they were then.
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
        // Somebody removed the new file: the other one gets its name back, unless a third has it.
        let _ = rename_noreplace(dir, new, name);
        return Ok(ExchangeOutcome::Displaced);
    }
    if is_name_of_inode(dir, new, mine) {
        return Ok(ExchangeOutcome::Refused);
    }
    // Somebody replaced the new file, and that is the latest one.
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

    /// Between the two exchanges a third file takes the name: it keeps it, and nothing is lost.
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
