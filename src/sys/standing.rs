//! A process that is there and does nothing: forked, its memory written to, waiting for SIGKILL.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid, pause, write};

use super::clock;
use super::process::exit_now;
use super::residency::page_size;

/// Forks a child that writes to each page of `memory` (its own copy from then on), sends the time of that as eight bytes to
/// `ready`, and waits. It ends with its parent. Returns the time before fork(2) and the child.
///
/// # Errors
/// fork's: out of processes or memory.
pub fn fork(memory: &mut [u8], ready: BorrowedFd<'_>) -> io::Result<(u64, Pid)> {
    let (page, parent) = (page_size() as usize, getpid());
    let began = clock::now();
    // SAFETY: the child writes to memory that is there already, makes system calls, and never comes back: it takes no lock
    // and does not allocate, whatever threads the parent has.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let bound = prctl::set_pdeathsig(Signal::SIGKILL);
            // A parent that died before the call above sends no signal.
            if bound.is_err() || getppid() != parent {
                exit_now(1);
            }
            touch(memory, page);
            stand(ready)
        }
        pid => Ok((began, Pid::from_raw(pid))),
    }
}

/// Writes to each page of `memory`.
pub fn touch(memory: &mut [u8], page: usize) {
    for page in memory.chunks_mut(page) {
        if let Some(byte) = page.first_mut() {
            *black_box(byte) = 1;
        }
    }
}

/// Says the time to `ready`, and waits to be killed.
pub fn stand(ready: impl AsFd) -> ! {
    if let Err(errno) = write(ready, &clock::now().to_ne_bytes()) {
        exit_now(errno as i32);
    }
    loop {
        pause();
    }
}
