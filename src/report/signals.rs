//! Signals as flags: what asks to stop, and what asks for a status line.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::{flag, low_level};

use crate::sys::status;

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
        let signals = Self {
            stop: Arc::default(),
            status: Arc::default(),
            again: Arc::default(),
        };
        let ignored = ignored();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if ignored & (1 << (signal - 1)) == 0 {
                // A call that does not come back (a pipe that nobody reads) does not see the flag: the second signal ends
                // the program at once.
                flag::register_conditional_default(signal, Arc::clone(&signals.again))?;
                flag::register(signal, Arc::clone(&signals.again))?;
                flag::register_usize(signal, Arc::clone(&signals.stop), signal as usize)?;
            }
        }
        flag::register(SIGUSR1, Arc::clone(&signals.status))?;
        // A write beyond the file size limit shall be EFBIG, an error with a file's name, not a death without a word.
        flag::register(SIGXFSZ, Arc::default())?;
        Ok(signals)
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
            // Fails for signals without a default action, of which we handle none.
            let _ = low_level::emulate_default_handler(signal);
        }
    }
}

/// The mask of signals that were ignored when this process began.
fn ignored() -> u64 {
    let mask = status::field("SigIgn");
    mask.and_then(|mask| u64::from_str_radix(&mask, 16).ok())
        .unwrap_or(0)
}
