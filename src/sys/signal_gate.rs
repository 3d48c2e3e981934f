//! Keeps signals out of a thread except while it waits for a descriptor, so that none arrives between the question
//! whether one came and the wait.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::time::TimeSpec;

/// What has ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakeup {
    /// The descriptor can be read, or its other end is closed.
    Ready,
    /// A signal handler has run.
    Signal,
    /// The time to wait is over.
    Timeout,
}

/// A thread whose signals arrive only in [`wait`](Self::wait). Threads that it starts get none at all.
#[derive(Debug)]
pub struct SignalGate {
    mask_before: SigSet,
}

impl SignalGate {
    /// Blocks all signals of the calling thread until the gate is dropped.
    ///
    /// # Errors
    /// The error of pthread_sigmask(3).
    pub fn close() -> io::Result<Self> {
        let mask_before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Self { mask_before })
    }

    /// Waits for `fd`, for a signal, or until `timeout` is over, with ppoll(2).
    ///
    /// # Errors
    /// The error of ppoll(2), except EINTR.
    pub fn wait(&self, fd: impl AsFd, timeout: Option<Duration>) -> io::Result<Wakeup> {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match ppoll(
            &mut fds,
            timeout.map(TimeSpec::from),
            Some(self.mask_before),
        ) {
            Ok(0) => Ok(Wakeup::Timeout),
            Ok(_) => Ok(Wakeup::Ready),
            Err(Errno::EINTR) => Ok(Wakeup::Signal),
            Err(e) => Err(e.into()),
        }
    }
}

impl Drop for SignalGate {
    fn drop(&mut self) {
        // It cannot fail for a mask that this thread had before.
        let _ = self.mask_before.thread_set_mask();
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};

    use super::*;

    /// The signal is caught by a handler in this test's process alone, and raise(3) reaches the calling thread.
    #[test]
    fn a_signal_before_the_wait_ends_it() {
        let seen = std::sync::Arc::default();
        signal_hook::flag::register(libc::SIGWINCH, std::sync::Arc::clone(&seen)).unwrap();
        let gate = SignalGate::close().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        let now = Some(Duration::ZERO);
        assert_eq!(gate.wait(&reader, now).unwrap(), Wakeup::Timeout);
        raise(Signal::SIGWINCH).unwrap();
        assert!(!seen.load(std::sync::atomic::Ordering::Relaxed));
        assert_eq!(gate.wait(&reader, None).unwrap(), Wakeup::Signal);
        assert!(seen.load(std::sync::atomic::Ordering::Relaxed));
        drop(writer);
        assert_eq!(gate.wait(&reader, None).unwrap(), Wakeup::Ready);
    }
}
