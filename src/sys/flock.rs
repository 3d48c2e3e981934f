//! Locks of flock(2), which the kernel releases when the last descriptor of the open file is closed, however its process
//! ends.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Mutex;

use super::lock::lock;

/// Descriptors whose locks shall end with this process, whatever becomes of the processes that it forks.
static NOT_FOR_CHILDREN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Makes processes that are forked from now on close this descriptor, so that they do not hold its lock. It must stay
/// open as long as this process may fork.
pub fn keep_from_children(file: impl AsFd) {
    lock(&NOT_FOR_CHILDREN).push(file.as_fd().as_raw_fd());
}

/// Takes a descriptor back from [`keep_from_children`], before it is closed.
pub fn allow_for_children(file: impl AsFd) {
    let fd = file.as_fd().as_raw_fd();
    lock(&NOT_FOR_CHILDREN).retain(|kept| *kept != fd);
}

/// Gives the calling thread a table of descriptors of its own. What it has open from then on is closed when it ends, also
/// where another thread of its killed process hangs in a call that cannot be interrupted; locks that it alone holds are
/// released then.
///
/// # Errors
/// The error of unshare(2): container runtimes may forbid it.
pub fn own_descriptor_table() -> io::Result<()> {
    Ok(nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES)?)
}

/// Closes descriptors whose owner is a thread with a table of its own ([`own_descriptor_table`]), in the table of the
/// calling thread, which got none of the owners.
pub fn close_taken(taken: &[RawFd]) {
    for fd in taken {
        lock(&NOT_FOR_CHILDREN).retain(|kept| kept != fd);
        // SAFETY: the owner lives in the other thread, and closes the descriptor in the other table.
        unsafe { libc::close(*fd) };
    }
}

/// Closes what [`keep_from_children`] named, in a forked process, which never uses or drops the owners of these descriptors.
pub(super) fn close_in_child() {
    for fd in lock(&NOT_FOR_CHILDREN).drain(..) {
        // SAFETY: the owner is in a frame of the parent, to which this process never returns.
        unsafe { libc::close(fd) };
    }
}

/// How a lock excludes others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Nobody else has the lock, in any mode.
    Exclusive,
    /// Nobody else has the exclusive lock.
    Shared,
}

impl LockMode {
    fn operation(self) -> libc::c_int {
        match self {
            Self::Exclusive => libc::LOCK_EX,
            Self::Shared => libc::LOCK_SH,
        }
    }
}

/// Takes a lock, and waits until it can be had.
///
/// # Errors
/// The error of flock(2), except EINTR; ENOLCK and others if the file system has no locks.
pub fn wait_for_lock(file: impl AsFd, mode: LockMode) -> io::Result<()> {
    loop {
        match flock(&file, mode.operation()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Takes a lock if it can be had at once. Returns false if others have it.
///
/// # Errors
/// The error of flock(2), except EWOULDBLOCK.
pub fn lock_at_once(file: impl AsFd, mode: LockMode) -> io::Result<bool> {
    match flock(file, mode.operation() | libc::LOCK_NB) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(e) => Err(e),
    }
}

/// Releases a lock, also where other descriptors of the same open file remain.
///
/// # Errors
/// The error of flock(2).
pub fn unlock(file: impl AsFd) -> io::Result<()> {
    flock(file, libc::LOCK_UN)
}

fn flock(file: impl AsFd, operation: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointer is passed.
    let rc = unsafe { libc::flock(file.as_fd().as_raw_fd(), operation) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
