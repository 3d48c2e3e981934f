//! The end of a drained source: what is left of its memory is given back, and its name is removed.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::fstat;

use super::super::at_path::AtPath;
use super::super::by_inode::{self, RemoveOutcome};
use super::super::error::{DrainObstacle, Error, Operation, Replaced};
use super::super::file_status::FileId;
use crate::transfer::{self, SourceDrain};

/// Longest wait for another process that has opened the source for a moment, as one that looks for viruses does.
const HELD_TIMEOUT: Duration = Duration::from_secs(2);

/// The interval between two looks whether it has closed the source.
const HELD_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Frees all of a source whose copy is durable under its name, and removes it. Returns how many bytes of memory that gave
/// back. `check_dest` fails if the destination is not what it was. `modified` is the modification time that the source has if nobody else has written to it.
///
/// # Errors
/// Another process has the source open, or has changed or replaced it; it could not be freed or removed; the run is to
/// stop. The source is left as it is then.
pub(in crate::cp) fn free_and_remove(
    (source, file): (&AtPath, &File),
    id: FileId,
    (dest, check_dest): (&AtPath, &dyn Fn() -> Result<(), Error>),
    modified: Option<(i64, i64)>,
    is_stopping: impl Fn() -> bool,
) -> Result<u64, Error> {
    let mut drain = SourceDrain::new(file).map_err(|e| source.error(Operation::Fstat, e))?;
    let fail = |error| free_error(source, dest, error);
    if modified.is_some_and(|known| known != drain.modified()) {
        return Err(Error::drain(
            source.shown(),
            dest.shown(),
            DrainObstacle::Changed,
        ));
    }
    let (started, mut freed) = (Instant::now(), 0);
    while !drain.is_complete() {
        check_dest()?;
        check_source_name(source, file, id)?;
        freed += drain.free(u64::MAX, &is_stopping).map_err(fail)?;
        if is_stopping() {
            return Err(fail(transfer::Error::Interrupted));
        }
        if drain.is_held() {
            if started.elapsed() > HELD_TIMEOUT {
                let why = DrainObstacle::OpenElsewhere;
                return Err(Error::drain(source.shown(), dest.shown(), why));
            }
            thread::sleep(HELD_CHECK_INTERVAL);
        }
    }
    check_dest()?;
    match by_inode::remove_made(source.dir(), source.path(), id) {
        Ok(RemoveOutcome::Done) => Ok(freed),
        Ok(RemoveOutcome::Gone) if names_of(file) == 0 => Ok(freed),
        Ok(RemoveOutcome::Gone | RemoveOutcome::Other | RemoveOutcome::Aside(_)) => {
            Err(replaced(source))
        }
        Err(e) => Err(source.error(Operation::Remove, e)),
    }
}

/// Checks that a source has its name alone, or that somebody has removed it, so that nobody wants it any more.
fn check_source_name(source: &AtPath, file: &File, id: FileId) -> Result<(), Error> {
    match names_of(file) {
        0 => Ok(()),
        1 if by_inode::is_name_of_inode(source.dir(), source.path(), id) => Ok(()),
        _ => Err(replaced(source)),
    }
}

fn replaced(source: &AtPath) -> Error {
    Error::Replaced(Replaced::Source(source.shown().into()))
}

/// Returns the number of names of an open file. One that does not tell counts as named.
fn names_of(file: &File) -> u64 {
    fstat(file).map_or(1, |now| {
        #[allow(clippy::useless_conversion)] // st_nlink has 32 bits on some architectures
        u64::from(now.st_nlink)
    })
}

/// Returns the error of freeing a source.
fn free_error(source: &AtPath, dest: &AtPath, error: transfer::Error) -> Error {
    match error {
        transfer::Error::Free(e) | transfer::Error::Io(_, e) => source.error(Operation::Free, e),
        transfer::Error::Interrupted => source.error(Operation::Free, nix::errno::Errno::EINTR),
        _ => Error::drain(source.shown(), dest.shown(), DrainObstacle::Changed),
    }
}
