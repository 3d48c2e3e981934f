//! Signals as flags: what asks to stop, and what asks for a status line.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::{flag, low_level};

use crate::sys::process::exit_now;
use crate::sys::{status, stop};

/// The signals that this program answers. It notices them between two chunks.
#[derive(Debug, Clone)]
pub struct Signals {
    stop: Arc<AtomicUsize>,
    status: Arc<AtomicBool>,
    again: Arc<AtomicBool>,
}

impl Signals {
    /// Takes them over, except those that the caller has told us to ignore (nohup).
    ///
    /// # Errors
    /// sigaction's.
    pub fn install() -> io::Result<Self> {
        let signals = Self::install_patient()?;
        stop::listen_to(&signals.stop);
        for signal in heard([SIGINT, SIGTERM, SIGHUP]) {
            // A call that does not come back (a pipe that nobody reads) does not see the flag: the second signal ends the
            // program at once.
            flag::register(signal, Arc::clone(&signals.again))?;
        }
        Ok(signals)
    }

    /// The same, but no signal ends the program before [`end_at_once`](Self::end_at_once): for one that has to restore
    /// something first, however often it is asked to stop.
    ///
    /// # Errors
    /// sigaction's.
    pub fn install_patient() -> io::Result<Self> {
        let signals = Self {
            stop: Arc::default(),
            status: Arc::default(),
            again: Arc::default(),
        };
        for signal in heard([SIGINT, SIGTERM, SIGHUP]) {
            let again = Arc::clone(&signals.again);
            if is_init() {
                flag::register_conditional_shutdown(signal, status_of(signal), again)?;
            } else {
                flag::register_conditional_default(signal, again)?;
            }
            flag::register_usize(signal, Arc::clone(&signals.stop), signal as usize)?;
        }
        for signal in heard([SIGUSR1]) {
            flag::register(signal, Arc::clone(&signals.status))?;
        }
        // A write beyond the file size limit shall be EFBIG, an error with a file's name, not a death without a word.
        for signal in heard([SIGXFSZ]) {
            flag::register(signal, Arc::default())?;
        }
        Ok(signals)
    }

    /// From here on the next signal ends the program.
    pub fn end_at_once(&self) {
        self.again.store(true, Ordering::Relaxed);
    }

    /// The signal that asked to stop.
    #[must_use]
    pub fn pending(&self) -> Option<i32> {
        match self.stop.load(Ordering::Relaxed) {
            0 => None,
            signal => i32::try_from(signal).ok(),
        }
    }

    /// Whether a status line was asked for since the last question.
    #[must_use]
    pub fn status_wanted(&self) -> bool {
        self.status.swap(false, Ordering::Relaxed)
    }

    /// Ends this process by the signal that asked it to stop, if one did, so that who waits for it sees the truth.
    pub fn raise_again(&self) {
        if let Some(signal) = self.pending() {
            if is_init() {
                exit_now(status_of(signal));
            }
            // Fails for signals without a default action, of which we handle none.
            let _ = low_level::emulate_default_handler(signal);
        }
    }
}

/// Returns whether this is process 1 of its PID namespace, as in a container. The kernel gives it no signal whose action is the
/// default (signal(7), pid_namespaces(7)), so that it cannot end itself by one.
fn is_init() -> bool {
    std::process::id() == 1
}

/// Returns the exit status by which a shell tells that a process was ended by `signal`.
fn status_of(signal: i32) -> i32 {
    128 + signal
}

/// Those that were not ignored when this process began; one that is stays so, for the programs that it starts, too.
fn heard<const N: usize>(signals: [i32; N]) -> impl Iterator<Item = i32> {
    let mask = status::field("SigIgn");
    let ignored = mask.and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    let ignored = ignored.unwrap_or(0);
    signals
        .into_iter()
        .filter(move |signal| ignored & (1 << (signal - 1)) == 0)
}
