//! The rate limiter that the threads of a run share, and ask before each chunk.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::call_summary::{CallSpan, CallSummary};
use super::fifo_queue::{FifoQueue, Ticket};
use super::{CopyTotals, RateSettings, Wait};
use crate::sys::clock::{MonotonicNs, saturating_nanos};
use crate::sys::lock::{lock, unpoisoned};

/// Bytes that a file without data is charged if the rate is governed: creating one writes a block or two of metadata.
pub const EACH_FILE: u64 = 4096;

/// The rate limiter of a run.
#[derive(Debug)]
pub struct RateLimiter {
    line: Mutex<FifoQueue>,
    /// Notified when settings are applied or a waiter leaves the queue.
    changed: Condvar,
    /// Bytes that a file is charged at least.
    each_file: u64,
    /// Whether the time of calls says how the disk is.
    hears_calls: bool,
    /// The calls since the governor asked last.
    calls: Mutex<Option<CallSummary>>,
    moved: AtomicU64,
    waited_ns: AtomicU64,
}

impl RateLimiter {
    /// Makes a limiter that lets no bytes through before [`apply`](Self::apply). If it is `governed`, its settings
    /// follow measurements: then files without bytes are charged, too, and settings that are not renewed become stale.
    #[must_use]
    pub fn new(governed: bool) -> Self {
        Self {
            line: Mutex::new(FifoQueue::new(governed, MonotonicNs::now())),
            changed: Condvar::new(),
            each_file: if governed { EACH_FILE } else { 0 },
            hears_calls: true,
            calls: Mutex::new(None),
            moved: AtomicU64::new(0),
            waited_ns: AtomicU64::new(0),
        }
    }

    /// Ignores how long calls take: those of a copy with the lowest priority wait where others do not.
    #[must_use]
    pub fn ignoring_calls(mut self) -> Self {
        self.hears_calls = false;
        self
    }

    /// Applies new settings, which are valid from `now` on.
    pub fn apply(&self, orders: &RateSettings, now: MonotonicNs) {
        self.lock().apply(orders, now);
        self.changed.notify_all();
    }

    /// Returns what the copy has done so far.
    #[must_use]
    pub fn totals(&self) -> CopyTotals {
        CopyTotals {
            moved: self.moved.load(Relaxed),
            waited: Duration::from_nanos(self.waited_ns.load(Relaxed)),
        }
    }

    /// Returns the largest number of bytes for one call.
    #[must_use]
    pub fn chunk(&self) -> usize {
        self.lock().chunk(MonotonicNs::now())
    }

    /// Returns what a file with `data` bytes of data is charged.
    #[must_use]
    pub fn file_cost(&self, data: u64) -> u64 {
        data.max(self.each_file)
    }

    /// Enters the queue behind those who wait already.
    #[must_use]
    pub fn line_up(&self) -> Permit<'_> {
        Permit {
            pacer: self,
            ticket: self.lock().line_up(),
        }
    }

    /// Records that of `taken` bytes `moved` were moved, and gives the rest back.
    pub fn record_moved(&self, taken: u64, moved: u64) {
        self.moved.fetch_add(moved, Relaxed);
        if moved < taken {
            self.lock().give_back(taken - moved);
        }
    }

    /// Records how long a call took whose time was that of the disk.
    pub fn record_call(&self, call: CallSpan) {
        if !self.hears_calls {
            return;
        }
        let mut calls = lock(&self.calls);
        let call = CallSummary::new(call);
        *calls = Some(calls.map_or(call, |known| known.with(call)));
    }

    /// Returns the calls since this was asked last, if there were any.
    #[must_use]
    pub fn take_calls(&self) -> Option<CallSummary> {
        lock(&self.calls).take()
    }

    // A panic leaves a consistent queue, since no operation on it stops halfway.
    fn lock(&self) -> MutexGuard<'_, FifoQueue> {
        lock(&self.line)
    }
}

/// A position in the queue, which is left when it is dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    pacer: &'a RateLimiter,
    ticket: Ticket,
}

impl Permit<'_> {
    /// Waits until it may take what `piece` returns for the chunk in force, and returns that number; `None` if it still
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
                    line = unpoisoned(woken).0;
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
    use super::super::{MAX_BURST, Rate};
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);

    fn orders(bytes: u64) -> RateSettings {
        RateSettings {
            rate: Rate::from_bytes_per_sec(bytes),
            chunk: 4096,
            burst: MAX_BURST,
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
            // It was cancelled: it has waited for settings that did not come.
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
