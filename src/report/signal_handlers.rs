//! Signal handlers that only set flags: one for the request to stop, and one for the request of a status line.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR1, SIGXFSZ};
use signal_hook::flag;

use crate::sys::terminate::{is_signal_ignored, terminate_by, terminate_on};
use crate::sys::{stop_request, terminal_stop};

/// The signals that this program answers. It checks for them between two chunks.
#[derive(Debug, Clone)]
pub struct Signals {
    stop_signal: Arc<AtomicUsize>,
    status_requested: Arc<AtomicBool>,
    terminate_on_next: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers, except for signals that are ignored already (nohup).
    ///
    /// # Errors
    /// The error of sigaction(2).
    pub fn install() -> io::Result<Self> {
        let _blocked = BlockedSignals::new()?;
        let signals = Self::install_without_termination()?;
        stop_request::register_flag(&signals.stop_signal);
        for signal in not_ignored([SIGINT, SIGTERM, SIGHUP]) {
            // A call that does not return (a pipe that nobody reads) does not check the flag: the second signal ends the
            // program at once.
            flag::register(signal, Arc::clone(&signals.terminate_on_next))?;
        }
        Ok(signals)
    }

    /// Installs the handlers, but no signal ends the program before
    /// [`terminate_on_next_signal`](Self::terminate_on_next_signal) is called. This is for a program that must first
    /// restore something, however often it is asked to stop.
    ///
    /// # Errors
    /// The error of sigaction(2).
    pub fn install_without_termination() -> io::Result<Self> {
        let _blocked = BlockedSignals::new()?;
        let signals = Self {
            stop_signal: Arc::default(),
            status_requested: Arc::default(),
            terminate_on_next: Arc::default(),
        };
        for signal in not_ignored([SIGINT, SIGTERM, SIGHUP]) {
            terminate_on(signal, Arc::clone(&signals.terminate_on_next))?;
            flag::register_usize(signal, Arc::clone(&signals.stop_signal), signal as usize)?;
        }
        for signal in not_ignored([SIGUSR1]) {
            flag::register(signal, Arc::clone(&signals.status_requested))?;
        }
        // A write beyond the file size limit shall fail with EFBIG, which names the file, and not kill the process.
        for signal in not_ignored([SIGXFSZ]) {
            flag::register(signal, Arc::default())?;
        }
        Ok(signals)
    }

    /// Makes the next signal end the program.
    pub fn terminate_on_next_signal(&self) {
        self.terminate_on_next.store(true, Ordering::Relaxed);
    }

    /// Returns the signal that asked the program to stop.
    #[must_use]
    pub fn pending_signal(&self) -> Option<i32> {
        match self.stop_signal.load(Ordering::Relaxed) {
            0 => None,
            signal => i32::try_from(signal).ok(),
        }
    }

    /// Returns whether a status line was requested since the last call.
    #[must_use]
    pub fn take_status_request(&self) -> bool {
        self.status_requested.swap(false, Ordering::Relaxed)
    }

    /// Ends this process by the signal that asked it to stop, if one did, so that its parent sees the true reason. As
    /// the first process of a PID namespace, which its own signals cannot end, it exits with 128 + the number of the
    /// signal.
    pub fn raise_again(&self) {
        if let Some(signal) = self.pending_signal() {
            terminate_by(signal);
        }
    }
}

/// Makes Ctrl-Z erase what is drawn on the terminal first, unless the signal is ignored. A failure leaves the lines there.
pub(crate) fn erase_before_stop() {
    for _ in not_ignored([SIGTSTP]) {
        let _ = terminal_stop::erase_before_stop();
    }
}

/// Keeps the signals of this thread pending while handlers are installed: signal-hook sets its handler before it has stored the first
/// action, and a signal between the two is lost (seen in 3 of about 150 starts as the first process of a PID namespace, sent when
/// /proc/PID/status showed the handler). A blocked signal is delivered when this is dropped.
struct BlockedSignals(SigSet);

impl BlockedSignals {
    fn new() -> nix::Result<Self> {
        SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_BLOCK)
            .map(Self)
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // It cannot fail for a mask that this thread had before.
        let _ = self.0.thread_set_mask();
    }
}

/// Returns the signals that were not ignored when this process was started. Ignored ones stay so, also for the programs
/// that this process starts.
fn not_ignored<const N: usize>(signals: [i32; N]) -> impl Iterator<Item = i32> {
    signals
        .into_iter()
        .filter(|signal| !is_signal_ignored(*signal))
}
