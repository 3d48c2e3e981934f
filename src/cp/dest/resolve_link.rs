//! Link resolution: finds the directory and the name in it that a path leads to after all symbolic links, by directory
//! descriptors.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};

use crate::cp::at_path::{AtPath, DirHandle};
use crate::cp::file_status::is_link;
use crate::transfer::errno_class::retry;

/// Number of links that are followed before ELOOP: MAXSYMLINKS of the kernel.
const MAX_SYMLINKS: usize = 40;

/// Returns the entry at a path itself, whether it is a link or not: its directory is open, and its path is one name.
///
/// # Errors
/// The directory cannot be opened, or the name ends in a slash.
pub fn resolve_nofollow(place: &AtPath) -> io::Result<AtPath> {
    let bytes = place.path().as_bytes();
    let slash = bytes.iter().rposition(|b| *b == b'/');
    let name = OsStr::from_bytes(&bytes[slash.map_or(0, |at| at + 1)..]);
    if name.is_empty() {
        // open(2) with O_CREAT returns the same error.
        return Err(Errno::EISDIR.into());
    }
    let Some(at) = slash else {
        return Ok(place.clone());
    };
    let parent = OsStr::from_bytes(&bytes[..at.max(1)]);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = retry(|| openat(place.dir(), parent, flags, Mode::empty()))?;
    Ok(place.below(Arc::new(DirHandle::Open(opened.into())), name))
}

/// Returns the entry that a path leads to after all links, as [`resolve_nofollow`] does. The entry need not exist.
///
/// # Errors
/// Returns the errors of [`resolve_nofollow`]; ELOOP; EACCES for a link that another user put into a sticky
/// world-writable directory.
pub fn resolve_follow(place: &AtPath) -> io::Result<AtPath> {
    let mut entry = resolve_nofollow(place)?;
    for _ in 0..MAX_SYMLINKS {
        let Some(target) = link_target(&entry)? else {
            return Ok(entry);
        };
        entry = resolve_nofollow(&entry.with_path(target))?;
    }
    Err(Errno::ELOOP.into())
}

/// Returns the target of an entry if it is a link, else `None`.
fn link_target(entry: &AtPath) -> io::Result<Option<OsString>> {
    match entry.stat(false) {
        Ok(stat) if is_link(&stat) => {}
        Ok(_) | Err(Errno::ENOENT) => return Ok(None),
        Err(e) => return Err(e.into()),
    }
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let link = openat(entry.dir(), entry.path(), flags, Mode::empty())?;
    let stat = fstat(&link)?;
    if !is_link(&stat) {
        return Err(Errno::ESTALE.into());
    }
    if !may_follow(&stat, &fstatat(entry.dir(), ".", AtFlags::empty())?) {
        return Err(Errno::EACCES.into());
    }
    Ok(Some(readlinkat(&link, "")?))
}

/// Opens a name below a directory operand. A link there is followed only where it belongs to this user, to root, or to
/// the owner of the file: in a directory of their own, others could redirect a copy that root makes to any file. The
/// rule resembles that of open(2) under fs.protected_symlinks.
///
/// # Errors
/// Returns the error of openat(2), or EACCES for the link of another user.
pub fn open_trusted(place: &AtPath, flags: OFlag) -> io::Result<File> {
    match place.open(flags | OFlag::O_NOFOLLOW, 0) {
        // With O_DIRECTORY the error for a link is ENOTDIR.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR)) => {}
        other => return other,
    }
    let (owner, target) = read_link(place)?;
    let file = place.with_path(target).open(flags, 0)?;
    if is_trusted(owner) || fstat(&file)?.st_uid == owner {
        Ok(file)
    } else {
        Err(Errno::EACCES.into())
    }
}

/// Creates the file that such a link leads to; the link must belong to this user or to root.
///
/// # Errors
/// Returns the error of openat(2), or EACCES for the link of another user.
pub fn create_trusted(place: &AtPath, flags: OFlag, mode: u32) -> io::Result<File> {
    let (owner, target) = read_link(place)?;
    if !is_trusted(owner) {
        return Err(Errno::EACCES.into());
    }
    let behind = place.with_path(target);
    behind.open(flags | OFlag::O_CREAT | OFlag::O_EXCL, mode)
}

/// Returns the owner and the target of a link, both read from the same inode.
fn read_link(place: &AtPath) -> io::Result<(u32, OsString)> {
    let link = place.open(OFlag::O_PATH | OFlag::O_NOFOLLOW, 0)?;
    let stat = fstat(&link)?;
    if is_link(&stat) {
        Ok((stat.st_uid, readlinkat(&link, "")?))
    } else {
        Err(Errno::ENOTDIR.into())
    }
}

fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == nix::unistd::geteuid().as_raw()
}

/// Returns whether a link may be followed under the rule that the kernel applies to open(2) with fs.protected_symlinks,
/// which following links by hand would bypass: in a directory like /tmp only the user's own links and those of the
/// directory's owner are followed.
fn may_follow(link: &FileStat, dir: &FileStat) -> bool {
    let everybodys = 0o1002;
    dir.st_mode & everybodys != everybodys
        || link.st_uid == nix::unistd::geteuid().as_raw()
        || link.st_uid == dir.st_uid
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn an_entry_behind_links_is_shown_as_the_path_that_leads_to_it() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (link, file) = (dir.path().join("link"), dir.path().join("sub/file"));
        fs::create_dir(dir.path().join("sub"))?;
        std::os::unix::fs::symlink("sub/file", &link)?;
        for (path, name) in [(&link, "file"), (&file, "file")] {
            let entry = resolve_follow(&AtPath::from_current(path))?;
            assert_eq!((entry.path(), entry.shown()), (name.as_ref(), &**path));
        }
        let entry = resolve_nofollow(&AtPath::from_current(&link))?;
        assert_eq!((entry.path(), entry.shown()), ("link".as_ref(), &*link));
        let slash = AtPath::from_current(Path::new("link/"));
        assert!(resolve_follow(&slash).is_err_and(|e| e.raw_os_error() == Some(libc::EISDIR)));
        Ok(())
    }
}
