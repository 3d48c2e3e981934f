//! Keeps latencies in HdrHistograms, which give percentiles, and the worst latencies with their times.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::ring::Sample;
use crate::sys::clock::{MonotonicNs, saturating_nanos};

/// Three significant digits: a value read back is within 0.1 % of what was recorded.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Number of the worst latencies that are kept.
pub const MAX_WORST_LATENCIES: usize = 10;

/// A latency with its intended time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimedLatency {
    /// Nanoseconds from the intended time to the answer.
    pub latency_ns: u64,
    /// The time at which the answer was wanted.
    pub intended: MonotonicNs,
}

/// All answers of one kind of probe in one span of time, in nanoseconds.
#[derive(Debug, Clone)]
pub struct LatencyHistograms {
    /// Time from the intended time to the answer: what a program that needed it at that time would have waited.
    pub latency: Histogram<u64>,
    /// Time from the start of the operation to the answer, one value for each operation. If it is much smaller than the
    /// latency, the prober itself was delayed.
    pub service: Histogram<u64>,
    worst: WorstLatencies,
}

impl Default for LatencyHistograms {
    fn default() -> Self {
        Self::of(new_histogram(), new_histogram(), WorstLatencies::default())
    }
}

/// The largest latencies that were recorded, the largest first, at most [`MAX_WORST_LATENCIES`].
#[derive(Debug, Clone, Default)]
pub struct WorstLatencies(Vec<TimedLatency>);

impl WorstLatencies {
    /// Adds a latency if it is among the largest.
    pub fn insert(&mut self, moment: TimedLatency) {
        let all = &mut self.0;
        if all.len() < MAX_WORST_LATENCIES || all.last().is_some_and(|last| *last < moment) {
            let place = all.partition_point(|other| *other > moment);
            all.insert(place, moment);
            all.truncate(MAX_WORST_LATENCIES);
        }
    }

    /// Returns the latencies, the largest first.
    #[must_use]
    pub fn as_slice(&self) -> &[TimedLatency] {
        &self.0
    }
}

/// Makes an empty histogram of nanoseconds that grows as needed.
#[must_use]
pub fn new_histogram() -> Histogram<u64> {
    // Fails for more than five digits.
    Histogram::new(SIGNIFICANT_DIGITS).unwrap_or_else(|_| unreachable!("three digits are valid"))
}

/// Adds one value to a histogram.
///
/// # Panics
/// Never: [`new_histogram`] makes histograms that grow, and they can grow to 64 bits of nanoseconds.
pub fn record_ns(histogram: &mut Histogram<u64>, nanoseconds: u64) {
    histogram
        .record(nanoseconds)
        .expect("a histogram that grows takes every value");
}

impl LatencyHistograms {
    /// Makes the latencies of what was counted elsewhere.
    #[must_use]
    pub fn of(latency: Histogram<u64>, service: Histogram<u64>, worst: WorstLatencies) -> Self {
        Self {
            latency,
            service,
            worst,
        }
    }

    /// Adds the latency of one intended time.
    pub fn record(&mut self, intended: MonotonicNs, latency_ns: u64) {
        record_ns(&mut self.latency, latency_ns);
        self.worst.insert(TimedLatency {
            latency_ns,
            intended,
        });
    }

    /// Adds the time that one operation took.
    pub fn record_service(&mut self, nanoseconds: u64) {
        record_ns(&mut self.service, nanoseconds);
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.latency += &other.latency;
        self.service += &other.service;
        for moment in other.worst() {
            self.worst.insert(*moment);
        }
    }

    /// Returns the worst latencies, the worst first.
    #[must_use]
    pub fn worst(&self) -> &[TimedLatency] {
        self.worst.as_slice()
    }
}

/// Returns the intended times of a sample: one after the other, `period` apart.
pub fn intended_times(
    sample: &Sample,
    period: Duration,
) -> impl Iterator<Item = MonotonicNs> + use<> {
    let (first, period_ns) = (sample.first_intended, saturating_nanos(period));
    (0..sample.intended_count).map(move |n| first.after(Duration::from_nanos(n * period_ns)))
}
