//! Why something of the machine could not be observed: what was being done, to which file, and what the system said.

use std::fmt;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::report::quote::quote;
use crate::sys::strerror::strerror;

/// A system call that failed, as `cannot ACTION 'PATH': REASON`.
#[derive(Debug, Clone)]
pub struct IoFailure {
    action: String,
    path: Option<PathBuf>,
    // Kept by those who say it again later, and an io::Error cannot be copied.
    source: Arc<io::Error>,
}

impl IoFailure {
    /// Returns the failure of an action on a file. `action` is the verb, and what stands before the name of the file.
    pub fn on_file(action: impl Into<String>, path: &Path, source: impl Into<io::Error>) -> Self {
        Self {
            path: Some(path.to_owned()),
            ..Self::new(action, source)
        }
    }

    /// Returns the failure of an action on no file, or on one that `action` names.
    pub fn new(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self {
            action: action.into(),
            path: None,
            source: Arc::new(source.into()),
        }
    }

    /// Returns what kind of error the system reported.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for IoFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.action)?;
        if let Some(path) = &self.path {
            write!(f, " {}", quote(path))?;
        }
        write!(f, ": {}", strerror(&self.source))
    }
}

impl std::error::Error for IoFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

// Nothing of a failure changes after it was made, so a panic leaves none half changed.
impl UnwindSafe for IoFailure {}
impl RefUnwindSafe for IoFailure {}

/// Two failures are equal when they read the same: an io::Error cannot be compared.
impl PartialEq for IoFailure {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// Why something could not be observed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ObserveError {
    /// A system call failed for the reason that it carries.
    #[error(transparent)]
    Io(#[from] IoFailure),
    /// A process that observes failed or died: its name, and the reason, which comes from that process as text.
    #[error("{0}")]
    Process(String),
    /// This machine, or what a caller set up, lacks what is needed: in one sentence.
    #[error("{0}")]
    Unavailable(String),
    /// Another error, with what it was needed for.
    #[error("{context}: {source}")]
    Context {
        /// What was being done when it failed.
        context: String,
        /// The error that is the reason.
        source: Box<Self>,
    },
}

impl ObserveError {
    /// Returns this error behind what was being done.
    #[must_use]
    pub fn context(self, context: impl Into<String>) -> Self {
        let (context, source) = (context.into(), Box::new(self));
        Self::Context { context, source }
    }
}

/// Returns [`ObserveError::Unavailable`] with a sentence.
pub(super) fn unavailable(sentence: impl Into<String>) -> ObserveError {
    ObserveError::Unavailable(sentence.into())
}

/// Returns the failure of an action on a file; see [`IoFailure::on_file`].
pub(super) fn cannot(
    action: impl Into<String>,
    path: &Path,
    source: impl Into<io::Error>,
) -> ObserveError {
    IoFailure::on_file(action, path, source).into()
}

/// Returns the failure of an action on no file; see [`IoFailure::new`].
pub(super) fn failed(action: impl Into<String>, source: impl Into<io::Error>) -> ObserveError {
    IoFailure::new(action, source).into()
}
