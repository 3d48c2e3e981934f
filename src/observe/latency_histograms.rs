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
    worst: Vec<TimedLatency>,
}

impl Default for LatencyHistograms {
    fn default() -> Self {
        Self {
            latency: new_histogram(),
            service: new_histogram(),
            worst: Vec::with_capacity(MAX_WORST_LATENCIES + 1),
        }
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
    /// Adds the latency of one intended time.
    pub fn record(&mut self, intended: MonotonicNs, latency_ns: u64) {
        record_ns(&mut self.latency, latency_ns);
        let moment = TimedLatency {
            latency_ns,
            intended,
        };
        if self.worst.len() < MAX_WORST_LATENCIES
            || self.worst.last().is_some_and(|last| *last < moment)
        {
            let place = self.worst.partition_point(|other| *other > moment);
            self.worst.insert(place, moment);
            self.worst.truncate(MAX_WORST_LATENCIES);
        }
    }

    /// Adds the time that one operation took.
    pub fn record_service(&mut self, nanoseconds: u64) {
        record_ns(&mut self.service, nanoseconds);
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.latency += &other.latency;
        self.service += &other.service;
        self.worst.extend_from_slice(&other.worst);
        self.worst.sort_unstable_by(|a, b| b.cmp(a));
        self.worst.truncate(MAX_WORST_LATENCIES);
    }

    /// Returns the worst latencies, the worst first.
    #[must_use]
    pub fn worst(&self) -> &[TimedLatency] {
        &self.worst
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
