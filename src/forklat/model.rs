//! The result of a measurement as plain data. The text table, all exports and `merge` are made from it.
//!
//! Latencies are in microseconds, times in seconds, sizes in bytes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use super::scale::scale_result::ScaleResult;
use crate::forklat::error::{ForklatError, damaged};
use crate::observe::host_info::HostInfo;
use crate::observe::latency_histograms::{self, LatencyHistograms};
use crate::observe::memory::Timeline;
use crate::sys::clock::MonotonicNs;

/// The version of the JSON format.
pub const REPORT_VERSION: u32 = 1;

/// The report of one run of forklat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The version of the format, [`REPORT_VERSION`].
    pub v: u32,
    /// The subcommand: `run`, `compare`, `merge` or `scale`.
    pub kind: String,
    /// The version of forklat that wrote it.
    pub forklat: String,
    /// When the run began, as RFC 3339 in UTC.
    pub date: String,
    /// The command line of forklat itself.
    pub command_line: Vec<String>,
    /// The facts about the machine.
    pub facts: HostInfo,
    /// Notes that are needed to read the figures correctly, such as memory that could not be locked or probes that
    /// could not run here.
    pub notes: Vec<String>,
    /// The subjects that are compared. Ratios refer to the first.
    pub subjects: Vec<Subject>,
    /// The CPU time and memory of each observer.
    pub observers: Vec<ObserverCost>,
    /// The first kind of prober without the other observers, which shows what these cost. `run --verbose` measures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<IsolatedProbe>,
    /// The tables of `scale`, or `None` for the other kinds. Their keys are beside the others in JSON.
    #[serde(flatten)]
    pub scale: Option<ScaleResult>,
}

impl Report {
    /// Returns a report of a kind (`run`, `compare`, `merge`, `scale`) with its header and nothing measured.
    #[must_use]
    pub fn new(kind: &str, command_line: Vec<String>, date: String) -> Self {
        Self {
            v: REPORT_VERSION,
            kind: kind.to_owned(),
            forklat: env!("CARGO_PKG_VERSION").to_owned(),
            date,
            command_line,
            facts: HostInfo::default(),
            notes: Vec::new(),
            subjects: Vec::new(),
            observers: Vec::new(),
            alone: None,
            scale: None,
        }
    }
}

/// The first kind of prober on the idle machine without the other observers. The baseline has the same prober with
/// them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IsolatedProbe {
    /// The name of the probe.
    pub probe: String,
    /// How long it was measured, in seconds.
    pub seconds: f64,
    /// The latency counted from the intended time.
    pub latency: Distribution,
}

/// One column of the table: a phase of `run`, or a tool of `compare`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subject {
    /// The name: `baseline`, `during` or `after`; or `idle` or the name of a tool.
    pub name: String,
    /// Whether the subject is only shown beside the others. An idle machine among tools that copy has no ratio.
    pub aside: bool,
    /// The command that ran, word by word.
    pub command: Vec<String>,
    /// The measured time in seconds, the sum over all runs.
    pub seconds: f64,
    /// The copies that a tool of `compare` made, in the order of the runs.
    pub copies: Vec<CopyResult>,
    /// The results of each prober.
    pub probes: Vec<ProbeResult>,
    /// The readings of the machine, ten a second, with one timeline per run.
    pub timelines: Vec<Timeline>,
}

/// One copy made by one tool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CopyResult {
    /// Seconds from the start to the exit.
    pub wall: f64,
    /// Seconds from the start until fsync(2) of the destination returned.
    pub durable: f64,
    /// CPU seconds of the tool in user mode.
    pub user: f64,
    /// CPU seconds in the kernel that are charged to the tool.
    pub system: f64,
    /// Largest growth of the page cache (Cached less Shmem) of the whole system.
    pub cache_growth: u64,
    /// Largest value of Dirty for the whole system.
    pub peak_dirty: u64,
    /// The peak resident size of the tool in bytes.
    pub max_rss: u64,
    /// The exit status as a shell would give it.
    pub status: i32,
    /// The difference from the source, or `None` if every byte is the same.
    pub wrong: Option<String>,
}

/// The samples of one kind of probe.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProbeResult {
    /// The name: `fork`, `exec`, ...; `fork-child` for the time of the child's first instruction.
    pub name: String,
    /// The CPU of one prober of several, or `None` for all together.
    pub cpu: Option<u32>,
    /// Seconds between two intended times, or `None` if the source is an interval log, which does not give it.
    pub period: Option<f64>,
    /// The latency counted from the intended time.
    pub latency: Distribution,
    /// The service time, counted from the actual start of the operation.
    pub service: Distribution,
    /// The ten largest latencies, largest first.
    pub worst: Vec<WorstMoment>,
}

/// A sample that was late, and its time.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct WorstMoment {
    /// The latency in microseconds, counted from the intended time.
    pub latency: f64,
    /// The wall-clock time of the intended time, in seconds since the epoch.
    pub time: f64,
    /// Seconds since the subject began.
    pub offset: f64,
}

