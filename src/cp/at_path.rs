//! A path as (directory descriptor, file name), for the `*at` system calls. Renaming or symlinking a parent after it
//! was opened cannot redirect the access.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstatat};

use super::by_inode::{self, RemoveOutcome};
use super::error::{Error, Operation, Replaced};
use super::file_status::{FileId, file_id};
use super::path_parts::split;
pub use super::path_parts::{last_component, sibling_path};
use crate::sys::stop_request;
use crate::transfer::errno_class::retry;

/// The interval between two attempts to open a file on which another process holds a lease. A signal is noticed within
/// the same time.
const LEASE_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// An open directory, or the current directory of the process.
#[derive(Debug)]
pub enum DirHandle {
    /// The current directory, from which relative operands start.
    Current,
    /// A directory that is held open by this descriptor.
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

/// Opens a directory by `open`, which adds flags of its own: for reading, or with O_PATH where it may be searched but
/// not listed, which is enough for making files in it.
///
/// # Errors
/// Returns the error of `open`.
pub fn open_searchable(open: impl Fn(OFlag) -> io::Result<File>) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    match open(flags) {
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => open(flags | OFlag::O_PATH),
        other => other,
    }
}

/// A path relative to a directory that is kept open, with the path that messages show for it.
#[derive(Debug, Clone)]
pub struct AtPath {
    folder: Arc<DirHandle>,
    path: OsString,
    shown: PathBuf,
}

impl AtPath {
    /// Makes a path relative to `folder`. Messages show it as `shown`.
    pub fn new(
        folder: Arc<DirHandle>,
        path: impl Into<OsString>,
        shown: impl Into<PathBuf>,
    ) -> Self {
        Self {
            folder,
            path: path.into(),
            shown: shown.into(),
        }
    }

    /// Makes a path relative to the current directory, with all its directories.
    #[must_use]
    pub fn from_current(path: &Path) -> Self {
        Self::new(Arc::new(DirHandle::Current), path, path)
    }

    /// Opens the parent directory of an operand once, so that a later rename or symlink above it cannot redirect the
    /// access. Where the parent cannot be opened, the path stays whole, and the kernel reports the same error as it
    /// does to cp.
    #[must_use]
    pub fn with_open_parent(path: &Path) -> Self {
        let whole = Self::from_current(path);
        let bytes = path.as_os_str().as_bytes();
        let above = split(bytes).0;
        if above.is_empty() || above.len() == bytes.len() {
            return whole;
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match openat(AT_FDCWD, OsStr::from_bytes(above), flags, Mode::empty()) {
            Ok(fd) => {
                let parent = Arc::new(DirHandle::Open(fd.into()));
                Self::new(parent, OsStr::from_bytes(&bytes[above.len()..]), path)
            }
            Err(_) => whole,
        }
    }

    /// Returns another path relative to the same directory. Messages show it as this one.
    #[must_use]
    pub fn with_path(&self, path: impl Into<OsString>) -> Self {
        Self::new(Arc::clone(&self.folder), path, &*self.shown)
    }

    /// Returns a path relative to another directory. Messages show it as this one.
    #[must_use]
    pub fn below(&self, folder: Arc<DirHandle>, path: impl Into<OsString>) -> Self {
        Self::new(folder, path, &*self.shown)
    }

    /// Returns the directory that the path is relative to; AT_FDCWD for the current one.
    #[must_use]
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Returns the handle that keeps this directory open.
    #[must_use]
    pub fn folder(&self) -> &Arc<DirHandle> {
        &self.folder
    }

    /// Returns the path relative to that directory.
    #[must_use]
    pub fn path(&self) -> &OsStr {
        &self.path
    }

    /// Returns the path that messages show.
    #[must_use]
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// Returns the status of the file at this path, or of the link itself where `follow` is false.
    ///
    /// # Errors
    /// Returns the error of fstatat(2).
    pub fn stat(&self, follow: bool) -> nix::Result<FileStat> {
        let flags = if follow {
            AtFlags::empty()
        } else {
            AtFlags::AT_SYMLINK_NOFOLLOW
        };
        fstatat(self.dir(), self.path(), flags)
    }

    /// Returns whether no file is at this path.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.stat(false) == Err(Errno::ENOENT)
    }

