//! The request to stop, as code below the signal handlers sees it: a loop that repeats a system call has no observer to ask.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The number of the signal that asked this process to stop; 0 before one did.
static STOP_SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Names the flag that a signal handler sets to the number of its signal. The first flag named stays in force.
pub fn register_flag(flag: &Arc<AtomicUsize>) {
    STOP_SIGNAL.get_or_init(|| Arc::clone(flag));
}

/// Whether a signal has asked this process to stop.
#[must_use]
pub fn is_requested() -> bool {
    STOP_SIGNAL
        .get()
        .is_some_and(|flag| flag.load(Ordering::Relaxed) != 0)
}
