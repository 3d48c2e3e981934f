//! HdrHistogram's interval log, V2, which HistogramLogAnalyzer, HistogramLogProcessor and their ports read.
//!
//! Values are nanoseconds. A tag is the subject, a slash and the probe: `during/fork`. The lines are those of the Java
//! `HistogramLogWriter`, with the header of format 1.3: seconds from the start, length in seconds, greatest value in
//! milliseconds.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::format::Format;
use crate::forklat::distribution::{decode, encode};
use crate::forklat::error::{ForklatError, damaged};
use crate::forklat::model::Report;
use crate::observe::latency_histograms::new_histogram;

/// The row of `--export-hlog` in the table of formats. Without an interval log, each probe is one interval.
pub const FORMAT: Format = Format {
    name: "hlog",
    help: "Write the latencies in nanoseconds as an HdrHistogram V2 interval log, with one line per second and probe",
    scale_help: None,
    render: |report, log| match log {
        Some(log) => Ok(log.to_owned()),
        None => HistogramLog::of(report, SystemTime::now()).map(|log| log.text),
    },
};

/// The column names of the reference implementation.
const LEGEND: &str =
    r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#;

/// The beginning of the first line. Logs of other programs may hold other units.
const LOGGED_WITH: &str = "#[Logged with forklat ";

/// An interval log to which intervals are added.
#[derive(Debug, Clone)]
pub struct HistogramLog {
    text: String,
}

impl HistogramLog {
    /// Returns an empty log. Its times are relative to `start`.
    #[must_use]
    pub fn new(start: SystemTime) -> Self {
        let since = start.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.unwrap_or_default().as_secs_f64();
        let date = humantime::format_rfc3339_seconds(start);
        let version = env!("CARGO_PKG_VERSION");
        Self {
            text: format!(
                "{LOGGED_WITH}{version}, values in nanoseconds]\n\
                 #[Histogram log format version 1.3]\n\
                 #[StartTime: {seconds:.3} (seconds since epoch), {date}]\n\
                 #[BaseTime: {seconds:.3} (seconds since epoch)]\n\
                 {LEGEND}\n"
            ),
        }
    }

    /// Adds the samples of one probe from `start` on, for `length`.
    pub fn interval(
        &mut self,
        subject: &str,
        probe: &str,
        start: Duration,
        length: Duration,
        histogram: &Histogram<u64>,
    ) {
        self.text.push_str(&format!(
            "Tag={}/{},{:.3},{:.3},{:.3},{}\n",
            tag(subject),
            tag(probe),
            start.as_secs_f64(),
            length.as_secs_f64(),
            histogram.max() as f64 / 1e6,
            encode(histogram)
        ));
    }

    /// Makes a log from a report that has no intervals any more: each probe is one interval, and the subjects follow
    /// each other.
    ///
    /// # Errors
    /// A histogram that is damaged.
    pub fn of(report: &Report, start: SystemTime) -> Result<Self, ForklatError> {
        let mut log = Self::new(start);
        let mut at = Duration::ZERO;
        for subject in &report.subjects {
            let length = Duration::try_from_secs_f64(subject.seconds).unwrap_or_default();
            for probe in subject.probes.iter().filter(|probe| probe.cpu.is_none()) {
                let histogram = probe.latency.read()?;
                log.interval(&subject.name, &probe.name, at, length, &histogram);
            }
            at += length;
        }
        Ok(log)
    }

    /// Returns the text of the log.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Replaces the characters of a name that would end a tag.
fn tag(name: &str) -> String {
    let ends = |c: char| c == ',' || c == '/' || c.is_whitespace() || c.is_control();
    name.replace(ends, "_")
}

/// The sum of all intervals of one probe.
#[derive(Debug)]
pub struct TagTotal {
    /// The subject, or `merged` if the tag names none.
    pub subject: String,
    /// The probe, or `untagged` if there is no tag.
    pub probe: String,
    /// The sum of the intervals' lengths.
    pub length: Duration,
    /// The values of all the intervals.
    pub histogram: Histogram<u64>,
}

/// Returns whether a log was written by this program, so that its values are known to be nanoseconds.
#[must_use]
pub fn is_ours(log: &[u8]) -> bool {
    log.starts_with(LOGGED_WITH.as_bytes())
}

/// Returns whether a text begins like an interval log.
#[must_use]
pub fn is_log(text: &[u8]) -> bool {
    let starts = [&b"#["[..], b"\"StartTimestamp\"", b"Tag="];
    starts.iter().any(|start| text.starts_with(start))
}

/// Adds up the intervals of a log by tag, in the order of first appearance.
///
/// # Errors
/// A line that does not belong to a log, or a damaged histogram, with its line number.
pub fn parse(log: &[u8]) -> Result<Vec<TagTotal>, ForklatError> {
    let mut sums: Vec<TagTotal> = Vec::new();
    let mut places = HashMap::new();
    for entry in IntervalLogIterator::new(log) {
        let interval = match entry {
            Ok(LogEntry::Interval(interval)) => interval,
            Ok(_) => continue,
            Err(hdrhistogram::serialization::interval_log::LogIteratorError::ParseError {
                offset,
            }) => {
                let line = log[..offset].iter().filter(|b| **b == b'\n').count() + 1;
                return Err(damaged(format!(
                    "is truncated or damaged: line {line} is not an interval"
                )));
            }
        };
        let tag = interval.tag().map(|tag| tag.as_str());
        let histogram =
            decode(interval.encoded_histogram()).map_err(|e| e.context("is damaged"))?;
        let place = *places.entry(tag).or_insert_with(|| {
            sums.push(TagTotal::of(tag));
            sums.len() - 1
        });
        sums[place].length += interval.duration();
        sums[place].histogram += histogram;
    }
    if sums.is_empty() {
        return Err(damaged("holds no interval"));
    }
    Ok(sums)
}

impl TagTotal {
    fn of(tag: Option<&str>) -> Self {
        let tag = tag.unwrap_or("untagged");
        let (subject, probe) = tag.split_once('/').unwrap_or(("merged", tag));
        Self {
            subject: subject.to_owned(),
            probe: probe.to_owned(),
            length: Duration::ZERO,
            histogram: new_histogram(),
        }
    }
}
