//! The request to stop, for code below the signal handlers: a loop that repeats a system call has no listener to ask.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The number of the signal that asked this process to stop; 0 if none did.
static STOP_SIGNAL: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Registers the flag that a signal handler sets to the number of its signal. Only the first call has an effect.
pub fn register_flag(flag: &Arc<AtomicUsize>) {
    STOP_SIGNAL.get_or_init(|| Arc::clone(flag));
}

/// Returns whether a signal has asked this process to stop.
#[must_use]
pub fn is_requested() -> bool {
    STOP_SIGNAL
        .get()
        .is_some_and(|flag| flag.load(Ordering::Relaxed) != 0)
}
