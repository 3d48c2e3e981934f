//! What the probers heard second by second: the interval log.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use super::export::hlog::HistogramLog;
use crate::observe::latency_histograms::{new_histogram, record_ns};

/// The length of an interval, in nanoseconds.
const INTERVAL_NS: u64 = 1_000_000_000;

/// A log that is being written. An interval holds the answers that came in it, as in every log of the kind; its tag is the
/// subject in which they were wanted, and the kind of prober, all CPUs together.
#[derive(Debug)]
pub struct IntervalLog {
    log: HistogramLog,
    current: BTreeMap<(String, &'static str), Histogram<u64>>,
    start_ns: u64,
    interval_start_ns: u64,
}

impl IntervalLog {
    /// From `start_ns` of CLOCK_MONOTONIC on, which was zero at `epoch`.
    #[must_use]
    pub fn new(start_ns: u64, epoch: Duration) -> Self {
        let wall = SystemTime::UNIX_EPOCH + epoch + Duration::from_nanos(start_ns);
        Self {
            log: HistogramLog::new(wall),
            current: BTreeMap::new(),
            start_ns,
            interval_start_ns: start_ns,
        }
    }

    /// Counts what one intended moment got.
    pub fn record(&mut self, subject: &str, probe: &'static str, latency_ns: u64) {
        let tag = (subject.to_owned(), probe);
        record_ns(
            self.current.entry(tag).or_insert_with(new_histogram),
            latency_ns,
        );
    }

    /// Ends the interval when a second has passed.
    pub fn end_interval_if_due(&mut self, now_ns: u64) {
        if now_ns - self.interval_start_ns >= INTERVAL_NS {
            self.end(now_ns);
        }
    }

    fn end(&mut self, now_ns: u64) {
        let offset = Duration::from_nanos(self.interval_start_ns - self.start_ns);
        let length = Duration::from_nanos(now_ns - self.interval_start_ns);
        for ((subject, probe), histogram) in std::mem::take(&mut self.current) {
            self.log
                .interval((&subject, probe), offset, length, &histogram);
        }
        self.interval_start_ns = now_ns;
    }

    /// The whole log, with what the last second had.
    #[must_use]
    pub fn into_log(mut self, now_ns: u64) -> HistogramLog {
        self.end(now_ns);
        self.log
    }
}
