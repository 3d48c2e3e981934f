//! The reason why an entry was not copied, and whether it has been reported to the user.

use super::error::Error;

/// The reason why an entry was not copied.
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
