//! Builds a report from a measurement: spans and readings become the columns of the report.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::TaskContext;
use super::distribution::microseconds;
use super::late_answers::ProberName;
use super::model::{CopyResult, Distribution, ProbeResult, ProbeRun, Report, RunResult, RunSpan};
use super::model::{LateAnswer, MAX_LATE_ANSWERS, Subject, WhyResult, disturbances};
use super::phases::{Phase, Phases, ProberLatencies, RunPart};
use super::session::{ProberId, SessionResult};
use crate::observe::conditions::SpanConditions;
use crate::observe::host_info::HostInfo;
use crate::observe::latency_histograms::LatencyHistograms;
use crate::observe::memory::Timeline;
use crate::observe::probe::find_spec;
use crate::sys::clock::MonotonicNs;

/// The facts about a subject that the session does not have.
#[derive(Debug, Default)]
pub(super) struct SubjectSpec {
    pub(super) name: String,
    pub(super) excluded_from_ratios: bool,
    /// The tool that the subject repeats in each round.
    pub(super) repeats: Option<String>,
    /// The state of the free memory before each run.
    pub(super) memory: Option<String>,
    pub(super) command: Vec<String>,
    pub(super) copies: Vec<CopyResult>,
    /// The facts about each run of a comparison, in the order of time.
    pub(super) runs: Vec<RunRecord>,
}

/// The facts about one run of a tool that the session does not have.
#[derive(Debug, Clone, Default)]
pub(super) struct RunRecord {
    /// The number of the round, and the place of the run in it, both from 1.
    pub(super) round: u32,
    pub(super) place: u32,
    pub(super) left_out: Option<String>,
    pub(super) disturbed_by: Vec<String>,
    pub(super) dirty_at_exit: Option<u64>,
    pub(super) engines: BTreeMap<String, u64>,
    /// The bytes that the copy occupies on the disk.
    pub(super) copy_bytes: u64,
    /// What the machine did in each span of the run.
    pub(super) conditions: Vec<SpanConditions>,
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
        .filter(|column| record.spans.of(&column.name).next().is_some());
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
    let runs = spans_by_run(&record.spans, &column.name);
    let start = runs.first().map_or(MonotonicNs::ZERO, |run| run[0].start);
    let nanoseconds = runs
        .iter()
        .map(|run| run[0].end.nanos_since(run[0].start))
        .sum();
    let timeline = |run: &Vec<&Phase>| {
        let end = run.last().map_or(run[0].end, |last| last.end);
        Timeline::between(record.sampler.history(), run[0].start, end, record.epoch)
    };
    Subject {
        name: column.name.clone(),
        aside: column.excluded_from_ratios,
        repeats: column.repeats.clone(),
        memory: column.memory.clone(),
        command: column.command.clone(),
        seconds: Duration::from_nanos(nanoseconds).as_secs_f64(),
        copies: column.copies.clone(),
        probes: probes(&record.spans.prober_latencies(&column.name), record, start),
        timelines: runs.iter().map(timeline).collect(),
        late: late_answers(runs.iter().flatten(), record),
        runs: run_results(column, &record.spans, &record.probers, record.epoch),
        why: why(&column.name, record),
    }
}

/// Returns the latest answers of each kind of probe in each of the spans, in the order of time.
fn late_answers<'a>(
    spans: impl Iterator<Item = &'a &'a Phase>,
    record: &SessionResult,
) -> Vec<LateAnswer> {
    let indexed: Vec<(usize, &ProberId)> = record.probers.iter().enumerate().collect();
    let mut all = Vec::new();
    for span in spans {
        for kind in indexed.chunk_by(|a, b| a.1.name == b.1.name) {
            let late = kind.iter().flat_map(|(n, _)| span.late_answers(*n));
            let mut late: Vec<_> = late.collect();
            late.sort_unstable_by(|a, b| b.cmp(a));
            late.truncate(MAX_LATE_ANSWERS);
            all.extend(late.into_iter().map(|answer| LateAnswer {
                probe: kind[0].1.name.to_owned(),
                latency: microseconds(answer.latency_ns as f64),
                time: wall_clock_seconds(answer.intended, record.epoch),
            }));
        }
    }
    all.sort_by(|a, b| a.time.total_cmp(&b.time));
    all
}

/// Returns a moment as seconds since 1970. `epoch` is the time at which the clock of the moment was zero.
fn wall_clock_seconds(moment: MonotonicNs, epoch: Duration) -> f64 {
    (epoch + Duration::from_nanos(moment.as_nanos())).as_secs_f64()
}

/// Returns why answers of a subject were late, if that was to be found out.
fn why(name: &str, record: &SessionResult) -> Option<WhyResult> {
    let late = record.late_answers.as_ref()?;
    let prober = |id: &ProberId| ProberName {
        probe: id.name,
        cpu: id.cpu,
    };
    let probers: Vec<ProberName> = record.probers.iter().map(prober).collect();
    Some(late.result(name, &record.spans, &probers, record.epoch))
}

