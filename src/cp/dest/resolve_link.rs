//! Link resolution: finds the directory and the name in it that a path leads to after all symbolic links, by directory
//! descriptors.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};

use crate::cp::at_path::AtPath;
use crate::cp::file_status::is_link;
use crate::transfer::errno_class::retry;

/// Number of links that are followed before ELOOP: MAXSYMLINKS of the kernel.
const MAX_SYMLINKS: usize = 40;

/// A directory and one name in it.
#[derive(Debug)]
pub struct ResolvedPath<'a> {
    given: BorrowedFd<'a>,
    opened: Option<OwnedFd>,
    /// The name, which is one path component.
    pub name: OsString,
}

impl<'a> ResolvedPath<'a> {
    /// Returns the entry at this path itself, whether it is a link or not.
    ///
    /// # Errors
    /// The directory cannot be opened, or the name ends in a slash.
    pub fn resolve_nofollow(place: &AtPath<'a>) -> io::Result<Self> {
        Self::with_open_parent(place.dir, place.path)
    }

    /// Returns the entry that a path leads to after all links. The entry need not exist.
    ///
    /// # Errors
    /// Returns the errors of [`resolve_nofollow`](Self::resolve_nofollow); ELOOP; EACCES for a link that another user
    /// put into a sticky world-writable directory.
    pub fn resolve_follow(place: &AtPath<'a>) -> io::Result<Self> {
        let mut entry = Self::resolve_nofollow(place)?;
        for _ in 0..MAX_SYMLINKS {
            let Some(target) = entry.target()? else {
                return Ok(entry);
            };
            let next = ResolvedPath::with_open_parent(entry.dir(), &target)?;
            let (opened, name) = (next.opened, next.name);
            // A target without a slash stays in this directory.
            entry.opened = opened.or(entry.opened);
            entry.name = name;
        }
        Err(Errno::ELOOP.into())
    }

    fn with_open_parent(dir: BorrowedFd<'a>, path: &OsStr) -> io::Result<Self> {
        let bytes = path.as_bytes();
        let slash = bytes.iter().rposition(|b| *b == b'/');
        let name = &bytes[slash.map_or(0, |at| at + 1)..];
        if name.is_empty() {
            // open(2) with O_CREAT returns the same error.
            return Err(Errno::EISDIR.into());
        }
        let opened = match slash {
            Some(at) => {
                let parent = OsStr::from_bytes(&bytes[..at.max(1)]);
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                Some(retry(|| openat(dir, parent, flags, Mode::empty()))?)
            }
            None => None,
        };
        Ok(Self {
            given: dir,
            opened,
            name: OsStr::from_bytes(name).to_owned(),
        })
    }

    /// Returns the directory that contains the name.
    #[must_use]
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.opened.as_ref().map_or(self.given, AsFd::as_fd)
    }

    /// Returns the status of the file at the entry, or of the link itself if it is one.
    ///
    /// # Errors
    /// Returns the error of fstatat(2).
    pub fn stat(&self) -> nix::Result<FileStat> {
        fstatat(
            self.dir(),
            self.name.as_os_str(),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
    }

    /// Returns the target of the entry if it is a link, else `None`.
    fn target(&self) -> io::Result<Option<OsString>> {
        match self.stat() {
            Ok(stat) if is_link(&stat) => {}
            Ok(_) | Err(Errno::ENOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let link = openat(self.dir(), self.name.as_os_str(), flags, Mode::empty())?;
        let stat = fstat(&link)?;
        if !is_link(&stat) {
            return Err(Errno::ESTALE.into());
        }
        if !may_follow(&stat, &self.dir_stat()?) {
            return Err(Errno::EACCES.into());
        }
        Ok(Some(readlinkat(&link, "")?))
    }

    fn dir_stat(&self) -> nix::Result<FileStat> {
        fstatat(self.dir(), ".", AtFlags::empty())
    }

    /// Opens the directory for fsync(2).
    ///
    /// # Errors
    /// Returns EACCES where the directory may not be read.
    pub fn open_directory(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        retry(|| openat(self.dir(), ".", flags, Mode::empty())).map(File::from)
    }
}

/// Opens a name below a directory operand. A link there is followed only where it belongs to this user, to root, or to
/// the owner of the file: in a directory of their own, others could redirect a copy that root makes to any file. The
/// rule resembles that of open(2) under fs.protected_symlinks.
///
/// # Errors
/// Returns the error of openat(2), or EACCES for the link of another user.
pub fn open_trusted(place: &AtPath<'_>, flags: OFlag) -> io::Result<File> {
    match place.open(flags | OFlag::O_NOFOLLOW, 0) {
        // With O_DIRECTORY the error for a link is ENOTDIR.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR)) => {}
        other => return other,
    }
    let (owner, target) = read_link(place)?;
    let file = AtPath {
        path: &target,
        ..*place
    }
    .open(flags, 0)?;
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
pub fn create_trusted(place: &AtPath<'_>, flags: OFlag, mode: u32) -> io::Result<File> {
    let (owner, target) = read_link(place)?;
    if !is_trusted(owner) {
        return Err(Errno::EACCES.into());
    }
    let behind = AtPath {
        path: &target,
        ..*place
    };
    behind.open(flags | OFlag::O_CREAT | OFlag::O_EXCL, mode)
}

/// Returns the owner and the target of a link, both read from the same inode.
fn read_link(place: &AtPath<'_>) -> io::Result<(u32, OsString)> {
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
