//! The table of a report: which figures are shown, in which order, and under which names.

use super::grid::{Column, Grid, GridRow, Group, Ratios, Unit, Value};
use super::machine_group;
use crate::forklat::model::{CopyResult, Distribution, ProbeResult, Report, Subject, SummaryStats};

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

type Measure = (&'static str, Unit, fn(&CopyResult) -> f64);

const MEASURES: [Measure; 7] = [
    ("wall", Unit::Seconds, |c| c.wall),
    ("durable", Unit::Seconds, |c| c.durable),
    ("user CPU", Unit::Seconds, |c| c.user),
    ("system CPU", Unit::Seconds, |c| c.system),
    ("cache growth", Unit::Bytes, |c| c.cache_growth as f64),
    ("peak Dirty", Unit::Bytes, |c| c.peak_dirty as f64),
    ("peak RSS", Unit::Bytes, |c| c.max_rss as f64),
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
    groups.extend(probes(subjects, detail, compares));
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
    let measure = |(label, unit, get): Measure| GridRow {
        label: label.into(),
        unit,
        compared: true,
        values: subjects.iter().map(|s| median(&s.copies, get)).collect(),
    };
    let mut rows: Vec<GridRow> = MEASURES.into_iter().map(measure).collect();
    rows.push(GridRow {
        label: "identical".into(),
        unit: Unit::Count,
        compared: false,
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
    let mut values: Vec<f64> = good.map(get).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => Value::Missing,
        n if n % 2 == 1 => Value::Number(values[middle]),
        _ => Value::Number(f64::midpoint(values[middle - 1], values[middle])),
    }
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
    Group {
        title: match cpu {
            Some(cpu) => format!("{name} CPU {cpu}"),
            None => name.clone(),
        },
        probe: Some(name.clone()),
        cpu: *cpu,
        rows: rows(&found, prefix),
    }
}

/// Returns the number of samples and their percentiles, maximum and mean, one row each.
fn rows(found: &[Option<&Distribution>], prefix: &str) -> Vec<GridRow> {
    let count = GridRow {
        label: format!("{prefix}count"),
        unit: Unit::Count,
        compared: false,
        values: found
            .iter()
            .map(|d| d.map(|d| d.count as f64).into())
            .collect(),
    };
    let quantity = |(label, get): Quantity| GridRow {
        label: format!("{prefix}{label}"),
        unit: Unit::Microseconds,
        compared: true,
        values: found
            .iter()
            .map(|d| d.and_then(|d| d.figures.as_ref()).map(get).into())
            .collect(),
    };
    std::iter::once(count)
        .chain(QUANTITIES.map(quantity))
        .collect()
}