/// Returns the spans of a subject, those of one run together.
fn spans_by_run<'a>(spans: &'a Phases, name: &str) -> Vec<Vec<&'a Phase>> {
    let mut runs: Vec<Vec<&Phase>> = Vec::new();
    for span in spans.of(name) {
        match runs.last_mut() {
            Some(run) if span.part != RunPart::UntilExit => run.push(span),
            _ => runs.push(vec![span]),
        }
    }
    runs
}

/// Returns the results of the runs of a comparison, each with its own latencies.
pub(super) fn run_results(
    column: &SubjectSpec,
    spans: &Phases,
    probers: &[ProberId],
    epoch: Duration,
) -> Vec<RunResult> {
    let runs = spans_by_run(spans, &column.name);
    let results = column.runs.iter().zip(&runs).map(|(record, spans)| {
        let began = epoch + Duration::from_nanos(spans[0].start.as_nanos());
        let foreign = foreign_bytes(record);
        let mut disturbed_by = record.disturbed_by.clone();
        disturbed_by.extend(disturbances(&record.conditions, foreign, record.copy_bytes));
        RunResult {
            round: record.round,
            place: record.place,
            date: humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + began).to_string(),
            left_out: record.left_out.clone(),
            disturbed_by,
            dirty_at_exit: record.dirty_at_exit,
            foreign_bytes: foreign,
            engines: record.engines.clone(),
            spans: run_spans(record, spans, probers),
        }
    });
    results.collect()
}

/// Returns the bytes that the disk moved in a run beyond those of the copy. The time after it is not counted, since the
/// disk may still be busy with the copy.
fn foreign_bytes(record: &RunRecord) -> Option<u64> {
    let parts = RunPart::ALL.iter().zip(&record.conditions);
    let parts = parts.filter(|(part, _)| **part != RunPart::After);
    let moved: Option<u64> = parts.map(|(_, span)| span.disk_bytes()).sum();
    Some(moved?.saturating_sub(record.copy_bytes))
}

fn run_spans(record: &RunRecord, spans: &[&Phase], probers: &[ProberId]) -> Vec<RunSpan> {
    let conditions = record.conditions.iter().copied();
    let conditions = conditions.chain(std::iter::repeat(SpanConditions::default()));
    let span = |(span, conditions): (&&Phase, SpanConditions)| {
        let is_written = record.dirty_at_exit == Some(0);
        let durable_by = if is_written { "tool" } else { "forklat" };
        let is_tail = span.part == RunPart::UntilDurable;
        RunSpan {
            part: span.part.name().to_owned(),
            durable_by: is_tail.then(|| durable_by.to_owned()),
            seconds: span.end.since(span.start).as_secs_f64(),
            conditions,
            probes: probe_runs(span, probers),
        }
    };
    spans.iter().zip(conditions).map(span).collect()
}

/// Returns the latencies of each kind of probe in one span.
fn probe_runs(span: &Phase, probers: &[ProberId]) -> Vec<ProbeRun> {
    let heard = |index| {
        let mut sum = ProberLatencies::default();
        span.add_prober_to(index, &mut sum);
        sum
    };
    let heard: Vec<ProberLatencies> = (0..probers.len()).map(heard).collect();
    let all: Vec<_> = probers.iter().zip(&heard).collect();
    let sums = all.chunk_by(|a, b| a.0.name == b.0.name).flat_map(sums);
    let run = |(name, latency): (String, LatencyHistograms)| ProbeRun {
        mean_service: find_spec(&name)
            .and_then(|spec| spec.bytes)
            .map(|_| microseconds(latency.service.mean())),
        name,
        answers: latency.service.len(),
        latency: Distribution::of(&latency.latency),
    };
    sums.filter(|(_, sum)| !sum.latency.is_empty())
        .map(run)
        .collect()
}

/// The probers of one kind, each with its latencies.
type ProberKind<'a> = [(&'a ProberId, &'a ProberLatencies)];

/// Picks the latencies of the operation, or those of its child.
type Pick = fn(&ProberLatencies) -> &LatencyHistograms;

/// Returns the probes of one kind of prober: its name, and `NAME-child`.
fn named_probes(kind: &ProberKind) -> [(String, Pick); 2] {
    let name = kind[0].0.name;
    [
        (name.to_owned(), |heard| &heard.answer),
        (format!("{name}-child"), |heard| &heard.child),
    ]
}

/// Returns the sum of all probers of one kind, for each of its probes.
fn sums(kind: &ProberKind) -> Vec<(String, LatencyHistograms)> {
    let sum = |(name, pick): (String, Pick)| {
        let mut together = LatencyHistograms::default();
        for (_, heard) in kind {
            together.merge(pick(heard));
        }
        (name, together)
    };
    named_probes(kind).into_iter().map(sum).collect()
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
        let period = kind[0].0.period;
        let make = |name: &str, cpu, latency: &LatencyHistograms| {
            ProbeResult::of(name, cpu, period, latency, start, record.epoch)
        };
        let named = named_probes(kind).into_iter().zip(sums(kind));
        for ((name, pick), (_, together)) in named {
            if together.latency.is_empty() {
                continue;
            }
            probes.push(make(&name, None, &together));
            if kind.len() > 1 {
                let each = kind.iter();
                probes.extend(each.map(|(prober, heard)| make(&name, prober.cpu, pick(heard))));
            }
        }
    }
    probes
}
