//! HdrHistogram's interval log, V2: what HistogramLogAnalyzer, HistogramLogProcessor and their ports read.
//!
//! Values are nanoseconds. A tag is the subject, a slash and the probe: `during/fork`. The lines are those of the Java
//! `HistogramLogWriter`, with format 1.3's header: seconds from the start, length in seconds, greatest value in milliseconds.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::format::Format;
use crate::forklat::error::{ForklatError, damaged};
use crate::forklat::model::{Report, decode, encode};
use crate::observe::latency_histograms::new_histogram;

/// The row of `--export-hlog`. Without a log, each probe is one interval of it.
pub const FORMAT: Format = Format {
    name: "hlog",
    help: "HdrHistogram V2 interval log of the latencies in nanoseconds, a line a second for each probe",
    scale_help: None,
    render: |report, log| match log {
        Some(log) => Ok(log.to_owned()),
        None => HistogramLog::of(report, SystemTime::now()).map(|log| log.text),
    },
};

/// The column names of the reference.
const LEGEND: &str =
    r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#;

/// Stands in the first line; other programs' logs may hold other units.
const LOGGED_WITH: &str = "#[Logged with forklat ";

/// A log as it grows.
#[derive(Debug, Clone)]
pub struct HistogramLog {
    text: String,
}

impl HistogramLog {
    /// An empty log; `start` is the moment that its times refer to.
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

    /// Adds what one probe measured from `start` on, for `length`.
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

    /// A report of which no intervals are left: each probe one interval, one subject after the other.
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

    /// The log.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A name without what would end a tag.
fn tag(name: &str) -> String {
    let ends = |c: char| c == ',' || c == '/' || c.is_whitespace() || c.is_control();
    name.replace(ends, "_")
}

/// All intervals of one probe.
#[derive(Debug)]
pub struct TagTotal {
    /// `merged` where the tag names none.
    pub subject: String,
    /// `untagged` where there is no tag.
    pub probe: String,
    /// All lengths together.
    pub length: Duration,
    /// All values.
    pub histogram: Histogram<u64>,
}

/// Whether a log is this program's, so that its values are known to be nanoseconds.
#[must_use]
pub fn is_ours(log: &[u8]) -> bool {
    log.starts_with(LOGGED_WITH.as_bytes())
}

/// Whether the beginning is that of a log.
#[must_use]
pub fn is_log(text: &[u8]) -> bool {
    let starts = [&b"#["[..], b"\"StartTimestamp\"", b"Tag="];
    starts.iter().any(|start| text.starts_with(start))
}

/// Adds up a log by tag, in order of first appearance.
///
/// # Errors
/// A line that is none of a log, or a histogram that is damaged, by its line.
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
                    "is truncated or damaged: line {line} is no interval"
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
