//! Whether standard output was open when this process began. The runtime opens /dev/null in place of a standard stream that is
//! closed, before `main`: what is written there is lost without an error.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Called by the loader before the runtime of Rust begins (System V ABI, section .init_array).
#[used]
// SAFETY: .init_array holds pointers to functions with the C calling convention. This one makes a system call and stores an
// atomic: it needs nothing that the runtime of Rust sets up later.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = look_at_stdout;

extern "C" fn look_at_stdout() {
    // SAFETY: fcntl(2) with F_GETFD takes any number for a descriptor.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    STDOUT_WAS_CLOSED.store(flags == -1, Ordering::Relaxed);
}

/// Returns whether descriptor 1 was closed when this process began.
#[must_use]
pub fn stdout_was_closed() -> bool {
    // Read through the section's own pointer, so that the linker keeps both.
    std::hint::black_box(&BEFORE_MAIN);
    STDOUT_WAS_CLOSED.load(Ordering::Relaxed)
}