/// A distribution of values in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Distribution {
    /// The number of all values.
    pub count: u64,
    /// The percentiles and other figures. This is `None`, and has no field in JSON, if there is no value.
    #[serde(flatten)]
    pub figures: Option<SummaryStats>,
    /// The whole histogram in nanoseconds, as HdrHistogram V2, deflated, in base64.
    pub histogram: String,
}

/// The figures of one distribution, in microseconds, within 0.1 % of the measured values.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq)]
pub struct SummaryStats {
    /// The smallest of the values.
    pub min: f64,
    /// The arithmetic mean of the values.
    pub mean: f64,
    /// The median of the values.
    pub p50: f64,
    /// The 90th percentile of the values.
    pub p90: f64,
    /// The 99th percentile of the values.
    pub p99: f64,
    /// The 99.9th percentile of the values.
    pub p999: f64,
    /// The largest of the values.
    pub max: f64,
}

/// The CPU time and memory of one observer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ObserverCost {
    /// The name of the observer: `fork on CPU 0`, `sampler`, ...
    pub name: String,
    /// The seconds that the observer ran.
    pub seconds: f64,
    /// CPU seconds, including those of its children.
    pub cpu: f64,
    /// The peak resident size in bytes.
    pub max_rss: u64,
}

impl CopyResult {
    /// Returns whether the tool reported success, but the copy is wrong.
    #[must_use]
    pub fn is_silently_wrong(&self) -> bool {
        self.status == 0 && self.wrong.is_some()
    }

    /// Returns whether the tool reported success, and the copy is right.
    #[must_use]
    pub fn is_correct(&self) -> bool {
        self.status == 0 && self.wrong.is_none()
    }
}

impl ProbeResult {
    /// Returns the result of one probe, from its latencies. The subject began at `start`, and
    /// `epoch` is the time since 1970 at which that clock was zero.
    #[must_use]
    pub fn of(
        name: &str,
        cpu: Option<u32>,
        period: Duration,
        latency: &LatencyHistograms,
        start: MonotonicNs,
        epoch: Duration,
    ) -> Self {
        let moment = |moment: &latency_histograms::TimedLatency| WorstMoment {
            latency: microseconds(moment.latency_ns as f64),
            time: (epoch + Duration::from_nanos(moment.intended.as_nanos())).as_secs_f64(),
            offset: moment.intended.since(start).as_secs_f64(),
        };
        let mut probe = Self {
            name: name.to_owned(),
            cpu,
            period: Some(period.as_secs_f64()),
            latency: Distribution::of(&latency.latency),
            service: Distribution::of(&latency.service),
            worst: latency.worst().iter().map(moment).collect(),
        };
        probe.use_exact_max();
        probe
    }

    /// Replaces the largest latency of the histogram, known within 0.1 %, by that of the worst moment, which is exact,
    /// if both are the same value. For values from an interval log, no moment is known.
    pub(super) fn use_exact_max(&mut self) {
        if let (Some(figures), Some(worst)) = (&mut self.latency.figures, self.worst.first())
            && (0.999..=1.0).contains(&(worst.latency / figures.max))
        {
            let max = worst.latency;
            figures.max = max;
            // No percentile is larger than the maximum, although the histogram may round it up.
            for quantile in [
                &mut figures.p50,
                &mut figures.p90,
                &mut figures.p99,
                &mut figures.p999,
            ] {
                *quantile = quantile.min(max);
            }
        }
    }
}

impl Distribution {
    /// Returns the distribution of a histogram of nanoseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let quantile = |q| microseconds(histogram.value_at_quantile(q) as f64);
        let figures = || SummaryStats {
            min: microseconds(histogram.min() as f64),
            mean: microseconds(histogram.mean()),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: microseconds(histogram.max() as f64),
        };
        Self {
            count: histogram.len(),
            figures: (!histogram.is_empty()).then(figures),
            histogram: encode(histogram),
        }
    }

    /// Returns the histogram of nanoseconds, which grows as needed.
    ///
    /// # Errors
    /// A description of the damage, if the histogram is damaged.
    pub fn read(&self) -> Result<Histogram<u64>, ForklatError> {
        let histogram = decode(&self.histogram)?;
        if histogram.len() == self.count {
            Ok(histogram)
        } else {
            Err(damaged(format!(
                "a histogram holds {} values, but its count says {}",
                histogram.len(),
                self.count
            )))
        }
    }
}

fn microseconds(nanoseconds: f64) -> f64 {
    nanoseconds / 1e3
}

/// Encodes a histogram as HdrHistogram V2, deflated, in base64. Interval logs contain this format, and every port of
/// the library reads it.
pub(super) fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a vector takes every byte, and no count here has 64 bits");
    STANDARD.encode(bytes)
}

/// Decodes a histogram that [`encode`] wrote.
///
/// # Errors
/// A description of what is wrong with the text.
pub(super) fn decode(text: &str) -> Result<Histogram<u64>, ForklatError> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|e| damaged(format!("a histogram is not base64: {e}")))?;
    let mut histogram: Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|e| damaged(format!("a histogram is damaged: {e}")))?;
    histogram.auto(true);
    Ok(histogram)
}
