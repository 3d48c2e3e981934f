//! What a measurement comes to, as plain data: the text table, all exports and `merge` are made from this.
//!
//! Latencies are microseconds, times seconds, sizes bytes.

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

/// The version of the JSON format.
pub const REPORT_VERSION: u32 = 1;

/// One run of forklat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_VERSION`]
    pub v: u32,
    /// `run`, `compare`, `merge` or `scale`.
    pub kind: String,
    /// Version of forklat.
    pub forklat: String,
    /// When it began: RFC 3339, UTC.
    pub date: String,
    /// Its own command line.
    pub command_line: Vec<String>,
    /// The machine.
    pub facts: HostInfo,
    /// What a reader must know to read the figures: memory that could not be locked, probes that could not run here.
    pub notes: Vec<String>,
    /// What is compared; the first is what ratios refer to.
    pub subjects: Vec<Subject>,
    /// CPU and memory of each observer.
    pub observers: Vec<ObserverCost>,
    /// What the observers do to each other; measured by `run --verbose`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<IsolatedProbe>,
    /// The tables of `scale`, whose keys stand beside the others in JSON; `None` for the other kinds.
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

/// The first kind of prober on the idle machine, without the other observers. The same in the baseline is with them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IsolatedProbe {
    /// Its name.
    pub probe: String,
    /// For how long.
    pub seconds: f64,
    /// From the intended moment.
    pub latency: Distribution,
}

/// One column of the table: a phase of `run`, or a tool of `compare`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subject {
    /// `baseline`, `during`, `after`; or `idle` and the tool's name.
    pub name: String,
    /// Whether it is only shown beside the others: an idle machine among copying tools has no ratio.
    pub aside: bool,
    /// The command that ran, word by word.
    pub command: Vec<String>,
    /// Length of the measured time, all runs together.
    pub seconds: f64,
    /// The copies that a tool of `compare` made, in the order of the runs.
    pub copies: Vec<CopyResult>,
    /// What each prober measured.
    pub probes: Vec<ProbeResult>,
    /// What the machine said of itself, ten times a second; a timeline a run.
    pub timelines: Vec<Timeline>,
}

/// One copy by one tool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CopyResult {
    /// From start to exit.
    pub wall: f64,
    /// From start until fsync(2) of the destination came back.
    pub durable: f64,
    /// CPU seconds in user mode.
    pub user: f64,
    /// CPU seconds in the kernel, on the tool's own account.
    pub system: f64,
    /// Highest growth of the page cache (Cached less Shmem), system-wide.
    pub cache_growth: u64,
    /// Highest Dirty, system-wide.
    pub peak_dirty: u64,
    /// Peak resident size of the tool.
    pub max_rss: u64,
    /// Exit status as a shell would give it.
    pub status: i32,
    /// How it differs from the source; `None` where every byte is the same.
    pub wrong: Option<String>,
}

/// The answers that one kind of question got.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProbeResult {
    /// `fork`, `exec`, ...; `fork-child` for the child's first instruction.
    pub name: String,
    /// The CPU, for one prober of several; `None` for all together.
    pub cpu: Option<u32>,
    /// Seconds between two intended moments; `None` where an interval log does not say.
    pub period: Option<f64>,
    /// From the intended moment.
    pub latency: Distribution,
    /// From the asking.
    pub service: Distribution,
    /// The ten worst, worst first.
    pub worst: Vec<WorstMoment>,
}

/// One late answer.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct WorstMoment {
    /// Microseconds from the intended moment.
    pub latency: f64,
    /// Wall-clock time of the intended moment: seconds since the epoch.
    pub time: f64,
    /// Seconds since the subject began.
    pub offset: f64,
}

/// A distribution of microseconds.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Distribution {
    /// How many values.
    pub count: u64,
    /// What they come to; `None`, and no field in JSON, where there is no value.
    #[serde(flatten)]
    pub figures: Option<SummaryStats>,
    /// The whole histogram of nanoseconds: HdrHistogram V2, deflated, in base64.
    pub histogram: String,
}

/// Figures of one distribution: microseconds, within 0.1 % of what was measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq)]
pub struct SummaryStats {
    /// Least.
    pub min: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Greatest.
    pub max: f64,
}

/// What one observer cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ObserverCost {
    /// `fork on CPU 0`, `sampler`, ...
    pub name: String,
    /// Seconds it ran.
    pub seconds: f64,
    /// CPU seconds, its children's included.
    pub cpu: f64,
    /// Peak resident size in bytes.
    pub max_rss: u64,
}

impl CopyResult {
    /// Whether the tool said that it succeeded, and did not.
    #[must_use]
    pub fn is_silently_wrong(&self) -> bool {
        self.status == 0 && self.wrong.is_some()
    }

    /// Whether the tool said that it succeeded, and did.
    #[must_use]
    pub fn is_correct(&self) -> bool {
        self.status == 0 && self.wrong.is_none()
    }
}

impl ProbeResult {
    /// Returns what `latency` comes to. The subject began at `start_ns` of CLOCK_MONOTONIC, and `epoch` is the time of day,
    /// since 1970, at which that clock was zero.
    #[must_use]
    pub fn of(
        name: &str,
        cpu: Option<u32>,
        period: Duration,
        latency: &LatencyHistograms,
        start_ns: u64,
        epoch: Duration,
    ) -> Self {
        let moment = |moment: &latency_histograms::TimedLatency| WorstMoment {
            latency: microseconds(moment.latency_ns as f64),
            time: (epoch + Duration::from_nanos(moment.intended_ns)).as_secs_f64(),
            offset: Duration::from_nanos(moment.intended_ns.saturating_sub(start_ns)).as_secs_f64(),
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

    /// The histogram knows the greatest latency within 0.1 %, the worst moment knows it exactly, where it is the same: of
    /// values from an interval log no moment is known.
    pub(super) fn use_exact_max(&mut self) {
        if let (Some(figures), Some(worst)) = (&mut self.latency.figures, self.worst.first())
            && (0.999..=1.0).contains(&(worst.latency / figures.max))
        {
            let max = worst.latency;
            figures.max = max;
            // No percentile is greater, though the histogram may round it up.
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
    /// What a histogram of nanoseconds comes to.
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

    /// The histogram of nanoseconds, which grows as it must.
    ///
    /// # Errors
    /// What is wrong with it, where it is damaged.
    pub fn read(&self) -> Result<Histogram<u64>, ForklatError> {
        let histogram = decode(&self.histogram)?;
        if histogram.len() == self.count {
            Ok(histogram)
        } else {
            Err(damaged(format!(
                "a histogram holds {} values, not {} as is said beside it",
                histogram.len(),
                self.count
            )))
        }
    }
}

fn microseconds(nanoseconds: f64) -> f64 {
    nanoseconds / 1e3
}

/// HdrHistogram V2, deflated, in base64: what interval logs hold and every port of the library reads.
pub(super) fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a vector takes every byte, and no count here has 64 bits");
    STANDARD.encode(bytes)
}

/// What [`encode`] wrote.
///
/// # Errors
/// What is wrong with it.
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
