//! The pacing point: what the threads of a run share, and ask before each chunk.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fifo_queue::{FifoQueue, Ticket};
use super::{CopyTotals, RateSettings, Wait};
use crate::sys::clock::{MonotonicNs, saturating_nanos};

/// What a file without bytes counts for where the pace follows what others feel: making one writes a block or two of
/// metadata.
const EACH_FILE: u64 = 4096;

/// One for a run.
#[derive(Debug)]
pub struct RateLimiter {
    line: Mutex<FifoQueue>,
    /// There are new orders, or somebody has left the line.
    changed: Condvar,
    /// What a file counts for at least.
    each_file: u64,
    moved: AtomicU64,
    waited_ns: AtomicU64,
}

impl RateLimiter {
    /// One that lets nothing through until it gets orders. Where these follow what others feel, it is `governed`: files
    /// without bytes must not be free, and orders that nobody renews are not trusted for long.
    #[must_use]
    pub fn new(governed: bool) -> Self {
        Self {
            line: Mutex::new(FifoQueue::new(governed, MonotonicNs::now())),
            changed: Condvar::new(),
            each_file: if governed { EACH_FILE } else { 0 },
            moved: AtomicU64::new(0),
            waited_ns: AtomicU64::new(0),
        }
    }

    /// Orders that hold from `now` on.
    pub fn apply(&self, orders: &RateSettings, now: MonotonicNs) {
        self.lock().apply(orders, now);
        self.changed.notify_all();
    }

    /// What was done so far.
    #[must_use]
    pub fn totals(&self) -> CopyTotals {
        CopyTotals {
            moved: self.moved.load(Relaxed),
            waited: Duration::from_nanos(self.waited_ns.load(Relaxed)),
        }
    }

    /// Bytes of one call, at most.
    #[must_use]
    pub fn chunk(&self) -> usize {
        self.lock().chunk(MonotonicNs::now())
    }

    /// What a file with so many bytes of data counts for.
    #[must_use]
    pub fn file_cost(&self, data: u64) -> u64 {
        data.max(self.each_file)
    }

    /// Lines up behind those who wait already.
    #[must_use]
    pub fn line_up(&self) -> Permit<'_> {
        Permit {
            pacer: self,
            ticket: self.lock().line_up(),
        }
    }

    /// Of `taken` bytes so many were moved.
    pub fn record_moved(&self, taken: u64, moved: u64) {
        self.moved.fetch_add(moved, Relaxed);
        if moved < taken {
            self.lock().give_back(taken - moved);
        }
    }

    // What a panic left is a whole line: nothing in here stops halfway.
    fn lock(&self) -> MutexGuard<'_, FifoQueue> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line, given up when it is dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    pacer: &'a RateLimiter,
    ticket: Ticket,
}

impl Permit<'_> {
    /// Waits until it may take what `piece` makes of the chunk in force, and says how much that was; nothing where it still
    /// waits at `until`.
    pub fn wait_until(
        &self,
        mut piece: impl FnMut(usize) -> u64,
        until: MonotonicNs,
    ) -> Option<u64> {
        let begun = MonotonicNs::now();
        let (mut now, mut line) = (begun, self.pacer.lock());
        let taken = loop {
            match line.take(self.ticket, &mut piece, now) {
                Ok(bytes) => break Some(bytes),
                Err(_) if now >= until => break None,
                Err(wait) => {
                    let until = match wait {
                        Wait::Until(moment) => moment.min(until),
                        Wait::ForChange => until,
                    };
                    let sleep = until.since(now);
                    let woken = self.pacer.changed.wait_timeout(line, sleep);
                    line = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
            now = MonotonicNs::now();
        };
        drop(line);
        if now > begun {
            let waited = saturating_nanos(now.since(begun));
            self.pacer.waited_ns.fetch_add(waited, Relaxed);
        }
        taken
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.pacer.lock().leave(self.ticket) {
            self.pacer.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rate;
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);

    fn orders(bytes: u64) -> RateSettings {
        RateSettings {
            rate: Rate::from_bytes_per_sec(bytes),
            chunk: 4096,
            bottleneck: None,
            notice: None,
        }
    }

    #[test]
    fn nobody_is_stuck_when_the_first_leaves() {
        let pacer = RateLimiter::new(false);
        let first = pacer.line_up();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                pacer
                    .line_up()
                    .wait_until(|chunk| chunk as u64, MonotonicNs::MAX)
            });
            // Cancelled: it has waited for orders that did not come.
            assert_eq!(
                first.wait_until(|_| 1, MonotonicNs::now().after(SHORT)),
                None
            );
            drop(first);
            pacer.apply(&orders(1 << 30), MonotonicNs::now());
            assert_eq!(second.join().ok().flatten(), Some(4096));
        });
        assert!(pacer.totals().waited >= SHORT);
    }

    #[test]
    fn all_come_to_their_turn() {
        let pacer = RateLimiter::new(true);
        pacer.apply(&orders(16 << 20), MonotonicNs::now());
        let take = || {
            (0..20)
                .filter_map(|_| {
                    pacer
                        .line_up()
                        .wait_until(|chunk| chunk as u64, MonotonicNs::MAX)
                })
                .sum::<u64>()
        };
        let sums = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().ok())
                .collect::<Vec<_>>()
        });
        assert_eq!(sums, [Some(20 * 4096); 8]);
    }
}
