//! A regular file's destination, from open to commit. Commit is a function that can fail, never a Drop.

mod atomic;
mod beside;
mod in_place;
mod inherit;
pub mod lead;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, IntoRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};

use super::durable::Durable;
use super::place::Place;
use crate::report::quote::quote;
use crate::sys::words::reason;

pub use in_place::{is_fifo, open_fifo};

/// What the command line and the walk have decided about a destination.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// What a new file may have at most for now.
    pub mode: u32,
    /// One that cannot be opened is replaced: -f.
    pub force: bool,
    /// A dangling link is written through: POSIXLY_CORRECT.
    pub through_dangling: bool,
    /// The name is below a directory that was named: a link there is followed only as [`lead::open_trusted`] has it.
    pub below: bool,
    /// The destination is the old file or the whole new one: --atomic.
    pub atomic: bool,
    /// What is there is no longer wanted, since it has been backed up or shall be removed: its name goes to a new file at
    /// the end, and nothing of it is kept. Only with `atomic`.
    pub as_new: bool,
    /// Whether a file that is replaced atomically shall leave its permissions to the new one; else -p sets them afterwards.
    pub keep_mode: bool,
}

/// An open destination.
#[derive(Debug)]
pub struct Destination<'a> {
    /// Whether this run made it, and may remove it.
    pub created: bool,
    /// A file that has not its name yet. Before the file, whose lock keeps the name beside: dropped first.
    temporary: Option<atomic::Temporary<'a>>,
    /// Open for writing.
    pub file: File,
}

/// Why a destination did not get its name.
#[derive(Debug)]
pub enum Refused {
    /// Somebody made a file of that name meanwhile.
    Exists,
    /// With this message.
    Say(String),
}

impl From<String> for Refused {
    fn from(message: String) -> Self {
        Self::Say(message)
    }
}

/// Whether a stat is of a regular file.
#[must_use]
pub fn is_regular(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits()
}

/// Opens the destination of a regular file. An existing one is as it was; with `force` one that refuses is replaced.
///
/// `removed` is called when a file was removed for that.
///
/// # Errors
/// A message in cp's words; nothing was changed then, save what `removed` was told of.
pub fn open<'a>(
    place: &Place<'a>,
    there: Option<&FileStat>,
    how: &How,
    removed: impl FnMut(),
) -> Result<Destination<'a>, String> {
    if how.atomic {
        atomic::open(place, there, how)
    } else {
        in_place::open(place, there, how, removed)
    }
}

impl Destination<'_> {
    /// Gives a temporary what the file had whose place it takes. To be called when the data is complete, before the
    /// attributes of the source are set.
    ///
    /// # Errors
    /// A message: owner, mode or an extended attribute could not be kept.
    pub fn inherit(&self, shown: &Path) -> Result<(), String> {
        match &self.temporary {
            Some(temporary) => temporary.inherit(&self.file, shown),
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
    pub fn commit(self, place: &Place<'_>, durable: &Durable) -> Result<(), Refused> {
        let Self {
            file, temporary, ..
        } = self;
        match temporary {
            Some(temporary) => temporary.commit(file, place, durable),
            None => {
                durable.note_file(&file, place.shown);
                durable.note_entry(place);
                Ok(close(file, place.shown)?)
            }
        }
    }

    /// Ends what is not to be committed: a temporary goes; what was written in place is closed.
    ///
    /// # Errors
    /// A message in cp's words.
    pub fn abandon(self, shown: &Path) -> Result<(), String> {
        match self.temporary {
            Some(temporary) => temporary.abandon(shown),
            None => close(self.file, shown),
        }
    }
}

fn cannot_create(place: &Place<'_>, e: &io::Error) -> String {
    // cp's words for a name with a slash behind that is no directory.
    let slash = place.base.as_encoded_bytes().ends_with(b"/");
    let text = match e.raw_os_error() {
        Some(libc::EISDIR) if slash => reason(&io::Error::from_raw_os_error(libc::ENOTDIR)),
        _ => reason(e),
    };
    format!("cannot create regular file {}: {text}", quote(place.shown))
}

fn was_replaced(shown: &Path) -> String {
    format!(
        "not writing to {}, as it was replaced while being copied to",
        quote(shown)
    )
}

fn not_through_dangling(shown: &Path) -> String {
    format!("not writing through dangling symlink {}", quote(shown))
}

/// Tells of an error that only close(2) reports (NFS, FUSE) while the file stays open: closing any of its descriptors
/// asks the file system.
fn flush(file: &File, shown: &Path) -> Result<(), String> {
    let again = file
        .as_fd()
        .try_clone_to_owned()
        .map_err(|e| cannot_close(shown, &e))?;
    close(File::from(again), shown)
}

/// Closes, and tells of an error that only close(2) reports (NFS, FUSE).
///
/// # Errors
/// A message in cp's words.
pub fn close(file: File, shown: &Path) -> Result<(), String> {
    match nix::unistd::close(file.into_raw_fd()) {
        // On Linux the descriptor is gone even then.
        Ok(()) | Err(Errno::EINTR) => Ok(()),
        Err(e) => Err(cannot_close(shown, &e.into())),
    }
}

fn cannot_close(shown: &Path, e: &io::Error) -> String {
    format!("failed to close {}: {}", quote(shown), reason(e))
}
