//! Erases lines that are drawn again and again from the terminal before Ctrl-Z (SIGTSTP) stops this process, so that the
//! shell finds its cursor in an empty row.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

use signal_hook::low_level::register;

/// Whether there are lines at the cursor.
static IS_DRAWN: AtomicBool = AtomicBool::new(false);

/// Carriage return, and ED (erase in display) from the cursor to the end.
const ERASE: &[u8] = b"\r\x1b[J";

/// Records whether there are lines at the cursor of the terminal at standard error.
pub fn set_drawn(is_drawn: bool) {
    IS_DRAWN.store(is_drawn, Ordering::SeqCst);
}

/// Erases the lines, where there are any. It is async-signal-safe.
pub(super) fn erase() {
    if IS_DRAWN.load(Ordering::SeqCst) {
        // A terminal that has gone cannot be tidied.
        // SAFETY: the bytes are static, and write(2) is async-signal-safe (signal-safety(7)).
        let _ = unsafe { libc::write(libc::STDERR_FILENO, ERASE.as_ptr().cast(), ERASE.len()) };
    }
}

/// Makes SIGTSTP erase the lines before it stops the process.
///
/// # Errors
/// The error of sigaction(2).
pub fn erase_before_stop() -> io::Result<()> {
    let action = || {
        let errno = Errno::last_raw();
        erase();
        // SAFETY: raise(3) is async-signal-safe (signal-safety(7)).
        unsafe { libc::raise(libc::SIGSTOP) };
        Errno::set_raw(errno);
    };
    // SAFETY: the action loads an atomic and makes two calls that are async-signal-safe; it neither allocates nor panics.
    unsafe { register(libc::SIGTSTP, action) }.map(drop)
}
