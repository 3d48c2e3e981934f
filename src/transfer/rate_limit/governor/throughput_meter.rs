//! What the copy really does: the rate it reaches, and whether it waits for the bucket.

use std::collections::VecDeque;
use std::time::Duration;

use super::{CopyTotals, MIN_RATE};
use crate::sys::clock::MonotonicNs;

/// What "the rate reached" is taken over: long enough for the hiccups of a disk, short enough for a cut to bite at once.
const REACHED: Duration = Duration::from_millis(500);

/// What "it follows" is taken over: in slow start the rate doubles in hardly less.
const RECENT: Duration = Duration::from_millis(100);

/// After so long without a byte, and without waiting for us, the copy is at rest.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Marks are this far apart at least, so that their number is bounded whoever calls how often.
const MIN_MARK_INTERVAL: Duration = Duration::from_millis(10);

/// A copy waits for the bucket when its threads do so for this part of the time.
const THROTTLED_SHARE: f64 = 0.05;

/// Marks of the last second or so.
#[derive(Debug)]
pub(super) struct ThroughputMeter {
    marks: VecDeque<(MonotonicNs, CopyTotals)>,
}

/// What the causes need to know of the copy.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopyPace {
    /// The moment.
    pub(super) now: MonotonicNs,
    /// Seconds since the last decision, as far as they count.
    pub(super) passed: f64,
    /// Bytes a second that were ordered last.
    pub(super) ordered: f64,
    /// Bytes a second that were reached.
    pub(super) reached: f64,
    /// The same, over the shortest time that says anything.
    pub(super) recent: f64,
    /// Whether the copy waits for the bucket: if not, something else holds it back.
    pub(super) is_throttled: bool,
    /// Whether it has done so for a while.
    pub(super) was_throttled: bool,
    /// Nothing is moved, and not because of us.
    pub(super) is_idle: bool,
}

impl CopyPace {
    /// The rate that what others feel is due to.
    pub(super) fn effective_rate(&self, rate: f64) -> f64 {
        let rate = rate.min(self.ordered);
        if self.is_throttled {
            rate
        } else {
            rate.min(self.reached)
        }
    }

    /// The highest rate that still is a hold on this copy: a cut of one far above what the disk does would change nothing.
    /// 1.5 leaves room to see that the disk has become faster; 4 is two steps of slow start.
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

    /// What was done by `now`.
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

    /// What the causes need to know.
    pub(super) fn pace(&self, now: MonotonicNs, passed: f64, ordered: f64) -> CopyPace {
        let (reached, held) = self.over(now, REACHED);
        let (recent, waits) = self.over(now, RECENT);
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
            is_throttled: waits > THROTTLED_SHARE,
            was_throttled: held > THROTTLED_SHARE,
            is_idle: long && ordered > 0.0 && moved == 0.0 && waited <= THROTTLED_SHARE,
        }
    }

    /// Bytes a second, and the part of the time that was waited, over the last `span`.
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
