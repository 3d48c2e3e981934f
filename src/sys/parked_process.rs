//! Idle child processes with memory of their own. `forklat scale` measures how fork latency depends on their number.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::unistd::{Pid, getpid, pause, write};

use super::buffer::AlignedBuffer;
use super::clock;
use super::process::{MainThread, exit_now, set_parent_death_signal};
use super::residency::page_size;

/// Forks a child that writes to each page of the first `touched` bytes of `memory` (its own copy from then on), sends
/// the time of that as eight bytes to `ready`, and waits. It ends with this process, hence the [`MainThread`] argument.
/// Returns the time before fork(2) and the child.
///
/// # Errors
/// The error of fork(2), if processes or memory are exhausted.
///
/// # Panics
/// If `memory` has fewer than `touched` bytes.
pub fn fork_parked(
    memory: &mut AlignedBuffer,
    touched: usize,
    ready: BorrowedFd<'_>,
    _: MainThread,
) -> io::Result<(u64, Pid)> {
    let (page, parent) = (page_size() as usize, getpid());
    let memory = &mut memory[..touched];
    let began = clock::monotonic_ns();
    // SAFETY: the child writes to memory that is there already, and in the child, too (an `AlignedBuffer` cannot be kept from
    // forks), makes system calls, and never comes back: it takes no lock, does not allocate and does not panic (a page is
    // never 0 bytes), whatever threads the parent has.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            if set_parent_death_signal(parent).is_err() {
                exit_now(1);
            }
            touch_pages(memory, page);
            park(ready)
        }
        pid => Ok((began, Pid::from_raw(pid))),
    }
}

/// Writes to each page of `memory`.
pub fn touch_pages(memory: &mut [u8], page: usize) {
    for page in memory.chunks_mut(page) {
        if let Some(byte) = page.first_mut() {
            *black_box(byte) = 1;
        }
    }
}

/// Sends the current time to `ready` and waits for SIGKILL.
pub fn park(ready: impl AsFd) -> ! {
    if let Err(errno) = write(ready, &clock::monotonic_ns().to_ne_bytes()) {
        exit_now(errno as i32);
    }
    loop {
        pause();
    }
}
