//! Why a file was not copied, and whether the user has been told already.

/// Why an entry was not copied.
#[derive(Debug)]
pub(super) enum EntryError {
    /// This is to be said of it.
    Unreported(String),
    /// It has been said.
    Reported,
}

impl From<String> for EntryError {
    fn from(message: String) -> Self {
        Self::Unreported(message)
    }
}
