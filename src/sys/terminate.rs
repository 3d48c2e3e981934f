//! Ends this process by a signal, or, if its default action is ignored, with the exit status that a shell gives for it.
//!
//! The kernel ignores default actions of the first process of a PID namespace (pid_namespaces(7)), so raising the
//! signal again does nothing there. abort(3) does not help either: SIGABRT is ignored too, and an invalid instruction
//! follows.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::low_level::register;

use super::process::exit_now;
use super::terminal_stop;

/// The number that a shell adds to the signal that ended a process.
const SIGNAL_STATUS_BASE: i32 = 128;

/// Returns whether this process ignores `signal`, or false if there is no such signal.
#[must_use]
pub fn is_signal_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action sigaction(2) only writes the present one, and it is read only after it was written.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Ends this process by `signal`, or with the status 128 + `signal` if its default action does nothing. It is
/// async-signal-safe.
pub fn terminate_by(signal: i32) -> ! {
    terminal_stop::erase();
    let mut only = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the default action is no code of ours; sigemptyset(3) initializes the set before the other calls read it; all of
    // these functions are async-signal-safe (signal-safety(7)).
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::sigemptyset(only.as_mut_ptr());
        libc::sigaddset(only.as_mut_ptr(), signal);
        // In its own handler the signal is blocked.
        libc::pthread_sigmask(libc::SIG_UNBLOCK, only.as_ptr(), std::ptr::null_mut());
        libc::raise(signal);
    }
    exit_now(SIGNAL_STATUS_BASE + signal)
}

/// Makes each `signal` that comes while `condition` is true end this process as [`terminate_by`] does. Actions are
/// called in the order in which they were registered.
///
/// # Errors
/// The error of sigaction(2).
pub fn terminate_on(signal: i32, condition: Arc<AtomicBool>) -> io::Result<()> {
    let action = move || {
        if condition.load(Ordering::SeqCst) {
            terminate_by(signal);
        }
    };
    // SAFETY: loading an atomic and `terminate_by` are async-signal-safe, and neither allocates nor panics.
    unsafe { register(signal, action) }.map(drop)
}
