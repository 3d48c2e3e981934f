//! A regular file's destination, from open to commit. Commit is a function that can fail, never a Drop.

mod atomic;
mod in_place;
mod inherit;
pub mod resolve_link;
pub(super) mod temp_name;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, IntoRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::FileStat;

use super::at_path::AtPath;
use super::error::{Error, Operation, Refusal};
use super::file_status::FileId;
use super::fsync_set::FsyncSet;
use super::options::Backup;

pub use in_place::open_fifo;

/// Number of times that another process may replace the destination while the new file gets the attributes of the old
/// one, which takes less than a millisecond.
pub const MAX_COMMITS: u32 = 100;

/// The decisions of the command line and the walk about a destination.
#[derive(Debug, Clone, Copy)]
pub struct DestOptions {
    /// The mode that a new file is created with, which its later mode may extend.
    pub mode: u32,
    /// Whether a file that cannot be opened is replaced (-f).
    pub force: bool,
    /// Whether a dangling link is written through (POSIXLY_CORRECT).
    pub through_dangling: bool,
    /// Whether the name is below a directory operand. A link there is followed only under the rules of
    /// [`resolve_link::open_trusted`].
    pub is_below_operand: bool,
    /// Whether the destination is always the old file or the whole new one (--atomic).
    pub atomic: bool,
    /// Whether the old file is no longer wanted, since it has been backed up or shall be removed. Its name goes to a
    /// new file at the end, which inherits nothing. Only with `atomic`.
    pub replace_as_new: bool,
    /// Whether a file that replaces another atomically inherits its permissions; if not, -p sets them afterwards.
    pub keep_mode: bool,
}

/// The file that is written with --atomic until it gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// A new file, without a name where that is possible. It is gone after a failure.
    None,
    /// A new file with a name, by which another run finds it (--resume).
    Named,
    /// The file that an interrupted run has left under this name, or a new one where it is gone.
    Found(&'a OsStr, FileId),
}

/// The open destination of one copy.
#[derive(Debug)]
pub struct Destination {
    /// The path of the destination.
    dest: AtPath,
    /// Whether this run made the file, and may remove it.
    pub created: bool,
    /// A file that does not have its final name yet. This field is before `file`, whose lock protects the temporary
    /// name, so that it is dropped first.
    temporary: Option<atomic::TempFile>,
    /// The file, open for writing.
    pub file: File,
}

/// The rules for the file that has the destination's name when the new one is complete. Only --atomic examines it again
/// then.
pub struct CommitRules<'t> {
    /// The files that must reach the disk.
    pub fsync_set: &'t FsyncSet,
    /// The backup name that the old file gets in the step in which the new one gets its own.
    pub backup: Option<&'t Backup>,
    /// Whether `decide` may leave the old file (-u, -i), so that no file is replaced that it has not examined.
    pub may_leave: bool,
    /// Decides about a file. Called with the status of the file at the name, and whether that is the file that was
    /// examined before the copy.
    pub decide: &'t mut dyn FnMut(&FileStat, bool) -> CommitDecision,
}

impl CommitRules<'_> {
    fn decides(&self) -> bool {
        self.may_leave || self.backup.is_some()
    }
}

/// The decision about an old file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitDecision {
    /// The new file replaces the old one.
    Replace,
    /// The old file stays, and the new one is discarded.
    Leave,
}

/// The result of committing a complete destination.
#[derive(Debug)]
pub enum CommitOutcome {
    /// The file has its name.
    Done {
        /// The backup name of the old file, where it was kept in the same step.
        backup: Option<OsString>,
    },
    /// This file kept the name, by [`CommitDecision::Leave`].
    Left(FileId),
}

/// The reason why a destination did not get its name.
#[derive(Debug)]
pub enum CommitError {
    /// Another process made a file of that name meanwhile.
    Exists,
    /// Another process replaced the file meanwhile. The new file shall inherit the attributes of that one, and then be
    /// committed again.
    Changed(Box<Destination>),
    /// The file could not be made durable, named or closed.
    Failed(Error),
}

impl From<Error> for CommitError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Opens the destination of a regular file. An existing file is left as it is; with `force`, one that cannot be opened
/// is replaced.
///
/// Calls `removed` after a file was removed for that.
///
/// # Errors
/// Returns the error of opening or creating the file. Nothing was changed then, except for a file that `removed`
/// reported.
pub fn open(
    dest: &AtPath,
    there: Option<&FileStat>,
    how: &DestOptions,
    part: Part<'_>,
    removed: impl FnMut(),
) -> Result<Destination, Error> {
    if how.atomic {
        atomic::open(dest, there, how, part)
    } else {
        in_place::open(dest, there, how, removed)
    }
}