    /// Opens the file at this path, with O_CLOEXEC.
    ///
    /// With O_NONBLOCK it waits for a lease as open(2) without that flag would, which would not return for a signal. Only
    /// a lease of another process, such as a file server, makes open(2) of a regular file fail with EWOULDBLOCK
    /// (fcntl(2), F_SETLEASE): each attempt asks the holder to give it up, and the kernel takes it away after
    /// /proc/sys/fs/lease-break-time.
    ///
    /// # Errors
    /// Returns the error of openat(2), or EINTR after a signal that asks to stop.
    pub fn open(&self, flags: OFlag, mode: u32) -> io::Result<File> {
        let waits = flags.contains(OFlag::O_NONBLOCK);
        let (flags, mode) = (flags | OFlag::O_CLOEXEC, Mode::from_bits_truncate(mode));
        loop {
            match retry(|| openat(self.dir(), self.path(), flags, mode)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && waits => {}
                opened => return opened.map(File::from),
            }
            if stop_request::is_requested() {
                return Err(Errno::EINTR.into());
            }
            std::thread::sleep(LEASE_RETRY_INTERVAL);
        }
    }

    /// Opens the directory that the path is relative to, for reading and fsync(2).
    ///
    /// # Errors
    /// Returns EACCES where the directory may not be read.
    pub fn open_parent(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        retry(|| openat(self.dir(), ".", flags, Mode::empty())).map(File::from)
    }

    /// Removes the file at this path, if it is the file that was examined or a symbolic link to that file.
    ///
    /// # Errors
    /// Returns the system's error for the removal.
    pub fn remove_examined(&self, examined: &FileStat) -> Result<RemoveOutcome, Error> {
        let remove = || {
            let link = by_inode::lstat_at(self.dir(), &self.path)?;
            let leads_to = self.stat(true).unwrap_or(link);
            if ![link, leads_to]
                .iter()
                .any(|now| file_id(now) == file_id(examined))
            {
                return Ok(RemoveOutcome::Other);
            }
            by_inode::remove_checked(self.dir(), self.path(), file_id(&link))
        };
        match remove() {
            Err(Errno::ENOENT) => Ok(RemoveOutcome::Gone),
            other => other.map_err(|e| self.error(Operation::Remove, e)),
        }
    }

    /// Removes the file at this path if this run made it, and no other file.
    ///
    /// # Errors
    /// Returns the system's error for the removal, or [`Error::Replaced`] where a file of another process was moved
    /// aside.
    pub fn remove_made(&self, made: FileId) -> Result<(), Error> {
        match by_inode::remove_made(self.dir(), self.path(), made) {
            Ok(RemoveOutcome::Aside(name)) => Err(Error::Replaced(Replaced::Removed {
                path: self.shown.clone(),
                aside: sibling_path(self.shown.as_os_str(), &name).into(),
            })),
            Ok(_) => Ok(()),
            Err(e) => Err(self.error(Operation::Remove, e)),
        }
    }

    /// Returns the error of an operation on this file.
    pub fn error(&self, operation: Operation, error: impl Into<io::Error>) -> Error {
        Error::io(operation, self.shown(), error)
    }
}

impl AtPath {
    /// Returns the identity of the directory that the name is in, and the name without its trailing slashes. The pair
    /// identifies a directory entry: two hard links to one file have different pairs.
    ///
    /// # Errors
    /// Returns the error of fstatat(2).
    pub fn entry(&self) -> nix::Result<(FileId, &[u8])> {
        let bytes = self.path.as_bytes();
        let (above, name) = split(bytes);
        let stat = match above {
            b"" => fstatat(self.dir(), ".", AtFlags::empty())?,
            above => fstatat(self.dir(), OsStr::from_bytes(above), AtFlags::empty())?,
        };
        Ok((file_id(&stat), name))
    }

    /// Returns whether both paths lead to the same entry of the same directory, as far as that can be determined.
    #[must_use]
    pub fn is_same_entry(&self, other: &AtPath) -> bool {
        let name = |place: &AtPath| split(place.path.as_bytes()).1.to_vec();
        name(self) == name(other)
            && matches!((self.entry(), other.entry()), (Ok((a, _)), Ok((b, _))) if a == b)
    }

    /// Returns whether both paths are the same source for cp: the same directory entry, and the directory of this path
    /// is not reached through a symbolic link.
    #[must_use]
    pub fn is_same_source(&self, other: &AtPath) -> bool {
        self.is_same_entry(other) && self.entry().is_ok_and(|(above, _)| self.is_straight(above))
    }

    /// Returns whether the parent in the shown path is `directory` itself and not a symbolic link to it. Returns true
    /// where the shown path cannot be examined, for instance because it is too long.
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
