//! The reason why an entry was not copied, and whether it has been reported to the user.

use super::error::Error;

/// The reason why an entry was not copied.
#[derive(Debug)]
pub(super) enum EntryError {
    /// The error is still to be reported.
    Unreported(Error),
    /// The error has been reported.
    Reported,
    /// The file was cut, which has been reported and is no failure of the run.
    Cut,
}

impl From<Error> for EntryError {
    fn from(error: Error) -> Self {
        Self::Unreported(error)
    }
}
