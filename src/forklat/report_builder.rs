//! Builds a report from a measurement: spans and readings become the columns of the report.

use std::time::Duration;

use super::TaskContext;
use super::model::{CopyResult, ProbeResult, Report, Subject};
use super::phases::{Phase, ProberLatencies};
use super::session::{ProberId, SessionResult};
use crate::observe::host_info::HostInfo;
use crate::observe::latency_histograms::LatencyHistograms;
use crate::observe::memory::Timeline;
use crate::sys::clock::MonotonicNs;

/// The facts about a subject that the session does not have.
#[derive(Debug)]
pub(super) struct SubjectSpec {
    pub(super) name: String,
    pub(super) excluded_from_ratios: bool,
    pub(super) command: Vec<String>,
    pub(super) copies: Vec<CopyResult>,
}

/// Builds the report, with a column for each of `columns` that was measured. `facts` are those at the time of the
/// measurement.
pub(super) fn assemble(
    kind: &str,
    columns: &[SubjectSpec],
    record: &SessionResult,
    task: &TaskContext,
    facts: HostInfo,
) -> Report {
    let measured = columns
        .iter()
        .filter(|column| !record.spans.prober_latencies(&column.name).is_empty());
    Report {
        facts,
        notes: record.notes.clone(),
        subjects: measured.map(|column| subject(column, record)).collect(),
        observers: record.observers.clone(),
        alone: record.isolated_probe.clone(),
        ..task.report(kind)
    }
}

fn subject(column: &SubjectSpec, record: &SessionResult) -> Subject {
    let spans: Vec<Phase> = record.spans.of(&column.name).collect();
    let start = spans.first().map_or(MonotonicNs::ZERO, |span| span.start);
    let nanoseconds = spans
        .iter()
        .map(|span| span.end.nanos_since(span.start))
        .sum();
    Subject {
        name: column.name.clone(),
        aside: column.excluded_from_ratios,
        command: column.command.clone(),
        seconds: Duration::from_nanos(nanoseconds).as_secs_f64(),
        copies: column.copies.clone(),
        probes: probes(record.spans.prober_latencies(&column.name), record, start),
        timelines: spans
            .iter()
            .map(|span| {
                Timeline::between(record.sampler.history(), span.start, span.end, record.epoch)
            })
            .collect(),
    }
}

/// Returns the results of each kind of probe, first for all its probers together, then for each prober if there are
/// several. The child of `fork` is a probe of its own.
fn probes(
    heard: &[ProberLatencies],
    record: &SessionResult,
    start: MonotonicNs,
) -> Vec<ProbeResult> {
    let mut probes = Vec::new();
    let all: Vec<_> = record.probers.iter().zip(heard).collect();
    for kind in all.chunk_by(|a, b| a.0.name == b.0.name) {
        let ProberId { name, period, .. } = kind[0].0;
        let mut add = |name: &str, pick: fn(&ProberLatencies) -> &LatencyHistograms| {
            let make = |cpu, latency: &LatencyHistograms| {
                ProbeResult::of(name, cpu, *period, latency, start, record.epoch)
            };
            let mut together = LatencyHistograms::default();
            for (_, heard) in kind {
                together.merge(pick(heard));
            }
            if together.latency.is_empty() {
                return;
            }
            probes.push(make(None, &together));
            if kind.len() > 1 {
                probes.extend(
                    kind.iter()
                        .map(|(prober, heard)| make(prober.cpu, pick(heard))),
                );
            }
        };
        add(name, |heard| &heard.answer);
        add(&format!("{name}-child"), |heard| &heard.child);
    }
    probes
}
