//! A name in an open directory: how every file is reached, so that what is swapped above it leads nowhere else.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstatat};

use super::by_inode::{self, RemoveOutcome};
use super::error::{Error, Operation, Replaced};
use super::file_status::{FileId, file_id};
use super::path_parts::split;
pub use super::path_parts::{last_component, sibling_path};
use crate::transfer::errno_class::retry;

/// A name in an open directory, and how messages call it.
#[derive(Debug, Clone, Copy)]
pub struct AtPath<'a> {
    /// The directory; the current one for operands.
    pub dir: BorrowedFd<'a>,
    /// The name in it.
    pub path: &'a OsStr,
    /// For messages.
    pub shown: &'a Path,
}

impl AtPath<'_> {
    /// What is there, the link itself where `follow` is false.
    ///
    /// # Errors
    /// fstatat's.
    pub fn stat(&self, follow: bool) -> nix::Result<FileStat> {
        let flags = if follow {
            AtFlags::empty()
        } else {
            AtFlags::AT_SYMLINK_NOFOLLOW
        };
        fstatat(self.dir, self.path, flags)
    }

    /// Opens it.
    ///
    /// # Errors
    /// openat's.
    pub fn open(&self, flags: OFlag, mode: u32) -> io::Result<File> {
        retry(|| {
            openat(
                self.dir,
                self.path,
                flags | OFlag::O_CLOEXEC,
                Mode::from_bits_truncate(mode),
            )
        })
        .map(File::from)
    }

    /// Removes what is there, if it is the file that was examined or a symbolic link to that.
    ///
    /// # Errors
    /// What the system said of the removal.
    pub fn remove_examined(&self, examined: &FileStat) -> Result<RemoveOutcome, Error> {
        let remove = || {
            let link = by_inode::lstat_at(self.dir, self.path)?;
            let leads_to = self.stat(true).unwrap_or(link);
            if ![link, leads_to]
                .iter()
                .any(|now| file_id(now) == file_id(examined))
            {
                return Ok(RemoveOutcome::Other);
            }
            by_inode::remove_checked(self.dir, self.path, file_id(&link))
        };
        match remove() {
            Err(Errno::ENOENT) => Ok(RemoveOutcome::Gone),
            other => other.map_err(|e| self.error(Operation::Remove, e)),
        }
    }

    /// Removes what this run has made there, and nothing else.
    ///
    /// # Errors
    /// What the system said of the removal.
    pub fn remove_made(&self, made: FileId) -> Result<(), Error> {
        match by_inode::remove_made(self.dir, self.path, made) {
            Ok(RemoveOutcome::Aside(name)) => Err(Error::Replaced(Replaced::Removed {
                path: self.shown.into(),
                aside: sibling_path(self.shown.as_os_str(), &name).into(),
            })),
            Ok(_) => Ok(()),
            Err(e) => Err(self.error(Operation::Remove, e)),
        }
    }

    /// Returns the error of an operation on this file.
    pub fn error(&self, operation: Operation, error: impl Into<io::Error>) -> Error {
        Error::io(operation, self.shown, error)
    }
}

impl AtPath<'_> {
    /// The directory that the name is in, and the name without the slashes behind it: what tells one entry from another
    /// link to the same file.
    ///
    /// # Errors
    /// fstatat's.
    pub fn entry(&self) -> nix::Result<(FileId, &[u8])> {
        let bytes = self.path.as_bytes();
        let (above, name) = split(bytes);
        let stat = match above {
            b"" => fstatat(self.dir, ".", AtFlags::empty())?,
            above => fstatat(self.dir, OsStr::from_bytes(above), AtFlags::empty())?,
        };
        Ok((file_id(&stat), name))
    }

    /// Whether both are one entry of one directory, as far as that can be known.
    #[must_use]
    pub fn is_same_entry(&self, other: &AtPath<'_>) -> bool {
        let name = |place: &AtPath<'_>| split(place.path.as_bytes()).1.to_vec();
        name(self) == name(other)
            && matches!((self.entry(), other.entry()), (Ok((a, _)), Ok((b, _))) if a == b)
    }

    /// The same of a source: for cp, one whose directory is reached by a link is another.
    #[must_use]
    pub fn is_same_source(&self, other: &AtPath<'_>) -> bool {
        self.is_same_entry(other) && self.entry().is_ok_and(|(above, _)| self.is_straight(above))
    }

    /// Whether the path to it, as it was given, ends in the directory itself, which is not known of a path too long to ask.
    fn is_straight(&self, directory: FileId) -> bool {
        let above = match split(self.shown.as_os_str().as_bytes()).0 {
            b"" => b".",
            above => &above[..above.iter().rposition(|b| *b != b'/').map_or(1, |i| i + 1)],
        };
        match fstatat(
            AT_FDCWD,
            OsStr::from_bytes(above),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        ) {
            Ok(stat) => file_id(&stat) == directory,
            Err(_) => true,
        }
    }
}

/// An open directory, or the current one.
#[derive(Debug)]
pub enum DirHandle {
    /// The one that relative operands start from.
    Current,
    /// Open.
    Open(File),
}

impl AsFd for DirHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Current => AT_FDCWD,
            Self::Open(file) => file.as_fd(),
        }
    }
}

/// A place that keeps its directory open.
#[derive(Debug, Clone)]
pub struct OwnedAtPath {
    /// The directory.
    pub folder: Arc<DirHandle>,
    /// The name in it.
    pub path: OsString,
    /// For messages.
    pub shown: PathBuf,
}

impl OwnedAtPath {
    /// The place of an operand: its directory is opened once, so that what is swapped above it later leads nowhere else.
    /// Where that cannot be opened, the path stays whole, and the kernel says of it what it says to cp.
    #[must_use]
    pub fn with_open_parent(path: &Path) -> Self {
        let whole = Self {
            folder: Arc::new(DirHandle::Current),
            path: path.into(),
            shown: path.into(),
        };
        let bytes = path.as_os_str().as_bytes();
        let above = split(bytes).0;
        if above.is_empty() || above.len() == bytes.len() {
            return whole;
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match openat(AT_FDCWD, OsStr::from_bytes(above), flags, Mode::empty()) {
            Ok(fd) => Self {
                folder: Arc::new(DirHandle::Open(fd.into())),
                path: OsStr::from_bytes(&bytes[above.len()..]).to_owned(),
                ..whole
            },
            Err(_) => whole,
        }
    }

    /// As a place.
    #[must_use]
    pub fn as_at_path(&self) -> AtPath<'_> {
        AtPath {
            dir: self.folder.as_fd(),
            path: &self.path,
            shown: &self.shown,
        }
    }
}
