//! Latencies of one span in little memory: only the buckets that have a value. A comparison keeps some hundred spans.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::latency_histograms::{LatencyHistograms, TimedLatency, WorstLatencies, new_histogram};
use crate::sys::clock::MonotonicNs;

/// Number of leading bits that are kept of a value: a histogram of three digits has 1024 buckets for each power of two.
const KEPT_BITS: u32 = 11;

/// The number of values in each bucket of nanoseconds, by the lowest value of the bucket.
type Buckets = BTreeMap<u64, u64>;

/// The latencies of a span, which become the same [`LatencyHistograms`] as if they had been recorded there.
#[derive(Debug, Clone, Default)]
pub struct SparseLatencies {
    latency: Buckets,
    service: Buckets,
    worst: WorstLatencies,
}

impl SparseLatencies {
    /// Adds the latency of one intended time.
    pub fn record(&mut self, intended: MonotonicNs, latency_ns: u64) {
        *self.latency.entry(bucket(latency_ns)).or_default() += 1;
        self.worst.insert(TimedLatency {
            latency_ns,
            intended,
        });
    }

    /// Adds the time that one operation took.
    pub fn record_service(&mut self, nanoseconds: u64) {
        *self.service.entry(bucket(nanoseconds)).or_default() += 1;
    }

    /// Returns the worst latencies, the worst first.
    #[must_use]
    pub fn worst(&self) -> &[TimedLatency] {
        self.worst.as_slice()
    }

    /// Adds all values to `sum`.
    pub fn add_to(&self, sum: &mut LatencyHistograms) {
        sum.merge(&LatencyHistograms::of(
            histogram(&self.latency),
            histogram(&self.service),
            self.worst.clone(),
        ));
    }
}

/// Returns the lowest value of the bucket in which a histogram of three digits would keep `value`.
fn bucket(value: u64) -> u64 {
    let dropped = (u64::BITS - value.leading_zeros()).saturating_sub(KEPT_BITS);
    value >> dropped << dropped
}

fn histogram(buckets: &Buckets) -> Histogram<u64> {
    let mut histogram = new_histogram();
    for (value, count) in buckets {
        histogram
            .record_n(*value, *count)
            .expect("a histogram that grows takes every value");
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_is_that_of_the_values() {
        let mut sparse = SparseLatencies::default();
        let mut dense = LatencyHistograms::default();
        let mut value = 1;
        for n in 0..400 {
            value = 6_364_136_223_846_793_005_u64
                .wrapping_mul(value)
                .wrapping_add(n);
            let value = value >> (n % 60);
            let at = MonotonicNs::from_nanos(n);
            sparse.record(at, value);
            dense.record(at, value);
            sparse.record_service(value / 2);
            dense.record_service(value / 2);
        }
        let mut sum = LatencyHistograms::default();
        sparse.add_to(&mut sum);
        assert!(sum.latency == dense.latency && sum.service == dense.service);
        assert_eq!(sum.worst(), dense.worst());
        assert_eq!(sparse.worst(), dense.worst());
    }
}
