//! What a measurement comes to, as plain data: the text table, all exports and `merge` are made from this.
//!
//! Latencies are microseconds, times seconds, sizes bytes.

use serde::{Deserialize, Serialize};

use crate::observe::facts::Facts;
use crate::observe::memory::timeline::Timeline;

/// The version of the JSON format.
pub const VERSION: u32 = 1;

/// One run of forklat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`]
    pub v: u32,
    /// `run`, `compare` or `merge`.
    pub kind: String,
    /// Version of forklat.
    pub forklat: String,
    /// When it began: RFC 3339, UTC.
    pub date: String,
    /// Its own command line.
    pub command_line: Vec<String>,
    /// The machine.
    pub facts: Facts,
    /// What a reader must know to read the figures: memory that could not be locked, probes that could not run here.
    pub notes: Vec<String>,
    /// What is compared; the first is what ratios refer to.
    pub subjects: Vec<Subject>,
    /// CPU and memory of each observer.
    pub observers: Vec<Observer>,
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
    pub copies: Vec<Copy>,
    /// What each prober measured.
    pub probes: Vec<Probe>,
    /// What the machine said of itself, ten times a second; a timeline a run.
    pub timelines: Vec<Timeline>,
}

/// One copy by one tool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Copy {
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
pub struct Probe {
    /// `fork`, `exec`, ...; `fork-child` for the child's first instruction.
    pub name: String,
    /// The CPU, for one prober of several; `None` for all together.
    pub cpu: Option<u32>,
    /// Period between two intended moments.
    pub period: f64,
    /// From the intended moment.
    pub latency: Distribution,
    /// From the asking.
    pub service: Distribution,
    /// The ten worst, worst first.
    pub worst: Vec<Moment>,
}

/// One late answer.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Moment {
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
    /// The whole histogram of nanoseconds: HdrHistogram V2, deflated, in base64.
    pub histogram: String,
}

/// What one observer cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Observer {
    /// `fork on CPU 0`, `sampler`, ...
    pub name: String,
    /// Seconds it ran.
    pub seconds: f64,
    /// CPU seconds, its children's included.
    pub cpu: f64,
    /// Peak resident size in bytes.
    pub max_rss: u64,
}
