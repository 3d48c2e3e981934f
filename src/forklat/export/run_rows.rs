//! The rows of a comparison whose runs are known one by one: medians over the runs, and ratios that were tested.

use super::grid::{GridRow, Group, RowRatios, TestedRatio, Unit, Value};
use crate::forklat::model::Subject;
use crate::forklat::phases::RunPart;
use crate::forklat::run_comparison::{
    RowComparison, RunFigure, compare_runs, probe_figures, probe_names,
};

/// Returns the groups of the probes: how many answers a run has, the highest percentile for which they suffice, and the
/// longest wait of a run until the tool exits and until its data are durable.
pub(super) fn groups(subjects: &[Subject]) -> Vec<Group> {
    let tested = compare_runs(subjects);
    let names = probe_names(subjects).into_iter();
    names
        .map(|probe| Group {
            title: probe.to_owned(),
            probe: Some(probe.to_owned()),
            cpu: None,
            rows: rows(subjects, &tested, probe),
        })
        .collect()
}

fn rows(subjects: &[Subject], tested: &[RowComparison], probe: &str) -> Vec<GridRow> {
    let row = |figure: RunFigure, unit, is_tested| GridRow {
        label: figure.label().into(),
        unit,
        ratios: match is_tested {
            true => ratios(subjects, tested, Some(probe), figure.label()),
            false => RowRatios::None,
        },
        values: subjects.iter().map(|s| figure.median(s).into()).collect(),
    };
    let mut rows = vec![row(RunFigure::Answers(probe), Unit::Count, false)];
    let figures = probe_figures(subjects, probe).into_iter();
    rows.extend(figures.map(|figure| row(figure, unit_of(&figure), true)));
    let tail = RunFigure::Longest(probe, RunPart::UntilDurable);
    let tail = row(tail, Unit::Microseconds, false);
    rows.extend(Some(tail).filter(|row| row.values.iter().any(|v| *v != Value::Missing)));
    rows
}

fn unit_of(figure: &RunFigure) -> Unit {
    match figure {
        RunFigure::Throughput(_) => Unit::BytesPerSecond,
        _ => Unit::Microseconds,
    }
}

/// Returns the ratios of a row, one for each subject, with the answers of the tests.
pub(super) fn ratios(
    subjects: &[Subject],
    tested: &[RowComparison],
    probe: Option<&str>,
    figure: &str,
) -> RowRatios {
    let ratio = |subject: &Subject| {
        let row = tested.iter().find(|row| {
            row.tool == subject.name && row.probe.as_deref() == probe && row.figure == figure
        });
        match row {
            None => TestedRatio::Missing,
            Some(row) if row.is_shown() => TestedRatio::Shown(row.ratio),
            Some(_) => TestedRatio::NoDifference,
        }
    };
    let of_tools: Vec<TestedRatio> = subjects.iter().map(ratio).collect();
    match of_tools.iter().all(|ratio| *ratio == TestedRatio::Missing) {
        true => RowRatios::None,
        false => RowRatios::Tested(of_tools),
    }
}
