//! Latencies in HdrHistograms: percentiles out, and the worst moments with their time.

use hdrhistogram::Histogram;

use super::ring::Sample;

/// Three significant digits: a value read back is within 0.1 % of what was recorded.
const SIGNIFICANT_DIGITS: u8 = 3;

/// How many of the worst moments are kept.
pub const MAX_WORST_LATENCIES: usize = 10;

/// One latency with its time. Nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimedLatency {
    /// From the intended moment to the answer.
    pub latency_ns: u64,
    /// The intended moment, CLOCK_MONOTONIC.
    pub intended_ns: u64,
}

/// All answers of one kind in one span of time. Nanoseconds.
#[derive(Debug, Clone)]
pub struct LatencyHistograms {
    /// From the intended moment to the answer: what someone who wanted it then has waited.
    pub latency: Histogram<u64>,
    /// From the asking to the answer: one value a question. Where it is much smaller than the latency, the prober itself
    /// was held up.
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

/// An empty histogram of nanoseconds that grows as it must.
#[must_use]
pub fn new_histogram() -> Histogram<u64> {
    // Fails for more than five digits.
    Histogram::new(SIGNIFICANT_DIGITS).unwrap_or_else(|_| unreachable!("three digits are valid"))
}

/// Adds one value.
///
/// # Panics
/// Never: `histogram` makes those that grow, and 64 bits of nanoseconds are within what they grow to.
pub fn record_ns(histogram: &mut Histogram<u64>, nanoseconds: u64) {
    histogram
        .record(nanoseconds)
        .expect("a histogram that grows takes every value");
}

impl LatencyHistograms {
    /// Adds what one intended moment got.
    pub fn record(&mut self, at: u64, latency: u64) {
        record_ns(&mut self.latency, latency);
        let moment = TimedLatency {
            latency_ns: latency,
            intended_ns: at,
        };
        if self.worst.len() < MAX_WORST_LATENCIES
            || self.worst.last().is_some_and(|last| *last < moment)
        {
            let place = self.worst.partition_point(|other| *other > moment);
            self.worst.insert(place, moment);
            self.worst.truncate(MAX_WORST_LATENCIES);
        }
    }

    /// Adds the time that one question took.
    pub fn record_service(&mut self, nanoseconds: u64) {
        record_ns(&mut self.service, nanoseconds);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.latency += &other.latency;
        self.service += &other.service;
        self.worst.extend_from_slice(&other.worst);
        self.worst.sort_unstable_by(|a, b| b.cmp(a));
        self.worst.truncate(MAX_WORST_LATENCIES);
    }

    /// The worst moments, worst first.
    #[must_use]
    pub fn worst(&self) -> &[TimedLatency] {
        &self.worst
    }
}

/// The intended moments of a sample, each with the time of it: one after the other, `period` apart.
pub fn intended_times(sample: &Sample, period: u64) -> impl Iterator<Item = u64> + use<> {
    let first = sample.first_intended_ns;
    (0..sample.intended_count).map(move |n| first + n * period)
}
