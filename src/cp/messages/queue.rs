//! The sentences about queues of copies.

use std::fmt::{self, Display, Formatter};

use crate::cp::queue::error::{DirectoryFlaw, QueueError, QueueStep, QueueWarning};
use crate::report::quote::quote;
use crate::report::units::format_span;
use crate::sys::strerror::strerror;

impl Display for QueueError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuntimeDirectory => f.write_str(
                "cannot use a queue: XDG_RUNTIME_DIR names no directory, and only root has its queues below /run",
            ),
            Self::Unsafe { path, flaw } => {
                write!(f, "cannot use the queues in {}: ", quote(path))?;
                match flaw {
                    DirectoryFlaw::NotDirectory => f.write_str("it is no directory"),
                    DirectoryFlaw::Owner(owner) => write!(f, "it belongs to user {owner}"),
                    DirectoryFlaw::Mode(mode) => {
                        write!(f, "its mode is {mode:04o}, so others could block them; it must be 0700")
                    }
                }
            }
            Self::Io { step, path, error } => {
                let words = match step {
                    QueueStep::Open => "cannot open the directory of queues",
                    QueueStep::Make => "cannot make the directory of queues",
                    QueueStep::List => "cannot read the queue",
                    QueueStep::Join => "cannot make a ticket in the queue",
                    QueueStep::Wait => "cannot wait in the queue",
                };
                write!(f, "{words} {}: {}", quote(path), strerror(error))
            }
        }
    }
}

impl Display for QueueWarning {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unqueued(error) => write!(f, "warning: copying without a queue: {error}"),
            Self::NotWatched(error) => write!(
                f,
                "warning: copying without a queue: cannot start a thread: {}",
                strerror(error)
            ),
            Self::OtherVersion(path) => write!(
                f,
                "warning: {} belongs to another version of this program, whose copies do not wait for this one",
                quote(path)
            ),
            Self::GaveTurnUp { queue, after } => write!(
                f,
                "warning: nothing was copied for {}: this copy goes on without its turn in the queue {queue}, so that others can copy",
                format_span(*after)
            ),
            Self::LimitsNotShared(why) => write!(
                f,
                "warning: the limits of others in the queue cannot be kept: {why}"
            ),
        }
    }
}
