//! Where a name leads: the directory and the name in it that no link stands in for, reached by descriptors.

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

/// Links that are followed before it is a loop: MAXSYMLINKS of the kernel.
const MAX_SYMLINKS: usize = 40;

/// A directory and one name in it.
#[derive(Debug)]
pub struct ResolvedPath<'a> {
    given: BorrowedFd<'a>,
    opened: Option<OwnedFd>,
    /// One component.
    pub name: OsString,
}

impl<'a> ResolvedPath<'a> {
    /// The entry of a place itself, be it a link or not.
    ///
    /// # Errors
    /// The directory cannot be opened, or the name ends in a slash.
    pub fn resolve_nofollow(place: &AtPath<'a>) -> io::Result<Self> {
        Self::with_open_parent(place.dir, place.path)
    }

    /// The entry that a place leads to, which need not exist.
    ///
    /// # Errors
    /// As [`resolve_nofollow`](Self::resolve_nofollow); ELOOP; EACCES for a link that a stranger put into a directory of everybody's.
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
            // open(2) with O_CREAT says so, too.
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

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.opened.as_ref().map_or(self.given, AsFd::as_fd)
    }

    /// What is there, the link itself if it is one.
    ///
    /// # Errors
    /// fstatat's.
    pub fn stat(&self) -> nix::Result<FileStat> {
        fstatat(
            self.dir(),
            self.name.as_os_str(),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
    }

    /// What the link says that is there, if it is one.
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

    /// The directory, open for fsync.
    ///
    /// # Errors
    /// EACCES where it may not be read.
    pub fn open_directory(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        retry(|| openat(self.dir(), ".", flags, Mode::empty())).map(File::from)
    }
}

/// Opens a name below a directory that was named, and what a link there leads to only where the link is our own, root's, or of the owner
/// of the file: in a directory of theirs, others could lead a copy that root makes to any file. To open(2) what else there
/// is looks as it does under fs.protected_symlinks.
///
/// # Errors
/// openat's; EACCES for the link of a stranger.
pub fn open_trusted(place: &AtPath<'_>, flags: OFlag) -> io::Result<File> {
    match place.open(flags | OFlag::O_NOFOLLOW, 0) {
        // With O_DIRECTORY a link is none.
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

/// Makes the file that such a link leads to; the link must be our own or root's.
///
/// # Errors
/// openat's; EACCES for the link of a stranger.
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

/// Owner and target of a link: the link that is read is the one whose owner is told.
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

/// What the kernel does for open(2) under fs.protected_symlinks, and what following by hand would go around: in a
/// directory like /tmp only one's own links and those of its owner are followed.
fn may_follow(link: &FileStat, dir: &FileStat) -> bool {
    let everybodys = 0o1002;
    dir.st_mode & everybodys != everybodys
        || link.st_uid == nix::unistd::geteuid().as_raw()
        || link.st_uid == dir.st_uid
}
