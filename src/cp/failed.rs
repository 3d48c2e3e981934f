//! Why a file was not copied, and whether the user has been told already.

/// Why an entry was not copied.
#[derive(Debug)]
pub(super) enum Failed {
    /// This is to be said of it.
    Say(String),
    /// It has been said.
    Said,
}

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self::Say(message)
    }
}
