//! What the machine said of itself, as rows and lines.

use std::collections::BTreeMap;

use super::grid::{Group, Row, Unit, Value};
use crate::forklat::model::Subject;
use crate::observe::memory::timeline::{Extremes, Stalled, Timeline};
use crate::observe::memory::{Field, Kind};

/// How many slab caches are told of each subject.
const CACHES: usize = 5;

/// What one subject's machine said, a timeline a run.
type Said<'a> = Vec<(&'a Timeline, Extremes)>;

/// Extremes of each subject's timelines.
pub(super) fn group(subjects: &[Subject]) -> Option<Group> {
    let said: Vec<Said> = subjects.iter().map(said).collect();
    if said.iter().all(Vec::is_empty) {
        return None;
    }
    let row = |label: String, unit, get: &dyn Fn(&Said) -> Value| Row {
        label,
        unit,
        // Of two spans of different lengths the longer one has more events.
        compared: unit != Unit::Count,
        values: said.iter().map(get).collect(),
    };
    let mut rows = Vec::new();
    // All tasks of a machine never wait for its CPUs: psi.rst leaves `cpu full` undefined.
    for field in Field::ALL.into_iter().filter(|f| *f != Field::CpuFull) {
        let name = field.name();
        match field.kind() {
            Kind::Gauge if falls(field) => {
                rows.push(row(format!("{name} min"), Unit::Bytes, &|s| {
                    least(s, field)
                }));
            }
            Kind::Gauge => rows.push(row(format!("{name} max"), Unit::Bytes, &|s| most(s, field))),
            Kind::Counter => rows.push(row(name.into(), Unit::Count, &|s| events(s, field))),
            Kind::Stall => {
                let label = format!("PSI {name}");
                rows.push(row(label.clone(), Unit::Percent, &|s| share(s, field)));
                let label = format!("{label} worst second");
                rows.push(row(label, Unit::Percent, &|s| worst_second(s, field)));
            }
        }
    }
    let late = |said: &Said| greatest(said.iter().map(|(timeline, _)| timeline.late)).into();
    rows.push(row("sampler late".into(), Unit::Seconds, &late));
    Some(Group {
        title: "machine".into(),
        probe: None,
        cpu: None,
        rows,
    })
}

/// A span without a reading says nothing, not even what this kernel lacks.
fn said(subject: &Subject) -> Said<'_> {
    let timelines = subject.timelines.iter();
    timelines
        .filter(|timeline| !timeline.seconds.is_empty())
        .map(|timeline| (timeline, timeline.extremes()))
        .collect()
}

/// Gauges of which the least value is the interesting one.
fn falls(field: Field) -> bool {
    matches!(field, Field::MemFree | Field::MemAvailable)
}

fn least(said: &Said, field: Field) -> Value {
    let values = known(said, field, |e| &e.gauges).map(|range| range.min);
    or_why(values.min().map(|n| n as f64), said, field)
}

fn most(said: &Said, field: Field) -> Value {
    let values = known(said, field, |e| &e.gauges).map(|range| range.max);
    or_why(values.max().map(|n| n as f64), said, field)
}

fn events(said: &Said, field: Field) -> Value {
    let sum = known(said, field, |e| &e.counters).reduce(|a, b| a + b);
    or_why(sum.map(|n| n as f64), said, field)
}

/// Of the time of all runs together.
fn share(said: &Said, field: Field) -> Value {
    let mut stalled = 0.0;
    let mut all = 0.0;
    for (timeline, extremes) in said {
        let seconds = timeline.seconds.iter();
        let length = seconds.clone().next_back().zip(seconds.clone().next());
        let length = length.map_or(0.0, |(last, first)| last - first);
        if let Some(Stalled { percent, .. }) = find(&extremes.stalls, field) {
            stalled += percent * length;
            all += length;
        }
    }
    or_why((all > 0.0).then(|| stalled / all), said, field)
}

fn worst_second(said: &Said, field: Field) -> Value {
    let values = known(said, field, |e| &e.stalls).filter_map(|stalled| stalled.worst);
    or_why(greatest(values), said, field)
}

fn known<'a, T: Copy + 'a>(
    said: &'a Said,
    field: Field,
    list: fn(&Extremes) -> &Vec<(Field, T)>,
) -> impl Iterator<Item = T> + 'a {
    said.iter()
        .filter_map(move |(_, extremes)| find(list(extremes), field))
}

fn find<T: Copy>(list: &[(Field, T)], field: Field) -> Option<T> {
    let mut list = list.iter();
    list.find(|(other, _)| *other == field)
        .map(|(_, value)| *value)
}

fn greatest(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.max_by(f64::total_cmp)
}

/// A number, or whether there is none because the kernel never says it.
fn or_why(number: Option<f64>, said: &Said, field: Field) -> Value {
    let silent = |(timeline, _): &(&Timeline, Extremes)| match field.kind() {
        Kind::Stall => !timeline.pressure.supported,
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

/// The slab caches that grew most, a line a subject.
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
