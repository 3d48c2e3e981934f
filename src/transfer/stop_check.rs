//! The one place that asks the listener of a copy whether to stop.

use std::io;

use super::error::Error;
use super::event::{CopyListener, Progress};

/// What a long task calls between two steps. It fails once the copy shall stop.
pub(super) type StopCheck<'a> = dyn FnMut() -> Result<(), Error> + 'a;

/// Fails with [`Error::Interrupted`] once the listener asks to stop, or with [`Error::Stopped`] if it has a reason.
pub(super) fn check_stop(listener: &dyn CopyListener) -> Result<(), Error> {
    if listener.interrupted() {
        return Err(Error::Interrupted);
    }
    match listener.stop_reason() {
        Some(reason) => Err(Error::Stopped(reason)),
        None => Ok(()),
    }
}

/// Fails with [`Error::Interrupted`] once the listener asks to stop. It is for what follows a complete copy, which no other
/// reason ends.
pub(super) fn check_interrupted(listener: &dyn CopyListener) -> Result<(), Error> {
    match listener.interrupted() {
        true => Err(Error::Interrupted),
        false => Ok(()),
    }
}

/// Reports how far the copy is, and fails once the listener asks to stop.
pub(super) fn report_progress(
    listener: &mut dyn CopyListener,
    progress: &Progress,
) -> Result<(), Error> {
    listener.progress(progress);
    check_stop(listener)
}

/// Returns [`Error::Interrupted`] in place of an interrupted call, which is repeated until somebody asks to stop.
pub(super) fn interrupted_or(error: Error, listener: &dyn CopyListener) -> Error {
    match &error {
        Error::Io(_, e) | Error::Resize(e) | Error::Clone(e)
            if e.kind() == io::ErrorKind::Interrupted && check_stop(listener).is_err() =>
        {
            Error::Interrupted
        }
        _ => error,
    }
}
