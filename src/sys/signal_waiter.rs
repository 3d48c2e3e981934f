//! Waits for signals synchronously, instead of being interrupted by them, in a process that has nothing else to do.
#![allow(unsafe_code)]

use std::io;
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::time::TimeSpec;

/// Signals that are blocked in the calling thread, and in processes forked from it, in order to be waited for.
#[derive(Debug)]
pub struct SignalWaiter {
    signals: SigSet,
    previous_mask: SigSet,
}

impl SignalWaiter {
    /// Blocks `signals` in the calling thread.
    ///
    /// # Errors
    /// The error of pthread_sigmask(3).
    pub fn block(signals: &[Signal]) -> io::Result<Self> {
        let signals: SigSet = signals.iter().copied().collect();
        let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Self {
            signals,
            previous_mask: before,
        })
    }

    /// Waits for the next of the signals with sigtimedwait(2), at most for `within`. Returns `None` if none came in
    /// that time.
    ///
    /// # Errors
    /// The error of sigtimedwait(2), except EINTR.
    pub fn wait(&self, within: Option<Duration>) -> io::Result<Option<Signal>> {
        let within = within.map(TimeSpec::from);
        let limit = within.as_ref().map_or(ptr::null(), |time| {
            ptr::from_ref::<libc::timespec>(time.as_ref())
        });
        loop {
            // SAFETY: the set and the time, which may be null, outlive the call; nobody wants the signal's details.
            let signal =
                unsafe { libc::sigtimedwait(self.signals.as_ref(), ptr::null_mut(), limit) };
            match Errno::result(signal) {
                Ok(signal) => return Ok(Some(Signal::try_from(signal)?)),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Restores the signal mask as it was before, for a child that shall not inherit the block.
    ///
    /// # Errors
    /// The error of pthread_sigmask(3).
    pub fn restore(&self) -> io::Result<()> {
        Ok(self.previous_mask.thread_set_mask()?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::{SigSet, Signal, raise};

    use super::SignalWaiter;

    /// Masks are the thread's own, and raise(3) reaches the calling thread.
    #[test]
    fn a_blocked_signal_waits_and_is_taken_once() {
        let signals = SignalWaiter::block(&[Signal::SIGWINCH, Signal::SIGURG]).unwrap();
        let now = Some(Duration::ZERO);
        assert_eq!(signals.wait(now).unwrap(), None);
        raise(Signal::SIGURG).unwrap();
        assert_eq!(signals.wait(None).unwrap(), Some(Signal::SIGURG));
        assert_eq!(signals.wait(now).unwrap(), None);
        signals.restore().unwrap();
        let blocked = SigSet::thread_get_mask().unwrap();
        assert!(!blocked.contains(Signal::SIGURG) && !blocked.contains(Signal::SIGWINCH));
    }
}
