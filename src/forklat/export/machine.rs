//! What the machine said of itself, as rows and lines.

use super::grid::{Group, Row, Unit, Value};
use crate::forklat::model::Subject;
use crate::observe::facts::Facts;
use crate::observe::memory::{Extremes, Field, Growth, Kind, Timeline};
use crate::report::units::bytes;

/// One figure of one subject.
#[derive(Debug, Clone)]
struct Figure {
    label: String,
    unit: Unit,
    value: Value,
}

/// Extremes of each subject's timelines.
pub(super) fn group(subjects: &[Subject]) -> Option<Group> {
    let figures: Vec<Vec<Figure>> = subjects.iter().map(|s| figures(&s.timelines)).collect();
    let rows = rows(&figures);
    (!rows.is_empty()).then(|| Group {
        title: "machine".into(),
        probe: None,
        cpu: None,
        rows,
    })
}

/// A row for each label, in order of first appearance.
fn rows(subjects: &[Vec<Figure>]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (column, figures) in subjects.iter().enumerate() {
        for figure in figures {
            let place = rows.iter().position(|row| row.label == figure.label);
            let place = place.unwrap_or_else(|| {
                rows.push(Row {
                    label: figure.label.clone(),
                    unit: figure.unit,
                    compared: true,
                    values: vec![Value::Missing; subjects.len()],
                });
                rows.len() - 1
            });
            rows[place].values[column] = figure.value;
        }
    }
    rows
}

/// Over all timelines of a subject: the least of what is better high, the most of what is better low, events in all,
/// and the share of the time stalled.
fn figures(timelines: &[Timeline]) -> Vec<Figure> {
    let extremes: Vec<Extremes> = timelines.iter().map(Timeline::extremes).collect();
    let mut figures = Vec::new();
    for field in Field::ALL {
        // The kernel does not define it for a whole machine: psi.rst.
        if field == Field::CpuFull {
            continue;
        }
        figures.extend(match field.kind() {
            Kind::Gauge => gauge(field, &extremes),
            Kind::Counter => counter(field, &extremes),
            Kind::Stall => stall(field, timelines, &extremes),
        });
    }
    figures
}

fn gauge(field: Field, extremes: &[Extremes]) -> Option<Figure> {
    let ranges = extremes
        .iter()
        .flat_map(|e| &e.gauges)
        .filter(|(f, _)| *f == field)
        .map(|(_, range)| range);
    let scarce = matches!(field, Field::MemFree | Field::MemAvailable);
    let (word, value) = if scarce {
        ("least", ranges.map(|range| range.min).min()?)
    } else {
        ("most", ranges.map(|range| range.max).max()?)
    };
    Some(Figure {
        label: format!("{} {word}", field.name()),
        unit: Unit::Bytes,
        value: Value::Number(value as f64),
    })
}

fn counter(field: Field, extremes: &[Extremes]) -> Option<Figure> {
    let mut increases = extremes
        .iter()
        .flat_map(|e| &e.counters)
        .filter(|(f, _)| *f == field)
        .map(|(_, increase)| increase)
        .peekable();
    increases.peek()?;
    Some(Figure {
        label: field.name().into(),
        unit: Unit::Count,
        value: Value::Number(increases.sum::<u64>() as f64),
    })
}

/// Percent of the time of all timelines together.
fn stall(field: Field, timelines: &[Timeline], extremes: &[Extremes]) -> Option<Figure> {
    let (mut stalled, mut length) = (0.0, 0.0);
    for (timeline, extremes) in timelines.iter().zip(extremes) {
        let seconds = timeline.seconds.last()? - timeline.seconds.first()?;
        if let Some((_, share)) = extremes.stalls.iter().find(|(f, _)| *f == field) {
            stalled += share.percent * seconds;
            length += seconds;
        }
    }
    let supported = timelines.first()?.pressure.supported;
    let value = if length > 0.0 {
        Value::Number(stalled / length)
    } else if supported {
        Value::Missing
    } else {
        Value::Unsupported
    };
    Some(Figure {
        label: format!("PSI {}", field.name()),
        unit: Unit::Percent,
        value,
    })
}

/// The slab caches that grew most in each timeline of a subject, one after the other.
pub(super) fn slabs(timelines: &[Timeline]) -> Vec<String> {
    let growth = |growth: &Growth| {
        let (before, more) = (bytes(growth.before), bytes(growth.growth));
        format!("{} +{more} (from {before})", growth.name)
    };
    let line = |timeline: &Timeline| {
        let grown: Vec<String> = timeline.slabs.grown.iter().map(growth).collect();
        let why = timeline.slabs.why.clone();
        let parts: Vec<String> = (!grown.is_empty())
            .then(|| grown.join(", "))
            .into_iter()
            .chain(why)
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    };
    timelines.iter().filter_map(line).collect()
}

/// The machine in a few lines.
pub(super) fn facts(facts: &Facts) -> Vec<String> {
    facts.lines()
}
