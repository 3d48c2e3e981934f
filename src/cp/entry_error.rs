//! Why a file was not copied, and whether the user has been told already.

use super::error::Error;

/// Why an entry was not copied.
#[derive(Debug)]
pub(super) enum EntryError {
    /// The error is still to be reported.
    Unreported(Error),
    /// The error has been reported.
    Reported,
}

impl From<Error> for EntryError {
    fn from(error: Error) -> Self {
        Self::Unreported(error)
    }
}
