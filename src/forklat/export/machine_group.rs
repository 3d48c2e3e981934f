//! The readings of the machine, as rows of the table and as lines below it.

use std::collections::BTreeMap;

use super::grid::{GridRow, Group, RowRatios, Unit, Value};
use crate::forklat::model::Subject;
use crate::observe::memory::timeline::{StallPercent, Timeline, TimelineSummary};
use crate::observe::memory::{Metric, MetricKind};

/// Number of slab caches that are listed for each subject.
const CACHES: usize = 5;

/// The timelines of one subject, one per run, each with its summary.
type SubjectTimelines<'a> = Vec<(&'a Timeline, TimelineSummary)>;

/// Returns the rows with the extremes of each subject's timelines, or `None` if no subject has any.
pub(super) fn group(subjects: &[Subject]) -> Option<Group> {
    let said: Vec<SubjectTimelines> = subjects.iter().map(subject_timelines).collect();
    if said.iter().all(Vec::is_empty) {
        return None;
    }
    let row = |label: String, unit, get: &dyn Fn(&SubjectTimelines) -> Value| GridRow {
        label,
        unit,
        // Of two spans with different lengths, the longer one has more events.
        ratios: if unit == Unit::Count {
            RowRatios::None
        } else {
            RowRatios::OfValues
        },
        values: said.iter().map(get).collect(),
    };
    let mut rows = Vec::new();
    // psi.rst leaves `cpu full` undefined at the system level, since the tasks of a machine never all wait for its
    // CPUs.
    for field in Metric::ALL.into_iter().filter(|f| *f != Metric::CpuFull) {
        let name = field.name();
        match field.kind() {
            MetricKind::Gauge if is_minimum_relevant(field) => {
                rows.push(row(format!("{name} min"), Unit::Bytes, &|s| {
                    least(s, field)
                }));
            }
            MetricKind::Gauge => {
                rows.push(row(format!("{name} max"), Unit::Bytes, &|s| most(s, field)));
            }
            MetricKind::Counter => rows.push(row(name.into(), Unit::Count, &|s| events(s, field))),
            MetricKind::Stall => {
                let label = format!("PSI {name}");
                rows.push(row(label.clone(), Unit::Percent, &|s| share(s, field)));
                let label = format!("{label} worst second");
                rows.push(row(label, Unit::Percent, &|s| worst_second(s, field)));
            }
        }
    }
    let late =
        |said: &SubjectTimelines| greatest(said.iter().map(|(timeline, _)| timeline.late)).into();
    rows.push(row("sampler late".into(), Unit::Seconds, &late));
    Some(Group {
        title: "machine".into(),
        probe: None,
        cpu: None,
        rows,
    })
}

/// Returns the timelines of a subject that have a reading. One without a reading does not even show what this kernel
/// lacks.
fn subject_timelines(subject: &Subject) -> SubjectTimelines<'_> {
    let timelines = subject.timelines.iter();
    timelines
        .filter(|timeline| !timeline.seconds.is_empty())
        .map(|timeline| (timeline, timeline.summarize()))
        .collect()
}

/// Returns whether the smallest value of a gauge is the interesting one.
fn is_minimum_relevant(field: Metric) -> bool {
    matches!(field, Metric::MemFree | Metric::MemAvailable)
}

fn least(said: &SubjectTimelines, field: Metric) -> Value {
    let values = known(said, field, |e| &e.gauges).map(|range| range.min);
    or_why(values.min().map(|n| n as f64), said, field)
}

fn most(said: &SubjectTimelines, field: Metric) -> Value {
    let values = known(said, field, |e| &e.gauges).map(|range| range.max);
    or_why(values.max().map(|n| n as f64), said, field)
}

fn events(said: &SubjectTimelines, field: Metric) -> Value {
    let sum = known(said, field, |e| &e.counters).reduce(|a, b| a + b);
    or_why(sum.map(|n| n as f64), said, field)
}

/// Returns the share of the time of all runs together.
fn share(said: &SubjectTimelines, field: Metric) -> Value {
    let mut stalled = 0.0;
    let mut all = 0.0;
    for (timeline, extremes) in said {
        let seconds = timeline.seconds.iter();
        let length = seconds.clone().next_back().zip(seconds.clone().next());
        let length = length.map_or(0.0, |(last, first)| last - first);
        if let Some(StallPercent { percent, .. }) = find(&extremes.stalls, field) {
            stalled += percent * length;
            all += length;
        }
    }
    or_why((all > 0.0).then(|| stalled / all), said, field)
}

fn worst_second(said: &SubjectTimelines, field: Metric) -> Value {
    let values = known(said, field, |e| &e.stalls).filter_map(|stalled| stalled.worst);
    or_why(greatest(values), said, field)
}

fn known<'a, T: Copy + 'a>(
    said: &'a SubjectTimelines,
    field: Metric,
    list: fn(&TimelineSummary) -> &Vec<(Metric, T)>,
) -> impl Iterator<Item = T> + 'a {
    said.iter()
        .filter_map(move |(_, extremes)| find(list(extremes), field))
}

fn find<T: Copy>(list: &[(Metric, T)], field: Metric) -> Option<T> {
    let mut list = list.iter();
    list.find(|(other, _)| *other == field)
        .map(|(_, value)| *value)
}

fn greatest(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.max_by(f64::total_cmp)
}

/// Returns a number, or whether it is absent because the kernel never provides it.
fn or_why(number: Option<f64>, said: &SubjectTimelines, field: Metric) -> Value {
    let silent = |(timeline, _): &(&Timeline, TimelineSummary)| match field.kind() {
        MetricKind::Stall => !timeline.pressure.supported,
        _ => match timeline.series.get(field.name()) {
            Some(series) => series.iter().all(Option::is_none),
            None => true,
        },
    };
    match number {
        Some(number) => Value::Number(number),
        None if !said.is_empty() && said.iter().all(silent) => Value::Unsupported,
        None => Value::Missing,
    }
}

/// Returns the slab caches that grew most, one line per subject.
pub(super) fn slabs(subjects: &[Subject]) -> Vec<String> {
    let mut lines = Vec::new();
    for subject in subjects {
        let mut grown: BTreeMap<&str, u64> = BTreeMap::new();
        let mut said: Vec<String> = Vec::new();
        for slabs in subject.timelines.iter().map(|timeline| &timeline.slabs) {
            for cache in &slabs.grown {
                let most = grown.entry(&cache.name).or_default();
                *most = cache.growth.max(*most);
            }
            said.extend(slabs.why.clone().filter(|why| !said.contains(why)));
        }
        let mut grown: Vec<(&str, u64)> = grown.into_iter().collect();
        grown.sort_by_key(|(_, growth)| std::cmp::Reverse(*growth));
        let grown = grown.into_iter().take(CACHES);
        let mut words: Vec<String> = grown
            .map(|(name, growth)| format!("{name} +{}", Unit::Bytes.show(growth as f64)))
            .collect();
        words.append(&mut said);
        if !words.is_empty() {
            lines.push(format!("{}: {}", subject.name, words.join(", ")));
        }
    }
    lines
}
