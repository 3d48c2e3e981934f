//! Measures the rate that the copy reaches, and whether it waits for the token bucket.

use std::collections::VecDeque;
use std::time::Duration;

use super::{CopyTotals, MIN_RATE};
use crate::sys::clock::MonotonicNs;

/// Span in nanoseconds over which the reached rate is taken: long enough for short pauses of a disk, short enough for a
/// cut to take effect at once.
const REACHED: Duration = Duration::from_millis(500);

/// Span in nanoseconds over which the recent rate is taken: in slow start the rate doubles in hardly less.
const RECENT: Duration = Duration::from_millis(100);

/// Span over which the rate is taken that a disk has reached: two slices of 100 ms of blk-throttle and a half.
const TAKEN: Duration = Duration::from_millis(250);

/// Time in nanoseconds without a byte, and without waiting for the bucket, after which the copy is idle.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Shortest time in nanoseconds between two marks, so that their number is bounded however often a caller calls.
const MIN_MARK_INTERVAL: Duration = Duration::from_millis(10);

/// Fraction of the time that threads must wait for the bucket for the copy to count as throttled.
const THROTTLED_SHARE: f64 = 0.05;

/// Totals of the copy at several times in the last second or so.
#[derive(Debug)]
pub(super) struct ThroughputMeter {
    marks: VecDeque<(MonotonicNs, CopyTotals)>,
}

/// What the controllers need to know about the copy.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CopyPace {
    /// The current time in nanoseconds.
    pub(super) now: MonotonicNs,
    /// Seconds since the last decision, as far as they count.
    pub(super) passed: f64,
    /// Bytes per second that were allowed last.
    pub(super) ordered: f64,
    /// Bytes per second that were reached.
    pub(super) reached: f64,
    /// Bytes per second over the shortest meaningful time.
    pub(super) recent: f64,
    /// Bytes per second over a quarter of a second: what a disk has taken, where it takes bytes in bursts.
    pub(super) taken: f64,
    /// Whether the copy waits for the bucket: if not, something else holds it back.
    pub(super) is_throttled: bool,
    /// Whether it has waited for the bucket for a while.
    pub(super) was_throttled: bool,
    /// Whether nothing is moved, and not because of the bucket.
    pub(super) is_idle: bool,
}

impl CopyPace {
    /// Returns the rate at which the measured latencies arose.
    pub(super) fn effective_rate(&self, rate: f64) -> f64 {
        let rate = rate.min(self.ordered);
        if self.is_throttled {
            rate
        } else {
            rate.min(self.reached)
        }
    }

    /// Returns the highest rate that still limits this copy: cutting a rate far above that of the disk would change
    /// nothing. The factor 1.5 leaves room to see that the disk has become faster; 4 is more than two steps of slow start.
    pub(super) fn roof(&self) -> f64 {
        let roof = if self.is_throttled {
            4.0 * self.recent.max(self.reached)
        } else {
            1.5 * self.reached
        };
        roof.max(MIN_RATE)
    }
}

impl ThroughputMeter {
    pub(super) fn new(now: MonotonicNs) -> Self {
        Self {
            marks: VecDeque::from([(now, CopyTotals::default())]),
        }
    }

    /// Records the totals at `now`.
    pub(super) fn note(&mut self, now: MonotonicNs, done: CopyTotals) {
        let from = now.before(IDLE_AFTER);
        while self.marks.get(1).is_some_and(|(at, _)| *at <= from) {
            self.marks.pop_front();
        }
        let crowded = self.marks.len() > 1
            && self.marks[self.marks.len() - 2].0.after(MIN_MARK_INTERVAL) > now;
        if crowded {
            self.marks.pop_back();
        }
        self.marks.push_back((now, done));
    }

    /// Returns what the controllers need to know.
    pub(super) fn pace(&self, now: MonotonicNs, passed: f64, ordered: f64) -> CopyPace {
        let (reached, held) = self.over(now, REACHED);
        let (recent, waits) = self.over(now, RECENT);
        let (taken, _) = self.over(now, TAKEN);
        let (moved, waited) = self.over(now, IDLE_AFTER);
        let long = self
            .marks
            .front()
            .is_some_and(|(at, _)| at.after(IDLE_AFTER) <= now);
        CopyPace {
            now,
            passed,
            ordered,
            reached,
            recent,
            taken,
            is_throttled: waits > THROTTLED_SHARE,
            was_throttled: held > THROTTLED_SHARE,
            is_idle: long && ordered > 0.0 && moved == 0.0 && waited <= THROTTLED_SHARE,
        }
    }

    /// Returns the bytes per second, and the fraction of the time spent waiting, over the last `span`.
    fn over(&self, now: MonotonicNs, span: Duration) -> (f64, f64) {
        let from = now.before(span);
        let after = self.marks.partition_point(|(at, _)| *at <= from);
        let (at, then) = self.marks[after.saturating_sub(1)];
        let (last, done) = self.marks[self.marks.len() - 1];
        let passed = last.since(at).as_secs_f64();
        if passed == 0.0 {
            return (0.0, 0.0);
        }
        let moved = done.moved.saturating_sub(then.moved) as f64;
        let waited = done.waited.saturating_sub(then.waited).as_secs_f64();
        (moved / passed, waited / passed)
    }
}
