//! From what was heard to what is reported: spans and readings become the columns of a report.

use std::time::Duration;

use super::Task;
use super::model::{Copy, Probe, Report, Subject, VERSION};
use super::session::Record;
use super::spans::{Heard, Span};
use crate::observe::facts::Facts;
use crate::observe::latency::Latency;
use crate::observe::memory::Timeline;

/// What the session does not know of a subject.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) aside: bool,
    pub(super) command: Vec<String>,
    pub(super) copies: Vec<Copy>,
}

/// The report: a column for each of `columns` that was measured. `facts` are of the time of the measurement.
pub(super) fn assemble(
    kind: &str,
    columns: &[Column],
    record: &Record,
    task: &Task,
    facts: Facts,
) -> Report {
    let measured = columns
        .iter()
        .filter(|column| !record.spans.heard(&column.name).is_empty());
    Report {
        v: VERSION,
        kind: kind.to_owned(),
        forklat: env!("CARGO_PKG_VERSION").to_owned(),
        date: task.date.clone(),
        command_line: task.command_line.clone(),
        facts,
        notes: record.notes.clone(),
        subjects: measured.map(|column| subject(column, record)).collect(),
        observers: record.observers.clone(),
        alone: record.alone.clone(),
    }
}

fn subject(column: &Column, record: &Record) -> Subject {
    let spans: Vec<Span> = record.spans.of(&column.name).collect();
    let started = spans.first().map_or(0, |span| span.from);
    let nanoseconds = spans.iter().map(|span| span.to - span.from).sum();
    Subject {
        name: column.name.clone(),
        aside: column.aside,
        command: column.command.clone(),
        seconds: Duration::from_nanos(nanoseconds).as_secs_f64(),
        copies: column.copies.clone(),
        probes: probes(record.spans.heard(&column.name), record, started),
        timelines: spans
            .iter()
            .map(|span| {
                Timeline::between(record.sampler.history(), span.from, span.to, record.epoch)
            })
            .collect(),
    }
}

/// Each kind of probe with all its probers together, then each prober where there are several; `fork` with its child.
fn probes(heard: &[Heard], record: &Record, started: u64) -> Vec<Probe> {
    let mut probes = Vec::new();
    let all: Vec<_> = record.probers.iter().zip(heard).collect();
    for kind in all.chunk_by(|a, b| a.0.0 == b.0.0) {
        let (name, _, period) = kind[0].0;
        let mut add = |name: &str, pick: fn(&Heard) -> &Latency| {
            let make = |cpu, latency: &Latency| {
                Probe::of(name, cpu, *period, latency, started, record.epoch)
            };
            let mut together = Latency::default();
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
                        .map(|((_, cpu, _), heard)| make(*cpu, pick(heard))),
                );
            }
        };
        add(name, |heard| &heard.answer);
        add(&format!("{name}-child"), |heard| &heard.child);
    }
    probes
}
