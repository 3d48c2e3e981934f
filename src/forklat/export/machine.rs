//! What the machine said of itself, as rows and lines.

use super::grid::{Group, Row, Unit, Value};
use crate::forklat::model::Subject;
use crate::observe::memory::{Facts, Timeline};

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

fn figures(_timelines: &[Timeline]) -> Vec<Figure> {
    Vec::new()
}

/// The machine in a few lines.
pub(super) fn facts(_facts: &Facts) -> Vec<String> {
    Vec::new()
}
