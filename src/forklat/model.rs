//! The result of a measurement as plain data. The text table, all exports and `merge` are made from it.
//!
//! Latencies are in microseconds, times in seconds, sizes in bytes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::distribution::microseconds;
pub use super::distribution::{Distribution, SummaryStats};
pub use super::run_result::{ProbeRun, RunResult, RunSpan, disturbances};
use super::scale::scale_result::ScaleResult;
pub use super::why_result::WhyResult;
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
    /// The seed of the order of the tools in each round of `compare`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
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
            seed: None,
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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Subject {
    /// The name: `baseline`, `during` or `after`; or `idle` or the name of a tool.
    pub name: String,
    /// Whether the subject is only shown beside the others. An idle machine among tools that copy has no ratio.
    pub aside: bool,
    /// The tool that the subject repeats in each round, to show how often two runs of one tool are told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<String>,
    /// The state of the free memory before each run, `warm` or `cold`, if it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// The command that ran, word by word.
    pub command: Vec<String>,
    /// The measured time in seconds, the sum over all runs; for a tool, until its exit.
    pub seconds: f64,
    /// The copies that a tool of `compare` made, in the order of the runs.
    pub copies: Vec<CopyResult>,
    /// The results of each prober. For a tool, they are those until its exit, of all runs that are not left out.
    pub probes: Vec<ProbeResult>,
    /// The readings of the machine, ten a second, with one timeline per run.
    pub timelines: Vec<Timeline>,
    /// The answers that came later than [`MIN_LATE`], in the order of time: the latest of each probe in each span. A
    /// request that served several moments is one answer, which counts from the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<LateAnswer>,
    /// The runs of `compare`, in the order of time, each with its own figures. The copies are in the same order. Reports
    /// of older versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunResult>,
    /// Why answers were late, if `--why` was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<WhyResult>,
}

/// Latency from which on an answer is kept as a late one, with its time (1 ms): shorter waits are those of an idle machine
/// (its p99.9 of fork and wake-up here is about 1 ms).
pub const MIN_LATE: Duration = Duration::from_millis(1);

/// Number of late answers that are kept of one probe in one span.
pub const MAX_LATE_ANSWERS: usize = 5;

/// An answer of a probe that was late, and its time.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct LateAnswer {
    /// The name of the probe: `fork`, `exec`, ...
    pub probe: String,
    /// The latency in microseconds, counted from the first intended time that it served.
    pub latency: f64,
    /// The wall-clock time of that intended time, in seconds since the epoch.
    pub time: f64,
}

/// One copy made by one tool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CopyResult {
    /// Seconds from the start to the exit.
    pub wall: f64,
    /// Seconds from the start until an fsync(2) of the destination by forklat returned.
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
