//! The latencies of the last ten seconds or more: the number above a limit, and their 99th percentile.

use std::collections::VecDeque;

use super::NANOS_PER_SECOND;

/// Span in nanoseconds over which the 99th percentile is taken: 400 samples of fork.
const WINDOW_SPAN_NS: u64 = 10 * NANOS_PER_SECOND;

/// Smallest number of samples in the window, of which two may be misses: the 20 seconds of a synced write. Of the 100
/// in ten seconds one may, and two late samples in a copy of 17 s, on a disk limited to 100 MB/s, made the percentile
/// 72 ms while the target was 50.
const MIN_WINDOW_SAMPLES: u64 = 200;

/// Largest number of samples in the window, whatever the period is.
const MAX_WINDOW_SAMPLES: u64 = 4096;

/// Samples in the order of time, and their latencies in the order of size, so that percentile and count are look-ups.
#[derive(Debug)]
pub(super) struct LatencyWindow {
    moments: VecDeque<(u64, u64)>,
    sorted: Vec<u64>,
    span: u64,
    capacity: usize,
}

impl LatencyWindow {
    /// Makes a window for intended times `period` nanoseconds apart.
    pub(super) fn new(period: u64) -> Self {
        let span = WINDOW_SPAN_NS.max(period.saturating_mul(MIN_WINDOW_SAMPLES));
        Self {
            moments: VecDeque::new(),
            sorted: Vec::new(),
            span,
            capacity: (span / period.max(1)).clamp(1, MAX_WINDOW_SAMPLES) as usize,
        }
    }

    /// Returns how many samples a full window has.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn push(&mut self, moment: u64, latency: u64) {
        if self.moments.len() == self.capacity {
            self.drop_oldest();
        }
        self.moments.push_back((moment, latency));
        let place = self.sorted.partition_point(|other| *other < latency);
        self.sorted.insert(place, latency);
    }

    /// Removes the samples that are older than the window.
    pub(super) fn age(&mut self, now: u64) {
        let from = now.saturating_sub(self.span);
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
    pub(super) fn over(&self, allowed: u64) -> usize {
        self.len() - self.sorted.partition_point(|latency| *latency <= allowed)
    }

    /// Returns the 99th percentile in nanoseconds; 0 if there are no samples.
    pub(super) fn p99(&self) -> u64 {
        let rank = (self.len() * 99).div_ceil(100);
        rank.checked_sub(1).map_or(0, |index| self.sorted[index])
    }

    /// Returns the 99th percentile of samples that ended at `from` or later.
    pub(super) fn p99_since(&self, from: u64) -> u64 {
        let moments = self.moments.iter().rev();
        let recent = moments.take_while(|(at, latency)| at.saturating_add(*latency) >= from);
        let mut recent: Vec<u64> = recent.map(|(_, latency)| *latency).collect();
        recent.sort_unstable();
        let rank = (recent.len() * 99).div_ceil(100);
        rank.checked_sub(1).map_or(0, |index| recent[index])
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

    use super::{LatencyWindow, WINDOW_SPAN_NS};

    #[test]
    fn one_in_a_hundred_may_be_anything() {
        let mut window = LatencyWindow::new(WINDOW_SPAN_NS / 200);
        for moment in 0..198 {
            window.push(moment, 10);
        }
        window.push(198, 1000);
        window.push(199, 1000);
        assert_eq!((window.p99(), window.over(10)), (10, 2));
        window.push(200, 1000);
        assert_eq!(
            (window.len(), window.p99(), window.over(10)),
            (200, 1000, 3)
        );
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut window = LatencyWindow::new(WINDOW_SPAN_NS / 400);
        window.push(0, 1000);
        window.push(WINDOW_SPAN_NS / 2, 1);
        window.age(WINDOW_SPAN_NS);
        assert_eq!(window.over(10), 1);
        window.age(WINDOW_SPAN_NS + 1);
        assert_eq!((window.len(), window.over(10)), (1, 0));
        window.age(u64::MAX);
        assert_eq!((window.len(), window.p99()), (0, 0));
    }

    #[test]
    fn what_was_over_before_does_not_count_since() {
        let mut window = LatencyWindow::new(WINDOW_SPAN_NS / 400);
        window.push(0, 1000);
        window.push(1500, 10);
        assert_eq!((window.p99_since(1000), window.p99_since(1001)), (1000, 10));
        assert_eq!(window.p99_since(1511), 0);
    }

    #[test]
    fn what_is_asked_seldom_is_remembered_for_longer() {
        let mut window = LatencyWindow::new(WINDOW_SPAN_NS / 100);
        assert_eq!(window.capacity(), 200);
        window.push(0, 1000);
        window.age(2 * WINDOW_SPAN_NS);
        assert_eq!(window.over(10), 1);
        window.age(2 * WINDOW_SPAN_NS + 1);
        assert_eq!(window.len(), 0);
        assert_eq!(LatencyWindow::new(u64::MAX).capacity(), 1);
    }

    proptest! {
        /// The look-ups return the same as a count over all samples.
        #[test]
        fn look_ups_agree_with_counting(latencies in prop::collection::vec(0_u64..50, 1..500)) {
            let mut window = LatencyWindow::new(WINDOW_SPAN_NS / 200);
            for (moment, latency) in latencies.iter().enumerate() {
                window.push(moment as u64, *latency);
            }
            let mut last: Vec<u64> = latencies[latencies.len().saturating_sub(200)..].to_vec();
            last.sort_unstable();
            prop_assert_eq!(window.len(), last.len());
            prop_assert_eq!(window.over(25), last.iter().filter(|latency| **latency > 25).count());
            let rank = (last.len() as f64 * 0.99).ceil() as usize;
            prop_assert_eq!(window.p99(), last[rank - 1]);
        }
    }
}
