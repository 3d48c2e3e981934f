//! A regular file's destination, from open to commit. Commit is a function that can fail, never a Drop.

mod atomic;
mod in_place;
mod inherit;
pub mod resolve_link;
mod temp_name;

use std::ffi::OsString;
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

/// What the command line and the walk have decided about a destination.
#[derive(Debug, Clone, Copy)]
pub struct DestOptions {
    /// What a new file may have at most for now.
    pub mode: u32,
    /// One that cannot be opened is replaced: -f.
    pub force: bool,
    /// A dangling link is written through: POSIXLY_CORRECT.
    pub through_dangling: bool,
    /// The name is below a directory that was named: a link there is followed only as [`resolve_link::open_trusted`] has it.
    pub is_below_operand: bool,
    /// The destination is the old file or the whole new one: --atomic.
    pub atomic: bool,
    /// What is there is no longer wanted, since it has been backed up or shall be removed: its name goes to a new file at
    /// the end, and nothing of it is kept. Only with `atomic`.
    pub replace_as_new: bool,
    /// Whether a file that is replaced atomically shall leave its permissions to the new one; else -p sets them afterwards.
    pub keep_mode: bool,
}

/// An open destination.
#[derive(Debug)]
pub struct Destination<'a> {
    /// Its name.
    place: AtPath<'a>,
    /// Whether this run made it, and may remove it.
    pub created: bool,
    /// A file that has not its name yet. Before the file, whose lock keeps the name beside: dropped first.
    temporary: Option<atomic::TempFile<'a>>,
    /// Open for writing.
    pub file: File,
}

/// What decides about the file that has a destination's name when the new one is complete. Only --atomic looks again then.
pub struct CommitRules<'t> {
    /// What has to be on the disk.
    pub fsync_set: &'t FsyncSet,
    /// The old file gets a backup's name in the step in which the new one gets its own.
    pub backup: Option<&'t Backup>,
    /// Whether `decide` may be against it (-u, -i), so that no file is replaced that it has not seen.
    pub may_leave: bool,
    /// Called with what has the name, and whether that is the file that was examined before the copy.
    pub decide: &'t mut dyn FnMut(&FileStat, bool) -> CommitDecision,
}

impl CommitRules<'_> {
    fn decides(&self) -> bool {
        self.may_leave || self.backup.is_some()
    }
}

/// What is to become of an old file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitDecision {
    /// The new one takes its place.
    Replace,
    /// It stays, and the new one is dropped.
    Leave,
}

/// What became of a destination that was complete.
#[derive(Debug)]
pub enum CommitOutcome {
    /// It has its name.
    Done {
        /// The name of the old file, where that was kept in the same step.
        backup: Option<OsString>,
    },
    /// What has the name was left, by [`CommitDecision::Leave`]: this file.
    Left(FileId),
}

/// Why a destination did not get its name.
#[derive(Debug)]
pub enum CommitError<'a> {
    /// Somebody made a file of that name meanwhile.
    Exists,
    /// Somebody replaced the file meanwhile: the attributes of that one are to be kept, and then it is to be committed
    /// again.
    Changed(Box<Destination<'a>>),
    /// It could not be made durable, named or closed.
    Failed(Error),
}

impl From<Error> for CommitError<'_> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Opens the destination of a regular file. An existing one is as it was; with `force` one that refuses is replaced.
///
/// `removed` is called when a file was removed for that.
///
/// # Errors
/// What could not be opened or made; nothing was changed then, save what `removed` was told of.
pub fn open<'a>(
    place: &AtPath<'a>,
    there: Option<&FileStat>,
    how: &DestOptions,
    removed: impl FnMut(),
) -> Result<Destination<'a>, Error> {
    if how.atomic {
        atomic::open(place, there, how)
    } else {
        in_place::open(place, there, how, removed)
    }
}

impl<'a> Destination<'a> {
    /// Gives a temporary what the file had whose place it takes. To be called when the data is complete, before the
    /// attributes of the source are set.
    ///
    /// # Errors
    /// Owner, mode or an extended attribute could not be kept.
    pub fn inherit(&self) -> Result<(), Error> {
        match &self.temporary {
            Some(temporary) => temporary.inherit(&self.file, &self.place),
            None => Ok(()),
        }
    }

    /// Whether it is a file that a failed copy leaves nothing of.
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        self.temporary.is_some()
    }

    /// Makes it what it is to be: on the disk as far as `durable` demands, under its name, closed.
    ///
    /// # Errors
    /// A file that could not be made durable, named or closed; a temporary is gone then.
    pub fn commit(self, terms: &mut CommitRules<'_>) -> Result<CommitOutcome, CommitError<'a>> {
        let Self {
            place,
            file,
            temporary,
            ..
        } = self;
        match temporary {
            Some(temporary) => temporary.commit(file, place, terms),
            None => {
                terms.fsync_set.note_file(&file, place.shown);
                terms.fsync_set.note_entry(&place);
                close(file, &place)?;
                Ok(CommitOutcome::Done { backup: None })
            }
        }
    }

    /// Ends what is not to be committed: a temporary goes; what was written in place is closed.
    ///
    /// # Errors
    /// A temporary could not be removed, or the file not be closed.
    pub fn abandon(self) -> Result<(), Error> {
        match self.temporary {
            Some(temporary) => temporary.abandon(&self.place),
            None => close(self.file, &self.place),
        }
    }
}

/// Returns the error of opening or making a destination. Of a name with a slash behind that is no directory cp says that it
/// is none.
fn cannot_create(place: &AtPath<'_>, error: impl Into<io::Error>) -> Error {
    let error = error.into();
    let slash = place.path.as_encoded_bytes().ends_with(b"/");
    match error.raw_os_error() {
        Some(libc::EISDIR) if slash => place.error(Operation::OpenDest, Errno::ENOTDIR),
        _ => place.error(Operation::OpenDest, error),
    }
}

/// Returns the error for a destination that is a symbolic link to nothing.
fn not_through_dangling(place: &AtPath<'_>) -> Error {
    Error::refused(Refusal::DanglingSymlink, Path::new(""), place.shown)
}

/// Returns an error that only close(2) reports (NFS, FUSE) while the file stays open: closing any of its descriptors asks
/// the file system.
fn check_close_error(file: &File, place: &AtPath<'_>) -> Result<(), Error> {
    let again = file
        .as_fd()
        .try_clone_to_owned()
        .map_err(|e| place.error(Operation::Close, e))?;
    close(File::from(again), place)
}

/// Closes a file, and returns an error that only close(2) reports (NFS, FUSE).
fn close(file: File, place: &AtPath<'_>) -> Result<(), Error> {
    match nix::unistd::close(file.into_raw_fd()) {
        // On Linux the descriptor is gone even then.
        Ok(()) | Err(Errno::EINTR) => Ok(()),
        Err(e) => Err(place.error(Operation::Close, e)),
    }
}
