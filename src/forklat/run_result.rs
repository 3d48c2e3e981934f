//! One run of a tool of `compare`, as plain data: its spans with the latencies of each, and the conditions under which
//! it ran.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use crate::observe::conditions::SpanConditions;
use crate::report::units::format_bytes;

/// Largest share of the CPU time that may be stolen from a run that is not marked (1 %): ten milliseconds in a second, as
/// long as the longest wake-up of an idle machine here (7.6 ms).
pub const MAX_STEAL: f64 = 0.01;

/// Largest number of bytes that the disk may move for others than the tool in a run that is not marked: 4 MiB, and a
/// twentieth of the copy for metadata. In ten quiet rounds with 256 MiB it was 0.05 to 0.5 MiB, the probers included.
pub const MAX_FOREIGN_BYTES: u64 = 4 << 20;
const FOREIGN_SHARE_DIVISOR: u64 = 20;

/// One run of a tool, or of the idle machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The number of the round, from 1. A round has each tool once.
    pub round: u32,
    /// The place of the run in its round, from 1.
    pub place: u32,
    /// When the run began, as RFC 3339 in UTC.
    pub date: String,
    /// The reason why the run is in no figure, such as the OOM killer; `None` if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// What else the machine did meanwhile, if it was more than the bounds allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disturbed_by: Vec<String>,
    /// The bytes of the copy that were not yet written to the disk when the tool exited; `None` if the kernel does not
    /// tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dirty_at_exit: Option<u64>,
    /// The bytes that the disk moved during the run beyond the size of the copy; `None` if the disk is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_bytes: Option<u64>,
    /// The bytes that each engine of mmapcp copied, if the tool is mmapcp with `--json`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub engines: BTreeMap<String, u64>,
    /// The spans of the run, in the order of time.
    pub spans: Vec<RunSpan>,
}

/// One span of a run, with the latencies that were wanted in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpan {
    /// The part of the run: `until exit`, `until durable` or `after`.
    pub part: String,
    /// Who made the data durable in the span `until durable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable_by: Option<String>,
    /// The length of the span in seconds.
    pub seconds: f64,
    /// What the machine did meanwhile.
    pub conditions: SpanConditions,
    /// The latencies of each kind of probe, all CPUs together.
    pub probes: Vec<ProbeRun>,
}

/// The latencies of one kind of probe in one span of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeRun {
    /// The name: `fork`, `exec`, ...; `fork-child` for the time of the child's first instruction.
    pub name: String,
    /// The number of operations. A slow one answers all moments that passed meanwhile, so there may be fewer than
    /// latencies.
    pub answers: u64,
    /// The latency counted from the intended time.
    pub latency: Distribution,
    /// The mean time of an operation in microseconds, for a probe whose throughput is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_service: Option<f64>,
}

impl RunResult {
    /// Returns the latencies of a probe in a part of the run, or `None` if none was wanted there.
    #[must_use]
    pub fn probe(&self, part: &str, name: &str) -> Option<&ProbeRun> {
        let span = self.spans.iter().find(|span| span.part == part)?;
        let mut probes = span.probes.iter();
        probes.find(|probe| probe.name == name && probe.latency.figures.is_some())
    }
}

/// Returns what disturbed a run of a copy of so many bytes on the disk, in words for a reader.
#[must_use]
pub fn disturbances(spans: &[SpanConditions], foreign: Option<u64>, copy: u64) -> Vec<String> {
    let mut all = Vec::new();
    let steal = spans.iter().filter_map(|span| span.steal);
    if let Some(steal) = steal.reduce(f64::max).filter(|steal| *steal > MAX_STEAL) {
        all.push(format!("{:.1} % of the CPU time was stolen", 100.0 * steal));
    }
    let bound = MAX_FOREIGN_BYTES + copy / FOREIGN_SHARE_DIVISOR;
    if let Some(bytes) = foreign.filter(|bytes| *bytes > bound) {
        all.push(format!("the disk moved {} for others", format_bytes(bytes)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_marked_above_the_bounds_only() {
        let span = |steal| SpanConditions {
            steal: Some(steal),
            ..SpanConditions::default()
        };
        let calm = [span(0.0), span(MAX_STEAL)];
        assert!(disturbances(&calm, Some(MAX_FOREIGN_BYTES + 5), 100).is_empty());
        assert!(disturbances(&[SpanConditions::default()], None, 0).is_empty());
        assert_eq!(
            disturbances(&[span(0.05)], Some(MAX_FOREIGN_BYTES + 6), 100),
            [
                "5.0 % of the CPU time was stolen",
                "the disk moved 4.00 MiB for others"
            ]
        );
    }
}
