//! Watches the copy under way: it shows others how far that is, and gives the turn up when nothing moves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How often others are shown how far the copy is: a place that people read need not be newer.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The time without a byte after which a copy gives its turn up. A disk that answers does so within seconds, also one that
/// collects its garbage; the kernel calls a task hung after 120 s.
pub(super) const HUNG_AFTER: Duration = Duration::from_secs(60);

/// Most time that one look may count for. The whole process may have been stopped in between, or the machine suspended.
const MOST_COUNTED: Duration = Duration::from_secs(2);

/// Counts how long nothing has moved.
#[derive(Debug, Default)]
pub(super) struct StillTime {
    last_step: Option<u64>,
    still: Duration,
}

impl StillTime {
    /// Records a look, so long after the last one, at a number that changes with each step. Returns whether the copy hangs.
    pub(super) fn look(&mut self, step: u64, since_last: Duration) -> bool {
        if self.last_step.replace(step) == Some(step) {
            self.still += since_last.min(MOST_COUNTED);
        } else {
            self.still = Duration::ZERO;
        }
        self.still >= HUNG_AFTER
    }
}

/// Calls `look` with the time since its last call, until that returns true or `over` is set.
pub(super) fn watch_until(over: &AtomicBool, mut look: impl FnMut(Duration) -> bool) {
    let mut last = Instant::now();
    while !over.load(Ordering::Acquire) {
        std::thread::park_timeout(WATCH_INTERVAL);
        let since_last = last.elapsed();
        last = Instant::now();
        if look(since_last) {
            return;
        }
    }
}

/// Ends the watch when the copy ends, even if that panics.
pub(super) struct WatchStopper<'a> {
    /// The flag that the watching thread reads.
    pub(super) over: &'a AtomicBool,
    /// The thread that watches the copy.
    pub(super) watching: Thread,
}

impl Drop for WatchStopper<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.watching.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_copy_hangs_after_a_minute_without_a_step() {
        let mut still = StillTime::default();
        assert!(!still.look(0, SECOND));
        assert_eq!((1..).find(|_| still.look(0, SECOND)), Some(60));
    }

    #[test]
    fn a_trickle_never_hangs() {
        let mut still = StillTime::default();
        // A step every 50 s.
        assert!(!(0..1000).any(|second| still.look(second / 50, SECOND)));
    }

    #[test]
    fn a_suspended_machine_is_no_hung_disk() {
        let mut still = StillTime::default();
        assert!(!still.look(0, SECOND));
        assert!(!still.look(0, Duration::from_secs(3600)));
        assert!(!still.look(1, SECOND));
    }
}
