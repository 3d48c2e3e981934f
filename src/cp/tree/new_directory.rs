//! Opens a directory that was just made, and no other that was put in its place between mkdir(2) and open(2).

use std::ffi::OsString;
use std::fs::File;
use std::io;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::geteuid;

use super::{EntryError, Walk};
use crate::cp::at_path::{AtPath, sibling_path};
use crate::cp::by_inode;
use crate::cp::error::{Error, Operation, Replaced};
use crate::cp::file_status::file_id;
use crate::transfer::errno_class::retry;

impl Walk<'_, '_, '_> {
    /// Opens a directory that was made with the mode `asked`, and makes it usable for its owner. Returns the mode that
    /// it was made with, too. `exposed` says that the parent directory was not made by this run, so that others may
    /// rename entries there.
    pub(super) fn open_new(
        &self,
        dest: &AtPath,
        asked: u32,
        exposed: bool,
    ) -> Result<(File, u32), EntryError> {
        let cannot_access = |e: io::Error| dest.error(Operation::Access, e);
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let (file, listed) = match dest.open(flags | OFlag::O_RDONLY, 0) {
            // The mode of the directory excludes even its owner.
            Err(e) if e.raw_os_error() == Some(libc::EACCES) => {
                (dest.open(flags | OFlag::O_PATH, 0), false)
            }
            other => (other, true),
        };
        let file = file.map_err(cannot_access)?;
        if !is_new(&file, dest, exposed).map_err(cannot_access)? {
            return Err(replaced(dest));
        }
        let made = self
            .run
            .attributes()
            .grant_owner_access(&file, asked)
            .map_err(|e| dest.error(Operation::GrantOwnerAccess, e))?;
        if listed {
            return Ok((file, made));
        }
        let listed = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match retry(|| openat(&file, ".", listed, Mode::empty())) {
            Ok(listed) => Ok((listed.into(), made)),
            Err(_) => Ok((file, made)),
        }
    }
}

/// Returns the error for a directory whose name leads to another one now.
pub(super) fn replaced(dest: &AtPath) -> EntryError {
    Error::Replaced(Replaced::Directory(dest.shown().into())).into()
}

/// Returns whether this process has just made a directory: it belongs to this user, and where others could have moved
/// another one there, it is empty and on the same file system.
fn is_new(dir: &File, dest: &AtPath, exposed: bool) -> io::Result<bool> {
    let now = fstat(dir)?;
    if now.st_uid != geteuid().as_raw() && !has_owner_of_new_files(dest, &now) {
        return Ok(false);
    }
    if !exposed {
        return Ok(true);
    }
    let (above, _) = dest.entry()?;
    Ok(above.device == now.st_dev && is_empty(dir)?)
}

/// Returns whether a new file of this process in that place gets the owner of the directory, whoever that is. This is
/// so on file systems that keep no owners (FAT), and where a server replaces them (NFS). A file cannot be confused as a
/// directory can, since it is open from the moment when it is made.
fn has_owner_of_new_files(dest: &AtPath, now: &FileStat) -> bool {
    let name = OsString::from(format!(".mmapcp-{}", std::process::id()));
    let probe = dest.with_path(sibling_path(dest.path(), &name));
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let Ok(file) = probe.open(flags, 0) else {
        return false;
    };
    let made = fstat(&file);
    if let Ok(made) = &made {
        let _ = by_inode::remove_checked(probe.dir(), probe.path(), file_id(made));
    }
    made.is_ok_and(|made| (made.st_dev, made.st_uid) == (now.st_dev, now.st_uid))
}

fn is_empty(dir: &File) -> io::Result<bool> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = match Dir::openat(dir, ".", flags, Mode::empty()) {
        Ok(listing) => listing,
        // A mode that excludes the owner also prevents him from moving a directory there.
        Err(Errno::EACCES) => return Ok(true),
        Err(e) => return Err(e.into()),
    };
    for entry in listing.iter() {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::chown;

    #[test]
    fn what_was_moved_there_is_not_what_was_made() -> io::Result<()> {
        let above = tempfile::tempdir()?;
        let path = above.path().join("dir");
        fs::create_dir(&path)?;
        let dest = AtPath::from_current(&path);
        let dir = File::open(&path)?;
        assert!(is_new(&dir, &dest, true)?);
        assert!(has_owner_of_new_files(&dest, &fstat(&dir)?));
        fs::write(path.join("file"), "")?;
        assert!(!is_new(&dir, &dest, true)?);
        assert!(is_new(&dir, &dest, false)?, "where nobody can move it");
        fs::remove_file(path.join("file"))?;
        if geteuid().is_root() {
            chown(&path, Some(65534), None)?;
            assert!(!is_new(&dir, &dest, false)?);
            assert!(!is_new(&dir, &dest, true)?);
        }
        assert_eq!(fs::read_dir(above.path())?.count(), 1, "no probe is left");
        Ok(())
    }
}
