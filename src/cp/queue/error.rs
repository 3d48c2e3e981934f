//! Errors and warnings of a queue as data. Their sentences are in `cp/messages/queue`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What makes a directory of queues one that others could block or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryFlaw {
    /// It is a symbolic link, or no directory at all.
    NotDirectory,
    /// It belongs to the user of this number, who is another one.
    Owner(u32),
    /// These permission bits give group or others something.
    Mode(u32),
}

/// A step of waiting that a system call did not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueStep {
    /// Opening a directory of queues.
    Open,
    /// Making a directory of queues.
    Make,
    /// Reading who is in a queue.
    List,
    /// Making a ticket, which is an empty file.
    Join,
    /// Waiting for the lock of another.
    Wait,
}

/// The reason why a copy cannot use its queue.
#[derive(Debug)]
pub enum QueueError {
    /// The variable XDG_RUNTIME_DIR names no directory, and this user is not root.
    NoRuntimeDirectory,
    /// A directory of queues is not this user's alone.
    Unsafe {
        /// The path of the directory.
        path: PathBuf,
        /// What is wrong with it.
        flaw: DirectoryFlaw,
    },
    /// A system call did not succeed.
    Io {
        /// The step that did not succeed.
        step: QueueStep,
        /// The path of the directory.
        path: PathBuf,
        /// The error that the system reported.
        error: io::Error,
    },
}

impl QueueError {
    /// Makes the error of a system call.
    pub(super) fn io(
        step: QueueStep,
        path: impl Into<PathBuf>,
        error: impl Into<io::Error>,
    ) -> Self {
        Self::Io {
            step,
            path: path.into(),
            error: error.into(),
        }
    }

    /// Returns whether to copy without the queue: a host in trouble (a full /run, no more descriptors) needs its dumps, and
    /// a directory that is not what it should be needs somebody who looks at it.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        match self {
            Self::NoRuntimeDirectory | Self::Unsafe { .. } => false,
            Self::Io { error, .. } => error.kind() != io::ErrorKind::PermissionDenied,
        }
    }

    /// Returns the system's error, where a system call failed.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::NoRuntimeDirectory | Self::Unsafe { .. } => None,
        }
    }
}

/// A warning about a queue, which does not make a copy fail.
#[derive(Debug)]
pub enum QueueWarning {
    /// The queue cannot be used now, and the copy does not wait.
    Unqueued(QueueError),
    /// No thread can be started that would notice a hung copy, so it copies without its turn.
    NotWatched(io::Error),
    /// This directory has copies of another version of the program, which do not wait for this one.
    OtherVersion(PathBuf),
    /// The copy has moved nothing for this long, and lets the others of its queue go on.
    GaveTurnUp {
        /// The name of the queue.
        queue: String,
        /// The time without a byte.
        after: Duration,
    },
    /// A limit of another copy in the queue cannot be kept by this one, for this reason.
    LimitsNotShared(String),
}
