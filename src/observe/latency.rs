//! Latencies in HdrHistograms: percentiles out, and the worst moments with their time.

use hdrhistogram::Histogram;

use super::ring::Sample;

/// Three significant digits: a value read back is within 0.1 % of what was recorded.
const DIGITS: u8 = 3;

/// How many of the worst moments are kept.
pub const WORST: usize = 10;

/// One latency with its time. Nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// From the intended moment to the answer.
    pub latency: u64,
    /// The intended moment, CLOCK_MONOTONIC.
    pub at: u64,
}

/// All answers of one kind in one span of time. Nanoseconds.
#[derive(Debug, Clone)]
pub struct Latency {
    /// From the intended moment to the answer: what someone who wanted it then has waited.
    pub latency: Histogram<u64>,
    /// From the asking to the answer: one value a question. Where it is much smaller than the latency, the prober itself
    /// was held up.
    pub service: Histogram<u64>,
    worst: Vec<Moment>,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            latency: histogram(),
            service: histogram(),
            worst: Vec::with_capacity(WORST + 1),
        }
    }
}

/// An empty histogram of nanoseconds that grows as it must.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    // Fails for more than five digits.
    Histogram::new(DIGITS).unwrap_or_else(|_| unreachable!("three digits are valid"))
}

/// Adds one value.
///
/// # Panics
/// Never: `histogram` makes those that grow, and 64 bits of nanoseconds are within what they grow to.
pub fn record(histogram: &mut Histogram<u64>, nanoseconds: u64) {
    histogram
        .record(nanoseconds)
        .expect("a histogram that grows takes every value");
}

impl Latency {
    /// Adds what one intended moment got.
    pub fn record(&mut self, at: u64, latency: u64) {
        record(&mut self.latency, latency);
        let moment = Moment { latency, at };
        if self.worst.len() < WORST || self.worst.last().is_some_and(|last| *last < moment) {
            let place = self.worst.partition_point(|other| *other > moment);
            self.worst.insert(place, moment);
            self.worst.truncate(WORST);
        }
    }

    /// Adds the time that one question took.
    pub fn record_service(&mut self, nanoseconds: u64) {
        record(&mut self.service, nanoseconds);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.latency += &other.latency;
        self.service += &other.service;
        self.worst.extend_from_slice(&other.worst);
        self.worst.sort_unstable_by(|a, b| b.cmp(a));
        self.worst.truncate(WORST);
    }

    /// The worst moments, worst first.
    #[must_use]
    pub fn worst(&self) -> &[Moment] {
        &self.worst
    }
}

/// The intended moments of a sample, each with the time of it: one after the other, `period` apart.
pub fn moments(sample: &Sample, period: u64) -> impl Iterator<Item = u64> + use<> {
    let first = sample.intended;
    (0..sample.moments).map(move |n| first + n * period)
}
