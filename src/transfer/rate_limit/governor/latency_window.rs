//! The latencies of the last ten seconds or more: the number above a limit, and their 99th percentile.

use std::collections::VecDeque;
use std::time::Duration;

use crate::sys::clock::{MonotonicNs, saturating_nanos};

/// Span in nanoseconds over which the 99th percentile is taken: 400 samples of fork.
const WINDOW_SPAN: Duration = Duration::from_secs(10);

/// Smallest number of samples in the window, of which two may be misses, however seldom samples are. Of the 100 in ten
/// seconds of a signal that is sampled every 100 ms one may, and two late samples in a copy of 17 s, on a disk limited to
/// 100 MB/s, made the percentile 72 ms while the target was 50.
const MIN_WINDOW_SAMPLES: u32 = 200;

/// Largest number of samples in the window, whatever the period is.
const MAX_WINDOW_SAMPLES: u128 = 4096;

/// Samples in the order of time, and their latencies in the order of size, so that percentile and count are look-ups.
#[derive(Debug)]
pub(super) struct LatencyWindow {
    moments: VecDeque<(MonotonicNs, Duration)>,
    sorted: Vec<Duration>,
    span: Duration,
    capacity: usize,
}

impl LatencyWindow {
    /// Makes a window for intended times that are one `period` apart.
    pub(super) fn new(period: Duration) -> Self {
        let span = WINDOW_SPAN.max(period.saturating_mul(MIN_WINDOW_SAMPLES));
        let span = Duration::from_nanos(saturating_nanos(span));
        let capacity = span.as_nanos() / period.as_nanos().max(1);
        let capacity = capacity.clamp(1, MAX_WINDOW_SAMPLES);
        Self {
            moments: VecDeque::new(),
            sorted: Vec::new(),
            span,
            capacity: capacity as usize,
        }
    }

    /// Returns how many samples a full window has.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn push(&mut self, moment: MonotonicNs, latency: Duration) {
        if self.moments.len() == self.capacity {
            self.drop_oldest();
        }
        self.moments.push_back((moment, latency));
        let place = self.sorted.partition_point(|other| *other < latency);
        self.sorted.insert(place, latency);
    }

    /// Removes the samples that are older than the window.
    pub(super) fn age(&mut self, now: MonotonicNs) {
        let from = now.before(self.span);
        while self.moments.front().is_some_and(|(at, _)| *at < from) {
            self.drop_oldest();
        }
    }

    pub(super) fn clear(&mut self) {
        self.moments.clear();
        self.sorted.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Returns how many latencies are longer than `allowed`.
    pub(super) fn over(&self, allowed: Duration) -> usize {
        self.len() - self.sorted.partition_point(|latency| *latency <= allowed)
    }

    /// Returns the 99th percentile in nanoseconds; 0 if there are no samples.
    pub(super) fn p99(&self) -> Duration {
        let rank = (self.len() * 99).div_ceil(100);
        rank.checked_sub(1)
            .map_or(Duration::ZERO, |index| self.sorted[index])
    }

    /// Returns the 99th percentile of samples that ended at `from` or later.
    pub(super) fn p99_since(&self, from: MonotonicNs) -> Duration {
        let moments = self.moments.iter().rev();
        let recent = moments.take_while(|(at, latency)| at.after(*latency) >= from);
        let mut recent: Vec<Duration> = recent.map(|(_, latency)| *latency).collect();
        recent.sort_unstable();
        let rank = (recent.len() * 99).div_ceil(100);
        rank.checked_sub(1)
            .map_or(Duration::ZERO, |index| recent[index])
    }

    fn drop_oldest(&mut self) {
        if let Some((_, latency)) = self.moments.pop_front() {
            let place = self.sorted.partition_point(|other| *other < latency);
            self.sorted.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Duration, LatencyWindow, MonotonicNs, WINDOW_SPAN};

    const SPAN_NS: u64 = WINDOW_SPAN.as_nanos() as u64;

    fn at(nanoseconds: u64) -> MonotonicNs {
        MonotonicNs::from_nanos(nanoseconds)
    }

    fn ns(nanoseconds: u64) -> Duration {
        Duration::from_nanos(nanoseconds)
    }

    #[test]
    fn one_in_a_hundred_may_be_anything() {
        let mut window = LatencyWindow::new(ns(SPAN_NS / 200));
        for moment in 0..198 {
            window.push(at(moment), ns(10));
        }
        window.push(at(198), ns(1000));
        window.push(at(199), ns(1000));
        assert_eq!((window.p99(), window.over(ns(10))), (ns(10), 2));
        window.push(at(200), ns(1000));
        assert_eq!(
            (window.len(), window.p99(), window.over(ns(10))),
            (200, ns(1000), 3)
        );
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut window = LatencyWindow::new(ns(SPAN_NS / 400));
        window.push(at(0), ns(1000));
        window.push(at(SPAN_NS / 2), ns(1));
        window.age(at(SPAN_NS));
        assert_eq!(window.over(ns(10)), 1);
        window.age(at(SPAN_NS + 1));
        assert_eq!((window.len(), window.over(ns(10))), (1, 0));
        window.age(at(u64::MAX));
        assert_eq!((window.len(), window.p99()), (0, ns(0)));
    }

    #[test]
    fn what_was_over_before_does_not_count_since() {
        let mut window = LatencyWindow::new(ns(SPAN_NS / 400));
        window.push(at(0), ns(1000));
        window.push(at(1500), ns(10));
        assert_eq!(
            (window.p99_since(at(1000)), window.p99_since(at(1001))),
            (ns(1000), ns(10))
        );
        assert_eq!(window.p99_since(at(1511)), ns(0));
    }

    #[test]
    fn what_is_asked_seldom_is_remembered_for_longer() {
        let mut window = LatencyWindow::new(ns(SPAN_NS / 100));
        assert_eq!(window.capacity(), 200);
        window.push(at(0), ns(1000));
        window.age(at(2 * SPAN_NS));
        assert_eq!(window.over(ns(10)), 1);
        window.age(at(2 * SPAN_NS + 1));
        assert_eq!(window.len(), 0);
        assert_eq!(LatencyWindow::new(ns(u64::MAX)).capacity(), 1);
    }

    proptest! {
        /// The look-ups return the same as a count over all samples.
        #[test]
        fn look_ups_agree_with_counting(latencies in prop::collection::vec(0_u64..50, 1..500)) {
            let mut window = LatencyWindow::new(ns(SPAN_NS / 200));
            for (moment, latency) in latencies.iter().enumerate() {
                window.push(at(moment as u64), ns(*latency));
            }
            let mut last: Vec<u64> = latencies[latencies.len().saturating_sub(200)..].to_vec();
            last.sort_unstable();
            prop_assert_eq!(window.len(), last.len());
            prop_assert_eq!(window.over(ns(25)), last.iter().filter(|latency| **latency > 25).count());
            let rank = (last.len() as f64 * 0.99).ceil() as usize;
            prop_assert_eq!(window.p99(), ns(last[rank - 1]));
        }
    }
}
