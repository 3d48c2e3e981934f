//! The table of a report: which figures are shown, in which order, and under which names.

use super::grid::{Column, Grid, GridRow, Group, Ratios, RowRatios, Unit, Value};
use super::machine_group;
use super::run_rows;
use super::why_rows;
use crate::forklat::model::{CopyResult, Distribution, ProbeResult, Report, Subject, SummaryStats};
use crate::forklat::run_comparison::{
    COPY_FIGURES, CopyFigure, compare_runs, has_runs, throughput_of,
};
use crate::forklat::statistics;
use crate::observe::probe::find_spec;

/// How many figures the table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// As many figures as fit on a screen.
    Short,
    /// The figures of each CPU and the service times as well.
    Full,
}

type Quantity = (&'static str, fn(&SummaryStats) -> f64);

const QUANTITIES: [Quantity; 6] = [
    ("p50", |f| f.p50),
    ("p90", |f| f.p90),
    ("p99", |f| f.p99),
    ("p99.9", |f| f.p999),
    ("max", |f| f.max),
    ("mean", |f| f.mean),
];

/// The figures of a probe that a comparison of tools shows. The count is among them, since p99.9 of fewer than 1000
/// samples is the maximum.
const SHORT: [&str; 4] = ["count", "p99", "p99.9", "max"];

/// The units of the figures of a copy, in their order.
const COPY_UNITS: [Unit; COPY_FIGURES.len()] = [
    Unit::Seconds,
    Unit::Seconds,
    Unit::Seconds,
    Unit::Seconds,
    Unit::Bytes,
    Unit::Bytes,
    Unit::Bytes,
];

/// Returns the table of a report, still in numbers.
#[must_use]
pub fn grid(report: &Report, detail: Detail) -> Grid {
    let subjects = &report.subjects;
    let compares = is_comparison(subjects);
    let mut groups = Vec::new();
    if compares {
        groups.push(copies(subjects));
    }
    if has_runs(subjects) {
        groups.extend(run_rows::groups(subjects));
    }
    if !has_runs(subjects) || detail == Detail::Full {
        groups.extend(probes(subjects, detail, compares));
    }
    groups.extend(why_rows::group(subjects));
    // Tools are distinguished by their effect on the page cache, which is shown with their copies.
    if !compares || detail == Detail::Full {
        groups.extend(machine_group::group(subjects));
    }
    let column = |subject: &Subject| Column {
        name: subject.name.clone(),
        excluded_from_ratios: subject.aside,
    };
    Grid {
        columns: subjects.iter().map(column).collect(),
        groups,
        ratios: if compares {
            Ratios::Behind
        } else {
            Ratios::Column
        },
    }
}

/// Returns whether the subjects are tools that copy, rather than phases.
pub(super) fn is_comparison(subjects: &[Subject]) -> bool {
    subjects.iter().any(|subject| !subject.copies.is_empty())
}

fn copies(subjects: &[Subject]) -> Group {
    let tested = compare_runs(subjects);
    let measure = |(unit, (label, get)): (Unit, CopyFigure)| GridRow {
        label: label.into(),
        unit,
        ratios: match has_runs(subjects) {
            true => run_rows::ratios(subjects, &tested, None, label),
            false => RowRatios::OfValues,
        },
        values: subjects.iter().map(|s| median(&s.copies, get)).collect(),
    };
    let figures = COPY_UNITS.into_iter().zip(COPY_FIGURES);
    let mut rows: Vec<GridRow> = figures.map(measure).collect();
    rows.push(GridRow {
        label: "identical".into(),
        unit: Unit::Count,
        ratios: RowRatios::None,
        values: subjects.iter().map(identical).collect(),
    });
    Group {
        title: "copy".into(),
        probe: None,
        cpu: None,
        rows,
    }
}

fn identical(subject: &Subject) -> Value {
    let made = subject.copies.len();
    let count =
        |what: fn(&CopyResult) -> bool| subject.copies.iter().filter(|copy| what(copy)).count();
    match (
        made,
        count(CopyResult::is_silently_wrong),
        count(|copy| copy.status != 0),
    ) {
        (0, ..) => Value::Missing,
        (_, 0, 0) => Value::Identical(made, made),
        (_, 0, failed) => Value::Failed(failed, made),
        (_, lies, _) => Value::Identical(made - lies, made),
    }
}

/// Returns the median over the correct copies, since a tool that gave up at once was not fast.
fn median(copies: &[CopyResult], get: fn(&CopyResult) -> f64) -> Value {
    let good = copies.iter().filter(|copy| copy.is_correct());
    statistics::median(good.map(get).collect()).into()
}

/// The name of a probe and its CPU, or `None` for all CPUs together.
type Key = (String, Option<u32>);

fn probes(subjects: &[Subject], detail: Detail, compares: bool) -> Vec<Group> {
    let mut keys: Vec<Key> = Vec::new();
    for probe in subjects.iter().flat_map(|subject| &subject.probes) {
        let key = (probe.name.clone(), probe.cpu);
        if !keys.contains(&key) && (detail == Detail::Full || probe.cpu.is_none()) {
            keys.push(key);
        }
    }
    let mut groups = Vec::new();
    for key in &keys {
        groups.push(probe(subjects, key, "", |probe| &probe.latency));
        if detail == Detail::Full {
            groups.push(probe(subjects, key, "service ", |probe| &probe.service));
        }
    }
    if compares && detail == Detail::Short {
        for group in &mut groups {
            group.rows.retain(|row| SHORT.contains(&row.label.as_str()));
        }
    }
    groups
}

fn probe(
    subjects: &[Subject],
    key: &Key,
    prefix: &str,
    which: fn(&ProbeResult) -> &Distribution,
) -> Group {
    let (name, cpu) = key;
    let found: Vec<Option<&Distribution>> = subjects
        .iter()
        .map(|subject| {
            let mut probes = subject.probes.iter();
            probes
                .find(|probe| probe.name == *name && probe.cpu == *cpu)
                .map(which)
        })
        .collect();
    // Runs that were pooled show nothing.
    let ratios = match has_runs(subjects) {
        true => RowRatios::None,
        false => RowRatios::OfValues,
    };
    Group {
        title: match cpu {
            Some(cpu) => format!("{name} CPU {cpu}"),
            None if has_runs(subjects) => format!("{name}, all runs"),
            None => name.clone(),
        },
        probe: Some(name.clone()),
        cpu: *cpu,
        rows: rows(&found, prefix, &ratios)
            .into_iter()
            .chain(throughput(subjects, key, &ratios).filter(|_| prefix.is_empty()))
            .collect(),
    }
}

/// Returns the row with the throughput of a probe while it writes, if the probe is one that shows it.
fn throughput(subjects: &[Subject], key: &Key, ratios: &RowRatios) -> Option<GridRow> {
    let (name, cpu) = key;
    find_spec(name)?.bytes?;
    let of = |subject: &Subject| {
        let mut probes = subject.probes.iter();
        let probe = probes.find(|probe| probe.name == *name && probe.cpu == *cpu)?;
        throughput_of(name, probe.service.figures.as_ref()?.mean)
    };
    Some(GridRow {
        label: "rate in write(2)".into(),
        unit: Unit::BytesPerSecond,
        ratios: ratios.clone(),
        values: subjects.iter().map(|subject| of(subject).into()).collect(),
    })
}

/// Returns the number of samples and their percentiles, maximum and mean, one row each.
fn rows(found: &[Option<&Distribution>], prefix: &str, ratios: &RowRatios) -> Vec<GridRow> {
    let count = GridRow {
        label: format!("{prefix}count"),
        unit: Unit::Count,
        ratios: RowRatios::None,
        values: found
            .iter()
            .map(|d| d.map(|d| d.count as f64).into())
            .collect(),
    };
    let quantity = |(label, get): Quantity| GridRow {
        label: format!("{prefix}{label}"),
        unit: Unit::Microseconds,
        ratios: ratios.clone(),
        values: found
            .iter()
            .map(|d| d.and_then(|d| d.figures.as_ref()).map(get).into())
            .collect(),
    };
    std::iter::once(count)
        .chain(QUANTITIES.map(quantity))
        .collect()
}
