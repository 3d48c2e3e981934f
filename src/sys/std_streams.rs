//! Detects standard streams that were closed when this process was started. The Rust runtime, where a program has it, opens
//! /dev/null in their place before `main`, so that output vanishes without an error; code here runs before the runtime and
//! prevents that.
#![allow(unsafe_code)]

use std::io::{self, Stdout};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::errno::Errno;

/// Descriptors 0 to 2 that were closed at the start, one bit for each.
static CLOSED_FDS: AtomicU8 = AtomicU8::new(0);

/// The entry of the section whose functions the C library calls before `main`, hence before the Rust runtime opens
/// anything.
#[used]
#[unsafe(link_section = ".init_array")]
static RUN_BEFORE_MAIN: extern "C" fn() = fill_closed_fds;

/// Records which of the descriptors 0 to 2 are closed, and puts an unconnected socket in the place of each. Like
/// /dev/null it keeps the number from files that are opened later, but reading, writing, and opening /dev/stdout fail.
/// If no socket can be made, it is /dev/null.
extern "C" fn fill_closed_fds() {
    for fd in 0..3 {
        // SAFETY: F_GETFD takes no pointer, and a descriptor that is not open is an error.
        let is_open = unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1;
        if is_open || Errno::last() != Errno::EBADF {
            continue;
        }
        CLOSED_FDS.fetch_or(1 << fd, Ordering::Relaxed);
        // SAFETY: socket(2) takes no pointer. It returns the lowest free descriptor, which is `fd`, since those below are open
        // by now, or it returned an error for them and does so again.
        let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) };
        if socket == -1 {
            // SAFETY: the path is a string that ends with a zero, and open(2) returns the lowest free descriptor as well.
            unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}

/// Returns standard output, as the process was started with it.
///
/// # Errors
/// EBADF if the process was started without one.
pub fn stdout() -> io::Result<Stdout> {
    if CLOSED_FDS.load(Ordering::Relaxed) & 1 << libc::STDOUT_FILENO == 0 {
        Ok(io::stdout())
    } else {
        Err(Errno::EBADF.into())
    }
}
