//! What the probers heard second by second: the interval log.

use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use super::export::hlog::Log;
use crate::observe::latency::{histogram, moments, record};
use crate::observe::probe::Prober;
use crate::observe::ring::Sample;

/// The length of an interval, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// A log that is being written: an interval holds the answers that came in it, as every log of the kind does.
#[derive(Debug)]
pub struct Seconds {
    log: Log,
    tags: Vec<&'static str>,
    /// One for each kind of prober: those on several CPUs are one tag.
    current: Vec<(&'static str, Histogram<u64>)>,
    start: u64,
    since: u64,
}

impl Seconds {
    /// For these probers, from `start` of CLOCK_MONOTONIC on, which was zero at `epoch`.
    #[must_use]
    pub fn new(probers: &[Prober], start: u64, epoch: Duration) -> Self {
        let tags: Vec<&'static str> = probers.iter().map(|prober| prober.row.name).collect();
        let mut current: Vec<(&'static str, Histogram<u64>)> = Vec::new();
        for tag in &tags {
            if current.last().is_none_or(|(last, _)| last != tag) {
                current.push((tag, histogram()));
            }
        }
        let wall = SystemTime::UNIX_EPOCH + epoch + Duration::from_nanos(start);
        Self {
            log: Log::new(wall),
            tags,
            current,
            start,
            since: start,
        }
    }

    /// Counts an answer.
    pub fn record(&mut self, prober: usize, period: u64, sample: &Sample) {
        let tag = self.tags[prober];
        if let Some((_, histogram)) = self.current.iter_mut().find(|(name, _)| *name == tag) {
            for moment in moments(sample, period) {
                record(histogram, sample.end - moment);
            }
        }
    }

    /// Ends the interval when a second has passed.
    pub fn turn(&mut self, now: u64) {
        if now - self.since >= SECOND {
            self.end(now);
        }
    }

    fn end(&mut self, now: u64) {
        let offset = Duration::from_nanos(self.since - self.start);
        let length = Duration::from_nanos(now - self.since);
        for (tag, histogram) in &mut self.current {
            if !histogram.is_empty() {
                self.log.interval(tag, offset, length, histogram);
                histogram.reset();
            }
        }
        self.since = now;
    }

    /// The whole log, with what the last second had.
    #[must_use]
    pub fn into_log(mut self, now: u64) -> Log {
        self.end(now);
        self.log
    }
}
