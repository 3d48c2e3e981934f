//! A destination that is overwritten in place, as cp does it.

use std::fs::File;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{FileStat, fstat};

use super::resolve_link::{create_trusted, open_trusted};
use super::{DestOptions, Destination, cannot_create, not_through_dangling};
use crate::cp::at_path::AtPath;
use crate::cp::by_inode::RemoveOutcome;
use crate::cp::error::{Error, Operation};
use crate::cp::file_status::{file_id, is_link};

pub(super) fn open(
    dest: &AtPath,
    there: Option<&FileStat>,
    how: &DestOptions,
    mut removed: impl FnMut(),
) -> Result<Destination, Error> {
    if let Some(there) = there {
        match open_existing(dest, there, OFlag::O_WRONLY, how.is_below_operand) {
            Ok(file) => return blocking(file, dest),
            // The file was removed meanwhile, so a new one is made, as in cp.
            Err(OpenExistingError::Open(e)) if e.raw_os_error() == Some(libc::ENOENT) => {}
            Err(OpenExistingError::Open(e))
                if how.force && e.kind() != io::ErrorKind::Interrupted =>
            {
                match dest.remove_examined(there)? {
                    RemoveOutcome::Done => removed(),
                    RemoveOutcome::Gone => {}
                    RemoveOutcome::Other | RemoveOutcome::Aside(_) => {
                        return Err(Error::dest_replaced(dest.shown()));
                    }
                }
            }
            Err(other) => return Err(other.into_error(dest)),
        }
    }
    create(dest, how)
}

/// The reason why an existing file was not opened.
pub(super) enum OpenExistingError {
    /// The error that open(2) returned.
    Open(io::Error),
    /// The error of fstat(2): it is not known which file was opened.
    Examine(Errno),
    /// The file is not the one that was examined.
    Replaced,
}

impl OpenExistingError {
    /// Returns the error in the terms of the copy.
    pub(super) fn into_error(self, dest: &AtPath) -> Error {
        match self {
            Self::Open(e) => cannot_create(dest, e),
            Self::Examine(e) => dest.error(Operation::Fstat, e),
            Self::Replaced => Error::dest_replaced(dest.shown()),
        }
    }
}

/// Opens the file that was examined before, and fails with `Replaced` where another was swapped in. Does not block on
/// such a file, and does not use O_TRUNC, which would destroy data before there is known to be room.
pub(super) fn open_existing(
    dest: &AtPath,
    there: &FileStat,
    access: OFlag,
    below: bool,
) -> Result<File, OpenExistingError> {
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = if below {
        open_trusted(dest, flags)
    } else {
        dest.open(flags, 0)
    };
    let file = opened.map_err(OpenExistingError::Open)?;
    let now = fstat(&file).map_err(OpenExistingError::Examine)?;
    if file_id(&now) == file_id(there) {
        Ok(file)
    } else {
        Err(OpenExistingError::Replaced)
    }
}

/// Makes an open file blocking again, now that it is known to be the right one.
fn blocking(file: File, dest: &AtPath) -> Result<Destination, Error> {
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_WRONLY)).map_err(|e| cannot_create(dest, e))?;
    Ok(Destination {
        dest: dest.clone(),
        file,
        created: false,
        temporary: None,
    })
}

/// The interval at which the wait for a reader of a FIFO checks whether to stop.
const FIFO_READER_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Opens a FIFO for writing when it has a reader, or gives up when `interrupted` returns true: open(2) itself would not
/// return for a signal.
///
/// # Errors
/// Returns the error of open(2), or that another file has the name.
pub fn open_fifo(
    dest: &AtPath,
    there: &FileStat,
    below: bool,
    interrupted: impl Fn() -> bool,
) -> Result<Destination, Error> {
    loop {
        match open_existing(dest, there, OFlag::O_WRONLY, below) {
            Ok(file) => return blocking(file, dest),
            Err(OpenExistingError::Open(e))
                if e.raw_os_error() == Some(libc::ENXIO) && !interrupted() =>
            {
                std::thread::sleep(FIFO_READER_POLL_INTERVAL);
            }
            Err(other) => return Err(other.into_error(dest)),
        }
    }
}

fn create(dest: &AtPath, how: &DestOptions) -> Result<Destination, Error> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT;
    let mut opened = dest.open(flags | OFlag::O_EXCL, how.mode);
    let exists = |e: &io::Error| e.raw_os_error() == Some(libc::EEXIST);
    if opened.as_ref().is_err_and(exists) && is_symlink_at(dest) {
        if !how.through_dangling {
            return Err(not_through_dangling(dest));
        }
        opened = if how.is_below_operand {
            create_trusted(dest, flags, how.mode)
        } else {
            dest.open(flags, how.mode)
        };
    }
    match opened {
        Ok(file) => Ok(Destination {
            dest: dest.clone(),
            file,
            created: true,
            temporary: None,
        }),
        Err(e) => Err(cannot_create(dest, e)),
    }
}

fn is_symlink_at(dest: &AtPath) -> bool {
    dest.stat(false).is_ok_and(|stat| is_link(&stat))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_swapped_in_since_we_looked_is_left_alone() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (path, victim) = (dir.path().join("dest"), dir.path().join("victim"));
        fs::write(&path, "old")?;
        fs::write(&victim, "precious")?;
        let dest = AtPath::from_current(&path);
        let there = dest.stat(true)?;
        fs::remove_file(&path)?;
        std::os::unix::fs::symlink(&victim, &path)?;
        for atomic in [false, true] {
            let how = DestOptions {
                mode: 0o600,
                is_below_operand: false,
                force: false,
                through_dangling: false,
                atomic,
                replace_as_new: false,
                keep_mode: true,
            };
            let opened =
                super::super::open(&dest, Some(&there), &how, super::super::Part::None, || {});
            assert!(opened.is_err_and(|e| e.to_string().contains("was replaced")));
            assert_eq!(fs::read(&victim)?, b"precious");
        }
        Ok(())
    }
}
