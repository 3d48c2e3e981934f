//! The file beside a destination that holds the state of its copy. It is replaced as a whole, and nobody else can write
//! to it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, fdatasync, fsync, unlinkat};

use super::super::at_path::{AtPath, sibling_path};
use super::super::dest::temp_name::name_beside;
use super::super::error::{AnewReason, Error, Operation};
use super::super::file_status::is_regular;
use super::copy_state::{CopyState, StateError};
use crate::transfer::errno_class::retry;

/// Most bytes that a state file can have: its part is a name, in hexadecimal.
const MAX_BYTES: u64 = 4096;

/// The end of the name of a state file.
pub(super) const STATE_END: &str = ".mmapcp-state";

/// Bits of a mode that let others write.
const OTHERS_WRITE: u32 = 0o022;

impl From<StateError> for AnewReason {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Damaged => Self::StateDamaged,
            StateError::Newer => Self::StateNewer,
        }
    }
}

/// A state that cannot be used, and why.
#[derive(Debug)]
pub(in crate::cp) enum UnusableState {
    /// Its text is no state, or not whole. The flag says whether it is that of a drain.
    Text(StateError, bool),
    /// It is not a regular file that this user alone can write to.
    NotOurs,
    /// It is there and cannot be read.
    Unreadable(io::Error),
}

/// The place of a state file.
#[derive(Debug, Clone)]
pub(in crate::cp) struct StateFile {
    /// The entry of the destination.
    dest: AtPath,
    name: OsString,
    /// The name of the next state until it replaces the last one.
    next: OsString,
}

impl StateFile {
    /// Returns the place for the copy to an entry.
    pub(in crate::cp) fn beside(dest: AtPath) -> Self {
        Self {
            name: name_beside(dest.path(), STATE_END),
            next: name_beside(dest.path(), ".mmapcp-state~"),
            dest,
        }
    }

    /// Returns the path that messages show.
    pub(in crate::cp) fn shown(&self) -> PathBuf {
        sibling_path(self.dest.shown().as_os_str(), &self.name).into()
    }

    /// Reads the state; `None` if there is none. A symbolic link is not followed.
    pub(in crate::cp) fn load(&self) -> Result<Option<CopyState>, UnusableState> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let opened = retry(|| openat(self.dest.dir(), &*self.name, flags, Mode::empty()));
        let file = match opened {
            Ok(file) => File::from(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.raw_os_error() == Some(libc::ELOOP) => return Err(UnusableState::NotOurs),
            Err(e) => return Err(UnusableState::Unreadable(e)),
        };
        let stat = fstat(&file).map_err(|e| UnusableState::Unreadable(e.into()))?;
        let is_ours = stat.st_uid == nix::unistd::geteuid().as_raw();
        if !is_regular(&stat) || !is_ours || stat.st_mode & OTHERS_WRITE != 0 {
            return Err(UnusableState::NotOurs);
        }
        let mut bytes = Vec::new();
        let read = file.take(MAX_BYTES).read_to_end(&mut bytes);
        read.map_err(UnusableState::Unreadable)?;
        let unusable = |e| UnusableState::Text(e, CopyState::is_of_drain(&bytes));
        let text = std::str::from_utf8(&bytes).map_err(|_| unusable(StateError::Damaged))?;
        CopyState::parse(text).map(Some).map_err(unusable)
    }

    /// Returns the entry of the destination.
    pub(in crate::cp) fn dest(&self) -> &AtPath {
        &self.dest
    }

    /// Replaces the state as [`Self::store`] does, and returns when its name is on the disk, too.
    ///
    /// # Errors
    /// The error of the call that failed.
    pub(in crate::cp) fn store_durably(&self, state: &CopyState) -> io::Result<()> {
        self.store(state)?;
        let dir = self.dest.open_parent()?;
        retry(|| fsync(&dir))
    }

    /// Replaces the state by another one, which is on the disk before it has the name.
    ///
    /// # Errors
    /// The error of the call that failed. The last state stays.
    pub(in crate::cp) fn store(&self, state: &CopyState) -> io::Result<()> {
        let dir = self.dest.dir();
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let create = || openat(dir, &*self.next, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let made = retry(create).or_else(|e| match e.raw_os_error() {
            // A run was killed in between, or somebody has planted the name.
            Some(libc::EEXIST) => {
                unlinkat(dir, &*self.next, UnlinkatFlags::NoRemoveDir)?;
                retry(create)
            }
            _ => Err(e),
        })?;
        let mut file = File::from(made);
        let stored = file
            .write_all(state.to_text().as_bytes())
            .and_then(|()| retry(|| fdatasync(&file)))
            .and_then(|()| Ok(renameat(dir, &*self.next, dir, &*self.name)?));
        if stored.is_err() {
            let _ = unlinkat(dir, &*self.next, UnlinkatFlags::NoRemoveDir);
        }
        stored
    }

    /// Removes the state.
    ///
    /// # Errors
    /// The error of unlinkat(2), unless there is none.
    pub(in crate::cp) fn remove(&self) -> Result<(), Error> {
        match unlinkat(self.dest.dir(), &*self.name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(e) => Err(Error::io(Operation::Remove, self.shown(), e)),
        }
    }
}
