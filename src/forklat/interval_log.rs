//! The interval log, which holds the samples of the probers second by second.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use super::export::hlog::HistogramLog;
use crate::observe::latency_histograms::{new_histogram, record_ns};
use crate::sys::clock::MonotonicNs;

/// The length of an interval.
const INTERVAL: Duration = Duration::from_secs(1);

/// An interval log that is being written. An interval holds the samples that arrived in it, as in every log of this
/// kind. Its tag is the subject to which their intended times belong and the kind of prober, with all CPUs together.
#[derive(Debug)]
pub struct IntervalLog {
    log: HistogramLog,
    current: BTreeMap<(String, &'static str), Histogram<u64>>,
    start: MonotonicNs,
    interval_start: MonotonicNs,
}

impl IntervalLog {
    /// Returns an empty log that begins at `start`. `epoch` is the time since 1970 at which CLOCK_MONOTONIC was zero.
    #[must_use]
    pub fn new(start: MonotonicNs, epoch: Duration) -> Self {
        let wall = SystemTime::UNIX_EPOCH + epoch + Duration::from_nanos(start.as_nanos());
        Self {
            log: HistogramLog::new(wall),
            current: BTreeMap::new(),
            start,
            interval_start: start,
        }
    }

    /// Counts the latency of one intended time.
    pub fn record(&mut self, subject: &str, probe: &'static str, latency_ns: u64) {
        let tag = (subject.to_owned(), probe);
        record_ns(
            self.current.entry(tag).or_insert_with(new_histogram),
            latency_ns,
        );
    }

    /// Ends the interval if a second has passed since it began.
    pub fn end_interval_if_due(&mut self, now: MonotonicNs) {
        if now.since(self.interval_start) >= INTERVAL {
            self.end(now);
        }
    }

    fn end(&mut self, now: MonotonicNs) {
        let offset = self.interval_start.since(self.start);
        let length = now.since(self.interval_start);
        for ((subject, probe), histogram) in std::mem::take(&mut self.current) {
            self.log
                .interval(&subject, probe, offset, length, &histogram);
        }
        self.interval_start = now;
    }

    /// Ends the last interval and returns the whole log.
    #[must_use]
    pub fn into_log(mut self, now: MonotonicNs) -> HistogramLog {
        self.end(now);
        self.log
    }
}
