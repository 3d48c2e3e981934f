//! The place of this process in a queue: its ticket, which it holds locked from the first moment, and the turn.
//!
//! Both locks are of flock(2): the kernel releases them when the process ends, in whatever way. The turn is the lock of the
//! queue's directory, so a queue needs no file but its tickets.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, ftruncate, unlinkat};

use super::directory::{Directory, QueueDirectories};
use super::error::{QueueError, QueueStep};
use super::members::{HIDDEN_PREFIX, Member, living_members};
use super::order::{Precedence, precedence};
use super::ticket::Ticket;
use crate::sys::clock::since_boot;
use crate::sys::flock::{self, LockMode};

/// How often the directory or the hidden ticket may be removed while a ticket is made. Each time another copy has left at
/// this very moment.
const MOST_TRIES: u32 = 100;

/// A copy in its queue. It leaves when this is dropped, or before.
#[derive(Debug)]
pub(super) struct Membership {
    directories: QueueDirectories,
    queue_name: String,
    queue: Directory,
    /// The directory once more, for the lock that is the turn.
    turn: File,
    ticket: Ticket,
    file_name: String,
    ticket_file: File,
    has_left: AtomicBool,
}

impl Membership {
    /// Makes a ticket in a queue.
    pub(super) fn join(
        directories: QueueDirectories,
        queue_name: &str,
        ticket: Ticket,
    ) -> Result<Self, QueueError> {
        let (queue, ticket_file) = make_in_queue(&directories, queue_name, &ticket)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let turn = openat(queue.file(), ".", flags, Mode::empty())
            .map_err(|e| QueueError::io(QueueStep::Open, queue.path(), e))?;
        let turn = File::from(turn);
        // A prober that outlives a killed copy for a moment, or for long on a disk that hangs, shall hold up nobody.
        flock::keep_from_children(&ticket_file);
        flock::keep_from_children(&turn);
        Ok(Self {
            directories,
            queue_name: queue_name.to_owned(),
            queue,
            turn,
            file_name: ticket.file_name(),
            ticket,
            ticket_file,
            has_left: AtomicBool::new(false),
        })
    }

    /// Returns the name of the queue.
    pub(super) fn queue_name(&self) -> &str {
        &self.queue_name
    }

    /// Returns the place of this copy in the order.
    pub(super) fn precedence(&self) -> Precedence {
        precedence(&self.ticket)
    }

    /// Returns how long this copy is in the queue.
    pub(super) fn waited(&self) -> Duration {
        since_boot().saturating_sub(self.ticket.arrival)
    }

    /// Returns the others of the queue in their order, and removes what killed ones have left.
    pub(super) fn others(&self) -> Result<Vec<Member>, QueueError> {
        living_members(&self.queue, Some(&self.file_name))
    }

    /// Returns the file whose lock is the turn.
    pub(super) fn turn(&self) -> &File {
        &self.turn
    }

    /// Makes an error of waiting.
    pub(super) fn wait_error(&self, error: impl Into<io::Error>) -> QueueError {
        QueueError::io(QueueStep::Wait, self.queue.path(), error)
    }

    /// Marks the ticket as that of the copy under way, which began at this time since the machine was started.
    pub(super) fn begin(&self, began: Duration) {
        self.publish(0, began);
    }

    /// Shows others how many bytes were copied by now. The size of a ticket is one more, and costs no memory; its times are
    /// those since the machine was started, which nobody sets.
    pub(super) fn publish(&self, copied: u64, began: Duration) {
        if let Ok(size) = i64::try_from(copied.saturating_add(1)) {
            let _ = ftruncate(&self.ticket_file, size);
        }
        // Estimates alone depend on them.
        let (began, now) = (TimeSpec::from(began), TimeSpec::from(since_boot()));
        let _ = futimens(&self.ticket_file, &began, &now);
    }

    /// Returns the descriptors that hold the locks.
    pub(super) fn lock_descriptors(&self) -> [RawFd; 2] {
        [self.turn.as_raw_fd(), self.ticket_file.as_raw_fd()]
    }

    /// Leaves the queue, so that the next one goes on. A second call does nothing.
    pub(super) fn leave(&self) {
        if self.has_left.swap(true, Ordering::Relaxed) {
            return;
        }
        let _ = unlinkat(
            self.queue.file(),
            &*self.file_name,
            UnlinkatFlags::NoRemoveDir,
        );
        self.directories.remove_if_empty(&self.queue_name);
        // It cannot fail: both are open files with locks.
        let _ = flock::unlock(&self.turn);
        let _ = flock::unlock(&self.ticket_file);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
        flock::allow_for_children(&self.ticket_file);
        flock::allow_for_children(&self.turn);
    }
}

/// Makes a ticket, and the directory of its queue if need be.
fn make_in_queue(
    directories: &QueueDirectories,
    queue_name: &str,
    ticket: &Ticket,
) -> Result<(Directory, File), QueueError> {
    let mut last = QueueError::io(QueueStep::Make, queue_name, Errno::ENOENT);
    for _ in 0..MOST_TRIES {
        let Some(queue) = directories.make_queue(queue_name)? else {
            continue;
        };
        match make_ticket(&queue, ticket) {
            Ok(file) => return Ok((queue, file)),
            Err(e) => {
                let is_gone = e.raw_os_error() == Some(libc::ENOENT);
                last = QueueError::io(QueueStep::Join, queue.path(), e);
                if !is_gone {
                    break;
                }
            }
        }
    }
    Err(last)
}

/// Makes a ticket that is locked when it gets its name.
fn make_ticket(queue: &Directory, ticket: &Ticket) -> io::Result<File> {
    let hidden = format!("{HIDDEN_PREFIX}{}-{:08x}", ticket.pid, ticket.nonce);
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let file = openat(queue.file(), &*hidden, flags | OFlag::O_CLOEXEC, mode)?;
    let file = File::from(file);
    flock::wait_for_lock(&file, LockMode::Exclusive)?;
    // Whoever has taken the hidden file for that of a killed copy, before it was locked, has removed it: ENOENT.
    match renameat(queue.file(), &*hidden, queue.file(), &*ticket.file_name()) {
        Ok(()) => Ok(file),
        Err(e) => {
            let _ = unlinkat(queue.file(), &*hidden, UnlinkatFlags::NoRemoveDir);
            Err(Errno::into(e))
        }
    }
}
