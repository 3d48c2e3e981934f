//! The interval log, which holds the samples of the probers second by second.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use super::export::hlog::HistogramLog;
use crate::observe::latency_histograms::{new_histogram, record_ns};

/// The length of an interval, in nanoseconds.
const INTERVAL_NS: u64 = 1_000_000_000;

/// An interval log that is being written. An interval holds the samples that arrived in it, as in every log of this
/// kind. Its tag is the subject to which their intended times belong and the kind of prober, with all CPUs together.
#[derive(Debug)]
pub struct IntervalLog {
    log: HistogramLog,
    current: BTreeMap<(String, &'static str), Histogram<u64>>,
    start_ns: u64,
    interval_start_ns: u64,
}

impl IntervalLog {
    /// Returns an empty log that begins at `start_ns` of CLOCK_MONOTONIC. `epoch` is the time since 1970 at which that
    /// clock was zero.
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

    /// Counts the latency of one intended time.
    pub fn record(&mut self, subject: &str, probe: &'static str, latency_ns: u64) {
        let tag = (subject.to_owned(), probe);
        record_ns(
            self.current.entry(tag).or_insert_with(new_histogram),
            latency_ns,
        );
    }

    /// Ends the interval if a second has passed since it began.
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
                .interval(&subject, probe, offset, length, &histogram);
        }
        self.interval_start_ns = now_ns;
    }

    /// Ends the last interval and returns the whole log.
    #[must_use]
    pub fn into_log(mut self, now_ns: u64) -> HistogramLog {
        self.end(now_ns);
        self.log
    }
}
