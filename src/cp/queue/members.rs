//! Who is in a queue: the tickets whose owners are alive, in their order.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::directory::Directory;
use super::error::{QueueError, QueueStep};
use super::order::{Precedence, precedence};
use super::ticket::Ticket;
use crate::sys::flock::{LockMode, lock_at_once};

/// The start of the name of a ticket that is not locked yet.
pub(super) const HIDDEN_PREFIX: &str = ".new-";

/// The copy under way, as its ticket shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advance {
    /// Bytes that are copied so far.
    pub(super) copied: u64,
    /// When it began, as the time since the machine was started.
    pub(super) since: Duration,
    /// When that was published, likewise.
    pub(super) published: Duration,
}

/// A copy in a queue.
#[derive(Debug)]
pub(super) struct Member {
    /// What the name of its ticket says.
    pub(super) ticket: Ticket,
    /// Its place in the order.
    pub(super) precedence: Precedence,
    /// How far it is, if it has its turn.
    pub(super) advance: Option<Advance>,
    /// The ticket, which its owner holds locked.
    pub(super) file: File,
}

/// Returns the living members: the one that copies first, then the others in their order. With the name of one's own
/// ticket, that is left out, and the tickets of dead copies are removed; without one, nothing is changed.
pub(super) fn living_members(
    queue: &Directory,
    own: Option<&str>,
) -> Result<Vec<Member>, QueueError> {
    let mut members = Vec::new();
    for name in queue.names()? {
        if own.is_some_and(|own| name == *own) {
            continue;
        }
        let failed = |e| QueueError::io(QueueStep::List, queue.path(), e);
        if let Some(member) = look_at(queue, &name, own.is_some()).map_err(failed)? {
            members.push(member);
        }
    }
    members.sort_by_key(|member| (member.advance.is_none(), member.precedence));
    Ok(members)
}

/// Returns the member that a name belongs to; `None` if it is dead or no ticket.
fn look_at(queue: &Directory, name: &OsStr, removes_dead: bool) -> io::Result<Option<Member>> {
    let text = name.to_str().unwrap_or_default();
    let ticket = Ticket::parse(text);
    if ticket.is_none() && !(removes_dead && text.starts_with(HIDDEN_PREFIX)) {
        return Ok(None);
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match openat(queue.file(), name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // It has left meanwhile.
        Err(Errno::ENOENT) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    // Who only looks takes the shared lock, so that two who look do not take each other for the owner.
    let mode = if removes_dead {
        LockMode::Exclusive
    } else {
        LockMode::Shared
    };
    if lock_at_once(&file, mode)? {
        if removes_dead {
            // A name is never used twice, so this is the dead one's.
            let _ = unlinkat(queue.file(), name, UnlinkatFlags::NoRemoveDir);
        }
        return Ok(None);
    }
    let Some(ticket) = ticket else {
        return Ok(None);
    };
    let meta = file.metadata()?;
    let advance = meta.len().checked_sub(1).map(|copied| Advance {
        copied,
        since: since_boot(meta.atime(), meta.atime_nsec()),
        published: since_boot(meta.mtime(), meta.mtime_nsec()),
    });
    Ok(Some(Member {
        precedence: precedence(&ticket),
        ticket,
        advance,
        file,
    }))
}

/// Returns a time of a ticket. The owner sets it, so that it counts from the start of the machine.
fn since_boot(seconds: i64, nanos: i64) -> Duration {
    Duration::new(
        u64::try_from(seconds).unwrap_or_default(),
        u32::try_from(nanos).unwrap_or_default(),
    )
}
