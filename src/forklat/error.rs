//! The error type of `forklat`: what was being done, to which file, and what the system answered.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::observe::error::{IoFailure, ObserveError};
use crate::report::quote::quote;

/// Exit status when forklat itself failed, which includes usage errors. It is that of timeout(1), env(1) and nice(1),
/// so that it differs from the status of the command.
pub(crate) const EXIT_FORKLAT_FAILED: i32 = 125;

/// Exit statuses for a command that is not found and for one that cannot be run, as in a shell.
const EXIT_NOT_FOUND: i32 = 127;
const EXIT_CANNOT_RUN: i32 = 126;

/// The reason why there is no result.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ForklatError {
    /// A system call failed for the reason that it carries.
    #[error(transparent)]
    Io(#[from] IoFailure),
    /// An observer failed, or a file of the kernel could not be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The command to be measured cannot be run.
    #[error(transparent)]
    CannotRun(IoFailure),
    /// A signal ended the run. The signal is raised again once everything is restored.
    #[error("interrupted")]
    Interrupted,
    /// The request cannot be carried out here, for the reason in one sentence.
    #[error("{0}")]
    Refused(String),
    /// The options contradict each other or lack something, for the reason in one sentence.
    #[error("{0}")]
    Usage(String),
    /// The content of a file is not valid. The name of the file is put before the words.
    #[error("{0}")]
    Damaged(String),
    /// Several errors, none of which is the cause of another.
    #[error("{}", join(errors, separator))]
    Several {
        /// The errors, at least one.
        errors: Vec<Self>,
        /// The text between two of the errors.
        separator: &'static str,
    },
    /// Another error, about the content of a file.
    #[error("{} {source}", quote(path))]
    InFile {
        /// The file with that content.
        path: PathBuf,
        /// The error about the content of the file.
        source: Box<Self>,
    },
    /// Another error, with a remark on what is needed to avoid it.
    #[error("{source} ({remark})")]
    Explained {
        /// The error to which the remark belongs.
        source: Box<Self>,
        /// The condition under which it would succeed.
        remark: String,
    },
    /// Another error, and one more that occurred while changes were undone.
    #[error("{source}; {undoing}")]
    NotUndone {
        /// The error that occurred first.
        source: Box<Self>,
        /// The reason why the changes could not be undone.
        undoing: Box<Self>,
    },
    /// Another error, with the context in which it occurred.
    #[error("{context}: {source}")]
    Context {
        /// The action during which it failed.
        context: String,
        /// The error that is the cause.
        source: Box<Self>,
    },
}

fn join(errors: &[ForklatError], separator: &str) -> String {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    errors.join(separator)
}

impl From<String> for ForklatError {
    fn from(sentence: String) -> Self {
        Self::Refused(sentence)
    }
}

impl From<&str> for ForklatError {
    fn from(sentence: &str) -> Self {
        Self::Refused(sentence.to_owned())
    }
}

impl ForklatError {
    /// Returns the error for a command that cannot be run.
    pub(crate) fn cannot_run(name: &OsStr, source: io::Error) -> Self {
        Self::CannotRun(IoFailure::on_file("run", Path::new(name), source))
    }

    /// Returns this error with what was being done before it.
    #[must_use]
    pub(crate) fn context(self, context: impl Into<String>) -> Self {
        let (context, source) = (context.into(), Box::new(self));
        Self::Context { context, source }
    }

    /// Returns all of the errors as one error, if there are any.
    pub(crate) fn check_none(errors: Vec<Self>, separator: &'static str) -> Result<(), Self> {
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Self::Several { errors, separator })
        }
    }

    /// Returns this error with a remark on what is needed.
    #[must_use]
    pub(crate) fn explained(self, remark: impl Into<String>) -> Self {
        let (source, remark) = (Box::new(self), remark.into());
        Self::Explained { source, remark }
    }

    /// Returns this error, joined with the error of undoing the changes if that failed.
    #[must_use]
    pub(crate) fn after_undoing(self, undone: Result<(), Self>) -> Self {
        match undone {
            Ok(()) => self,
            Err(undoing) => Self::NotUndone {
                source: Box::new(self),
                undoing: Box::new(undoing),
            },
        }
    }

    /// Returns this error about the content of a file, with the name of that file.
    #[must_use]
    pub(crate) fn in_file(self, path: &Path) -> Self {
        let (path, source) = (path.to_owned(), Box::new(self));
        Self::InFile { path, source }
    }

    /// Returns an error in the use of the options.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self::Usage(sentence.into())
    }

    /// Returns the exit status of forklat after this error.
    pub(crate) fn exit_status(&self) -> i32 {
        match self {
            Self::CannotRun(e) if e.kind() == io::ErrorKind::NotFound => EXIT_NOT_FOUND,
            Self::CannotRun(_) => EXIT_CANNOT_RUN,
            _ => EXIT_FORKLAT_FAILED,
        }
    }
}

/// Returns [`ForklatError::Damaged`] with words that follow the name of the file.
pub(crate) fn damaged(words: impl Into<String>) -> ForklatError {
    ForklatError::Damaged(words.into())
}

/// Returns the failure of an action on a file; see [`IoFailure::on_file`].
pub(crate) fn cannot(
    action: impl Into<String>,
    path: &Path,
    source: impl Into<io::Error>,
) -> ForklatError {
    IoFailure::on_file(action, path, source).into()
}

/// Returns the failure of an action on no file; see [`IoFailure::new`].
pub(crate) fn failed(action: impl Into<String>, source: impl Into<io::Error>) -> ForklatError {
    IoFailure::new(action, source).into()
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn os_error(errno: i32) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }

    #[test]
    fn an_error_says_what_was_done_to_which_file_and_keeps_the_reason() {
        let error = cannot("read", Path::new("/x"), os_error(libc::EACCES));
        assert_eq!(error.to_string(), "cannot read '/x': Permission denied");
        let reason = error.source().and_then(|e| e.downcast_ref::<io::Error>());
        let errno = reason.and_then(io::Error::raw_os_error);
        assert_eq!(errno, Some(libc::EACCES));
        let error = error.explained("this needs root").context("no limit");
        let want = "no limit: cannot read '/x': Permission denied (this needs root)";
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn exit_statuses_are_those_of_a_shell_and_of_env() {
        for (errno, status) in [(libc::ENOENT, 127), (libc::EACCES, 126)] {
            let error = ForklatError::cannot_run("x".as_ref(), os_error(errno));
            assert_eq!(error.exit_status(), status, "{error}");
        }
        assert_eq!(ForklatError::Interrupted.exit_status(), 125);
    }
}