impl Destination {
    /// Gives a temporary file the attributes of the file that it replaces. Must be called when the data is complete,
    /// before the attributes of the source are set.
    ///
    /// # Errors
    /// Owner, mode or an extended attribute could not be kept.
    pub fn inherit(&self) -> Result<(), Error> {
        match &self.temporary {
            Some(temporary) => temporary.inherit(&self.file),
            None => Ok(()),
        }
    }

    /// Returns whether the destination is atomic, so that a failed copy leaves no part of a file.
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        self.temporary.is_some()
    }

    /// Completes the destination: syncs it where the rules demand that, gives it its name, and closes it.
    ///
    /// # Errors
    /// The file could not be made durable, named or closed; a temporary file is removed then.
    pub fn commit(self, rules: &mut CommitRules<'_>) -> Result<CommitOutcome, CommitError> {
        let Self {
            dest,
            file,
            temporary,
            ..
        } = self;
        match temporary {
            Some(temporary) => temporary.commit(file, rules),
            None => {
                rules.fsync_set.note_file(&file, &dest);
                rules.fsync_set.note_entry(&dest);
                close(file, &dest)?;
                Ok(CommitOutcome::Done { backup: None })
            }
        }
    }

    /// Returns the entry that the file gets in the end, after all symbolic links if it is atomic.
    #[must_use]
    pub fn entry(&self) -> &AtPath {
        match &self.temporary {
            Some(temporary) => temporary.entry(),
            None => &self.dest,
        }
    }

    /// Makes a temporary file get another name than the one that it was opened for. There must be no file of that name.
    #[must_use]
    pub fn into_part(self, part: AtPath) -> Self {
        Self {
            temporary: self
                .temporary
                .map(|temporary| temporary.with_entry(part.clone())),
            dest: part,
            ..self
        }
    }

    /// Returns the temporary name of the file, where it has one.
    #[must_use]
    pub fn part_name(&self) -> Option<OsString> {
        let temporary = self.temporary.as_ref()?;
        temporary.name().map(OsStr::to_owned)
    }

    /// Ends a destination that another run will complete: a temporary file keeps its name.
    ///
    /// # Errors
    /// The file could not be closed.
    pub fn keep(self) -> Result<(), Error> {
        if let Some(temporary) = self.temporary {
            temporary.keep();
        }
        close(self.file, &self.dest)
    }

    /// Ends a destination that is not to be committed: removes a temporary file, and closes one that was written in
    /// place.
    ///
    /// # Errors
    /// A temporary file could not be removed, or the file could not be closed.
    pub fn abandon(self) -> Result<(), Error> {
        match self.temporary {
            Some(temporary) => temporary.abandon(),
            None => close(self.file, &self.dest),
        }
    }
}

/// Returns the error of opening or creating a destination. For a name with a trailing slash that is no directory, the
/// error is ENOTDIR, as in cp.
fn cannot_create(dest: &AtPath, error: impl Into<io::Error>) -> Error {
    let error = error.into();
    let slash = dest.path().as_encoded_bytes().ends_with(b"/");
    match error.raw_os_error() {
        Some(libc::EISDIR) if slash => dest.error(Operation::OpenDest, Errno::ENOTDIR),
        _ => dest.error(Operation::OpenDest, error),
    }
}

/// Returns the error for a destination that is a dangling symbolic link.
fn not_through_dangling(dest: &AtPath) -> Error {
    Error::refused(Refusal::DanglingSymlink, Path::new(""), dest.shown())
}

/// Returns an error that only close(2) reports (NFS, FUSE) while the file stays open: closing any of its descriptors
/// asks the file system.
fn check_close_error(file: &File, dest: &AtPath) -> Result<(), Error> {
    let again = file
        .as_fd()
        .try_clone_to_owned()
        .map_err(|e| dest.error(Operation::Close, e))?;
    close(File::from(again), dest)
}

/// Closes a file, and returns an error that only close(2) reports (NFS, FUSE).
fn close(file: File, dest: &AtPath) -> Result<(), Error> {
    match nix::unistd::close(file.into_raw_fd()) {
        // On Linux the descriptor is closed even after EINTR.
        Ok(()) | Err(Errno::EINTR) => Ok(()),
        Err(e) => Err(dest.error(Operation::Close, e)),
    }
}
